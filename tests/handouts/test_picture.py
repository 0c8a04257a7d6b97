"""handouts/image.py: the image of the course can be drawn again, and weighs little on the pages that show it."""

from pathlib import Path

import numpy as np
import picture
from PIL import Image

STORED = Path(picture.__file__).with_name("course.jpg")


def test_the_stored_picture_is_what_the_script_draws(tmp_path):
    picture.main([str(tmp_path / "again.jpg")])
    stored, again = Image.open(STORED), Image.open(tmp_path / "again.jpg")
    assert stored.size == again.size
    coarse, fresh = (np.asarray(image.resize((16, 8)), float) for image in (stored, again))
    assert np.abs(coarse - fresh).max() < 20  # of 255: fonts and roundings may differ a little


def test_the_stored_picture_is_small():
    assert STORED.stat().st_size <= 300_000
