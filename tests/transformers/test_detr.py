"""DETR: the paper's size, the transformers library's outputs for the same weights, and what must hold of any."""

import math

import pytest
import torch
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
from transformers.models.detr.modeling_detr import DetrSinePositionEmbedding

from lecture_utils.transformers.detr import DETR, Predictions, postprocess, resnet50, sine_position_embedding

pytestmark = pytest.mark.slide("33")

SIZES = {"queries": 7, "dim": 32, "heads": 4, "mlp_dim": 48, "encoder_layers": 2, "decoder_layers": 3}
LINEAR = ("weight", "bias")


def small(features=6, num_classes=5, **changes):
    torch.manual_seed(0)
    return DETR(features, num_classes, **{**SIZES, **changes}).eval()


def test_the_papers_model_has_the_papers_parameters():
    with torch.device("meta"):
        model = DETR.paper()
    assert sum(p.numel() for p in model.parameters()) == 41_524_768
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 41_302_368
    assert model.classes.out_features == 92
    assert model.queries.shape == (100, 256)


# The library's names and ours, for parts of the same shapes.


def copy_linear(ours, theirs):
    for name in LINEAR:
        getattr(ours, name).data.copy_(getattr(theirs, name))


def copy_attention(ours, theirs):
    for mine, name in ((ours.query, "q"), (ours.key, "k"), (ours.value, "v"), (ours.out, "o")):
        copy_linear(mine, getattr(theirs, f"{name}_proj"))


def copy_transformer(ours, theirs):
    for layer, other in zip(ours.encoder, theirs.model.encoder.layers, strict=True):
        copy_attention(layer.attend, other.self_attn)
        copy_ends(layer, other)
    for layer, other in zip(ours.decoder, theirs.model.decoder.layers, strict=True):
        copy_attention(layer.attend, other.self_attn)
        copy_attention(layer.attend_memory, other.encoder_attn)
        copy_linear(layer.norm_cross, other.encoder_attn_layer_norm)
        copy_ends(layer, other)
    copy_linear(ours.norm, theirs.model.decoder.layernorm)
    copy_linear(ours.project, theirs.model.input_projection)
    ours.queries.data.copy_(theirs.model.query_position_embeddings.weight)
    for mine, other in zip(ours.box[::2], theirs.bbox_predictor.layers, strict=True):
        copy_linear(mine, other)
    for name in LINEAR:  # their "no object" is the last class, ours class 0
        getattr(ours.classes, name).data.copy_(getattr(theirs.class_labels_classifier, name).roll(1, 0))


def copy_ends(layer, other):
    copy_linear(layer.norm_self, other.self_attn_layer_norm)
    copy_linear(layer.mlp[0], other.mlp.fc1)
    copy_linear(layer.mlp[-1], other.mlp.fc2)
    copy_linear(layer.norm_mlp, other.final_layer_norm)


def copy_normalised(convolution, norm, theirs):
    """One of their convolutions with its frozen normalisation, whose four numbers a channel are random here."""
    convolution.weight.data.copy_(theirs.convolution.weight)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name).copy_(getattr(theirs.normalization, name))


def copy_resnet(body, theirs):
    copy_normalised(body[0], body[1], theirs.embedder.embedder)
    for stage, others in zip(body[4:], theirs.encoder.stages, strict=True):
        for block, other in zip(stage, others.layers, strict=True):
            for number, part in enumerate(other.layer, start=1):
                copy_normalised(getattr(block, f"conv{number}"), getattr(block, f"bn{number}"), part)
            if block.downsample is not None:
                copy_normalised(*block.downsample, other.shortcut)


@pytest.fixture(scope="module")
def library():
    """The library's DETR with a whole ResNet-50 and a smaller transformer, its weights random."""
    torch.manual_seed(0)
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False,
        backbone_config=ResNetConfig(out_features=["stage4"]), num_labels=10, num_queries=7, d_model=32,
        encoder_layers=2, decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, attn_implementation="eager",
    )  # fmt: skip
    model = DetrForObjectDetection(config).eval()
    for name, buffer in model.named_buffers():
        if "normalization" in name:
            shift = 0.5 if name.endswith(("weight", "var")) else -0.1
            buffer.copy_(torch.rand_like(buffer) * 0.2 + shift)
    for parameter in model.parameters():  # so large that attention is not even
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
        elif parameter.ndim == 2:
            parameter.data.normal_(std=2 * parameter.shape[1] ** -0.5)
    tell_points_apart(model)
    return model


@torch.no_grad()
def tell_points_apart(model):
    """A random ResNet says much the same everywhere; then attention could look anywhere and the answers be equal."""
    (features,) = model.model.backbone.model(torch.randn(4, 3, 128, 128)).feature_maps
    rows = features.transpose(0, 1).flatten(1).T
    project = model.model.input_projection
    project.weight.div_(rows.std(0).mean())
    project.bias.copy_(-project.weight.flatten(1) @ rows.mean(0))


@torch.no_grad()
def test_outputs_are_the_librarys_for_the_same_weights(library):
    ours = DETR(2048, 11, backbone=resnet50(), **SIZES).eval()
    copy_resnet(ours.backbone, library.model.backbone.model)
    copy_transformer(ours, library)
    images = torch.randn(2, 3, 96, 160)
    given, expected = ours(images, need_weights=True), library(images, output_attentions=True)
    torch.testing.assert_close(given.logits[-1].roll(-1, -1), expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(given.boxes[-1], expected.pred_boxes, atol=1e-4, rtol=1e-4)
    assert given.logits[-1].std(1).min() > 0.01  # not one answer for all queries
    for layer, weights in enumerate(expected.cross_attentions):
        torch.testing.assert_close(given.attention[:, layer].flatten(-2), weights, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_backbone_is_the_librarys(library):
    body = resnet50().eval()
    copy_resnet(body, library.model.backbone.model)
    images = torch.randn(2, 3, 65, 97)
    (expected,) = library.model.backbone.model(images).feature_maps
    assert expected.std() > 1e-3
    torch.testing.assert_close(body(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("height", "width", "dim"), [(1, 1, 4), (5, 7, 8), (16, 16, 96), (25, 34, 256)])
def test_positions_are_the_librarys(height, width, dim):
    reference = DetrSinePositionEmbedding(dim // 2, normalize=True)
    expected = reference(torch.Size([1, dim, height, width]), "cpu", torch.float32)[0]
    torch.testing.assert_close(sine_position_embedding(height, width, dim), expected, atol=1e-5, rtol=1e-5)


def test_positions_begin_at_1_and_rows_come_first():
    places = sine_position_embedding(4, 6, 8)
    assert places[0, 0, 0] == pytest.approx(math.sin(2 * math.pi / 4), abs=1e-5)  # 1 of 4 rows, the shortest wave
    assert places[4, 0, 0] == pytest.approx(math.sin(2 * math.pi / 6), abs=1e-5)  # 1 of 6 columns
    assert (places[:4] == places[:4, :, :1]).all()
    assert (places[4:] == places[4:, :1]).all()
    distinct = {tuple(column.tolist()) for column in places.flatten(1).round(decimals=4).T}
    assert len(distinct) == 24


@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (3, 6, 1, 1), (2, 6, 9, 4)])
def test_shapes_and_ranges(shape):
    model = small()
    with torch.no_grad():
        found = model(torch.randn(shape), need_weights=True)
    batch, _, height, width = shape
    assert found.logits.shape == (3, batch, 7, 5)
    assert found.boxes.shape == (3, batch, 7, 4)
    assert found.attention.shape == (batch, 3, 4, 7, height, width)
    assert model(torch.randn(shape)).attention is None
    assert ((found.boxes > 0) & (found.boxes < 1)).all()
    torch.testing.assert_close(found.attention.sum((-1, -2)), torch.ones(batch, 3, 4, 7))


@torch.no_grad()
def test_queries_are_a_set():
    """Exchanging two queries exchanges their answers and changes nothing else."""
    model, z, order = small(), torch.randn(2, 6, 5, 7), torch.tensor([3, 1, 2, 0, 6, 5, 4])
    before = model(z)
    model.queries.data = model.queries.data[order]
    after = model(z)
    torch.testing.assert_close(after.logits, before.logits[:, :, order])
    torch.testing.assert_close(after.boxes, before.boxes[:, :, order])


@torch.no_grad()
def test_without_places_moved_points_give_the_same_answers(monkeypatch):
    """Places alone tell the encoder and the decoder where a point is."""
    model, z = small(), torch.randn(1, 6, 4, 5)
    moved = z.flatten(2)[:, :, torch.randperm(20)].view_as(z)
    assert not torch.allclose(model(z).boxes, model(moved).boxes, atol=1e-4)
    monkeypatch.setattr(
        "lecture_utils.transformers.detr.sine_position_embedding", lambda h, w, dim, **_: torch.zeros(dim, h, w)
    )
    torch.testing.assert_close(model(z).boxes, model(moved).boxes)


def test_every_trained_weight_gets_a_gradient():
    model = small().train()
    found = model(torch.randn(2, 6, 5, 7))
    (found.logits.square().mean() + found.boxes.square().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_what_the_paper_keeps_frozen_stays_so():
    body = resnet50()
    frozen = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    assert frozen == {"0", "4"}  # the stem and the first stage
    assert not any("bn" in name for name, _ in body.named_parameters())  # normalisation learns nothing


def test_heads_stay_in_full_precision():
    model, z = small(), torch.randn(2, 6, 5, 7)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(z)
    assert found.logits.dtype == found.boxes.dtype == torch.float32


def test_detections_are_one_a_query_in_pixels():
    logits = torch.tensor([[[[9.0, 0, 0], [0, 9, 0], [0, 0, 9], [1, 2, 3]]]])  # layers 1, b 1, 4 queries, 2 classes
    boxes = torch.tensor([[[[0.5, 0.5, 0.2, 0.1], [0.25, 0.5, 0.5, 1.0], [0.9, 0.1, 0.4, 0.4], [0.5, 0.5, 1, 1]]]])
    (found,) = postprocess(Predictions(logits, boxes, torch.zeros(1, 1, 1, 4, 1, 1)), (100, 200))
    assert found["labels"].tolist() == [1, 1, 2, 2]  # an empty query has its likeliest class and that one's score
    assert found["scores"][0] < 0.01 < 0.9 < found["scores"][1]
    expected = torch.tensor([[80.0, 45, 120, 55], [0, 0, 100, 100], [140, 0, 200, 30], [0, 0, 200, 100]])
    torch.testing.assert_close(found["boxes"], expected)  # the third is cut to the image


def test_detections_of_a_layer_and_of_no_image():
    model = small()
    with torch.no_grad():
        found = model(torch.randn(2, 6, 5, 7))
        first, last = postprocess(found, (64, 64), layer=0), postprocess(found, (64, 64))
    assert len(first) == len(last) == 2
    assert not torch.equal(first[0]["boxes"], last[0]["boxes"])
    empty = Predictions(*(part[:, :0] for part in found[:2]), None)
    assert postprocess(empty, (64, 64)) == []


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="dim: got 30"):
        small(dim=30, heads=5)
    with pytest.raises(ValueError, match="heads: got 5"):
        small(heads=5)
    with pytest.raises(ValueError, match="queries: got 0"):
        small(queries=0)
    with pytest.raises(ValueError, match="image: got shape"):
        small()(torch.zeros(1, 3, 5, 7))
    with pytest.raises(ValueError, match="dim: got 6"):
        sine_position_embedding(4, 4, 6)
    with pytest.raises(ValueError, match="height: got 0"):
        sine_position_embedding(0, 4, 8)


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_other_precisions(precision):
    torch.manual_seed(0)
    model = DETR(6, 4, queries=5, dim=8, heads=2, mlp_dim=16, encoder_layers=1, decoder_layers=2).eval()
    z = torch.randn(2, 6, 3, 5)
    expected = model(z).boxes
    found = model.to(precision)(z.to(precision)).boxes
    assert found.dtype == precision
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0)


def test_the_papers_model_can_be_counted_without_memory():
    with torch.device("meta"):
        found = DETR.paper()(torch.empty(1, 3, 64, 96))
    assert found.boxes.shape == (6, 1, 100, 4)
