"""Words as numbers and back, for any text."""

import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecture_utils import toycity
from lecture_utils.captioning import Vocabulary, pad, split_words
from lecture_utils.captioning.vocabulary import END, PAD, SPECIAL, START, UNKNOWN

pytestmark = pytest.mark.slide("24")


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_every_text_comes_back_word_by_word(texts):
    vocabulary = Vocabulary.build(texts)
    for text in texts:
        numbers = vocabulary.encode(text)
        assert (numbers[0], numbers[-1]) == (START, END)
        assert UNKNOWN not in numbers
        assert not {PAD, START, END} & set(numbers[1:-1])
        assert vocabulary.to_tokens(numbers) == split_words(text)
        assert split_words(vocabulary.decode(numbers)) == split_words(text)
        assert vocabulary.encode(vocabulary.decode(numbers)) == numbers


@given(st.lists(st.integers(4, 12), max_size=12), st.integers(0, 3))
def test_every_sequence_of_numbers_comes_back(numbers, padding):
    vocabulary = Vocabulary(["a", "red", "car", ",", "and", "don't", "über", "7", "车"])
    assert len(vocabulary) == 13
    sentence = [START, *numbers, END, *[PAD] * padding]
    assert vocabulary.encode(vocabulary.decode(sentence)) == [START, *numbers, END]
    assert vocabulary.decode(torch.tensor(sentence)) == vocabulary.decode(sentence)


@given(st.text())
def test_splitting_what_was_split_changes_nothing(text):
    words = split_words(text)
    assert split_words(" ".join(words)) == words
    assert all(split_words(word) == [word] for word in words)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A red car.", ["a", "red", "car"]),
        ("A car, a van,and a bus!", ["a", "car", ",", "a", "van", ",", "and", "a", "bus"]),
        ("  two \t dogs\nrun ", ["two", "dogs", "run"]),
        ("the man's dog doesn't bark", ["the", "man's", "dog", "doesn't", "bark"]),
        ("'quoted' “words”", ["quoted", "words"]),
        ("T-shirt, snake_case", ["t", "shirt", ",", "snake", "case"]),
        ("Ein Mädchen läuft ÜBER 7 Brücken", ["ein", "mädchen", "läuft", "über", "7", "brücken"]),
        ("cafe\u0301", ["café"]),  # an accent of its own is that of the letter
        ("<start> a <end>", ["start", "a", "end"]),
        ("", []),
        ("?!... –", []),
    ],
)
def test_words_and_punctuation(caption, words):
    assert split_words(caption) == words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("नमस्ते दुनिया। एक लाल गाड़ी", ["नमस्ते", "दुनिया", "एक", "लाल", "गाड़ी"]),  # Hindi
        ("একটি লাল গাড়ি।", ["একটি", "লাল", "গাড়ি"]),  # Bengali
        ("ஒரு சிவப்பு கார்", ["ஒரு", "சிவப்பு", "கார்"]),  # Tamil
        ("മലയാളം ഒരു ഭാഷ", ["മലയാളം", "ഒരു", "ഭാഷ"]),  # Malayalam
        ("كَلْبٌ أَحْمَرُ، وقطة", ["كَلْبٌ", "أَحْمَرُ", "،", "وقطة"]),  # Arabic with vowels
        ("كلب\u200f أسود", ["كلب", "أسود"]),  # a mark of direction is no letter
        ("می\u200cخواهم برم", ["می\u200cخواهم", "برم"]),  # Persian, with a joiner
        ("יֶלֶד רָץ בצה״ל", ["יֶלֶד", "רָץ", "בצה״ל"]),  # Hebrew with points
        ("İstanbul'da BİR köpek", ["i\u0307stanbul'da", "bi\u0307r", "köpek"]),  # Turkish
        ("한국어 자동차", ["한국어", "자동차"]),
        ("ein Fußball\u00adspiel", ["ein", "fußballspiel"]),
        ("from 3.5 to 1,000 m", ["from", "3.5", "to", "1,000", "m"]),
        ("カメラと赤い車、猫", ["カメラ", "と", "赤", "い", "車", "、", "猫"]),
        ("一辆红色的车", ["一", "辆", "红", "色", "的", "车"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),  # without spaces, character by character
    ],
)
def test_words_of_other_scripts(caption, words):
    assert split_words(caption) == words


@pytest.mark.parametrize(
    "sentence",
    [
        "नमस्ते दुनिया, एक लाल गाड़ी", "একটি লাল গাড়ি", "ஒரு சிவப்பு கார்",
        "كَلْبٌ أَحْمَرُ، وقطة", "می\u200cخواهم برم", "یک سگ",
        "kızıl bir köpek, ığdır", "ein mädchen läuft über 7 brücken", "chú chó chạy nhanh", "한국어 자동차",
        "สวัสดีชาวโลก",
        "一辆红色的车，在树下", "赤い車、白い犬", "ខ្ញុំស្រលាញ់", "собака, щенок", "ένας σκύλος", "the dog's 3.5 m leash",
    ],
)  # fmt: skip
def test_the_sentence_comes_back(sentence):
    vocabulary = Vocabulary.build([sentence])
    assert vocabulary.decode(vocabulary.encode(sentence)) == sentence


MIXED = "aZ3.,'’_ \u0301\u200d\u200c\u00ad\u0e01\u0e34一々,、，ひカ가İIıΣ\u093f\u0915\u094d❤\n‿\u200fא״\"\u180e\u3099"


@given(st.lists(st.text(st.sampled_from(MIXED), max_size=10), min_size=1, max_size=3))
def test_no_mixture_of_scripts_and_marks_is_lost(texts):
    vocabulary = Vocabulary.build(texts)
    for text in texts:
        words = split_words(text)
        assert all(word.split() == [word] for word in words)  # BLEU splits at spaces
        assert split_words(" ".join(words)) == words
        assert split_words(vocabulary.decode(vocabulary.encode(text))) == words


def test_the_citys_words_are_split_as_ever():
    """As by the pattern with which the shipped captioners learned."""
    pattern = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|,")
    for split in ("train", "val", "test"):
        for seed in toycity.seeds(split, 40):
            scene = toycity.sample_scene(seed)
            for caption in toycity.describe(scene, toycity.render(scene, 64)):
                assert split_words(caption) == pattern.findall(caption)


def test_sentences_are_written_as_people_do():
    vocabulary = Vocabulary.build(["a red car, a sign and a person"])
    assert vocabulary.decode(vocabulary.encode("A red car , a sign , and a person !")) == (
        "a red car, a sign, and a person"
    )


def test_the_citys_sentences_come_back_exactly():
    vocabulary = Vocabulary(toycity.WORDS)
    for seed in range(40):
        scene = toycity.sample_scene(seed)
        for caption in toycity.describe(scene, toycity.render(scene, 64)):
            assert vocabulary.decode(vocabulary.encode(caption)) == caption


def test_special_tokens_come_first_and_are_spoken_of_by_number():
    vocabulary = Vocabulary(["a"])
    assert vocabulary.words == ("<pad>", "<start>", "<end>", "<unknown>", "a")
    assert [vocabulary.words[number] for number in (PAD, START, END, UNKNOWN)] == list(SPECIAL)
    assert "a" in vocabulary
    assert "b" not in vocabulary
    assert len(Vocabulary([])) == 4


def test_a_word_it_does_not_know():
    vocabulary = Vocabulary(["a", "car"])
    numbers = vocabulary.encode("a purple car")
    assert numbers == [START, 4, UNKNOWN, 5, END]
    assert vocabulary.decode(numbers) == "a <unknown> car"


def test_spelling_ends_at_the_first_end():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.to_tokens([START, 4, PAD, 5, END, 5, END]) == ["a", "b"]
    assert vocabulary.to_tokens([4, 5]) == ["a", "b"]
    assert (
        vocabulary.to_tokens([])
        == vocabulary.to_tokens([END])
        == vocabulary.to_tokens(torch.zeros(3, dtype=torch.int64))
        == []
    )


def test_words_that_are_rare_are_left_out():
    captions = ["a b c", "a b", "a"]
    assert [len(Vocabulary.build(captions, min_freq=minimum)) - 4 for minimum in (1, 2, 3, 4)] == [3, 2, 1, 0]
    assert Vocabulary.build(captions, min_freq=2).encode("a b c")[1:-1] == [4, 5, UNKNOWN]


@given(st.lists(st.text("abcde ,", max_size=12), max_size=8), st.integers(0, 100))
def test_numbers_do_not_depend_on_the_order_of_the_captions(captions, seed):
    """The most frequent first, and among equals the alphabet: the same on every machine."""
    words = Vocabulary.build(captions).words
    shuffled = list(captions)
    random.Random(seed).shuffle(shuffled)
    assert Vocabulary.build(iter(shuffled)).words == words
    times = [sum(split_words(caption).count(word) for caption in captions) for word in words[4:]]
    assert times == sorted(times, reverse=True)
    assert list(words[4:]) == sorted(words[4:], key=lambda word: (-times[words.index(word) - 4], word))


def test_no_captions_no_words():
    assert len(Vocabulary.build([])) == 4
    assert Vocabulary.build([""]).encode("") == [START, END]
    assert Vocabulary([]).decode([START, END]) == ""


@pytest.mark.parametrize("words", [["a", "b", "a"], ["<pad>"], ["x", "<unknown>"]])
def test_refuses_a_word_twice(words):
    with pytest.raises(ValueError, match=r"words: got .* twice"):
        Vocabulary(words)


@pytest.mark.parametrize("words", ["abc", ["Red"], ["two words"], [""], ["end."], ["a", 3]])
def test_refuses_words_that_no_caption_can_hold(words):
    """They would be in the vocabulary, and no sentence would ever be encoded with them."""
    with pytest.raises(ValueError, match="words: got"):
        Vocabulary(words)


@pytest.mark.parametrize("minimum", [0, -1, 1.5, True, "2"])
def test_refuses_a_minimum_below_one(minimum):
    with pytest.raises(ValueError, match="min_freq: got"):
        Vocabulary.build(["a"], min_freq=minimum)


def test_refuses_what_are_no_captions():
    with pytest.raises(ValueError, match="captions: got one str, 'a car'"):
        Vocabulary.build("a car")
    for caption in (None, 3, ["a"]):
        with pytest.raises(ValueError, match="caption: got"):
            Vocabulary(["a"]).encode(caption)


@pytest.mark.parametrize("numbers", [[4, 99], [-1], torch.tensor([5])])
def test_refuses_numbers_of_no_word(numbers):
    with pytest.raises(ValueError, match=r"numbers: got -?\d+, expected 0 to 4"):
        Vocabulary(["a"]).to_tokens(numbers)


@pytest.mark.parametrize("numbers", [torch.zeros(2, 3, dtype=torch.int64), [[4], [4]], torch.tensor(4), 4, [1.5]])
def test_refuses_several_captions_at_once(numbers):
    with pytest.raises(ValueError, match=r"numbers: got .*expected"):
        Vocabulary(["a"]).decode(numbers)


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=5))
def test_shorter_captions_are_filled_at_their_end(captions):
    padded = pad(captions)
    assert padded.dtype == torch.int64
    assert padded.shape == (len(captions), max(map(len, captions), default=0))
    for row, caption in zip(padded.tolist(), captions, strict=True):
        assert row[: len(caption)] == caption
        assert not any(row[len(caption) :])
    assert torch.equal(pad([torch.tensor(caption, dtype=torch.int64) for caption in captions]), padded)
