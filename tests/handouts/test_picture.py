"""handouts/picture.py: the pictures of the course can be drawn again, and weigh little on the pages that show them."""

import re
from pathlib import Path

import numpy as np
import picture
import pytest
from PIL import Image

STORED = Path(picture.__file__).with_name("course.jpg")
MOVING = STORED.with_suffix(".html")


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    picture.main([str(folder)])
    return folder


def test_the_stored_picture_is_what_the_script_draws(again):
    stored, fresh = Image.open(STORED), Image.open(again / "course.jpg")
    assert stored.size == fresh.size
    coarse = [np.asarray(image.resize((16, 8)), float) for image in (stored, fresh)]
    assert np.abs(coarse[0] - coarse[1]).max() < 20  # of 255: fonts and roundings may differ a little


def test_the_moving_picture_tells_what_the_script_tells(again):
    told = [re.findall(r'shown: ([^."]+)\.', path.read_text("utf-8")) for path in (MOVING, again / "course.html")]
    assert told[0] == told[1]
    assert {"a class for each pixel", "where it looks for “green”", "… and filled in"} <= set(told[0])


def test_the_stored_pictures_are_small():
    assert STORED.stat().st_size <= 300_000
    assert MOVING.stat().st_size <= 600_000
