"""Sentences as they are found and scored: a beam as a growing tree, and the n-grams that BLEU counts (slide 25)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from lecture_course.nb08_show_attend_and_tell.decoders import TEXT, inches
from lecture_course.nb08_show_attend_and_tell.mistakes import best_continuations
from lecture_utils.captioning.decoding import NEVER_GENERATED, sample
from lecture_utils.captioning.vocabulary import END, START, Vocabulary
from lecture_utils.figures.style import BLUE, FAINT, GREEN, INK, ORANGE, WIDTH, course_look


def sampled(
    model: nn.Module,
    z: Float[Tensor, "1 features h w"],
    vocabulary: Vocabulary,
    temperatures: Sequence[float],
    *,
    number: int = 2,
) -> str:
    """Some sampled sentences about an image at each temperature, the first ones drawn, one a line."""
    generator, lines = torch.Generator().manual_seed(0), []
    for temperature in temperatures:
        drawn = sample(model, z.expand(number, -1, -1, -1), temperature=temperature, generator=generator).words
        lines += [f"temperature {temperature:<5}{vocabulary.decode(one)}" for one in drawn]
    return "\n".join(lines)


PALE = "#C9EBDF"  # behind dark words


@dataclass(frozen=True)
class Continuation:
    """A beam with one more word: the beam it continues, by its place among those kept, its sum so far, and its fate."""

    parent: int
    word: str
    total: float
    kept: bool


@torch.no_grad()
def beam_steps(
    model: nn.Module, z: Float[Tensor, "1 features h w"], vocabulary: Vocabulary, *, k: int, steps: int
) -> list[list[Continuation]]:
    """Beam search word by word: the k kept continuations, the best first, then the best dropped one of each beam.

    At most `steps` words, and it stops before a beam would end.
    """
    state, words = model.start(z), torch.tensor([START], device=z.device)
    totals, tree = torch.zeros(1, device=z.device), []
    for _ in range(steps):
        logits, _, state = model.step(state, words)
        logits = logits.float().index_fill(1, torch.tensor(NEVER_GENERATED, device=z.device), -torch.inf)
        reached = totals[:, None] + logits.log_softmax(1)
        if len(totals) == 1:  # at first there is one beginning only
            totals, words = reached[0].topk(k)
            parents = torch.zeros_like(words)
        else:
            parents, words, totals = best_continuations(totals, logits)
        if (words == END).any():
            break
        kept = list(zip(parents.tolist(), words.tolist(), totals.tolist(), strict=True))
        taken = {(parent, word) for parent, word, _ in kept}
        others = []
        for parent, sums in enumerate(reached):
            best = zip(*map(Tensor.tolist, sums.topk(k + 2)), strict=True)
            others += [(parent, word, total) for total, word in best if (parent, word) not in taken][:1]
        tree.append(
            [Continuation(p, vocabulary.words[w], t, True) for p, w, t in kept]
            + [Continuation(p, vocabulary.words[w], t, False) for p, w, t in others]
        )
        state = tuple(part[parents] for part in state)
    return tree


@course_look
def beam_tree(tree: Sequence[Sequence[Continuation]], upto: int) -> Figure:
    """Draw the first `upto` words of `beam_steps` as a tree with their sums; what is dropped is grey."""
    if not 1 <= upto <= len(tree):
        raise ValueError(f"upto: got {upto}, expected 1 to {len(tree)}")
    k = sum(one.kept for one in tree[0])
    rows = max(map(len, tree))
    fig, ax = inches(1.1 + 0.62 * rows)
    pitch, first, middle = (WIDTH - 1.0) / len(tree), 0.95, 0.5 + 0.62 * (k / 2)
    ax.text(0.42, middle, "<start>", ha="center", va="center", size=12)
    ax.text(
        0.1,
        0.18,
        f"kept: the {k} best (orange: the best, from its first word on); below each word the sum so far",
        va="center",
        size=12,
    )
    below = "dropped: of each beam the best continuation that is not kept"
    ax.text(0.1, 0.9 + 0.62 * rows, below, va="center", size=12, color=FAINT)
    best, row = set(), 0  # the places in the tree of the best beam and of what it continues
    for t in reversed(range(upto)):
        best.add((t, row))
        row = tree[t][row].parent
    centre = {-1: {0: (0.78, middle)}}
    for t, step in enumerate(tree[:upto]):
        centre[t] = {}
        for row, one in enumerate(step):
            x, y = first + pitch * (t + 0.5), 0.6 + 0.62 * row + 0.4 * (row >= k)
            ink = (ORANGE if (t, row) in best else BLUE) if one.kept else "#999999"
            start = centre[t - 1][one.parent]
            ax.plot([start[0], x - 0.38], [start[1], y], color=ink, lw=2 if one.kept else 1, zorder=0.5 + one.kept)
            centre[t][row] = (x + 0.38, y)
            weight = "bold" if one.kept else "normal"
            box = {"fc": "white", "ec": ink, "lw": 1.5 if one.kept else 0.6, "boxstyle": "round,pad=0.25"}
            words = f"{one.word}\n{one.total:.2f}".replace("-", "−")
            ax.text(
                x,
                y,
                words,
                ha="center",
                va="center",
                size=TEXT,
                weight=weight,
                color=INK if one.kept else FAINT,
                bbox=box,
            )
    return fig


def matched(hypothesis: Sequence[str], references: Sequence[Sequence[str]], n: int) -> list[bool]:
    """Which n-grams of a caption count, in its order: each as often as the reference that has it most often."""
    limit: Counter = Counter()
    for reference in references:
        limit |= Counter(tuple(reference[i : i + n]) for i in range(len(reference) - n + 1))
    found = []
    for i in range(len(hypothesis) - n + 1):
        run = tuple(hypothesis[i : i + n])
        found.append(limit[run] > 0)
        limit[run] -= 1
    return found


@course_look
def ngrams(hypothesis: Sequence[str], references: Sequence[Sequence[str]], *, title: str = "") -> Figure:
    """Draw a caption, and below its words its n-grams, n = 1 … 4, each in a box: green if a reference has it."""
    pitch, heights = 0.25, [0.0]
    for n in (1, 2, 3, 4):
        heights.append(heights[-1] + pitch * n + 0.2)
    head = 0.4 * bool(title)
    fig, ax = inches(head + 0.65 + heights[-1], title)
    left, right = 1.15, WIDTH - 1.0
    room = [0.35 + 0.1 * len(word) for word in hypothesis]
    unit = (right - left) / sum(room)
    starts = [left + unit * sum(room[:i]) for i in range(len(room) + 1)]
    for i, word in enumerate(hypothesis):
        ax.text((starts[i] + starts[i + 1]) / 2, head + 0.25, word, ha="center", va="center", size=12, weight="bold")
    for n, top in zip((1, 2, 3, 4), heights, strict=False):
        counted = matched(hypothesis, references, n)
        y = head + 0.6 + top
        middle = y + pitch / 2 * (n - 1)
        ax.text(0.1, middle, f"{n}-grams", va="center", size=12)
        ax.text(right + 0.12, middle, f"{sum(counted)} of {len(counted)}", va="center", size=12)
        for i, counts in enumerate(counted):
            left_end, wide, at = starts[i] + 0.03, starts[i + n] - starts[i] - 0.06, y + pitch * (i % n)
            look = {"fc": PALE, "ec": GREEN, "lw": 1.6} if counts else {"fc": "white", "ec": "#BBBBBB", "ls": "--"}
            ax.add_patch(Rectangle((left_end, at - 0.1), wide, 0.2, **look))
            for k in range(i, i + n):
                words = {"size": 10, "color": INK if counts else FAINT, "ha": "center", "va": "center_baseline"}
                ax.text((starts[k] + starts[k + 1]) / 2, at, hypothesis[k], **words)
    return fig
