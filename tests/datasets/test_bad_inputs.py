"""Bad input to the readers and the message it gets; `python tests/datasets/test_bad_inputs.py` prints the table."""

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples_on_disk import caption_content, coco_content, coco_folder, instance, pair_folder

from lecture_utils.datasets import CityscapesPairs, CocoCaptions, CocoInstances, nearest_class, split_pair

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
# jaxtyping's checks, where the run has them on, come before the functions' own words and add frames to the stack.
unchecked_run = pytest.mark.skipif(hasattr(CityscapesPairs.__len__, "__wrapped__"), reason="type checks are on")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save(path: Path, width: int, height: int, mode: str = "RGB") -> None:
    Image.new(mode, (width, height)).save(path)


# One bad file, 2.jpg or 2.png, among five. name: (suffix, damage, fragment of the message)
BAD_PAIRS = {
    "truncated JPEG": (".jpg", cut_short, "not a complete image"),
    "truncated PNG": (".png", cut_short, "not a complete image"),
    "empty file": (".jpg", lambda path: path.write_bytes(b""), "not a complete image"),
    "text named .jpg": (".jpg", lambda path: path.write_text("<html>404</html>"), "not a complete image"),
    "odd width": (".jpg", lambda path: save(path, 81, 24), "got 81×24 pixels, expected an even width"),
    "too small": (".jpg", lambda path: save(path, 14, 24), "got 14×24 pixels, expected at least 16×8"),
    "greyscale JPEG": (".jpg", lambda path: save(path, 80, 24, "L"), "got a greyscale image (mode L)"),
    "greyscale 16-bit PNG": (".png", lambda path: save(path, 80, 24, "I;16"), "got a greyscale image (mode I"),
    "black-and-white PNG": (".png", lambda path: save(path, 80, 24, "1"), "got a greyscale image (mode 1)"),
    "folder named .jpg": (".jpg", lambda path: (path.unlink(), path.mkdir()), "not a complete image"),
}


def first_segmentation(value):
    return lambda content, path: content["annotations"][0].update(segmentation=value)


# One bad image or annotation of three. name: (change(content, path of image 5), exception, fragment)
# Photographs are decoded when their turn comes; all else is seen at opening.
BAD_COCO_ITEMS = {
    "image truncated": (
        lambda content, path: cut_short(path),
        ValueError,
        "000000000005.jpg: not a complete image",
    ),
    "image of another size": (
        lambda content, path: save(path, 37, 53),
        ValueError,
        "000000000005.jpg: got 37×53 pixels, expected 53×37",
    ),
}
BAD_COCO_RECORDS = {
    "image absent": (lambda content, path: path.unlink(), FileNotFoundError, "000000000005.jpg: no such file"),
    "polygon of two points": (first_segmentation([[1, 2, 3, 4]]), ValueError, "annotations[0] (id 1): cannot decode"),
    "polygon of seven numbers": (first_segmentation([[1, 2, 3, 4, 5, 6, 7]]), ValueError, "three points"),
    "no polygon": (first_segmentation([]), ValueError, "annotations[0] (id 1): cannot decode"),
    "run lengths, height and width swapped": (
        first_segmentation({"size": [53, 37], "counts": [53 * 37]}),
        ValueError,
        "run lengths of size [53, 37], expected [37, 53]",
    ),
    "run lengths too short": (
        first_segmentation({"size": [37, 53], "counts": [5, 6]}),
        ValueError,
        "do not cover the image",
    ),
    "run lengths too long": (
        first_segmentation({"size": [37, 53], "counts": [5, 9999]}),
        ValueError,
        "annotations[0] (id 1): cannot decode",
    ),
    "compressed run lengths cut short": (
        lambda content, path: content["annotations"][1]["segmentation"].update(
            counts=content["annotations"][1]["segmentation"]["counts"][:-3]
        ),
        ValueError,
        "do not cover the image",
    ),
    "run lengths without counts": (
        first_segmentation({"size": [37, 53]}),
        ValueError,
        "annotations[0] (id 1): cannot decode",
    ),
    "box of three numbers": (
        lambda content, path: content["annotations"][0].update(bbox=[1, 2, 3]),
        ValueError,
        "annotations[0] (id 1): got bbox [1, 2, 3], expected [x, y, width, height]",
    ),
    "image without width": (
        lambda content, path: content["images"][1].pop("width"),
        ValueError,
        "images[1] (id 5) lacks 'width'",
    ),
    "annotation without box": (
        lambda content, path: content["annotations"][2].pop("bbox"),
        ValueError,
        "annotations[2] (id 3) lacks 'bbox'",
    ),
    "category id not listed": (
        lambda content, path: content["annotations"].append(instance(8, 5, 4, [[0, 0, 9, 0, 9, 9]], [0.0, 0, 9, 9])),
        ValueError,
        "annotations[5] (id 8): got category_id 4, that 'categories' does not list",
    ),
    "box of words": (
        lambda content, path: content["annotations"][0].update(bbox=["a", "b", "c", "d"]),
        ValueError,
        'annotations[0] (id 1): got bbox ["a", "b", "c", "d"]',
    ),
    "box of nan": (
        lambda content, path: content["annotations"][0].update(bbox=[1.0, 2.0, float("nan"), 4.0]),
        ValueError,
        "annotations[0] (id 1): got bbox [1.0, 2.0, NaN, 4.0]",
    ),
}


def broken_json(text):
    def act(folder, on_error):
        images, annotations = coco_folder(folder)
        annotations.write_text(text)
        CocoInstances(images, annotations, on_error=on_error)

    return act


def changed_json(change):
    def act(folder, on_error):
        content = coco_content()
        change(content)
        CocoInstances(*coco_folder(folder, content), on_error=on_error)

    return act


def missing_file(folder, on_error):
    images, annotations = coco_folder(folder)
    CocoInstances(images, annotations.with_name("instances_val2017.json"), on_error=on_error)


def missing_images(folder, on_error):
    _, annotations = coco_folder(folder)
    CocoInstances(folder / "train2014", annotations, on_error=on_error)


def instances_for_captions(folder, on_error):
    CocoCaptions(*coco_folder(folder), on_error=on_error)


def missing_split(folder, on_error):
    pair_folder(folder)
    CityscapesPairs(folder, "val", on_error=on_error)


def empty_folder(folder, on_error):
    (folder / "cityscapes_data" / "train").mkdir(parents=True)
    CityscapesPairs(folder, on_error=on_error)


def wrong_size_argument(size):
    def act(folder, on_error):
        pair_folder(folder)
        CityscapesPairs(folder, size=size, on_error=on_error)

    return act


COMMAND = "python -m lecture_utils data --out"
# Nothing to read at all: raised at once with either on_error. name: (act(folder, on_error), exception, fragments)
BAD_WHOLES = {
    "pairs: no such folder": (
        lambda folder, on_error: CityscapesPairs(folder / "nowhere", on_error=on_error),
        FileNotFoundError,
        ("nowhere: no such folder", COMMAND, "--split train", "cityscapes-image-pairs"),
    ),
    "pairs: no such split": (
        missing_split,
        FileNotFoundError,
        ("val: no such folder", COMMAND, "--split val", "cityscapes-image-pairs"),
    ),
    "pairs: empty folder": (empty_folder, FileNotFoundError, ("train: holds no image", ".jpg", COMMAND)),
    "pairs: size 0": (wrong_size_argument(0), ValueError, ("size: got 0",)),
    "pairs: size below 0": (wrong_size_argument((-4, 8)), ValueError, ("size: got (-4, 8)",)),
    "COCO: no annotation file": (missing_file, FileNotFoundError, ("instances_val2017.json: no such file", COMMAND)),
    "COCO: no folder of images": (missing_images, FileNotFoundError, ("train2014: no such folder", COMMAND)),
    "COCO: broken JSON": (broken_json('{"images": [{"id"'), ValueError, ("train2017.json: not valid JSON",)),
    "COCO: not text": (broken_json("\0\1"), ValueError, ("train2017.json: not valid JSON",)),
    "COCO: a list": (broken_json("[]"), ValueError, ("train2017.json: got no list 'images'",)),
    "COCO: no image": (changed_json(lambda content: content["images"].clear()), ValueError, ("'images' is empty",)),
    "COCO: no categories": (changed_json(lambda content: content.pop("categories")), ValueError, ("'categories'",)),
    "COCO: instances read as captions": (
        instances_for_captions,
        ValueError,
        ("annotations[0] (id 1) lacks 'caption'",),
    ),
    "colours as floats": (
        lambda folder, on_error: _unchecked(nearest_class)(np.zeros((4, 5, 3), np.float32)),
        ValueError,
        ("rgb: got float32 of shape (4, 5, 3), expected uint8 of shape (H, W, 3)",),
    ),
    "colours without channels": (
        lambda folder, on_error: _unchecked(nearest_class)(np.zeros((4, 5), np.uint8)),
        ValueError,
        ("rgb: got uint8 of shape (4, 5)",),
    ),
    "a pair as a tensor (3, H, W)": (
        lambda folder, on_error: split_pair(np.zeros((3, 32, 64), np.uint8)),
        ValueError,
        ("image: got uint8 of shape (3, 32, 64), expected uint8 of shape (H, 2W, 3)",),
    ),
}


def _unchecked(function):
    # Where the tests run with jaxtyping's checks on, those would refuse the shape before the function's own words do.
    return getattr(function, "__wrapped__", function)


def bad_pairs(folder: Path, name: str) -> Path:
    suffix, damage, _ = BAD_PAIRS[name]
    pair_folder(folder, range(1, 6), suffix=suffix)
    path = folder / "train" / f"2{suffix}"
    damage(path)
    return path


def bad_coco(folder: Path, name: str) -> tuple[Path, Path]:
    content = coco_content()
    content["annotations"].pop()  # of a box without area
    images, annotations = coco_folder(folder)
    (BAD_COCO_ITEMS | BAD_COCO_RECORDS)[name][0](content, images / "000000000005.jpg")
    annotations.write_text(json.dumps(content))
    return images, annotations


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_bad_pair_raises_naming_the_file(tmp_path, name):
    path = bad_pairs(tmp_path, name)
    data = CityscapesPairs(tmp_path)
    assert len(data) == 5
    assert data[0][1].shape == (24, 40)
    for read in (lambda: data[1], data.preload):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert BAD_PAIRS[name][2] in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_bad_pair_is_skipped_with_one_warning(tmp_path, name):
    path = bad_pairs(tmp_path, name)
    with pytest.warns(UserWarning, match="skipped 1 of 5 items") as caught:
        data = CityscapesPairs(tmp_path, on_error="skip")
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    assert BAD_PAIRS[name][2] in str(caught[0].message)
    assert [file.stem for file in data.files] == ["1", "3", "4", "5"]
    assert len(list(data.preload())) == len(data) == 4


@pytest.mark.parametrize("name", BAD_COCO_ITEMS)
def test_bad_coco_item_raises_naming_it(tmp_path, name):
    data = CocoInstances(*bad_coco(tmp_path, name))
    assert len(data) == 3
    assert data[2][1]["image_id"] == 42
    _, exception, fragment = BAD_COCO_ITEMS[name]
    with pytest.raises(exception) as caught:
        data[0]
    assert fragment in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", BAD_COCO_RECORDS)
def test_bad_coco_record_is_refused_at_opening(tmp_path, name):
    _, exception, fragment = BAD_COCO_RECORDS[name]
    folder = bad_coco(tmp_path, name)
    with pytest.raises(exception) as caught:
        CocoInstances(*folder)
    assert str(caught.value).startswith(f"{folder[1]}: ")
    assert fragment in str(caught.value)
    assert "on_error='skip'" in str(caught.value)


@pytest.mark.parametrize("name", BAD_COCO_ITEMS | BAD_COCO_RECORDS)
def test_bad_coco_item_is_skipped_with_one_warning(tmp_path, name):
    folder = bad_coco(tmp_path, name)
    with pytest.warns(UserWarning, match="skipped 1 of 3 items") as caught:
        data = CocoInstances(*folder, on_error="skip")
    own = [warning for warning in caught if warning.category is UserWarning]
    assert len(own) == 1
    assert (BAD_COCO_ITEMS | BAD_COCO_RECORDS)[name][2] in str(own[0].message)
    assert [target["image_id"] for _, target in data] == [9, 42]


@pytest.mark.filterwarnings("ignore:.*images without a caption")
@pytest.mark.parametrize("name", ["image absent", "image truncated", "image of another size"])
def test_captions_treat_bad_images_alike(tmp_path, name):
    images, annotations = bad_coco(tmp_path, name)
    captions = annotations.with_name("captions_train2017.json")
    captions.write_text(json.dumps(caption_content()))
    _, exception, fragment = (BAD_COCO_ITEMS | BAD_COCO_RECORDS)[name]
    with pytest.raises(exception) as caught:
        CocoCaptions(images, captions)[0]
    assert fragment in str(caught.value)
    with pytest.warns(UserWarning, match="skipped 1 of 3 items"):
        data = CocoCaptions(images, captions, on_error="skip")
    assert [text for _, text in data] == [[], ["Somebody – alone."]]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("name", BAD_WHOLES)
def test_what_cannot_be_read_at_all_raises_at_once(tmp_path, name, on_error):
    act, exception, fragments = BAD_WHOLES[name]
    with pytest.raises(exception) as caught:
        act(tmp_path, on_error)
    for fragment in fragments:
        assert fragment in str(caught.value)


@unchecked_run
def test_the_warning_points_at_the_line_that_made_the_reader(tmp_path):
    bad_pairs(tmp_path / "pairs", "odd width")
    folder = bad_coco(tmp_path, "image absent")
    with pytest.warns(UserWarning, match="skipped") as pairs_warned:
        CityscapesPairs(tmp_path / "pairs", on_error="skip")
    with pytest.warns(UserWarning, match="skipped") as coco_warned:
        CocoInstances(*folder, on_error="skip")
    warned = [warning for warning in (*pairs_warned, *coco_warned) if warning.category is UserWarning]
    assert [warning.filename for warning in warned] == [__file__] * 2


@unchecked_run
@pytest.mark.parametrize("size", [(3, 4, 5), "ab", 8.5, [8, 0]])
def test_size_is_one_number_or_two(tmp_path, size):
    pair_folder(tmp_path)
    with pytest.raises(ValueError, match=r"size: got .*, expected"):
        CityscapesPairs(tmp_path, size=size)


def test_on_error_knows_two_words(tmp_path):
    pair_folder(tmp_path)
    for make in (
        lambda: CityscapesPairs(tmp_path, on_error="ignore"),
        lambda: CocoInstances(*coco_folder(tmp_path), on_error="ignore"),
        lambda: CocoCaptions(*coco_folder(tmp_path), on_error="ignore"),
    ):
        with pytest.raises(ValueError, match="on_error: got 'ignore', expected 'raise' or 'skip'"):
            make()


def test_a_file_that_vanished_is_named(tmp_path):
    pair_folder(tmp_path)
    data = CityscapesPairs(tmp_path)
    data.files[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.png: no such file"):
        data[1]


def test_many_bad_files_are_counted_and_the_first_named(tmp_path):
    pair_folder(tmp_path, range(1, 21))
    for number in range(3, 10):
        cut_short(tmp_path / "train" / f"{number}.png")
    with pytest.warns(UserWarning, match="skipped 7 of 20") as caught:
        data = CityscapesPairs(tmp_path, on_error="skip")
    message = str(caught[0].message)
    assert [f"{number}.png" in message for number in range(3, 10)] == [True] * 3 + [False] * 4
    assert message.endswith("and 4 more")
    assert len(caught) == 1
    assert len(data) == 13


def test_when_every_file_is_bad_skipping_raises_too(tmp_path):
    pair_folder(tmp_path)
    for path in (tmp_path / "train").iterdir():
        cut_short(path)
    with pytest.raises(ValueError, match="none of its 3 items can be read"):
        CityscapesPairs(tmp_path, on_error="skip")


def test_good_files_give_no_warning(tmp_path):
    pair_folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert len(CityscapesPairs(tmp_path, on_error="skip")) == 3


def table() -> list[tuple[str, str]]:
    """Each bad input with the message it gets, the temporary folder's name shortened to `…`."""

    def pair(folder, name):
        bad_pairs(folder, name)
        CityscapesPairs(folder)[1]

    def coco(folder, name):
        CocoInstances(*bad_coco(folder, name))[0]

    def whole(folder, name):
        BAD_WHOLES[name][0](folder, "raise")

    rows, items = [], BAD_COCO_ITEMS | BAD_COCO_RECORDS
    for kind, cases, act in (("pair", BAD_PAIRS, pair), ("COCO", items, coco), ("", BAD_WHOLES, whole)):
        for name in cases:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    act(Path(folder), name)
                    message = "no error"
                except (ValueError, FileNotFoundError) as error:
                    message = f"{type(error).__name__}: {error}".replace(folder, "…")
                rows.append((f"{kind}: {name}" if kind else name, message))
    return rows


if __name__ == "__main__":
    for name, message in table():
        print(f"{name:45} {message}")
