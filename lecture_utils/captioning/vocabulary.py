"""Words as numbers and back: the vocabulary of a captioner (slide 24)."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import regex
import torch
from jaxtyping import Int64
from torch import Tensor

from lecture_utils.arguments import require_whole

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
COMMAS = ",،、，"
_BOUNDARY = regex.compile(r"(?V1w)\b")  # Unicode's own, with the marks of every script
_WORD = regex.compile(rf"[\p{{L}}\p{{N}}]|^[{COMMAS}]$")
# Underscores, and what nobody sees: soft hyphens, marks of direction. Joiners stay, they belong to the spelling.
_DROPPED = regex.compile(r"(?V1)\p{Pc}|([\p{Cf}&&\p{Default_Ignorable_Code_Point}--[\u200c\u200d]])")
# Between characters of scripts that put no space between words; behind them nothing joins on.
_NO_SPACE = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SPACE = regex.compile(rf"(?V1) (?=[{COMMAS}])|(?<=[{_NO_SPACE}、，]) (?=[[{_NO_SPACE}]&&\p{{L}}&&\p{{WB=Other}}])")


def split_words(caption: str) -> list[str]:
    """The words of a caption, in lower case; commas count as words, other punctuation is dropped.

    Words end where Unicode says so (Standard Annex 29): vowel signs and other marks belong to their letters, "don't"
    and "3.5" are one word each. Scripts without spaces have no such ends: Chinese, Japanese (all but katakana), Thai,
    Lao, Khmer and Burmese give their characters one by one. Lower case is Unicode's, too, for all languages alike:
    Turkish I becomes i, and İ becomes an i with a dot of its own.
    """
    if not isinstance(caption, str):
        raise ValueError(f"caption: got {caption!r}, expected a str")
    text = _DROPPED.sub(lambda found: "" if found[1] else " ", caption.lower())
    return [part for part in _BOUNDARY.split(unicodedata.normalize("NFC", text)) if _WORD.search(part)]


class Vocabulary:
    """The words a captioner knows, numbered from 0: four special tokens, then `words` in their order.

    `<pad>` fills short captions, `<start>` and `<end>` stand around each, `<unknown>` for every other word.
    """

    def __init__(self, words: Iterable[str]):
        if isinstance(words, str):
            raise ValueError(f"words: got one str, {words!r}, expected a list of words")
        words = list(words)
        repeated = [word for word, times in Counter([*SPECIAL, *words]).items() if times > 1]
        if repeated:
            raise ValueError(f"words: got {repeated} twice, expected each word once and no special token")
        if odd := [word for word in words if not isinstance(word, str) or split_words(word) != [word]]:
            raise ValueError(f"words: got {odd}, expected words as `split_words` gives them")
        self.words = (*SPECIAL, *words)
        self._number = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def build(cls, captions: Iterable[str], *, min_freq: int = 1) -> "Vocabulary":
        """The words that occur at least `min_freq` times in the captions, the most frequent first."""
        require_whole("min_freq", min_freq)
        if isinstance(captions, str):
            raise ValueError(f"captions: got one str, {captions!r}, expected a list of captions")
        times = Counter(word for caption in captions for word in split_words(caption))
        frequent = [(-count, word) for word, count in times.items() if count >= min_freq]
        return cls(word for _, word in sorted(frequent))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._number

    def encode(self, caption: str) -> list[int]:
        """The caption's numbers between `<start>` and `<end>`."""
        return [START, *(self._number.get(word, UNKNOWN) for word in split_words(caption)), END]

    def to_tokens(self, numbers: Sequence[int] | Int64[Tensor, "t"]) -> list[str]:
        """The words up to the first `<end>`, without `<start>` and `<pad>`."""
        numbers, words = torch.as_tensor(numbers), []
        if numbers.ndim != 1 or (len(numbers) and numbers.is_floating_point()):
            raise ValueError(f"numbers: got {tuple(numbers.shape)} of {numbers.dtype}, expected whole numbers, (t,)")
        for number in numbers.tolist():
            if not 0 <= number < len(self):
                raise ValueError(f"numbers: got {number}, expected 0 to {len(self) - 1}")
            if number == END:
                break
            if number not in (PAD, START):
                words.append(self.words[number])
        return words

    def decode(self, numbers: Sequence[int] | Int64[Tensor, "t"]) -> str:
        """The same as one sentence, in lower case and without dropped punctuation, each space a single one.

        A comma follows its word at once, and so does a character of a script without spaces another one.
        """
        return _SPACE.sub("", " ".join(self.to_tokens(numbers)))


def pad(captions: Sequence[Sequence[int]]) -> Int64[Tensor, "b t"]:
    """Captions as one tensor, the shorter ones filled with `<pad>` at their end."""
    rows = [torch.as_tensor(caption, dtype=torch.int64) for caption in captions]
    if not rows:
        return torch.zeros(0, 0, dtype=torch.int64)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
