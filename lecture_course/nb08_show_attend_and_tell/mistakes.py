"""Wrong losses, counts, beams and looks that students of notebook 08 write, and what to say to each."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.captioning.vocabulary import END, PAD

Words = Sequence[str]

# The loss of a batch of captions


def word_losses(logits: Tensor, targets: Tensor, axis: int = -1) -> Tensor:
    return -logits.log_softmax(axis).gather(-1, targets[..., None]).squeeze(-1)


def loss_where(counts: Callable[[Tensor], Tensor], mean: Callable[[Tensor, Tensor], Tensor] | None = None) -> Callable:
    """The loss over the places that `counts` names; `mean` of the losses and these places, if not the plain one."""

    def wrong(logits: Tensor, captions: Tensor) -> Tensor:
        losses, places = word_losses(logits, captions[:, 1:]), counts(captions)
        return mean(losses, places) if mean else losses[places].mean()

    return wrong


def words_and_end(captions: Tensor) -> Tensor:
    return captions[:, 1:] != PAD


LOSSES = mistakes(
    "Padded places count in your mean. They are no words; with many of them the loss is mostly about <pad>.",
    loss_where(lambda captions: torch.ones_like(captions[:, 1:], dtype=torch.bool)),
    "The logits at place t stand for the word at t + 1; you hold them against the word that went in.",
    lambda logits, captions: F.cross_entropy(logits.flatten(0, 1), captions[:, :-1].flatten(), ignore_index=PAD),
    "You mask where the input is <pad>. That is one place too late: after <end> has gone in, the target is <pad>.",
    loss_where(lambda captions: captions[:, :-1] != PAD),
    "<end> is left out. It must count, or the model never learns when to stop.",
    loss_where(lambda captions: (captions[:, 1:] != PAD) & (captions[:, 1:] != END)),
    "You take the mean of each caption first, so a word of a short caption weighs more than one of a long caption.",
    loss_where(words_and_end, lambda losses, at: ((losses * at).sum(1) / at.sum(1)).mean()),
    "You set padded places to 0 but divide by all places; divide by the number of words that count.",
    loss_where(words_and_end, lambda losses, at: (losses * at).mean()),
    "That is the sum over all words; the mean was asked.",
    loss_where(words_and_end, lambda x, at: x[at].sum()),
    "That is the sum over each caption, averaged over the captions; the mean over all words was asked.",
    loss_where(words_and_end, lambda losses, at: (losses * at).sum(1).mean()),
    "Your softmax runs over the places of a caption; it must run over the words of the vocabulary.",
    lambda logits, captions: word_losses(logits, captions[:, 1:], axis=1)[words_and_end(captions)].mean(),
    "These are the logits of the targets, not their log-probabilities: log_softmax is missing.",
    lambda logits, captions: -logits.gather(-1, captions[:, 1:, None]).squeeze(-1)[words_and_end(captions)].mean(),
)

# Counting as BLEU counts


def runs(words: Words, n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def counted(
    matches: Callable[[Counter, list[Counter]], int], total: Callable[[Words, int], int] | None = None
) -> Callable:
    """Matches and total by other rules; `matches` is given the runs of the caption and of each reference."""

    def wrong(said: Words, references: Sequence[Words], n: int) -> tuple[int, int]:
        mine = runs(said, n)
        number = total(said, n) if total else sum(mine.values())
        return matches(mine, [runs(reference, n) for reference in references]), number

    return wrong


def right_matches(mine: Counter, theirs: list[Counter]) -> int:
    return sum(min(count, max(one[run] for one in theirs)) for run, count in mine.items())


CLIPPED = mistakes(
    "You count a run as often as the caption says it. No run may count more often than a reference has it.",
    counted(lambda mine, theirs: sum(count for run, count in mine.items() if any(run in one for one in theirs))),
    "You add up what all references have. The limit is what a single one of them has at most.",
    counted(lambda mine, theirs: sum((mine & sum(theirs, Counter())).values())),
    "Only the first reference counts in yours.",
    counted(lambda mine, theirs: sum((mine & theirs[0]).values())),
    "You compare with each reference alone and take the best. Each run may find its limit in another reference.",
    counted(lambda mine, theirs: max(sum((mine & one).values()) for one in theirs)),
    "You demand that every reference has the run; one of them is enough.",
    counted(lambda mine, theirs: sum(min(count, *(one[run] for one in theirs)) for run, count in mine.items())),
    "Each run counts only once in yours. Said twice and there twice, it counts twice.",
    counted(lambda mine, theirs: sum(any(run in one for one in theirs) for run in mine)),
    "The second number is the caption's words; it has len − n + 1 runs of n words.",
    counted(right_matches, lambda said, n: len(said)),
    "The second number must count a repeated run each time it is said.",
    counted(right_matches, lambda said, n: len(runs(said, n))),
    "A caption of len words has len − n + 1 runs of n words; yours ends one too early.",
    lambda said, references, n: counted(right_matches)(said[:-1], references, n),
)

# One step of beam search


def chosen(reached: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    best, places = reached.flatten().topk(len(reached))
    return places // reached.shape[1], places % reached.shape[1], best


def one_each(totals: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    best, words = (totals[:, None] + logits.log_softmax(1)).max(1)
    order = best.argsort(descending=True)
    return order, words[order], best[order]


def unsorted(totals: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    beams, words, best = chosen(totals[:, None] + logits.log_softmax(1))
    order = (beams * logits.shape[1] + words).argsort()
    return beams[order], words[order], best[order]


def swapped(totals: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    beams, words, best = chosen(totals[:, None] + logits.log_softmax(1))
    return words, beams, best


def wrong_number_of_words(totals: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    best, places = (totals[:, None] + logits.log_softmax(1)).flatten().topk(len(totals))
    return places % len(totals), places // len(totals), best


BEAMS = mistakes(
    "You add logits. They are log-probabilities only up to a number that differs from beam to beam: log_softmax.",
    lambda totals, logits: chosen(totals[:, None] + logits),
    "You add probabilities to log-probabilities. A product of probabilities is a sum of logarithms: log_softmax.",
    lambda totals, logits: chosen(totals[:, None] + logits.softmax(1)),
    "What a beam has cost so far does not count in yours: add totals.",
    lambda totals, logits: chosen(logits.log_softmax(1)),
    "The log-probabilities must be normalised over the words of each beam; yours are over the beams.",
    lambda totals, logits: chosen(totals[:, None] + logits.log_softmax(0)),
    "You take the best word of every beam. All continuations compete: two may come from one beam.",
    one_each,
    "The right continuations, but not in order: the best comes first.",
    unsorted,
    "Beams and words are swapped: the beam comes first.",
    swapped,
    "The flat list has as many entries a row as there are words: divide by that, not by the number of beams.",
    wrong_number_of_words,
    "Right choices, but the totals you return are the log-probabilities of the last words alone.",
    lambda totals, logits: (*(c := chosen(totals[:, None] + logits.log_softmax(1)))[:2], c[2] - totals[c[0]]),
)

# Where to look


def weighed(fit: Callable[..., Tensor], axis: int | None = 1) -> Callable:
    """Weights by another rule of how well a point fits; `fit` is given W a_i (b, n, inner), U h (b, 1, inner) and v."""

    def wrong(a: Tensor, h: Tensor, w: Tensor, u: Tensor, v: Tensor) -> Tensor:
        e = fit(a @ w.T, (h @ u.T)[:, None], v)
        return e if axis is None else e.softmax(axis)

    return wrong


def right_fit(points: Tensor, said: Tensor, v: Tensor) -> Tensor:
    return torch.tanh(points + said) @ v


WEIGHTS = mistakes(
    "Your softmax runs over the images of the batch. The points of one image compete: the weights of each image "
    "sum to 1.",
    weighed(right_fit, axis=0),
    "These are the scores e of equation (4); the softmax of equation (5) is missing.",
    weighed(right_fit, axis=None),
    "The softmax runs over the whole batch, so that all weights together sum to 1; each image needs its own.",
    lambda *x: weighed(right_fit, axis=None)(*x).flatten().softmax(0).view(x[0].shape[:2]),
    "That is a sigmoid of each score. The points compete: a softmax over them.",
    lambda *x: weighed(right_fit, axis=None)(*x).sigmoid(),
    "Without tanh, h drops out: it adds the same number to every point, which softmax does not see.",
    weighed(lambda points, said, v: (points + said) @ v),
    "That is relu; the paper's f_att has tanh.",
    weighed(lambda points, said, v: (points + said).relu() @ v),
    "tanh comes before v: v weighs what tanh gives.",
    weighed(lambda points, said, v: torch.tanh((points + said) @ v)),
    "You multiply W a and U h, as a transformer does; here they are added.",
    weighed(lambda points, said, v: torch.tanh(points * said) @ v),
    "U h does not matter in yours. Add it inside tanh: outside, it is the same number for every point, which "
    "softmax does not see.",
    weighed(lambda points, said, v: torch.tanh(points) @ v),
)

# What is seen


def seen(mix: Callable[[Tensor, Tensor], Tensor], gate: Callable[[Tensor], Tensor] = torch.sigmoid) -> Callable:
    return lambda alpha, a, opening: gate(opening)[:, None] * mix(alpha, a)


def weighted_sum(alpha: Tensor, a: Tensor) -> Tensor:
    return (alpha[..., None] * a).sum(1)


CONTEXTS = mistakes(
    "That is the mean over the points, not the sum: as many times too weak as there are points. The weights sum "
    "to 1 already.",
    seen(lambda alpha, a: (alpha[..., None] * a).mean(1)),
    "The weights are not used: that is the plain mean of all points.",
    seen(lambda alpha, a: a.mean(1)),
    "The gate is missing.",
    seen(weighted_sum, torch.ones_like),
    "The gate is a sigmoid of the number you are given.",
    seen(weighted_sum, lambda x: x),
    "That closes the gate where it should open: 1 − β instead of β.",
    seen(weighted_sum, lambda x: torch.sigmoid(-x)),
    "The gate of the paper is a sigmoid, between 0 and 1; yours is a tanh.",
    seen(weighted_sum, torch.tanh),
    "That takes the likeliest point alone, which is hard attention; soft attention mixes all of them.",
    seen(lambda alpha, a: a[torch.arange(len(a)), alpha.argmax(1)]),
    "The weights have been through a softmax already; a second one makes them nearly equal.",
    seen(lambda alpha, a: weighted_sum(alpha.softmax(1), a)),
    "You added up the d numbers of each point; add up the points, and keep the d numbers.",
    lambda alpha, a, gate: torch.sigmoid(gate)[:, None] * (alpha[..., None] * a).sum(2),
)

# The doubly stochastic term


def term(of: Callable[[Tensor], Tensor], *, masked: bool = True) -> Callable:
    """The term by another formula of the maps (b, t, h, w)."""
    return lambda attention, mask: of(attention * mask[:, :, None, None] if masked else attention)


def squares(attention: Tensor) -> Tensor:
    return (1 - attention.sum(1)) ** 2


TERMS = mistakes(
    "Padded steps are looked at, too. They are no words: their maps must not count.",
    term(lambda x: squares(x).sum((1, 2)).mean(), masked=False),
    "That is the mean over the points, not the sum: as many times weaker as there are points, so that λ would have "
    "to be that many times larger.",
    term(lambda x: squares(x).mean()),
    "That is the sum over the images of the batch; their mean was asked.",
    term(lambda x: squares(x).sum()),
    "You sum over the points. Softmax has made that 1 for every word; the term is about the sum over the words.",
    term(lambda x: ((1 - x.sum((2, 3))) ** 2).sum(1).mean()),
    "You take 1 − α of every word and square that. First the sum over the words, then 1 minus it.",
    term(lambda x: ((1 - x) ** 2).sum((1, 2, 3)).mean()),
    "The difference is not squared, so looks too many and too few cancel out.",
    term(lambda x: (1 - x.sum(1)).sum((1, 2)).mean()),
    "That is the absolute difference; equation (14) has its square.",
    term(lambda x: (1 - x.sum(1)).abs().sum((1, 2)).mean()),
    "You average the looks over the words, so no point can come near 1; sum them.",
    term(lambda x: ((1 - x.mean(1)) ** 2).sum((1, 2)).mean()),
)
