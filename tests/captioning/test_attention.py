"""Show, Attend and Tell: the paper's equations in loops, its doubly stochastic term, and hard attention's gradient."""

import math
from itertools import product, repeat

import pytest
import torch
from torch import nn

from lecture_utils.captioning import ShowAttendTell, attention, caption_loss, doubly_stochastic, reinforce_loss
from lecture_utils.captioning.attention import AdditiveScore, hard_attention, update_baseline
from lecture_utils.captioning.vocabulary import END, PAD, START

from .captioners import SIZES, captioner, picture, sentences


@pytest.mark.slide("27")
@pytest.mark.parametrize("name", ["soft", "hard"])
def test_every_word_follows_the_papers_equations(name):
    model, z, captions = captioner(name, sharpness=1.5), picture(name, 2), sentences(2, 5)
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
                if name == "hard":
                    alpha = [float(weight == max(alpha)) for weight in alpha]
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


@pytest.mark.slide("27")
def test_a_hard_look_is_drawn_as_often_as_it_is_likely_and_the_likeliest_without_dice():
    weights = torch.tensor([0.6, 0.3, 0.1, 0.0]).expand(6000, 4)
    torch.manual_seed(0)
    drawn = hard_attention(weights, draw=True)
    assert (drawn.sum(1) == 1).all()
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    counts, expected = drawn.sum(0)[:3], 6000 * weights[0, :3]
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # χ² with two degrees of freedom: one in a thousand
    assert drawn[:, 3].sum() == 0
    assert torch.equal(hard_attention(weights, draw=False)[:, 0], torch.ones(6000))


@pytest.mark.slide("27")
def test_in_training_a_hard_look_is_drawn_and_otherwise_not():
    model, z, captions = captioner("hard", sharpness=0.3), picture("hard", 1), sentences(1, 12)
    assert torch.equal(model(z, captions, need_weights=True)[1], model(z, captions, need_weights=True)[1])
    torch.manual_seed(0)
    model.train()
    model.encode_grid.eval()
    looks = torch.cat([model(z, captions, need_weights=True)[1] for _ in range(20)])
    assert len(looks.flatten(1).unique(dim=0)) > 10


def tiny(seed=0):
    """Three points, two words: few enough looks to enumerate."""
    torch.manual_seed(seed)
    model = ShowAttendTell(6, 2, (1, 3), dim=4, hidden=5, attention_dim=3, kind="hard").double().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= 2.5
    return model, torch.randn(1, 2, 1, 3, dtype=torch.float64)


CAPTION = torch.tensor([[START, 4, 5, END]])


def enumerate_looks(model, z, captions):
    """For each sequence of points: its probability, and the caption's log-probability after these looks."""
    for points in product(range(3), repeat=captions.shape[1] - 1):
        state, chance, log_prob = model.start(z), 1.0, 0.0
        for t, point in enumerate(points):
            chance = chance * model.attention_weights(state)[0, point]
            look = torch.zeros(1, 3, dtype=torch.float64)
            look[0, point] = 1
            logits, state = model.decode_step(state, captions[:, t], look)
            log_prob = log_prob + logits[0].log_softmax(0)[captions[0, t + 1]]
        yield points, chance, log_prob


def look_at(monkeypatch, points):
    """Instead of dice: every image is looked at in these points, one after the other."""
    points = iter(points)
    look = lambda a, *, draw: nn.functional.one_hot(torch.full((len(a),), next(points)), 3).to(a)  # noqa: E731
    monkeypatch.setattr(attention, "hard_attention", look)


@pytest.mark.slide("27")
@pytest.mark.parametrize("baseline", [0.0, -4.0])
def test_reinforce_follows_the_exact_gradient_on_average(baseline, monkeypatch):
    """Over all sequences of looks s, each as often as it is drawn, it is that of Σ_s p(s) log p(y|s)."""
    model, z = tiny()
    cases = list(enumerate_looks(model, z, CAPTION))
    assert len(cases) == 27
    assert sum(chance for _, chance, _ in cases).item() == pytest.approx(1)
    assert max(chance for _, chance, _ in cases) < 0.9
    exact = -sum(chance * log_prob for _, chance, log_prob in cases) / 3  # three words said
    parameters = dict(model.named_parameters())
    expected = torch.autograd.grad(exact, parameters.values())

    on_average = [torch.zeros_like(weights) for weights in parameters.values()]
    for points, chance, log_prob in cases:
        looks = iter(points)
        monkeypatch.setattr(
            attention,
            "hard_attention",
            lambda a, *, draw, looks=looks: nn.functional.one_hot(torch.tensor([next(looks)]), 3).to(a),
        )
        loss, mean = reinforce_loss(model, z, CAPTION, baseline=baseline, entropy=0.0)
        assert mean.item() == pytest.approx(log_prob.item(), rel=1e-5)
        for total, gradient in zip(on_average, torch.autograd.grad(loss, parameters.values()), strict=True):
            total += chance.detach() * gradient
    for key, ours, theirs in zip(parameters, on_average, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=key)
    # The choice of points learns, too, not only what is said about them.
    learned = dict(zip(parameters, on_average, strict=True))
    assert learned["score.v.weight"].abs().max() > 1e-3


@pytest.mark.slide("27")
def test_a_baseline_calms_reinforce():
    """With the expected reward as the baseline, the estimates of the gradient scatter less."""
    model, z = tiny()
    expected = sum((chance * log_prob).item() for _, chance, log_prob in enumerate_looks(model, z, CAPTION))

    def scatter(baseline):
        torch.manual_seed(0)
        drawn = []
        for _ in range(120):
            loss, _ = reinforce_loss(model, z, CAPTION, baseline=baseline, entropy=0.0)
            drawn.append(torch.autograd.grad(loss, model.score.v.weight)[0].flatten())
        return torch.stack(drawn).var(0).sum()

    assert scatter(expected) < 0.5 * scatter(0.0)


@pytest.mark.slide("27")
def test_the_entropy_of_the_looks_is_rewarded(monkeypatch):
    model, z = tiny()
    look_at(monkeypatch, repeat(1))
    without, _ = reinforce_loss(model, z, CAPTION, entropy=0.0)
    with_it, _ = reinforce_loss(model, z, CAPTION, entropy=0.5)
    state, entropy = model.start(z), 0.0
    for t in range(3):
        alpha = model.attention_weights(state)
        entropy -= sum(weight * math.log(weight) for weight in alpha[0].tolist())
        _, state = model.decode_step(state, CAPTION[:, t], torch.tensor([[0.0, 1, 0]], dtype=torch.float64))
    assert (without - with_it).item() == pytest.approx(0.5 * entropy / 3, rel=1e-5)


@pytest.mark.slide("27")
def test_the_reward_weighs_the_choice_of_points_alone(monkeypatch):
    model, z = tiny()

    def loss(reward):
        look_at(monkeypatch, repeat(2))
        return reinforce_loss(model, z, CAPTION, reward=reward, baseline=-2.0, entropy=0.0)

    (without, log_prob), (once, _), (twice, _) = map(loss, (0.0, 1.0, 2.0))
    torch.testing.assert_close(without, -log_prob / 3)
    torch.testing.assert_close(twice - once, once - without)
    assert not torch.isclose(once, without)


@pytest.mark.slide("27")
def test_padding_and_company_change_nothing_in_reinforce(monkeypatch):
    """Two captions of different lengths together are the two alone, weighted by their words."""
    model, _ = tiny()
    z = torch.randn(2, 2, 1, 3, dtype=torch.float64)
    look_at(monkeypatch, repeat(2))
    both = torch.tensor([[START, 4, 5, 4, END], [START, 5, END, PAD, PAD]])
    together, log_prob = reinforce_loss(model, z, both)
    first, one = reinforce_loss(model, z[:1], both[:1])
    second, two = reinforce_loss(model, z[1:], both[1:, :3])
    torch.testing.assert_close(together, (4 * first + 2 * second) / 6)
    torch.testing.assert_close(log_prob, (one + two) / 2)


def test_reinforce_refuses_what_are_no_captions():
    model, z = tiny()
    for captions in (CAPTION[0], CAPTION.float(), CAPTION.repeat(2, 1)):
        with pytest.raises(ValueError, match="captions: got"):
            reinforce_loss(model, z, captions)


def test_the_baseline_moves_a_tenth_of_the_way():
    assert update_baseline(-10.0, -20.0) == pytest.approx(-11)
    baseline = 0.0
    for _ in range(100):
        baseline = update_baseline(baseline, -7.0)
    assert baseline == pytest.approx(-7, abs=1e-3)


@pytest.mark.slide("27")
def test_hard_attention_learns_to_look_at_the_point_that_matters():
    """One point of four is marked and tells the word; the others tell wrong ones. Chance is right one time in four."""
    torch.manual_seed(0)
    model = ShowAttendTell(8, 5, (1, 4), dim=16, hidden=16, attention_dim=16, kind="hard")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def draw(batch):
        colours, marked = torch.randint(0, 4, (batch, 4)), torch.randint(0, 4, (batch,))
        flags = nn.functional.one_hot(marked, 4)
        z = torch.cat([nn.functional.one_hot(colours, 4), flags[..., None]], dim=2).float().mT[:, :, None]
        words = 4 + colours.gather(1, marked[:, None])
        return z, torch.cat([torch.full((batch, 1), START), words], dim=1), marked

    baseline = 0.0
    for _ in range(400):
        z, captions, _ = draw(64)
        loss, log_prob = reinforce_loss(model, z, captions, baseline=baseline)
        baseline = update_baseline(baseline, log_prob.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    z, captions, marked = draw(500)
    with torch.no_grad():
        logits, maps = model(z, captions[:, :-1], need_weights=True)
    assert (logits[:, 0].argmax(1) == captions[:, 1]).float().mean() > 0.95
    assert (maps[:, 0, 0, 0, 0].argmax(1) == marked).float().mean() > 0.95


def test_a_soft_model_counts_as_it_did_before_hard_ones():
    """kind changes nothing but the look: the same weights, the same loss as of the likeliest points."""
    soft, hard = captioner("soft"), captioner("hard")
    hard.load_state_dict(soft.state_dict())
    z, captions = picture("soft", 2), sentences(2, 5)
    sharp = soft.score.v.weight.data.clone()
    soft.score.v.weight.data = hard.score.v.weight.data = 1e5 * sharp  # so sure that soft is hard
    torch.testing.assert_close(
        caption_loss(soft(z, captions[:, :-1])[0], captions), caption_loss(hard(z, captions[:, :-1])[0], captions)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "medium"}, "kind: got 'medium', expected one of 'soft', 'hard'"),
        ({"hidden": 0}, "hidden: got 0"),
        ({"attention_dim": -2}, "attention_dim: got -2"),
        ({"vocab_size": 0}, "vocab_size: got 0"),
        ({"dim": 0}, "dim: got 0"),
    ],
)
def test_refuses_what_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        ShowAttendTell(**{**SIZES, **change})
