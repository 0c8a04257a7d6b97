"""How good captions are: BLEU, ROUGE-L, and whether the model looked at what it named (slides 26 and 27)."""

import math
from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from lecture_utils.arguments import require_positive
from lecture_utils.captioning.vocabulary import split_words


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, n: int = 4) -> float:
    """BLEU-n of captions against one or more references each: how many runs of 1 … n words the references have too.

    Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002: over the whole set,
    with a penalty for what is too short. The number is torchmetrics'. 0 to 1; nan without captions.
    """
    from torchmetrics.functional.text import bleu_score  # seconds, which only scoring needs

    _require_references(hypotheses, references)
    require_positive(n=n)
    if not hypotheses:
        return float("nan")
    # Of two references as near in length the shorter one counts, in whatever order they come.
    wanted = [sorted(map(_words, many), key=lambda one: len(one.split())) for many in references]
    return bleu_score([_words(one) for one in hypotheses], wanted, n).item()


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of captions against one or more references each: how long the sequence of words is that both share.

    C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries", ACL Workshop 2004: the longest common
    subsequence as F1, of each caption's nearest reference, averaged over captions. (COCO's server weighs recall more.)
    The number is torchmetrics'. 0 to 1; nan without captions.
    """
    from torchmetrics.functional.text.rouge import rouge_score

    _require_references(hypotheses, references)
    if not hypotheses:
        return float("nan")
    wanted, plain = [list(map(_words, many)) for many in references], {"normalizer": str, "tokenizer": str.split}
    scores = rouge_score(list(map(_words, hypotheses)), wanted, "best", rouge_keys="rougeL", **plain)
    return scores["rougeL_fmeasure"].item()


def _require_references(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(hypotheses) != len(references):
        raise ValueError(
            f"references: got {len(references)}, expected a list for each of the {len(hypotheses)} captions"
        )
    if bad := [many for many in references if isinstance(many, str) or not many]:
        raise ValueError(f"references: got {bad[0]!r}, expected a list of one sentence or more for each caption")


def _words(caption: str) -> str:
    return " ".join(split_words(caption))


def clipped_matches(hypothesis: Sequence[str], references: Sequence[Sequence[str]], n: int) -> tuple[int, int]:
    """How many n-grams a caption shares with its references, clipped, and how many it has (Papineni et al., 2.1)."""
    runs = lambda words: Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))  # noqa: E731
    mine, theirs = runs(hypothesis), [runs(reference) for reference in references]
    matched = sum(min(count, max(one[run] for one in theirs)) for run, count in mine.items())
    return matched, sum(mine.values())


def points_in(
    box: Sequence[float], size: tuple[int, int], grid: tuple[int, int], *, tolerance: int = 1
) -> Bool[Tensor, "h w"]:
    """Which points of a grid over an image of `size` = (height, width) pixels lie in a box (x0, y0, x1, y1).

    Those whose cell the box touches, and `tolerance` cells around them.
    """
    (height, width), (rows, columns) = size, grid
    x0, y0, x1, y1 = box
    inside = torch.zeros(rows, columns, dtype=torch.bool)
    top, bottom = int(y0 * rows / height), math.ceil(y1 * rows / height)
    left, right = int(x0 * columns / width), math.ceil(x1 * columns / width)
    above, before = max(0, top - tolerance), max(0, left - tolerance)
    inside[above : max(0, bottom + tolerance), before : max(0, right + tolerance)] = True
    return inside
