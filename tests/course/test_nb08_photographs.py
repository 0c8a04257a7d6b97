"""Notebook 08 on photographs: Flickr8k as Kaggle attaches it, with words of several scripts and one long sentence."""

import random
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image

from lecture_course.nb08_show_attend_and_tell import photographs
from lecture_utils import runtime
from lecture_utils.datasets import flickr, kaggle_flickr8k
from lecture_utils.encoders import resnet_grid

SAID = ("a dog runs on the grass .", "två hundar leker i gräset .", "子供が走る。", "una niña, muy contenta, salta .")


@pytest.fixture
def folder(tmp_path):
    """Kaggle's layout: forty photographs of several sizes, five sentences each, one of 210 words."""
    root = tmp_path / "datasets/somebody/flickr8k"
    (root / "Images").mkdir(parents=True)
    dice, lines = np.random.default_rng(0), ["image,caption"]
    for number in range(40):
        name = f"{number}_{number * 7919 % 1000:03x}.jpg"
        size = (random.Random(number).randrange(180, 300), 240, 3)
        Image.fromarray(dice.integers(0, 256, size, dtype=np.uint8)).save(root / "Images" / name)
        lines += [f"{name},{SAID[(number + k) % 4]}" for k in range(4)]
        lines.append(f"{name}," + "a dog runs " * (70 if number == 7 else 1) + ".")
    (root / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_kaggles_flickr8k_is_found_where_it_is_whole(folder, tmp_path):
    assert kaggle_flickr8k(tmp_path) == folder
    (folder / "captions.txt").unlink()
    assert kaggle_flickr8k(tmp_path) is None
    assert kaggle_flickr8k(tmp_path / "datasets") is None


@pytest.mark.slide("27")
def test_a_captioner_learns_from_photographs_and_shows_where_it_looks(folder, monkeypatch):
    monkeypatch.setattr(photographs, "WIDTHS", {"dim": 16, "hidden": 24, "attention_dim": 8})
    monkeypatch.setattr(photographs, "SIZE", 64)
    run = replace(runtime.setup(device="cpu", quiet=True), precision="fp32")
    torch.manual_seed(0)
    found = photographs.learn(
        folder, run, encoder=resnet_grid("resnet18", trained=False), steps=60, batch_size=8, lr=1e-2, quiet=True
    )
    first, last = found.history.losses[0], sum(found.history.losses[-10:]) / 10
    assert last < 0.7 * first
    for word in ("hundar", "gräset", "走", "niña"):  # kept whole
        assert word in found.unseen.vocabulary
    names = {name for name in flickr.read_captions(folder / "captions.txt") if crc32(name.encode()) % 10 == 1}
    assert {path.name for path in found.unseen.dataset.sources[1]} == names  # none of them was learned from
    photo, words, maps = found.look(0)
    assert (photo.dtype, photo.shape) == (torch.uint8, (3, 64, 64))
    assert words
    assert maps.shape == (len(words), 2, 2)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(len(maps)))
