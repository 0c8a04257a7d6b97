"""The exercises of notebook 08: captions, their loss and score, a beam, and attention (slides 24 to 27)."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb08_show_attend_and_tell.mistakes import (
    ATTENTION_WEIGHTS_MISTAKES,
    BEAM_STEP_MISTAKES,
    CAPTION_LOSS_MISTAKES,
    CLIPPED_MATCHES_MISTAKES,
    GATED_CONTEXT_MISTAKES,
    LOOKS_EVERYWHERE_MISTAKES,
    attention_weights,
    best_continuations,
    clipped_matches,
    gated_context,
    looks_everywhere,
)
from lecture_utils.captioning.attention import AdditiveScore, ShowAttendTell, doubly_stochastic
from lecture_utils.captioning.decoding import beam_search
from lecture_utils.captioning.steps import caption_loss
from lecture_utils.captioning.vocabulary import END, PAD, START, Vocabulary

SENTENCE = "a red car is behind a person in a blue coat"


def rows_of_a_caption() -> tuple[int, int]:
    """How many numbers go in, and how many are to come out, when the sentence is taught."""
    numbers = Vocabulary.build([SENTENCE]).encode(SENTENCE)
    return len(numbers[:-1]), len(numbers[1:])


def normal(rng: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng)


def padded(rng: Generator, lengths: Sequence[int], words: int) -> Tensor:
    """Captions of so many words each between <start> and <end>, in one tensor."""
    captions = torch.full((len(lengths), max(lengths) + 2), PAD)
    for row, length in enumerate(lengths):
        said = torch.randint(END + 1, words, (length,), generator=rng)
        captions[row, : length + 2] = torch.cat([torch.tensor([START]), said, torch.tensor([END])])
    return captions


def taught(rng: Generator) -> list[Case]:
    def case(lengths: Sequence[int], words: int, note: str) -> Case:
        captions = padded(rng, lengths, words)
        return Case((2 * normal(rng, len(captions), captions.shape[1] - 1, words), captions), note=note)

    return [
        case([2], 6, "one caption of two words"),
        case([3, 3], 7, "two captions of one length"),
        case([4, 1], 6, "a long and a short one"),
        case([1, 5, 3], 11, "three lengths"),
        case([9, 2, 2, 7, 4], 40, "five captions, forty words"),
    ]


def counted(rng: Generator) -> list[Case]:
    words = ("a", "red", "blue", "car", "sign")

    def some(length: int) -> list[str]:
        return [words[i] for i in torch.randint(0, len(words), (length,), generator=rng).tolist()]

    thing, other = some(1)[0], "is"
    twice = [thing, "and", "a", thing]
    return [
        Case((["a", thing], [["a", thing]], 1), note="the same words"),
        Case((["a"] * 4, [["a", thing, other]], 1), note="a word said four times, and there once"),
        Case((twice, [["a", thing], [thing, other]], 1), note="each reference has the word once, none has it twice"),
        Case((["a", thing, other], [["a", other, thing]], 2), note="the same words in another order"),
        Case((["a", thing], [["a", thing, other]], 3), note="a caption shorter than n"),
        Case((twice * 2, [twice, [*twice, *twice, other]], 2), note="a pair said twice, and there twice"),
        Case((some(9), [some(8), some(10), some(7)], 1), note="single words, three references"),
        Case((some(12), [some(11), some(14), some(9)], 2), note="pairs"),
        Case((some(30), [some(25), some(40)], 3), note="runs of three, long captions"),
    ]


def beams(rng: Generator) -> list[Case]:
    def case(k: int, words: int, note: str, spread: float = 1.0) -> Case:
        totals = -spread * torch.rand(k, generator=rng).cumsum(0)
        return Case((totals, 2 * normal(rng, k, words) + 3 * normal(rng, k, 1)), note=note)

    alike = 0.01 * torch.arange(3.0).mul(-1)
    sure = torch.stack([torch.tensor([2.0, 1.9, 0.1, -0.3, 0.2]), *normal(rng, 2, 5).mul(0.1)])
    return [
        case(1, 4, "one beam, which is greedy"),
        case(2, 3, "two beams, three words"),
        Case((alike - torch.tensor([0.0, 4.0, 5.0]), sure), note="one beam far ahead of the others"),
        case(3, 7, "three beams"),
        case(5, 40, "five beams, forty words", spread=0.3),
        case(6, 9, "six beams, nine words", spread=0.3),
    ]


def scored(rng: Generator) -> list[Case]:
    def case(b: int, n: int, d: int, hidden: int, inner: int, note: str) -> Case:
        layers = normal(rng, inner, d), normal(rng, inner, hidden), 2 * normal(rng, inner)
        return Case((normal(rng, b, n, d), normal(rng, b, hidden), *layers), note=note)

    return [
        case(1, 2, 1, 1, 1, "two points, one number each"),
        case(2, 3, 2, 2, 2, "a batch of two"),
        case(3, 5, 4, 3, 2, "all sizes different"),
        case(4, 9, 6, 5, 7, "nine points"),
    ]


def mixed(rng: Generator) -> list[Case]:
    def case(b: int, n: int, d: int, note: str) -> Case:
        return Case((normal(rng, b, n).mul(2).softmax(1), normal(rng, b, n, d), normal(rng, b)), note=note)

    return [
        case(1, 2, 1, "two points, one number each"),
        case(1, 3, 2, "three points"),
        case(2, 4, 3, "a batch of two"),
        case(3, 7, 7, "as many points as numbers"),
        case(5, 9, 4, "a batch of five"),
    ]


def maps(rng: Generator) -> list[Case]:
    def case(steps: Sequence[int], h: int, w: int, note: str) -> Case:
        attention = normal(rng, len(steps), max(steps), h * w).softmax(-1).unflatten(-1, (h, w))
        return Case((attention, torch.arange(max(steps)) < torch.tensor(steps)[:, None]), note=note)

    return [
        case([2], 1, 2, "one caption of two words, two points"),
        case([3], 2, 3, "a grid that is not square"),
        case([3, 1], 2, 2, "a batch with padding"),
        case([4, 2, 5], 3, 5, "three captions of different lengths"),
        case([12, 7, 1, 9], 4, 3, "four captions"),
    ]


EXERCISES = (
    Prediction(
        "08.rows",
        title="How long are the two rows?",
        minutes=2,
        difficulty=1,
        answer=rows_of_a_caption,
        mistakes={
            (11, 11): "Those are the words. In front of the first there is <start>, and after the last comes <end>.",
            (13, 13): "<start> is never a target, and nothing follows <end>: neither row holds both.",
            (12, 11): "The model must also learn to say <end>.",
            (11, 12): "Before the first word is said, something has to go in: <start>.",
            (13, 12): "Nothing comes after <end>, so it never goes in.",
            (12, 13): "<start> goes in; nobody asks the model to say it.",
        },
        hints=("Count the words first.", "In goes <start> and every word; out comes every word and <end>."),
        because="Both rows hold one more than the caption has words: the model runs that many times.",
    ),
    Exercise(
        "08.caption_loss",
        title="The loss of a batch of captions",
        minutes=15,
        difficulty=2,
        reference=caption_loss,
        cases=taught,
        mistakes=CAPTION_LOSS_MISTAKES,
        hints=(
            "What should the model have said after the word at place t? captions[:, 1:] are the targets.",
            "For each target: −log of its probability, −logits.log_softmax(-1) picked by gather at the target.",
            "Which places count? Those whose target is not <pad>, number 0. <end> does count.",
            "F.cross_entropy does it all: flatten(0, 1) the logits, flatten the targets, ignore_index=0.",
        ),
        because="Every word of the batch weighs the same, in a long caption or a short one.",
    ),
    Exercise(
        "08.attention_weights",
        title="Where to look: equations (4) and (5)",
        minutes=10,
        difficulty=2,
        reference=attention_weights,
        shown=AdditiveScore,
        cases=scored,
        mistakes=ATTENTION_WEIGHTS_MISTAKES,
        hints=(
            "W a_i for all points at once: a @ w.T, (b, n, inner). U h is one vector an image: h @ u.T, (b, inner).",
            "Add them: every point gets the same U h, so it needs an axis for the points: (h @ u.T)[:, None].",
            "e = torch.tanh(…) @ v is (b, n). The weights of the points of one image sum to 1: e.softmax(1).",
        ),
        because="W a_i does not change while a caption is said; the package computes it once, in `prepare`.",
    ),
    Exercise(
        "08.gated_context",
        title="What is seen: equation (13)",
        minutes=10,
        difficulty=2,
        reference=gated_context,
        shown=ShowAttendTell.decode_step,
        cases=mixed,
        mistakes=GATED_CONTEXT_MISTAKES,
        hints=(
            "Each point's vector times its weight, added up over the points: no axis of points is left.",
            "alpha[..., None] * a is (b, n, d); sum over axis 1.",
            "The gate is torch.sigmoid(gate), one number an image: [:, None] lets it meet the d numbers.",
        ),
        because="The gate lets the model look away: for the “of” in “to the left of” there is nothing to see.",
    ),
    Exercise(
        "08.looks_everywhere",
        title="The doubly stochastic term",
        minutes=10,
        difficulty=2,
        reference=looks_everywhere,
        shown=doubly_stochastic,
        cases=maps,
        mistakes=LOOKS_EVERYWHERE_MISTAKES,
        hints=(
            "How much was each point looked at in all? Sum the maps over the words: (b, h, w).",
            "A padded step is no word: mask[:, :, None, None] sets its map to 0 before the sum.",
            "((1 − looks)²) summed over h and w, then the mean over the images.",
        ),
        because="One sum runs over points and is 1 by softmax; the other over words, and this term pulls it towards 1.",
    ),
    Exercise(
        "08.beam_step",
        title="One step of beam search",
        minutes=15,
        difficulty=3,
        reference=best_continuations,
        shown=beam_search,
        cases=beams,
        mistakes=BEAM_STEP_MISTAKES,
        hints=(
            "Every beam may go on with every word: k · words sums. logits.log_softmax(1) says what each word adds.",
            "reached = totals[:, None] + what the words add: (k, words). All entries compete, whatever their row.",
            "best, places = reached.flatten().topk(k). From a place in the flat list, // and % give beam and word.",
        ),
        because="Two of the best may go on from the same beam, and a beam may have no continuation at all.",
    ),
    Exercise(
        "08.clipped_matches",
        title="Count as BLEU counts",
        minutes=15,
        difficulty=3,
        reference=clipped_matches,
        cases=counted,
        mistakes=CLIPPED_MATCHES_MISTAKES,
        hints=(
            "Count the n-grams of the caption: Counter(tuple(words[i : i + n]) for i in range(...)).",
            "For each n-gram: how often does each reference hold it? The largest of these numbers is its limit.",
            "Each gives the smaller of its count and its limit. Counters know both: a & b is the smaller of each "
            "count, a | b the larger.",
        ),
        because="Clipping is what stops “a a a a” from being a perfect caption.",
    ),
)
