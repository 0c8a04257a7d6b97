"""Show, Attend and Tell: the paper's equations in loops, and its doubly stochastic term."""

import math
from itertools import product

import pytest
import torch

from lecture_utils.captioning import ShowAttendTell, UniformAttention, doubly_stochastic
from lecture_utils.captioning.attention import AdditiveScore

from .captioners import GRID, SIZES, captioner, picture, sentences


@pytest.mark.slide("27")
def test_every_word_follows_the_papers_equations():
    model, z, captions = captioner("soft", sharpness=1.5), picture("soft", 2), sentences(2, 5)
    with torch.no_grad():
        logits, maps = model(z, captions, need_weights=True)
        for b in range(2):
            points = list(model.encode_grid(z)[b])  # a_i
            mean = sum(points) / len(points)
            h, c = (torch.tanh(first[0].weight @ mean + first[0].bias) for first in (model.first_h, model.first_cell))
            for t in range(5):
                scores = []  # (4): e_ti = f_att(a_i, h_{t-1})
                for a in points:
                    w, u = model.score.of_points, model.score.of_h
                    inside = torch.tanh(w.weight @ a + w.bias + u.weight @ h)
                    scores.append((model.score.v.weight[0] * inside).sum().item())
                total = sum(math.exp(e) for e in scores)
                alpha = [math.exp(e) / total for e in scores]  # (5)
                assert maps[b, 0, 0, t].flatten().tolist() == pytest.approx(alpha)
                context = sum(weight * a for weight, a in zip(alpha, points, strict=True))  # (13)
                beta = 1 / (1 + math.exp(-(model.gate.weight[0] @ h + model.gate.bias).item()))  # section 4.2.1
                context = beta * context
                y = model.embed.weight[captions[b, t]]
                gates = model.lstm.weight_ih @ torch.cat([y, context]) + model.lstm.bias_ih
                gates = gates + model.lstm.weight_hh @ h + model.lstm.bias_hh
                i, f, g, o = gates.chunk(4)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)  # (1), (2)
                h = torch.sigmoid(o) * torch.tanh(c)  # (3)
                deep = y + model.from_h.weight @ h + model.from_h.bias
                deep = deep + model.from_context.weight @ context + model.from_context.bias
                expected = model.predict.weight @ deep + model.predict.bias  # (7)
                torch.testing.assert_close(logits[b, t], expected)


@pytest.mark.slide("26")
def test_with_uniform_weights_each_word_gets_the_mean_of_the_grid():
    """Nothing else changes: with the same weights, all as `ShowAttendTell` decodes from a grid that is all its mean."""
    model, z, captions = captioner("soft", sharpness=1.5), picture("soft", 2), sentences(2, 5)
    uniform = UniformAttention(**SIZES, dim=8, hidden=12, attention_dim=5).double().eval()
    uniform.load_state_dict(model.state_dict())
    with torch.no_grad():
        logits, maps = uniform(z, captions, need_weights=True)
        a, *rest = model.start(z)
        state = a.mean(1, keepdim=True).expand_as(a), *rest
        for place, words in enumerate(captions.T):
            expected, _, state = model.step(state, words)
            torch.testing.assert_close(logits[:, place], expected)
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / (GRID[0] * GRID[1])))
    assert not torch.allclose(logits, model(z, captions)[0])


@pytest.mark.slide("27")
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_scores_are_additive(batch):
    torch.manual_seed(0)
    score = AdditiveScore(4, 6, 5).double()
    a, h = torch.randn(batch, 7, 4, dtype=torch.float64), torch.randn(batch, 6, dtype=torch.float64)
    e = score(score.prepare(a), h)
    assert e.shape == (batch, 7)
    for b, i in product(range(batch), range(7)):
        inside = torch.tanh(score.of_points.weight @ a[b, i] + score.of_points.bias + score.of_h.weight @ h[b])
        torch.testing.assert_close(e[b, i], score.v.weight[0] @ inside)


def test_gradients_of_the_scores():
    torch.manual_seed(0)
    score = AdditiveScore(3, 4, 2).double()
    a, h = torch.randn(2, 3, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *x: score(score.prepare(x[0]), x[1]), (a.requires_grad_(), h.requires_grad_())
    )


@pytest.mark.slide("27")
def test_a_soft_look_is_differentiable_everywhere():
    model, z = captioner("soft"), picture("soft", 1).requires_grad_()
    (gradient,) = torch.autograd.grad(model(z, sentences(1, 3))[0].square().sum(), z)
    assert (gradient[0].abs().sum(0) > 0).all()


def weights_of(b, t, h, w, seed=0):
    scores = torch.randn(b, 1, 1, t, h * w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scores.mul(3).softmax(-1).unflatten(-1, (h, w))


@pytest.mark.slide("27")
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 3, 4), (3, 9, 2, 7), (4, 20, 5, 5)])
def test_the_doubly_stochastic_term_in_loops(shape):
    b, t, h, w = shape
    maps = weights_of(*shape)
    lengths = [1 + (3 * one) % t for one in range(b)]
    mask = torch.tensor([[place < length for place in range(t)] for length in lengths])
    total = 0.0
    for one in range(b):
        for i, j in product(range(h), range(w)):
            looked = sum(maps[one, 0, 0, place, i, j].item() for place in range(lengths[one]))
            total += (1 - looked) ** 2
    assert doubly_stochastic(maps, mask).item() == pytest.approx(total / b)


@pytest.mark.slide("27")
def test_what_is_looked_at_behind_the_end_does_not_count():
    maps = weights_of(3, 6, 2, 3)
    mask = torch.ones(3, 6, dtype=torch.bool)
    mask[:, 4:] = False
    short = doubly_stochastic(maps[:, :, :, :4], mask[:, :4])
    torch.testing.assert_close(doubly_stochastic(maps, mask), short)
    assert not torch.isclose(doubly_stochastic(maps, torch.ones_like(mask)), short)


@pytest.mark.slide("27")
@pytest.mark.parametrize(("h", "w"), [(2, 3), (4, 4), (1, 5)])
def test_who_looks_at_everything_alike_once_is_not_punished(h, w):
    """As many words as points, uniform attention: each point was looked at exactly once."""
    points = h * w
    maps = torch.full((2, 1, 1, points, h, w), 1 / points, dtype=torch.float64)
    assert doubly_stochastic(maps, torch.ones(2, points, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-12)
    # Always the same point: (1 - L)² there, 1 at each of the others. A mean over the points would be L times weaker.
    stare = torch.zeros_like(maps)
    stare[..., 0, 0] = 1
    term = doubly_stochastic(stare, torch.ones(2, points, dtype=torch.bool)).item()
    assert term == pytest.approx((1 - points) ** 2 + points - 1)


def test_gradients_of_the_doubly_stochastic_term():
    maps = weights_of(2, 3, 2, 2).requires_grad_()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.autograd.gradcheck(lambda m: doubly_stochastic(m, mask), maps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 0}, "hidden: got 0"),
        ({"attention_dim": -2}, "attention_dim: got -2"),
        ({"vocab_size": 0}, "vocab_size: got 0"),
        ({"dim": 0}, "dim: got 0"),
    ],
)
def test_refuses_what_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        ShowAttendTell(**{**SIZES, **change})
