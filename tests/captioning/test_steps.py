"""What every captioner promises: no look ahead, no matter of padding or of company, attention that sums to 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.captioning import caption_loss, greedy
from lecture_utils.captioning.vocabulary import END, PAD

from .captioners import ATTENDING, BUILDERS, FEATURES, GRID, WORDS, captioner, picture, sentences

pytestmark = pytest.mark.slide("24", "25", "27", "29", "30")
EVERY = pytest.mark.parametrize("name", BUILDERS)


@EVERY
@given(st.integers(1, 8), st.data())
@settings(max_examples=15)
def test_a_word_changes_nothing_before_it_and_something_from_it_on(name, length, data):
    model, z = captioner(name, seed=length), picture(name, 2)
    place = data.draw(st.integers(0, length - 1))
    captions = sentences(2, length)
    changed = captions.clone()
    changed[:, place] = 4 + (captions[:, place] - 4 + data.draw(st.integers(1, WORDS - 5))) % (WORDS - 4)
    with torch.no_grad():
        (logits, maps), (other, other_maps) = (model(z, said, need_weights=True) for said in (captions, changed))
    assert torch.equal(logits[:, :place], other[:, :place])
    assert torch.equal(maps[:, :, :, :place], other_maps[:, :, :, :place])
    assert (logits[:, place:] != other[:, place:]).any(2).all()


@EVERY
def test_no_gradient_reaches_a_later_word(name):
    model, z, captions = captioner(name), picture(name, 1), sentences(1, 6)
    captions[0, 1:] = torch.arange(4, 9)  # each word once, so that each has a row of the embedding to itself
    for place in range(6):
        model.zero_grad()
        model(z, captions)[0][0, place].square().sum().backward()
        reached = model.embed.weight.grad[captions[0]].abs().sum(1) > 0
        assert reached.tolist() == [word <= place for word in range(6)]


@EVERY
@pytest.mark.parametrize("filling", [PAD, END, 7])
def test_what_stands_behind_a_caption_changes_nothing(name, filling):
    model, z, captions = captioner(name), picture(name, 3), sentences(3, 5)
    longer = torch.cat([captions, torch.full((3, 4), filling)], dim=1)
    with torch.no_grad():
        (logits, maps), (other, other_maps) = (model(z, said, need_weights=True) for said in (captions, longer))
    torch.testing.assert_close(other[:, :5], logits)
    torch.testing.assert_close(other_maps[:, :, :, :5], maps)


@EVERY
def test_padding_changes_neither_the_loss_nor_its_gradient(name):
    def loss(captions):
        model = captioner(name)
        value = caption_loss(model(picture(name, 3), captions[:, :-1])[0], captions)
        value.backward()
        return value, {key: weights.grad for key, weights in model.named_parameters()}

    captions = sentences(3, 6)
    captions[1, 4:] = PAD
    value, gradients = loss(captions)
    other, others = loss(torch.cat([captions, torch.full((3, 5), PAD)], dim=1))
    torch.testing.assert_close(other, value)
    torch.testing.assert_close(others, gradients)


@EVERY
@pytest.mark.parametrize("batch", [2, 5])
def test_the_company_in_a_batch_changes_nothing(name, batch):
    model, z, captions = captioner(name), picture(name, batch), sentences(batch, 6)
    with torch.no_grad():
        logits, maps = model(z, captions, need_weights=True)
        for one in range(batch):
            alone, its_maps = model(z[one : one + 1], captions[one : one + 1], need_weights=True)
            torch.testing.assert_close(alone[0], logits[one])
            torch.testing.assert_close(its_maps[0], maps[one])
        order = torch.arange(batch).flip(0)
        torch.testing.assert_close(model(z[order], captions[order])[0], logits[order])


@EVERY
@pytest.mark.parametrize("length", [1, 2, 7])
def test_known_words_step_by_step_give_the_same(name, length):
    model, z, captions = captioner(name), picture(name, 2), sentences(2, length)
    with torch.no_grad():
        logits, maps = model(z, captions, need_weights=True)
        state = model.start(z)
        for place in range(length):
            assert all(len(part) == 2 for part in state)
            scores, attention, state = model.step(state, captions[:, place], need_weights=True)
            torch.testing.assert_close(scores, logits[:, place])
            torch.testing.assert_close(attention, maps[:, :, :, place])


@EVERY
@pytest.mark.parametrize("training", [False, True])
def test_attention_is_a_distribution_over_the_grid_for_each_head(name, training):
    model = captioner(name).train(training)
    logits, maps = model(picture(name, 4), sentences(4, 6), need_weights=True)
    layers = {"bottleneck": 0, "transformer": 2, "only transformers": 2}.get(name, 1)
    heads = {"bottleneck": 0, "transformer": 2, "only transformers": 2}.get(name, 1)
    assert logits.shape == (4, 6, WORDS)
    assert maps.shape == (4, layers, heads, 6, *GRID)
    assert (maps >= 0).all()
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(4, layers, heads, 6, dtype=torch.float64))


@EVERY
def test_what_is_said_depends_on_the_picture_and_on_where_things_are(name):
    model, z, captions = captioner(name), picture(name, 1), sentences(1, 4)
    with torch.no_grad():
        logits, _ = model(z, captions)
        assert not torch.allclose(model(z + torch.randn_like(z), captions)[0], logits)
        assert not torch.allclose(model(z.roll(1, -1), captions)[0], logits)
        assert not torch.allclose(model(z.roll(1, -2), captions)[0], logits)


@EVERY
def test_every_parameter_learns(name):
    model = captioner(name).train()
    captions = sentences(3, 6)
    caption_loss(model(picture(name, 3), captions[:, :-1])[0], captions).backward()
    for key, weights in model.named_parameters():
        # Softmax does not see what all scores have in common.
        alike = key.endswith(("key.bias", "score.of_points.bias"))
        assert weights.grad is not None or alike, key
        assert alike or weights.grad.abs().sum() > 0, key


@EVERY
def test_half_the_precision_will_do(name):
    """Mixed precision, as on a GPU: no types clash, and the sentence is said."""
    model, z = captioner(name).float(), picture(name, 2).float()
    exact = model(z, sentences(2, 5))[0]
    with torch.autocast("cpu", torch.bfloat16):
        logits, maps = model(z, sentences(2, 5), need_weights=True)
        said = greedy(model, z, max_length=5)
    assert logits.shape == exact.shape
    assert said.words.shape[0] == 2
    torch.testing.assert_close(logits.float(), exact, rtol=0.1, atol=0.3)
    torch.testing.assert_close(maps.float().sum((-2, -1)), torch.ones(maps.shape[:4]), rtol=0.02, atol=0.02)


@EVERY
def test_no_pictures_no_words(name):
    model = captioner(name)
    logits, maps = model(picture(name, 0), sentences(0, 3), need_weights=True)
    assert logits.shape == (0, 3, WORDS)
    assert maps.shape[0] == 0
    assert maps.shape[3:] == (3, *GRID)


@EVERY
@pytest.mark.parametrize(
    "captions",
    [
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, 0, dtype=torch.int64),
        torch.ones(3, 4, dtype=torch.int64),
        torch.ones(2, 4),
        torch.ones(2, 4, dtype=torch.int32),
        torch.ones(2, 4, 1, dtype=torch.int64),
    ],
)
def test_refuses_what_are_no_captions(name, captions):
    with pytest.raises(ValueError, match=r"captions: got .*expected"):
        captioner(name)(picture(name, 2), captions)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "only transformers"])
@pytest.mark.parametrize("shape", [(FEATURES, 3, 5), (2, FEATURES + 1, 3, 5), (2, FEATURES, 5, 3), (2, FEATURES, 3, 6)])
def test_refuses_another_grid(name, shape):
    with pytest.raises(ValueError, match=r"got .*expected"):
        captioner(name)(torch.zeros(*shape, dtype=torch.float64), sentences(2, 3))


@pytest.mark.parametrize("name", ATTENDING)
def test_the_loss_of_chance_is_the_logarithm_of_the_number_of_words(name):
    model, captions = captioner(name), sentences(2, 6)
    model.predict.weight.data.zero_()
    model.predict.bias.data.zero_()
    loss = caption_loss(model(picture(name, 2), captions[:, :-1])[0], captions)
    assert loss.item() == pytest.approx(torch.tensor(float(WORDS)).log().item())


def test_the_loss_is_the_mean_over_the_words_that_are_there():
    logits = torch.randn(3, 4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    captions = torch.tensor([[1, 4, 5, 6, 2], [1, 2, 0, 0, 0], [1, 6, 2, 0, 0]])
    terms = []
    for b in range(3):
        for t in range(4):
            if captions[b, t + 1] != PAD:
                terms.append(logits[b, t].exp().sum().log() - logits[b, t, captions[b, t + 1]])
    assert len(terms) == 4 + 1 + 2
    torch.testing.assert_close(caption_loss(logits, captions), sum(terms) / len(terms))


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 4, 7), (3, 4), (3, 4, 7, 1)])
def test_the_loss_refuses_logits_of_other_words(shape):
    with pytest.raises(ValueError, match="logits: got shape"):
        caption_loss(torch.zeros(shape), torch.ones(3, 5, dtype=torch.int64))


def test_the_loss_refuses_what_are_no_captions():
    with pytest.raises(ValueError, match="captions: got"):
        caption_loss(torch.zeros(3, 4, 7), torch.ones(5, dtype=torch.int64))
