"""Flickr8k's folder as Kaggle has it: commas, quotes, splits by photograph, and what may be wrong with it."""

import csv
import io
import pickle
import random
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from lecture_utils.datasets import Flickr8k, flickr
from lecture_utils.datasets.flickr import read_captions

SPLITS = ("train", "val", "test")


def write(root, lines, *, photos=(), encoding="utf-8", end="\n"):
    """A folder with captions.txt and photographs of several sizes."""
    (root / "Images").mkdir(parents=True, exist_ok=True)
    (root / "captions.txt").write_bytes(end.join(["image,caption", *lines, ""]).encode(encoding))
    for place, name in enumerate(photos):
        pixels = np.random.default_rng(place).integers(0, 256, (20 + place % 7, 31, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "Images" / name)
    return root


@pytest.fixture
def folder(tmp_path):
    names = [f"{number}_{number * 7919 % 1000:03x}.jpg" for number in range(100)]
    lines = [f"{name},Sentence {k} about {name} ." for name in names for k in range(5)]
    random.Random(0).shuffle(lines)  # a photograph's sentences need not stand together
    return write(tmp_path, lines, photos=names)


@pytest.mark.slide("24")
def test_splits_are_disjoint_by_photograph_and_its_sentences_stay_together(folder):
    data = {split: Flickr8k(folder, split) for split in SPLITS}
    names = [name for split in SPLITS for name in data[split].names]
    assert sorted(names) == sorted(path.name for path in (folder / "Images").iterdir())  # each in exactly one
    assert len(data["train"]) > 60
    assert min(len(data["val"]), len(data["test"])) >= 3
    for each in data.values():
        assert each.names == sorted(each.names)
        for index, name in enumerate(each.names):
            assert sorted(each.captions(index)) == [f"Sentence {k} about {name} ." for k in range(5)]


def test_a_photographs_split_depends_on_its_name_alone(folder, tmp_path):
    before = set(Flickr8k(folder, "test").names)
    lines = (folder / "captions.txt").read_text().splitlines()[1:]
    write(folder, [line for line in lines if not line.startswith(("1_", "2_"))])
    after = set(Flickr8k(folder, "test").names)
    assert after == {name for name in before if not name.startswith(("1_", "2_"))}


def test_items_are_photographs_and_sentences(folder):
    data = Flickr8k(str(folder), "val")
    for index in range(len(data)):
        image, captions = data[index]
        expected = np.asarray(Image.open(folder / "Images" / data.names[index]))
        assert type(image) is tv_tensors.Image
        assert image.dtype == torch.uint8
        assert np.array_equal(image.permute(1, 2, 0), expected)
        assert captions == data.captions(index)
        captions.clear()
        assert len(data.captions(index)) == 5  # what a caller does with its list is no one else's affair
    flipped = Flickr8k(folder, "val", transforms=v2.RandomHorizontalFlip(1))
    assert torch.equal(flipped[0][0], data[0][0].flip(-1))
    assert flipped[0][1] == data.captions(0)
    assert pickle.loads(pickle.dumps(data)).captions(0) == data.captions(0)


def test_a_greyscale_photograph_becomes_rgb(folder):
    name = Flickr8k(folder, "test").names[0]
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(folder / "Images" / name)
    image, _ = Flickr8k(folder, "test")[0]
    assert image.shape == (3, 20, 30)
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize(
    ("line", "caption"),
    [
        ("a.jpg,A dog runs .", "A dog runs ."),
        ('a.jpg,"A dog , a cat , and a boy ."', "A dog , a cat , and a boy ."),
        ("a.jpg,A dog , a cat , and a boy .", "A dog , a cat , and a boy ."),
        ('a.jpg,"A sign says ""stop"" , and all do ."', 'A sign says "stop" , and all do .'),
        ('a.jpg,A sign says "stop" in red', 'A sign says "stop" in red'),
        ("a.jpg, a space before and behind ", "a space before and behind"),
        ("a.jpg,Ein Mädchen läuft – 7'", "Ein Mädchen läuft – 7'"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_commas_and_quotes_in_sentences(tmp_path, line, caption, end, encoding):
    root = write(tmp_path, [line, "", "b.jpg,and the next one"], encoding=encoding, end=end)
    assert read_captions(root / "captions.txt") == {"a.jpg": [caption], "b.jpg": ["and the next one"]}


SENTENCE = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["a.jpg", "b.jpg", "c,d.jpg"]), SENTENCE), max_size=12), st.booleans())
@settings(max_examples=60)
def test_whatever_a_csv_writer_wrote_is_read(tmp_path_factory, rows, all_quoted):
    folder = tmp_path_factory.mktemp("flickr")
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    writer.writerows([["image", "caption"], *rows])
    (folder / "captions.txt").write_text(text.getvalue(), encoding="utf-8", newline="")
    expected = {}
    for name, sentence in rows:
        expected.setdefault(name, []).append(sentence.strip())
    assert read_captions(folder / "captions.txt") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got the header ''"),
        (b"name,text\na.jpg,b\n", "got the header 'name,text', expected 'image,caption'"),
        (b"image,caption\na.jpg,b\nc.jpg\n", r"line 3: got \['c.jpg'\]"),
        (b"image,caption\n,no photograph\n", "line 2"),
        (b"image,caption\na.jpg,\xff\xfe\n", "captions.txt.*decode"),
        (
            b'image,caption\na.jpg,"a quote that does not end\nb.jpg,a dog\nc.jpg,a cat\n',
            "line 4.*expected image,caption",
        ),
        (b'image,caption\na.jpg,"' + b"long " * 40_000, "captions.txt: field larger"),
    ],
)
def test_a_bad_captions_file_is_named_with_its_line(tmp_path, content, message):
    write(tmp_path, [], photos=["a.jpg"])
    (tmp_path / "captions.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        Flickr8k(tmp_path, "train")
    assert str(tmp_path / "captions.txt") in str(raised.value)
    assert len(str(raised.value)) < 400


def test_what_is_missing_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*Images: no such folder"):
        Flickr8k(folder / "nowhere", "train")
    (folder / "captions.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"captions\.txt: no such file"):
        Flickr8k(folder, "train")


def test_an_empty_split_is_refused(tmp_path):
    """One photograph falls into one of the splits, so the other two are empty."""
    write(tmp_path, ["a.jpg,a dog"], photos=["a.jpg"])
    (split,) = [split for split, tenths in flickr.SPLITS.items() if crc32(b"a.jpg") % 10 in tenths]
    assert len(Flickr8k(tmp_path, split)) == 1
    for empty in set(SPLITS) - {split}:
        with pytest.raises(ValueError, match=f"no photograph of it falls into the split '{empty}'"):
            Flickr8k(tmp_path, empty)


def test_bad_arguments_are_refused(folder):
    with pytest.raises(ValueError, match="split: got 'dev', expected one of train, val, test"):
        Flickr8k(folder, "dev")
    with pytest.raises(ValueError, match="on_error: got 'ignore'"):
        Flickr8k(folder, "train", on_error="ignore")


def test_broken_and_missing_photographs_are_left_out_on_request(folder):
    whole = Flickr8k(folder, "train")
    lost, broken = whole.names[2], whole.names[5]
    (folder / "Images" / lost).unlink()
    photo = folder / "Images" / broken
    photo.write_bytes(photo.read_bytes()[:200])
    with pytest.raises(FileNotFoundError, match=rf"captions.txt: cannot be used: 1 \(.*{lost}: no such file.*on_error"):
        Flickr8k(folder, "train")
    with pytest.raises(ValueError, match=f"{broken}: not a complete image"):
        whole[5]  # it is decoded when its turn comes
    with pytest.warns(UserWarning, match=rf"skipped 2 of {len(whole)} items: .*{lost}") as warned:
        kept = Flickr8k(folder, "train", on_error="skip")
    assert len(warned) == 1
    assert kept.names == [name for name in whole.names if name not in (lost, broken)]
    assert all(len(captions) == 5 for _, captions in kept)


def test_nothing_readable_is_an_error(folder):
    for photo in (folder / "Images").iterdir():
        photo.write_bytes(b"")
    with pytest.raises(ValueError, match="none of its"):
        Flickr8k(folder, "test", on_error="skip")


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg", "..\\secret.jpg", "C:\\secret.jpg"]
)
def test_names_stay_below_the_folder(folder, name):
    (folder / "secret.jpg").write_bytes(b"secret")
    with (folder / "captions.txt").open("a") as file:
        file.write(f"{name},A dog .\n")
    split = next(split for split, tenths in flickr.SPLITS.items() if crc32(name.encode()) % 10 in tenths)
    with pytest.raises(ValueError, match=r"captions.txt: cannot be used: 1 \(got the file name .*it would lead out"):
        Flickr8k(folder, split)


def test_blank_sentences_are_refused(folder):
    name = Flickr8k(folder, "train").names[3]
    with (folder / "captions.txt").open("a") as file:
        file.write(f"{name},  \n")
    with pytest.raises(ValueError, match=rf"cannot be used: 1 \({name}: got an empty caption, expected a sentence\)"):
        Flickr8k(folder, "train")
    with pytest.warns(UserWarning, match="skipped 1 of"):
        assert name not in Flickr8k(folder, "train", on_error="skip").names


def test_the_inventory_counts(folder):
    Image.new("RGB", (9, 9)).save(folder / "Images/unnamed.jpg")
    data = Flickr8k(folder, "test")
    assert data.inventory.counts == {
        "photographs": len(data), "sentences": 5 * len(data), "photographs of all splits": 100,
        "photographs without a sentence": 1,
    }  # fmt: skip
    assert data.target_count(0) == 5
    assert "100 photographs of all splits" in str(data.inventory)
