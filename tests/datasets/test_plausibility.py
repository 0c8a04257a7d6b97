"""Folders that hold something else than photographs beside their masks are refused when they are opened."""

import time
import warnings

import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from lecture_utils import toycity
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE, VOID_PALETTE, colour_labels
from lecture_utils.datasets import CityscapesPairs

# Colours as their data sets publish them.
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (64, 0, 0)]
ADE20K = [(120, 120, 120), (180, 120, 120), (6, 230, 230), (80, 50, 50), (4, 200, 3), (120, 120, 80), (204, 5, 255)]
CAMVID = [(128, 64, 128), (0, 0, 192), (128, 0, 0), (64, 192, 0), (64, 64, 128), (192, 192, 128), (128, 128, 128)]
TRAIN_IDS = [(k, k, k) for k in range(19)]
LABEL_IDS = [(k, k, k) for k in (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)]
FILES = {"png": {}, "jpg": {"quality": 75}, "rough.jpg": {"quality": 60}}


def scenes(size: int, number: int = 3):
    return [toycity.render(toycity.sample_scene(seed), size) for seed in range(number)]


def painted(labels: np.ndarray, colours) -> np.ndarray:
    """Label maps in other colours: class k in colour k, beginning anew where the palette ends."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(CLASSES)] = np.resize(np.array(colours, np.uint8), (len(CLASSES), 3))
    return table[labels]


def write(root, halves, kind="png"):
    """Write pairs of halves, or whole images, as root/train/N.png or .jpg."""
    (root / "train").mkdir(parents=True, exist_ok=True)
    for number, both in enumerate(halves, start=1):
        picture = np.hstack(both) if isinstance(both, tuple) else both
        Image.fromarray(picture).save(root / "train" / f"{number}.{kind}", **FILES[kind])
    return root


def opened_quietly(root, **options) -> CityscapesPairs:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return CityscapesPairs(root, **options)


def crop(photo: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BOX))


PHOTOGRAPHS = {
    name: getattr(photographs, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry")
}


# ---- what is right


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(("size", "number"), [(64, 8), (96, 8), (128, 6), (256, 3), (512, 2)])
def test_the_city_is_taken_for_pairs(tmp_path, size, number, kind):
    found = scenes(size, number)
    for picture in found:
        write(tmp_path, [(picture.image, colour_labels(picture.labels))], kind)
        assert len(opened_quietly(tmp_path)) == 1


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("to", [(256, 256), (100, 173)])
def test_masks_resized_with_blur_are_taken(tmp_path, to, kind):
    halves = []
    for picture, photo in zip(scenes(512, 3), PHOTOGRAPHS.values(), strict=False):
        mask = Image.fromarray(colour_labels(picture.labels)).resize(to[::-1], Image.Resampling.BILINEAR)
        halves.append((crop(photo, *to), np.asarray(mask)))
    assert len(opened_quietly(write(tmp_path, halves, kind))) == 3


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("photo", PHOTOGRAPHS)
def test_masks_of_one_colour_are_taken(tmp_path, photo, kind):
    colours = np.vstack([PALETTE, VOID_PALETTE])
    for number, colour in enumerate(colours[:: 1 if kind == "png" and photo == "rocket" else 5]):
        mask = np.zeros((96, 128, 3), np.uint8) + colour
        write(tmp_path / str(number), [(crop(PHOTOGRAPHS[photo], 96, 128), mask)], kind)
        assert len(opened_quietly(tmp_path / str(number))) == 1


@pytest.mark.parametrize("shape", [(8, 8), (9, 64), (40, 8), (31, 17)])
def test_the_smallest_pairs_are_taken(tmp_path, shape):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros((*shape, 3), np.uint8) + PALETTE[0]
    mask[: shape[0] // 2] = PALETTE[10]
    assert len(opened_quietly(write(tmp_path, [(photo, mask)]))) == 1


# ---- what is something else

WRONG = {
    "photographs": "have no mask: their right half looks like a photograph",
    "two photographs": "have no mask: their right half looks like a photograph",
    "swapped": "have the mask on the left",
    "masks": "have a mask in either half",
    "stacked": "have the photograph above its mask",
    "VOC": "have masks in another palette",
    "ADE20K": "have masks in another palette",
    "CamVid": "have masks in another palette",
    "train ids": "have masks of class numbers",
    "label ids": "have masks of class numbers",
}


def wrong(name: str, size: int) -> list:
    found = scenes(size, 3)
    masks = [colour_labels(picture.labels) for picture in found]
    images = [picture.image for picture in found]
    palettes = {"VOC": VOC, "ADE20K": ADE20K, "CamVid": CAMVID, "train ids": TRAIN_IDS, "label ids": LABEL_IDS}
    if name in palettes:
        return [(picture.image, painted(picture.labels, palettes[name])) for picture in found]
    return {
        "photographs": images,
        "two photographs": list(zip(images, images[::-1], strict=True))[::2],
        "swapped": list(zip(masks, images, strict=True)),
        "masks": list(zip(masks, masks[1:] + masks[:1], strict=True)),
        "stacked": [np.vstack(both) for both in zip(images, masks, strict=True)],
    }[name]


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("size", [96, 256])
@pytest.mark.parametrize("name", WRONG)
def test_other_folders_are_refused_and_named(tmp_path, name, size, kind):
    write(tmp_path, wrong(name, size), kind)
    with pytest.raises(ValueError, match="files looked at") as caught:
        CityscapesPairs(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'train'}: ")
    assert WRONG[name] in message
    assert f"1.{kind}" in message
    assert "Expected the photograph on the left and its mask" in message
    assert "check_masks=False" in message
    assert len(opened_quietly(tmp_path, check_masks=False)) > 0


@pytest.mark.parametrize("photo", PHOTOGRAPHS)
@pytest.mark.parametrize("shape", [(256, 512), (300, 200), (64, 64)])
@pytest.mark.parametrize("light", [1, 0.3])
def test_photographs_without_masks_are_refused(tmp_path, photo, shape, light):
    write(tmp_path, [np.uint8(light * crop(PHOTOGRAPHS[photo], *shape))] * 2, "jpg")
    with pytest.raises(ValueError, match="have no mask: their right half looks like a photograph"):
        CityscapesPairs(tmp_path)


def test_another_palette_is_named_by_its_colours_and_taken_where_it_is_given(tmp_path):
    write(tmp_path, wrong("VOC", 128))
    with pytest.raises(ValueError, match=r"colours near \(\d+, \d+, \d+\) and .*palette=\{\(128, 0, 0\): 0, …\}"):
        CityscapesPairs(tmp_path)
    palette = {colour: label for label, colour in enumerate(VOC)}
    assert set(np.unique(opened_quietly(tmp_path, palette=palette)[0][1])) <= set(range(len(VOC)))
    with pytest.raises(ValueError, match="have masks in another palette"):
        CityscapesPairs(tmp_path, palette={colour: label for label, colour in enumerate(ADE20K)})


def test_class_numbers_are_taken_where_they_are_given(tmp_path):
    write(tmp_path, wrong("train ids", 96))
    data = opened_quietly(tmp_path, palette={(k, k, k): k for k in range(19)})
    labels = scenes(96, 1)[0].labels
    known = labels != IGNORE_INDEX
    assert np.array_equal(data[0][1].numpy()[known], labels[known])


def test_one_stranger_among_pairs_is_warned_of(tmp_path):
    found = scenes(96, 8)
    write(tmp_path, [*[(picture.image, colour_labels(picture.labels)) for picture in found[:7]], found[7].image])
    with pytest.warns(UserWarning, match=r"1 of 8 files looked at have no mask.*: 8\.png") as caught:
        assert len(CityscapesPairs(tmp_path)) == 8
    assert len(caught) == 1


def test_files_that_cannot_be_read_are_left_to_their_turn(tmp_path):
    write(tmp_path, [(picture.image, colour_labels(picture.labels)) for picture in scenes(96, 3)])
    (tmp_path / "train" / "2.png").write_bytes(b"nothing")
    data = opened_quietly(tmp_path)
    with pytest.raises(ValueError, match=r"2\.png: not a complete image"):
        data[1]


def test_looking_is_quick(tmp_path):
    rng = np.random.default_rng(0)
    photo = np.repeat(np.repeat(rng.integers(0, 256, (256, 512, 3), dtype=np.uint8), 4, 0), 4, 1)
    mask = np.repeat(np.repeat(colour_labels(scenes(512, 1)[0].labels), 2, 0), 4, 1)
    write(tmp_path, [(photo, mask)] * 20, "jpg")  # as large as Cityscapes' own
    start = time.process_time()
    CityscapesPairs(tmp_path)
    assert time.process_time() - start < 1.5
