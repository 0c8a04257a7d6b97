"""What students write for notebook 08: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.text import bleu_score

from lecture_course.engine.definitions import Exercise
from lecture_course.engine.running import answers
from lecture_course.engine.values import same
from lecture_course.nb08_show_attend_and_tell import exercises as exercises
from lecture_utils.captioning import ShowAttendTell, beam_search
from lecture_utils.captioning.attention import doubly_stochastic
from lecture_utils.captioning.vocabulary import END, PAD, START, UNKNOWN

# 08.caption_loss, right


def loss_by_loops(logits, captions):
    total, words = 0.0, 0
    for i in range(len(captions)):
        for t in range(captions.shape[1] - 1):
            target = captions[i, t + 1]
            if target != 0:
                total = total - torch.log(torch.softmax(logits[i, t], 0)[target])
                words += 1
    return total / words


def loss_by_one_hot(logits, captions):
    targets = F.one_hot(captions[:, 1:], logits.shape[-1]).float()
    targets[..., 0] = 0
    return -(targets * logits.log_softmax(-1)).sum() / targets.sum()


def loss_transposed(logits, captions):
    losses = F.cross_entropy(logits.transpose(1, 2), captions[:, 1:], reduction="none")
    return losses[captions[:, 1:] != PAD].mean()


# 08.caption_loss, wrong


def loss_with_padding(logits, captions):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), captions[:, 1:].reshape(-1))


def loss_of_inputs(logits, captions):
    return F.cross_entropy(logits.flatten(0, 1), captions[:, :-1].flatten(), ignore_index=0)


def loss_without_end(logits, captions):
    losses = F.cross_entropy(logits.transpose(1, 2), captions[:, 1:], reduction="none")
    return losses[captions[:, 1:] > 2].mean()


def loss_of_captions(logits, captions):
    return torch.stack([loss_by_loops(a[None], b[None]) for a, b in zip(logits, captions, strict=True)]).mean()


def loss_over_all_places(logits, captions):
    return (
        F.cross_entropy(logits.transpose(1, 2), captions[:, 1:], ignore_index=0, reduction="sum")
        / captions[:, 1:].numel()
    )


def loss_summed(logits, captions):
    return F.cross_entropy(logits.transpose(1, 2), captions[:, 1:], ignore_index=0, reduction="sum")


def loss_of_wrong_axis(logits, captions):
    p = logits.softmax(1)
    picked = p.gather(2, captions[:, 1:, None])[..., 0]
    return -picked.log()[captions[:, 1:] != 0].mean()


def loss_positive(logits, captions):
    return -loss_by_loops(logits, captions)


def loss_as_float(logits, captions):
    return [loss_by_loops(logits, captions).item()]


def loss_masked_by_inputs(logits, captions):
    losses = F.cross_entropy(logits.transpose(1, 2), captions[:, 1:], reduction="none")
    return (losses * (captions[:, :-1] != 0)).sum() / (captions[:, :-1] != 0).sum()


# 08.clipped_matches, right


def grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def clipped_by_loops(said, references, n):
    matched = 0
    for run in set(grams(said, n)):
        limit = max(grams(reference, n).count(run) for reference in references)
        matched += min(grams(said, n).count(run), limit)
    return matched, max(0, len(said) - n + 1)


def clipped_by_using_up(said, references, n):
    left = {}
    for reference in references:
        for run, count in Counter(grams(reference, n)).items():
            left[run] = max(left.get(run, 0), count)
    matched = 0
    for run in grams(said, n):
        if left.get(run, 0):
            left[run] -= 1
            matched += 1
    return matched, len(grams(said, n))


# 08.clipped_matches, wrong


def unclipped(said, references, n):
    theirs = {run for reference in references for run in grams(reference, n)}
    return sum(run in theirs for run in grams(said, n)), len(grams(said, n))


def clipped_by_the_sum(said, references, n):
    theirs = Counter(run for reference in references for run in grams(reference, n))
    return (Counter(grams(said, n)) & theirs).total(), len(grams(said, n))


def clipped_by_the_first(said, references, n):
    return clipped_by_loops(said, references[:1], n)


def clipped_by_the_best(said, references, n):
    return max(clipped_by_loops(said, [reference], n) for reference in references)


def clipped_as_sets(said, references, n):
    mine = set(grams(said, n))
    return sum(any(run in grams(reference, n) for reference in references) for run in mine), len(mine)


def clipped_words(said, references, n):
    return clipped_by_loops(said, references, 1)


def clipped_share(said, references, n):
    matched, total = clipped_by_loops(said, references, n)
    return matched / max(1, total)


def clipped_of_all_words(said, references, n):
    return clipped_by_loops(said, references, n)[0], len(said)


def clipped_one_short(said, references, n):
    runs = [tuple(said[i : i + n]) for i in range(len(said) - n)]
    theirs = Counter()
    for reference in references:
        theirs |= Counter(grams(reference, n))
    return (Counter(runs) & theirs).total(), len(runs)


# 08.beam_step, right


def beam_by_sorting(totals, logits):
    every = []
    for beam in range(len(totals)):
        log_p = torch.log(torch.softmax(logits[beam], 0))
        every += [(totals[beam] + log_p[word], beam, word) for word in range(logits.shape[1])]
    every = sorted(every, key=lambda one: -one[0])[: len(totals)]
    best, beams, words = zip(*every, strict=True)
    return torch.tensor(beams), torch.tensor(words), torch.stack(best)


def beam_by_unravel(totals, logits):
    sums = F.log_softmax(logits, dim=-1) + totals.unsqueeze(1)
    best, at = torch.topk(sums.view(-1), totals.numel())
    beams, words = np.unravel_index(at.numpy(), sums.shape)
    return torch.from_numpy(beams), torch.from_numpy(words), best


# 08.beam_step, wrong


def beam_of(sums):
    best, at = sums.flatten().topk(len(sums))
    return at // sums.shape[1], at % sums.shape[1], best


def beam_of_logits(totals, logits):
    return beam_of(logits + totals[:, None])


def beam_of_probabilities(totals, logits):
    return beam_of(logits.softmax(-1) + totals[:, None])


def beam_of_products(totals, logits):
    return beam_of(logits.softmax(-1) * totals[:, None])


def beam_without_past(totals, logits):
    return beam_of(logits.log_softmax(-1))


def beam_one_each(totals, logits):
    best, words = (totals[:, None] + logits.log_softmax(-1)).max(-1)
    best, order = best.sort(descending=True)
    return order, words[order], best


def beam_swapped(totals, logits):
    beams, words, best = beam_by_sorting(totals, logits)
    return words, beams, best


def beam_over_beams(totals, logits):
    return beam_of(logits.log_softmax(0) + totals[:, None])


def beam_divided_wrongly(totals, logits):
    best, at = (logits.log_softmax(-1) + totals[:, None]).flatten().topk(len(totals))
    return at % len(totals), at // len(totals), best


# 08.attention_weights, right


def weights_by_loops(a, h, w, u, v):
    e = torch.stack(
        [torch.stack([v @ torch.tanh(w @ point + u @ of) for point in points]) for points, of in zip(a, h, strict=True)]
    )
    return torch.exp(e) / torch.exp(e).sum(1, keepdim=True)


def weights_by_einsum(a, h, w, u, v):
    points = torch.einsum("bnd,id->bni", a, w)
    said = torch.einsum("bh,ih->bi", h, u).unsqueeze(1)
    return torch.softmax(torch.einsum("bni,i->bn", (points + said).tanh(), v), dim=-1)


# 08.attention_weights, wrong


def weights_of_the_batch(a, h, w, u, v):
    return torch.softmax(torch.tanh(a @ w.T + (h @ u.T)[:, None]) @ v, dim=0)


def weights_unnormalised(a, h, w, u, v):
    return torch.tanh(a @ w.T + (h @ u.T)[:, None]) @ v


def weights_linear(a, h, w, u, v):
    return ((a @ w.T + (h @ u.T)[:, None]) @ v).softmax(1)


def weights_by_sigmoid(a, h, w, u, v):
    return torch.sigmoid(torch.tanh(a @ w.T + (h @ u.T)[:, None]) @ v)


def weights_without_h(a, h, w, u, v):
    return (torch.tanh(a @ w.T) @ v).softmax(1)


def weights_of_two_tanh(a, h, w, u, v):
    return ((torch.tanh(a @ w.T) + torch.tanh(h @ u.T)[:, None]) @ v).softmax(1)


def weights_tanh_last(a, h, w, u, v):
    return torch.tanh((a @ w.T + (h @ u.T)[:, None]) @ v).softmax(1)


def weights_not_broadcast(a, h, w, u, v):
    return (torch.tanh(a @ w.T + h @ u.T) @ v).softmax(1)


def weights_of_products(a, h, w, u, v):
    return ((a @ w.T) * (h @ u.T)[:, None]).tanh().matmul(v).softmax(1)


def weights_with_an_axis(a, h, w, u, v):
    return weights_by_einsum(a, h, w, u, v)[..., None]


# 08.gated_context, right


def context_by_loops(alpha, a, gate):
    rows = []
    for i in range(len(a)):
        total = torch.zeros(a.shape[2])
        for weight, point in zip(alpha[i], a[i], strict=True):
            total = total + weight * point
        rows.append(total / (1 + math.exp(-gate[i].item())))
    return torch.stack(rows)


def context_by_bmm(alpha, a, gate):
    return torch.bmm(alpha.unsqueeze(1), a).squeeze(1) * gate.sigmoid().unsqueeze(-1)


# 08.gated_context, wrong


def context_mean(alpha, a, gate):
    return gate.sigmoid()[:, None] * (alpha[:, :, None] * a).mean(1)


def context_without_gate(alpha, a, gate):
    return (alpha[:, :, None] * a).sum(1)


def context_raw_gate(alpha, a, gate):
    return gate[:, None] * (alpha[:, :, None] * a).sum(1)


def context_hard(alpha, a, gate):
    return gate.sigmoid()[:, None] * torch.stack([points[k] for points, k in zip(a, alpha.argmax(1), strict=True)])


def context_of_all(alpha, a, gate):
    return gate.sigmoid()[:, None] * a.mean(1)


def context_of_points(alpha, a, gate):
    return gate.sigmoid()[:, None] * (alpha[:, :, None] * a).sum(-1)


def context_softmax_twice(alpha, a, gate):
    return gate.sigmoid()[:, None] * (alpha.softmax(-1)[:, :, None] * a).sum(1)


def context_not_summed(alpha, a, gate):
    return gate.sigmoid()[:, None, None] * alpha[:, :, None] * a


# 08.looks_everywhere, right


def looks_by_loops(attention, mask):
    total = 0.0
    for maps, words in zip(attention, mask, strict=True):
        looks = torch.zeros(maps.shape[1:])
        for map_, counts in zip(maps, words, strict=True):
            if counts:
                looks = looks + map_
        total = total + ((1 - looks) ** 2).sum()
    return total / len(attention)


def looks_by_einsum(attention, mask):
    return (1 - torch.einsum("bthw,bt->bhw", attention, mask.float())).square().sum(dim=(1, 2)).mean()


# 08.looks_everywhere, wrong


def looks_of_padding(attention, mask):
    return ((1 - attention.sum(1)) ** 2).sum((1, 2)).mean()


def looks_mean(attention, mask):
    return ((1 - (attention * mask[:, :, None, None]).sum(1)) ** 2).mean()


def looks_summed(attention, mask):
    return ((1 - (attention * mask[:, :, None, None]).sum(1)) ** 2).sum()


def looks_over_points(attention, mask):
    return (((1 - attention.sum((2, 3))) ** 2) * mask).sum(1).mean()


def looks_over_points_and_padding(attention, mask):
    return ((1 - (attention * mask[:, :, None, None]).sum((2, 3))) ** 2).sum(1).mean()


def looks_squared_first(attention, mask):
    return ((1 - attention * mask[:, :, None, None]) ** 2).sum((1, 2, 3)).mean()


def looks_not_squared(attention, mask):
    return (1 - (attention * mask[:, :, None, None]).sum(1)).sum((1, 2)).mean()


def looks_in_place(attention, mask):
    attention *= mask[:, :, None, None]
    return ((1 - attention.sum(1)) ** 2).sum((1, 2)).mean()


def looks_of_each(attention, mask):
    return ((1 - (attention * mask[:, :, None, None]).sum(1)) ** 2).sum((1, 2))


RIGHT = {
    "08.rows": [(11 + 1, 11 + 1), [12, 12]],
    "08.caption_loss": [loss_by_loops, loss_by_one_hot, loss_transposed],
    "08.clipped_matches": [clipped_by_loops, clipped_by_using_up],
    "08.beam_step": [beam_by_sorting, beam_by_unravel],
    "08.attention_weights": [weights_by_loops, weights_by_einsum],
    "08.gated_context": [context_by_loops, context_by_bmm],
    "08.looks_everywhere": [looks_by_loops, looks_by_einsum],
}

WRONG = {
    "08.rows": [
        ((11, 11), "in front of the first"),
        ((13, 13), "neither row holds both"),
        ((12, 11), "say <end>"),
        ((11, 12), "<start>"),
    ],
    "08.caption_loss": [
        (loss_with_padding, "padded places count"),
        (loss_of_inputs, "the word that went in"),
        (loss_without_end, "<end> is left out"),
        (loss_of_captions, "mean of each caption first"),
        (loss_over_all_places, "divide by all places"),
        (loss_summed, "sum over all words"),
        (loss_of_wrong_axis, "over the words of the vocabulary"),
        (loss_masked_by_inputs, "one place too late"),
        (loss_positive, ""),
        (loss_as_float, ""),
    ],
    "08.clipped_matches": [
        (unclipped, "as often as the caption says it"),
        (clipped_by_the_sum, "add up what all references have"),
        (clipped_by_the_first, "first reference"),
        (clipped_by_the_best, "each reference alone"),
        (clipped_as_sets, ""),
        (clipped_words, ""),
        (clipped_share, ""),
        (clipped_of_all_words, "len − n + 1"),
        (clipped_one_short, "one too early"),
    ],
    "08.beam_step": [
        (beam_of_logits, "you add logits"),
        (beam_of_probabilities, "add probabilities"),
        (beam_of_products, ""),
        (beam_without_past, "add totals"),
        (beam_one_each, "best word of every beam"),
        (beam_swapped, "swapped"),
        (beam_over_beams, "over the words of each beam"),
        (beam_divided_wrongly, "divide by that"),
    ],
    "08.attention_weights": [
        (weights_of_the_batch, "over the images of the batch"),
        (weights_unnormalised, "equation (5) is missing"),
        (weights_linear, "without tanh"),
        (weights_by_sigmoid, "sigmoid"),
        (weights_without_h, "U h does not matter"),
        (weights_of_two_tanh, "inside tanh"),
        (weights_tanh_last, "tanh comes before v"),
        (weights_not_broadcast, ""),
        (weights_of_products, "multiply"),
        (weights_with_an_axis, ""),
    ],
    "08.gated_context": [
        (context_mean, "mean over the points"),
        (context_without_gate, "gate is missing"),
        (context_raw_gate, "sigmoid"),
        (context_hard, "hard attention"),
        (context_of_all, "plain mean"),
        (context_of_points, "add up the points"),
        (context_softmax_twice, "second one"),
        (context_not_summed, ""),
    ],
    "08.looks_everywhere": [
        (looks_of_padding, "padded steps"),
        (looks_mean, "mean over the points"),
        (looks_summed, "sum over the images"),
        (looks_over_points, "all zeros"),
        (looks_over_points_and_padding, "You sum over the points"),
        (looks_squared_first, "First the sum over the words"),
        (looks_not_squared, "not squared"),
        (looks_in_place, "writes into its input"),
        (looks_of_each, ""),
    ],
}


def every():
    return [exercise for exercise in exercises.EXERCISES if isinstance(exercise, Exercise)]


@pytest.mark.parametrize("exercise", every(), ids=lambda exercise: exercise.name)
def test_each_mistake_differs_from_the_right_answer(exercise):
    """Else its sentence could never be said; and no two mistakes are the same, or the second is never heard."""
    for seed in range(3):
        cases = exercise.cases(torch.Generator().manual_seed(seed))
        right = [call.value for call in answers(exercise.reference, cases)]
        given = [[call.value for call in answers(mistake.function, cases)] for mistake in exercise.mistakes]
        for mistake, values in zip(exercise.mistakes, given, strict=True):
            assert not same(right, values), mistake.says
        for i in range(len(given)):
            assert not any(same(given[i], other) for other in given[:i]), exercise.mistakes[i].says


@pytest.mark.slide("25")
def test_the_counts_make_bleu():
    rng = torch.Generator().manual_seed(0)
    for case in exercises.counted(rng)[-3:]:
        said, references, _ = case.args
        counts = [exercises.clipped_matches(said, references, n) for n in (1, 2)]
        closest = min((abs(len(one) - len(said)), len(one)) for one in references)[1]
        penalty = 1 if len(said) > closest else math.exp(1 - closest / len(said))
        by_hand = penalty * math.prod(matched / total for matched, total in counts) ** 0.5
        theirs = bleu_score([" ".join(said)], [[" ".join(one) for one in references]], 2)
        assert by_hand == pytest.approx(theirs.item(), abs=1e-6)


class Chain(torch.nn.Module):
    """Says each word by a table of what follows which, and <end> never."""

    def __init__(self, words, rng):
        super().__init__()
        self.table = 2 * torch.randn(words, words, generator=rng)
        self.table[:, [PAD, START, END, UNKNOWN]] = -1e9

    def start(self, z):
        return (z,)

    def step(self, state, words, *, need_weights=False):
        return self.table[words], None, state


@pytest.mark.slide("25")
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_step_is_that_of_beam_search(k):
    chain = Chain(12, torch.Generator().manual_seed(k))
    totals, words, said = torch.full((k,), -torch.inf), torch.full((k,), START), torch.zeros(k, 0, dtype=torch.int64)
    totals[0] = 0
    for _ in range(6):
        beams, words, totals = exercises.best_continuations(totals, chain.table[words])
        said = torch.cat([said[beams], words[:, None]], dim=1)
    found = beam_search(chain, torch.zeros(1, 1), beam_size=k, max_length=6, length_penalty=0.0)
    assert found.words[0].tolist() == said[0].tolist()
    assert found.log_probability[0] == pytest.approx(totals[0].item(), abs=1e-4)


@pytest.mark.slide("27")
def test_weights_and_context_are_those_of_the_model():
    torch.manual_seed(0)
    model = ShowAttendTell(9, 5, (2, 3), dim=4, hidden=6, attention_dim=3).eval()
    torch.nn.init.zeros_(model.score.of_points.bias)
    state = model.start(torch.randn(3, 5, 2, 3))
    a, _, h, _ = state
    layers = model.score.of_points.weight, model.score.of_h.weight, model.score.v.weight[0]
    alpha = exercises.attention_weights(a, h, *layers)
    torch.testing.assert_close(alpha, model.attention_weights(state))
    seen = []
    model.lstm.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 4:]))
    model.step(state, torch.tensor([4, 5, 6]))
    torch.testing.assert_close(seen[0], exercises.gated_context(alpha, a, model.gate(h).squeeze(1)))


@pytest.mark.slide("27")
def test_the_term_is_the_packages_own():
    attention, mask = torch.rand(2, 3, 4, 5), torch.tensor([[True, True, True], [True, False, False]])
    own = doubly_stochastic(attention[:, None, None], mask)
    torch.testing.assert_close(exercises.looks_everywhere(attention, mask), own)
