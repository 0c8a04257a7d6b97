"""BEiT against the `transformers` library: configurations, hidden states, logits, gradients, and bad inputs."""

import pytest
import torch
import torch.nn.functional as F
from beit_twins import backbone_weights, config, shuffled
from timm.layers import gen_relative_position_index
from transformers import BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling, BeitModel
from transformers.models.beit.modeling_beit import BeitRelativePositionBias

from lecture_utils.transformers import (
    BEiT,
    BEiTClassifier,
    BEiTSegmenter,
    MaskedImageModel,
    RelativePositionBias,
    VisualTokens,
    masked_token_loss,
    relative_position_index,
)
from lecture_utils.transformers.beit import start_from_pretrained

pytestmark = pytest.mark.slide("34")

SMALL = {"patch_size": 4, "dim": 16, "depth": 3, "heads": 2, "mlp_dim": 40}
LARGE = {"dim": 1024, "depth": 24, "heads": 16, "layer_scale": 1e-5}


def small(size=(12, 12)) -> BEiT:
    return BEiT(size, **SMALL)


def parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.fixture
def images():
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask():
    return torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(2)) < 0.4


# The paper's configurations


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        (LARGE, {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}),
    ],
    ids=("B/16", "L/16"),
)
def test_a_published_size_has_the_parameters_of_the_librarys(ours, theirs):
    published = BeitConfig(use_relative_position_bias=True, use_mask_token=True, num_labels=1000, **theirs)
    with torch.device("meta"):
        backbone = BEiT(**ours)
        assert parameters(backbone) == parameters(BeitModel(published, add_pooling_layer=False))
        tokens = VisualTokens(8192, 16)
        assert parameters(MaskedImageModel(backbone, tokens)) == parameters(BeitForMaskedImageModeling(published))
        classifier = BEiTClassifier(backbone, 1000)
        assert parameters(classifier) == parameters(BeitForImageClassification(published))


def test_base_has_the_86_million_parameters_of_the_slide():
    with torch.device("meta"):
        assert round(parameters(BEiT()) / 1e6) == 86


# The same weights give the same numbers


def test_hidden_states_and_attention_are_the_librarys(images, mask):
    theirs = shuffled(BeitModel(config(attn_implementation="eager"), add_pooling_layer=False))
    ours = small().eval()
    ours.load_state_dict(backbone_weights(theirs.state_dict(), 3))
    for masked in (None, mask):
        flat = None if masked is None else masked.flatten(1)
        expected = theirs(images, bool_masked_pos=flat, output_attentions=True)
        tokens, maps = ours(images, masked, need_weights=True)
        torch.testing.assert_close(tokens, expected.last_hidden_state, rtol=1e-4, atol=1e-4)
        for weights, wanted in zip(maps, expected.attentions, strict=True):
            torch.testing.assert_close(weights, wanted, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 10))


def test_logits_and_loss_of_masked_words_are_the_librarys(images, mask):
    theirs = shuffled(BeitForMaskedImageModeling(config(vocab_size=11)))
    ours = MaskedImageModel(small(), VisualTokens(11, 4)).eval()
    ours.backbone.load_state_dict(backbone_weights(theirs.beit.state_dict(), 3))
    ours.norm.load_state_dict(theirs.layernorm.state_dict())
    ours.predict.load_state_dict(theirs.lm_head.state_dict())
    truth = torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(3))
    flat = mask.flatten(1)
    expected = theirs(images, bool_masked_pos=flat, labels=truth[flat])
    logits = ours(images, mask)
    torch.testing.assert_close(logits, expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(masked_token_loss(logits, truth, mask), expected.loss, rtol=1e-4, atol=1e-4)


def test_logits_of_classes_are_the_librarys(images):
    theirs = shuffled(BeitForImageClassification(config(num_labels=5)))
    ours = BEiTClassifier(small(), 5).eval()
    ours.backbone.load_state_dict(backbone_weights(theirs.beit.state_dict(), 3))
    ours.norm.load_state_dict(theirs.beit.pooler.layernorm.state_dict())
    ours.predict.load_state_dict(theirs.classifier.state_dict())
    torch.testing.assert_close(ours(images), theirs(images).logits, rtol=1e-4, atol=1e-4)


# Relative positions


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (3, 2), (2, 5), (7, 7), (14, 14)])
def test_the_index_is_the_librarys_also_where_height_and_width_differ(grid):
    index = relative_position_index(grid)
    assert torch.equal(index, BeitRelativePositionBias.generate_relative_position_index(grid))
    assert torch.equal(index, gen_relative_position_index(grid, class_token=True))


def test_the_table_of_the_paper_has_732_entries():
    assert RelativePositionBias((14, 14), 12).table.shape == (732, 12)
    assert BEiT((32, 48), patch_size=16, dim=12, depth=1, heads=3).biases[0].table.shape == (3 * 5 + 3, 3)


def test_a_bias_depends_on_the_step_alone():
    layer = RelativePositionBias((3, 5), 2)
    torch.nn.init.normal_(layer.table)
    bias = layer()[:, 1:, 1:].unflatten(1, (3, 5)).unflatten(3, (3, 5))
    assert torch.equal(bias[:, :2, :4, :2, :4], bias[:, 1:, 1:, 1:, 1:])
    assert bias[0, 0, 0, 0, 1] != bias[0, 0, 1, 0, 0]  # to the left is not to the right


def test_a_new_table_changes_nothing():
    assert RelativePositionBias((2, 3), 4)().abs().sum() == 0


# Masks and loss


def test_what_is_hidden_cannot_be_seen(images, mask):
    model = shuffled(small())
    flat = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    other = torch.where(flat, torch.randn_like(images), images)
    assert torch.equal(model(images, mask)[0], model(other, mask)[0])
    assert not torch.allclose(model(images)[0], model(other)[0])
    assert not torch.allclose(model(images, mask)[0], model(images)[0])


def test_only_hidden_patches_count_in_the_loss():
    dice = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 5, generator=dice, requires_grad=True)
    truth = torch.randint(5, (2, 6), generator=dice)
    mask = torch.tensor([[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]], dtype=torch.bool)
    loss = masked_token_loss(logits, truth, mask)
    where = [(0, 0), (0, 5), (1, 1)]
    by_hand = [-logits[b, n].log_softmax(-1)[truth[b, n]] for b, n in where]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    loss.backward()
    assert [(b, n) for b, n in logits.grad.abs().sum(-1).nonzero().tolist()] == where


def test_nothing_hidden_is_a_loss_of_0_with_a_gradient():
    logits = torch.randn(1, 4, 3, requires_grad=True)
    loss = masked_token_loss(logits, torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0


def test_a_picture_is_completed_where_it_is_hidden(images, mask):
    model = MaskedImageModel(small(), VisualTokens(7, 4)).eval()
    model.tokens.set_codebook(torch.randn(7, 48))
    words, picture = model.complete(images, mask)
    assert torch.equal(words, model(images, mask).argmax(-1))
    hidden = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].expand_as(images)
    painted = model.tokens.decode(words, (3, 3))
    assert torch.equal(picture[hidden], painted[hidden])
    assert torch.equal(picture[~hidden], images[~hidden])


# Fine-tuning


@pytest.mark.parametrize(("size", "patch"), [((16, 24), 8), ((12, 8), 4), ((6, 4), 1)])
def test_segmentation_scores_every_pixel(size, patch):
    model = BEiTSegmenter(BEiT(size, **{**SMALL, "patch_size": patch}), 5)
    assert model(torch.randn(2, 3, *size)).shape == (2, 5, *size)


def test_widths_are_halved_down_to_16():
    model = BEiTSegmenter(BEiT((16, 24), **{**SMALL, "patch_size": 8}), 5, width=24)
    assert [layer[0].out_channels for layer in model.enlarge] == [24, 16, 16]


@pytest.mark.parametrize(("row", "column"), [(0, 4), (1, 3), (2, 0)])
def test_a_token_is_seen_where_its_patch_is(row, column, monkeypatch):
    """In an image wider than high: 3 × 5 patches."""
    torch.manual_seed(0)
    backbone = BEiT((24, 40), patch_size=8, dim=8, depth=1, heads=2)
    tokens = torch.randn(1, 16, 8).repeat(2, 1, 1)
    tokens[1, 1 + row * 5 + column] += 3 * torch.randn(8)
    monkeypatch.setattr(backbone, "forward", lambda *args: (tokens, []))
    a, b = BEiTSegmenter(backbone, 4, width=16)(torch.zeros(2, 3, 24, 40))
    changed = (a - b).abs().sum(0).unflatten(0, (3, 8)).unflatten(2, (5, 8)).sum((1, 3))
    assert changed.argmax() == row * 5 + column

    model = MaskedImageModel(backbone, VisualTokens(6, 8))
    model.tokens.set_codebook(torch.randn(6, 192))
    mask = torch.zeros(2, 3, 5, dtype=torch.bool)
    mask[:, row, column] = True
    words, filled = model.complete(torch.zeros(2, 3, 24, 40), mask)
    wanted = model.tokens.codebook[words[:, row * 5 + column]].float().unflatten(1, (3, 8, 8))
    torch.testing.assert_close(filled[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8], wanted)


def test_the_bias_is_that_of_the_grid_where_height_and_width_differ():
    model = BEiT((12, 20), patch_size=4, dim=8, depth=2, heads=2)
    for bias in model.biases:
        torch.nn.init.normal_(bias.table)
        expected = bias.table[relative_position_index((3, 5))]
        torch.testing.assert_close(bias(), expected.permute(2, 0, 1))


def test_a_vocabulary_of_other_patches_and_a_mask_of_numbers_are_refused():
    backbone = BEiT((24, 40), patch_size=8, dim=8, depth=1, heads=2)
    with pytest.raises(ValueError, match="tokens: got words of 4 pixels, expected 8"):
        MaskedImageModel(backbone, VisualTokens(6, 4))
    mask = torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises((ValueError, TypeError), match=r"mask: got torch.int64|Type-check error"):
        masked_token_loss(torch.zeros(1, 4, 4), torch.zeros(1, 4, dtype=torch.int64), mask)


def test_fine_tuning_begins_with_what_pre_training_has_learnt():
    pretrained, model = MaskedImageModel(small(), VisualTokens(7, 4)), BEiTSegmenter(small(), 5)
    shuffled(pretrained)
    head = model.predict.weight.clone()
    start_from_pretrained(model, pretrained)
    ours, theirs = model.backbone.state_dict(), pretrained.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(model.predict.weight, head)


@pytest.mark.parametrize("head", ["words", "classes", "pixels"])
def test_every_part_learns(images, mask, head):
    """What is not used has no gradient: the mask token where nothing is hidden."""
    if head == "words":
        model = MaskedImageModel(small(), VisualTokens(5, 4))
        masked_token_loss(model(images, mask), torch.zeros(3, 9, dtype=torch.int64), mask).backward()
    else:
        model = BEiTClassifier(small(), 5) if head == "classes" else BEiTSegmenter(small(), 5)
        scores = model(images)
        F.cross_entropy(scores, torch.zeros_like(scores[:, 0]).long()).backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == (set() if head == "words" else {"backbone.mask_token"})


# Bad inputs


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: BEiT((30, 32)), "image_size: got 30 × 32 pixels, expected multiples of patch_size=16"),
        (lambda: BEiT(depth=0), "depth: got 0"),
        (lambda: small()(torch.zeros(2, 3, 12, 16)), r"image: got shape \(2, 3, 12, 16\), expected \(batch, 3, 12, 12"),
        (lambda: small()(torch.zeros(2, 3, 12, 12), torch.zeros(2, 3, 3)), "mask: got .*float32, expected"),
        (lambda: small()(torch.zeros(2, 3, 12, 12), torch.zeros(1, 3, 3, dtype=torch.bool)), "mask: got"),
        (lambda: BEiTSegmenter(BEiT((12, 12), **{**SMALL, "patch_size": 6}), 5), "backbone: got patches of 6 pixels"),
        (lambda: BEiTClassifier(small(), 0), "num_classes: got 0"),
        (
            lambda: masked_token_loss(torch.zeros(2, 4, 5), torch.zeros(2, 3).long(), torch.zeros(2, 2, 2).bool()),
            r"truth: got shape \(2, 3\), expected \(b, n\), where logits \(b, n, words\) is \(2, 4, 5\)",
        ),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
