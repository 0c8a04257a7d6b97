"""The bottleneck: slide 25's equations in loops, and that nothing but c passes."""

import math

import pytest
import torch

from lecture_utils.captioning import BottleneckRNN, caption_loss

from .captioners import GRID, SIZES, captioner, picture, sentences


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def lstm(cell: torch.nn.LSTMCell, x: list[float], h: list[float], c: list[float]) -> tuple[list[float], list[float]]:
    """One step of an LSTM, number by number (input, forget, cell and output gates in torch's order)."""
    wx, wh = cell.weight_ih.tolist(), cell.weight_hh.tolist()
    bias = (cell.bias_ih + cell.bias_hh).tolist()
    total = [
        sum(w * v for w, v in zip(wx[i], x, strict=True)) + sum(w * v for w, v in zip(wh[i], h, strict=True)) + bias[i]
        for i in range(len(bias))
    ]
    n = len(h)
    new_c = [sigmoid(total[n + i]) * c[i] + sigmoid(total[i]) * math.tanh(total[2 * n + i]) for i in range(n)]
    return [sigmoid(total[3 * n + i]) * math.tanh(new_c[i]) for i in range(n)], new_c


@pytest.mark.slide("25")
def test_every_step_is_the_slides_equation():
    """c = f_w(z), h₀ = c, y_t = g_v(y_{t-1}, h_{t-1}, c)."""
    model, z, captions = captioner("bottleneck", sharpness=1.5), picture("bottleneck", 1), sentences(1, 5)
    with torch.no_grad():
        logits, _ = model(z, captions)
        points = model.encode_grid(z)[0]
        squeeze, _, first, norm, _, second, last_norm, _ = model.encode
        squeezed = torch.stack([squeeze.weight @ point + squeeze.bias for point in points]).flatten()
        inner = norm(first.weight @ squeezed + first.bias).clamp(min=0)
        c = torch.tanh(last_norm(second.weight @ inner + second.bias)).tolist()
        h, cell = c, [0.0] * len(c)
        for place in range(5):
            y = model.embed.weight[captions[0, place]].tolist()
            h, cell = lstm(model.lstm, y + c, h, cell)
            expected = model.predict.weight @ torch.tensor(h, dtype=torch.float64) + model.predict.bias
            torch.testing.assert_close(logits[0, place], expected)


@pytest.mark.slide("26")
def test_nothing_but_one_vector_passes():
    """Whatever the image: with the same c the same is said; c is as long on a larger grid."""
    model = captioner("bottleneck")
    state = model.start(picture("bottleneck", 2))
    c, h, cell = state
    assert c.shape == (2, 12)
    assert torch.equal(c, h)
    assert not cell.any()
    assert c.abs().max() <= 1
    large = BottleneckRNN(20, 6, (9, 30), hidden=12, width=12).eval()
    assert [tuple(part.shape) for part in large.start(torch.randn(4, 6, 9, 30))] == [(4, 12)] * 3


@pytest.mark.slide("26")
@pytest.mark.parametrize(("width", "length"), [(None, 8), (5, 5), (30, 30)])
def test_c_is_a_mean_or_as_wide_as_asked(width, length):
    """Of another length than the LSTM's memory, a linear layer makes h₀ of it; each step sees c itself."""
    model = BottleneckRNN(**SIZES, dim=8, hidden=12, width=width).eval()
    z = torch.randn(2, 6, *GRID)
    c, h, cell = model.start(z)
    assert (c.shape, h.shape, cell.shape) == ((2, length), (2, 12), (2, 12))
    torch.testing.assert_close(h, c @ model.first_h.weight.T + model.first_h.bias)
    if width is None:
        torch.testing.assert_close(c, model.encode_grid(z).mean(1))
    assert model(z, sentences(2, 4))[0].shape == (2, 4, SIZES["vocab_size"])


@pytest.mark.slide("25")
def test_c_depends_on_every_point():
    model, z = captioner("bottleneck"), picture("bottleneck", 1).requires_grad_()
    (gradient,) = torch.autograd.grad(model.start(z)[0].square().sum(), z)
    assert (gradient[0].abs().sum(0) > 0).all()


@pytest.mark.slide("25")
@pytest.mark.parametrize("width", [192, 1024])
def test_large_steps_leave_c_different_for_different_images(width):
    """On a grid as large as the city's: without normalisation the tanh saturates, and stays so."""
    torch.manual_seed(0)
    model, z = BottleneckRNN(20, 32, (16, 16), width=width), torch.randn(8, 32, 16, 16)
    optimizer, captions = torch.optim.Adam(model.parameters(), lr=1e-2), torch.randint(4, 20, (8, 6))
    for _ in range(12):
        optimizer.zero_grad()
        caption_loss(model(z, captions[:, :-1])[0], captions).backward()
        optimizer.step()
    with torch.no_grad():
        c = model.start(z)[0]
    assert c.std(0).mean() > 0.05
    assert (c.abs() > 0.999).float().mean() < 0.5


def test_it_has_no_attention_to_give():
    model = captioner("bottleneck")
    assert model(picture("bottleneck", 3), sentences(3, 4), need_weights=True)[1].shape == (3, 0, 0, 4, *GRID)


@pytest.mark.parametrize(
    "change", [{"hidden": 0}, {"squeeze": 0}, {"width": 0}, {"vocab_size": 0}, {"dim": 0}, {"features": -1}]
)
def test_refuses_sizes_that_cannot_be(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))}: got"):
        BottleneckRNN(**{**SIZES, **change})
