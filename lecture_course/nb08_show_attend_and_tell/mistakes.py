"""The right answers of notebook 08 written out, the edits that make them wrong, and what each says to its author."""

import torch
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.captioning.scores import clipped_matches
from lecture_utils.captioning.vocabulary import PAD


def loss_of_words(logits: Tensor, captions: Tensor) -> Tensor:
    targets = captions[:, 1:]
    losses = -logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)
    counts = targets != PAD
    return (losses * counts).sum() / counts.sum()


CAPTION_LOSS_MISTAKES = mistakes(
    loss_of_words,
    {
        "targets != PAD → torch.ones_like(targets)": "Padded places count in your mean. They are no words; with many "
        "of them the loss is mostly about <pad>.",
        "captions[:, 1:] → captions[:, :-1]": "The logits at place t stand for the word at t + 1; you hold them "
        "against the word that went in.",
        "targets != PAD → captions[:, :-1] != PAD": "You mask where the input is <pad>. That is one place too late: "
        "after <end> has gone in, the target is <pad>.",
        "targets != PAD → targets > 2": "<end> is left out. It must count, or the model never learns when to stop.",
        "return → return (; sum() → sum(1); counts.sum(1) → counts.sum(1)).mean()": "You take the mean of each caption "
        "first, so a word of a short caption weighs more than one of a long caption.",
        "counts.sum() → counts.numel()": "You set padded places to 0 but divide by all places; divide by the number of "
        "words that count.",
        "/ counts.sum() → ": "That is the sum over all words; the mean was asked.",
        "counts.sum() → len(counts)": "That is the sum over each caption, averaged over the captions; the mean over "
        "all words was asked.",
        "log_softmax(-1) → log_softmax(1)": "Your softmax runs over the places of a caption; it must run over the "
        "words of the vocabulary.",
        ".log_softmax(-1) → ": "These are the logits of the targets, not their log-probabilities: log_softmax is "
        "missing.",
    },
)


CLIPPED_MATCHES_MISTAKES = mistakes(
    clipped_matches,
    {
        "min(count, max → (count * any": "You count a run as often as the caption says it. No run may count more often "
        "than a reference has it.",
        "max → sum": "You add up what all references have. The limit is what a single one of them has at most.",
        "in theirs → in theirs[:1]": "Only the first reference counts in yours.",
        lambda hypothesis, references, n: max(clipped_matches(hypothesis, [one], n) for one in references): "You "
        "compare with each reference alone and take the best. Each run may find its limit in another reference.",
        "max → min": "You demand that every reference has the run; one of them is enough.",
        "min(count → min(1": "Each run counts only once in yours. Said twice and there twice, it counts twice.",
        "sum(mine.values()) → len(hypothesis)": "The second number is the caption's words; it has len − n + 1 runs of "
        "n words.",
        "sum(mine.values()) → len(mine)": "The second number must count a repeated run each time it is said.",
        "runs(hypothesis) → runs(hypothesis[:-1])": "A caption of len words has len − n + 1 runs of n words; yours "
        "ends one too early.",
    },
)


def best_continuations(totals: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of beam search, as in `beam_search`, for beams of one length none of which has ended."""
    reached = totals[:, None] + logits.log_softmax(1)
    best, places = reached.flatten().topk(len(totals))
    return places // logits.shape[1], places % logits.shape[1], best


BEAM_STEP_MISTAKES = mistakes(
    best_continuations,
    {
        ".log_softmax(1) → ": "You add logits. They are log-probabilities only up to a number that differs from beam "
        "to beam: log_softmax.",
        "log_softmax → softmax": "You add probabilities to log-probabilities. A product of probabilities is a sum of "
        "logarithms: log_softmax.",
        "totals[:, None] + → ": "What a beam has cost so far does not count in yours: add totals.",
        "log_softmax(1) → log_softmax(0)": "The log-probabilities must be normalised over the words of each beam; "
        "yours are over the beams.",
        "reached.flatten → reached.masked_fill(reached < reached.amax(1, True), -torch.inf).flatten": "You take the "
        "best word of every beam. All continuations compete: two may come from one beam.",
        "(places // → ((places := places.sort()[0]) //; best) → reached.flatten()[places])": "The right continuations, "
        "but not in order: the best comes first.",
        "// → @; % → //; @ → %": "Beams and words are swapped: the beam comes first.",
        "// logits.shape[1] → % len(totals); % logits.shape[1] → // len(totals)": "The flat list has as many entries a "
        "row as there are words: divide by that, not by the number of beams.",
        "best) → best - totals[places // logits.shape[1]])": "Right choices, but the totals you return are the "
        "log-probabilities of the last words alone.",
    },
)


def attention_weights(a: Tensor, h: Tensor, w: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Equations (4) and (5), as in `ShowAttendTell.attention_weights`."""
    e = torch.tanh(a @ w.T + (h @ u.T)[:, None]) @ v
    return e.softmax(1)


ATTENTION_WEIGHTS_MISTAKES = mistakes(
    attention_weights,
    {
        "softmax(1) → softmax(0)": "Your softmax runs over the images of the batch. The points of one image compete: "
        "the weights of each image sum to 1.",
        ".softmax(1) → ": "These are the scores e of equation (4); the softmax of equation (5) is missing.",
        "softmax(1) → flatten().softmax(0).view_as(e)": "The softmax runs over the whole batch, so that all weights "
        "together sum to 1; each image needs its own.",
        "softmax(1) → sigmoid()": "That is a sigmoid of each score. The points compete: a softmax over them.",
        "torch.tanh → ": "Without tanh, h drops out: it adds the same number to every point, which softmax does not "
        "see.",
        "torch.tanh → torch.relu": "That is relu; the paper's f_att has tanh.",
        "torch.tanh → ; e.softmax → e.tanh().softmax": "tanh comes before v: v weighs what tanh gives.",
        "+ → *": "You multiply W a and U h, as a transformer does; here they are added.",
        "+ (h @ u.T)[:, None] → ": "U h does not matter in yours. Add it inside tanh: outside, it is the same number "
        "for every point, which softmax does not see.",
    },
)


def gated_context(alpha: Tensor, a: Tensor, gate: Tensor) -> Tensor:
    """Equation (13) with the gate β of section 4.2.1, as in `ShowAttendTell.decode_step`."""
    context = (alpha[..., None] * a).sum(1)
    return torch.sigmoid(gate)[:, None] * context


GATED_CONTEXT_MISTAKES = mistakes(
    gated_context,
    {
        "sum(1) → mean(1)": "That is the mean over the points, not the sum: as many times too weak as there are "
        "points. The weights sum to 1 already.",
        "(alpha[..., None] * a).sum(1) → a.mean(1)": "The weights are not used: that is the plain mean of all points.",
        "torch.sigmoid(gate)[:, None] * → ": "The gate is missing.",
        "torch.sigmoid(gate) → gate": "The gate is a sigmoid of the number you are given.",
        "(gate) → (-gate)": "That closes the gate where it should open: 1 − β instead of β.",
        "sigmoid → tanh": "The gate of the paper is a sigmoid, between 0 and 1; yours is a tanh.",
        "(alpha[..., None] * a).sum(1) → a[torch.arange(len(a)), alpha.argmax(1)]": "That takes the likeliest point "
        "alone, which is hard attention; soft attention mixes all of them.",
        "alpha[..., None] → alpha.softmax(1)[..., None]": "The weights have been through a softmax already; a second "
        "one makes them nearly equal.",
        "sum(1) → sum(2)": "You added up the d numbers of each point; add up the points, and keep the d numbers.",
    },
)


def looks_everywhere(attention: Tensor, mask: Tensor) -> Tensor:
    """`doubly_stochastic` for the maps of one layer and one head."""
    looks = (attention * mask[:, :, None, None]).sum(1)
    return ((1 - looks) ** 2).sum((1, 2)).mean()


LOOKS_EVERYWHERE_MISTAKES = mistakes(
    looks_everywhere,
    {
        "* mask[:, :, None, None] → ": "Padded steps are looked at, too. They are no words: their maps must not count.",
        ".sum((1, 2)) → ": "That is the mean over the points, not the sum: as many times weaker as there are points, "
        "so that λ would have to be that many times larger.",
        "mean() → sum()": "That is the sum over the images of the batch; their mean was asked.",
        "sum(1) → sum((2, 3)); sum((1, 2)) → sum(1)": "You sum over the points. Softmax has made that 1 for every "
        "word; the term is about the sum over the words.",
        ".sum(1) → ; (1, 2) → (1, 2, 3)": "You take 1 − α of every word and square that. First the sum over the words, "
        "then 1 minus it.",
        "** 2 → ": "The difference is not squared, so looks too many and too few cancel out.",
        "((1 - looks) ** 2) → (1 - looks).abs()": "That is the absolute difference; equation (14) has its square.",
        "sum(1) → mean(1)": "You average the looks over the words, so no point can come near 1; sum them.",
    },
)
