"""The tables of slide 35 against a copy of the slide's text, written by hand a second time."""

import re

import pytest

from lecture_utils.transformers import beit_results
from lecture_utils.transformers.beit_results import ADE20K, CORRECTED, IMAGENET, imagenet

pytestmark = pytest.mark.slide("35")

# As on the slide: a heading, then its rows; 384 at a name's foot is the side of its images.
FIRST = """
Training from scratch
    ViT384-B 86M 384 77.9 | ViT384-L 307M 384 76.5 | DeiT-B 86M 224 81.8 | DeiT384-B 86M 384 83.1
Supervised
    ViT384-B 86M 384 84.0 | ViT384-L 307M 384 85.2
Self-Supervised
    iGPT-1.36B 1.36B 224 66.5 | ViT384-B-JFT300M 86M 384 79.9 | MoCo v3-B 86M 224 83.2 | MoCo v3-L 307M 224 84.1
    DINO-B 86M 224 82.8 | BEiT-B 86M 224 83.2 | BEiT384-B 86M 384 84.6 | BEiT-T 307M 224 85.2 | BEiT384-L 307M 384 86.3
"""
SECOND = """
Supervised
    Swin-B 50.0 51.7 | Swin-L 52.1 53.5
ImageNet-22K
    BEiT-B+ 53.6 54.2 | BEiT-L+ 56.7 57.0
In-House-70M
    BEiT-L+ 57.9 58.4
"""


def parsed(text, numbers):
    """(heading, name, number, …) of each row."""
    heading, rows = "", []
    for line in text.strip().splitlines():
        if line.startswith(" "):
            rows += [(heading, *row.strip().rsplit(" ", numbers)) for row in line.split("|")]
        else:
            heading = line
    return rows


def test_the_first_table_is_the_slides():
    printed = parsed(FIRST, 3)
    assert len(printed) == 15
    for row, (heading, model, size, side, top1) in zip(IMAGENET, printed, strict=True):
        millions = float(size[:-1]) * (1000 if size.endswith("B") else 1)
        assert row[1:] == (model.replace("384", ""), millions, int(side), float(top1))
        assert row.training.lower().startswith(heading.lower())


def test_the_second_table_is_the_slides():
    for row, (heading, model, one, several) in zip(ADE20K, parsed(SECOND, 2), strict=True):
        assert row[1:] == (model, float(one), float(several))
        assert heading in row.training


def test_the_misprint_is_the_one_name_that_is_no_size_of_beit():
    names = {row.model for row in (*IMAGENET, *ADE20K) if row.model.startswith("BEiT")}
    assert {name for name in names if not re.fullmatch(r"BEiT-[BL]\+?", name)} == set(CORRECTED) == {"BEiT-T"}
    (misprinted,) = (row for row in IMAGENET if row.model == "BEiT-T")
    large = next(row for row in IMAGENET if row.model == CORRECTED["BEiT-T"])
    assert misprinted.millions == large.millions == 307


def test_a_row_is_found_by_its_right_name():
    assert imagenet("BEiT-L", 224).top1 == 85.2
    assert imagenet("ViT-B", 384).top1 == 77.9
    assert imagenet("DeiT-B", 384).training == beit_results.FROM_SCRATCH
    for name, side in (("BEiT-T", 224), ("BEiT-B", 512)):
        with pytest.raises(ValueError, match="model: got"):
            imagenet(name, side)
