"""What is seen when a COCO file is opened: each kind of fault is coerced, told of, or refused by name."""

import json
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples_on_disk import box_of, caption_content, coco_content, coco_folder, compressed, ellipse, instance

from lecture_utils.datasets import CocoCaptions, CocoInstances

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


def content() -> dict:
    """The small data set without the box that has no area: 3 images, 4 objects, 1 crowd."""
    whole = deepcopy(coco_content())
    whole["annotations"].pop()
    return whole


def open_changed(folder: Path, change=lambda content: None, **options) -> CocoInstances:
    changed = content()
    change(changed)
    return CocoInstances(*coco_folder(folder, changed), **options)


def first(**fields):
    return lambda content: content["annotations"][0].update(fields)


def image(**fields):
    return lambda content: content["images"][1].update(fields)


def every(section, **fields):
    """Each field of each record through a function."""

    def change(content):
        for record in content[section]:
            for key, turn in fields.items():
                record[key] = turn(record[key])

    return change


def both(*changes):
    return lambda content: [change(content) for change in changes]


def same(data: CocoInstances, other: CocoInstances) -> bool:
    def plain(target):
        return {key: value for key, value in target.items() if key != "image_id"}

    assert data.categories == other.categories
    for (image, target), (photo, wanted) in zip(data, other, strict=True):
        assert (image == photo).all()
        assert plain(target).keys() == plain(wanted).keys()
        for key, value in plain(target).items():
            assert value.shape == wanted[key].shape
            assert np.allclose(value, wanted[key]), key
    return True


# What is meant is clear: it is read as if it were written right.
COERCED = {
    "image ids as text": every("images", id=str),
    "image ids as text in annotations": every("annotations", image_id=str),
    "image ids with zeros before them": every("annotations", image_id="{:012d}".format),
    "one image id of three as text": image(id="5"),
    "ids as floats": both(every("annotations", id=float, image_id=float), every("images", id=float)),
    "category ids as text": every("categories", id=str),
    "category ids as text in annotations": every("annotations", category_id=str),
    "annotation id 0": first(id=0),
    "numbers of boxes as text": every("annotations", bbox=lambda box: [str(side) for side in box]),
    "areas as text": every("annotations", area=str),
    "sizes as text": every("images", width=str, height=str),
    "sizes as floats": every("images", width=float, height=float),
    "crowds as text": every("annotations", iscrowd=str),
    "crowds as truth values": every("annotations", iscrowd=bool),
    "crowds as words": every("annotations", iscrowd=lambda crowd: ["False", "True"][crowd]),
    "crowds as floats": every("annotations", iscrowd=float),
    "crowd null": first(iscrowd=None),
    "crowd left out": lambda content: content["annotations"][0].pop("iscrowd"),
    "coordinates as text": first(
        segmentation=[[str(x) for x in part] for part in content()["annotations"][0]["segmentation"]]
    ),
    "run lengths as text": lambda content: content["annotations"][2]["segmentation"].update(
        counts=list(map(str, content["annotations"][2]["segmentation"]["counts"])), size=["37", "53"]
    ),
    "polygons of points": first(
        segmentation=[np.reshape(part, (-1, 2)).tolist() for part in content()["annotations"][0]["segmentation"]]
    ),
    "backslashes": every("images", file_name="sub\\{}".format),
    "a folder before the name": every("images", file_name="sub/{}".format),
    "categories in another order": lambda content: content["categories"].reverse(),
    "a root category": lambda content: (
        content["categories"].insert(0, {"id": 0, "name": "objects", "supercategory": "none"})
        or every("categories", supercategory=lambda _: "objects")({"categories": content["categories"][1:]})
    ),
    "a background": lambda content: content["categories"].append({"id": 0, "name": "_background_"}),
    "more fields": lambda content: content["annotations"][0].update(attributes={"occluded": False}, keypoints=None),
}


@pytest.mark.parametrize("name", COERCED)
def test_what_is_clear_is_coerced_without_a_word(tmp_path, name):
    expected = open_changed(tmp_path / "right")
    changed = content()
    for category in changed["categories"]:
        category["supercategory"] = "street"
    COERCED[name](changed)
    folder = coco_folder(tmp_path / "other", changed)
    if "sub" in changed["images"][0]["file_name"]:
        (folder[0] / "sub").mkdir()
        for record in coco_content()["images"]:
            (folder[0] / record["file_name"]).rename(folder[0] / "sub" / record["file_name"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        data = CocoInstances(*folder)
    assert same(data, expected)
    assert data.inventory.counts["objects"] == 4
    assert data.inventory.counts["crowds"] == 1


def test_one_polygon_without_its_outer_list_is_one(tmp_path):
    flat = [2.0, 3.0, 30.5, 4.0, 17.0, 20.0]
    data = [open_changed(tmp_path / str(kind), first(segmentation=kind)) for kind in ([flat], flat)]
    assert same(*data)
    assert data[0][0][1]["masks"][0].any()


def test_ids_that_are_no_numbers_stay_texts(tmp_path):
    names = {5: "a-5", 9: "b", 42: "c"}
    data = open_changed(tmp_path, both(every("images", id=names.get), every("annotations", image_id=names.get)))
    assert data.ids == ["a-5", "b", "c"]
    assert data[0][1]["image_id"] == "a-5"
    assert same(data, open_changed(tmp_path / "numbers"))


# Read, but told of. name: (change, fragment of the warning, number of objects left)
TOLD = {
    "an annotation of no listed image": (
        lambda content: content["annotations"].append(instance(8, 77, 7, [[0, 0, 9, 0, 9, 9]], [0.0, 0, 9, 9])),
        "annotations of images that are not listed, left out: 1 (annotations[5] (id 8) of image 77)",
        4,
    ),
    "an annotation written twice": (
        lambda content: content["annotations"].append(content["annotations"][0]),
        "ids that several annotations have: 1 (annotations[5] (id 1))",
        4,
    ),
    "two annotations of one id": (
        lambda content: content["annotations"].append(instance("1", 9, 7, [[0, 0, 9, 0, 9, 9]], [0.0, 0, 9, 9])),
        "ids that several annotations have: 1 (annotations[5] (id 1))",
        5,
    ),
    "an image listed twice alike": (
        lambda content: content["images"].append(content["images"][0]),
        "images listed twice alike: 1 (images[3] (id 42))",
        4,
    ),
    "a file of two images": (
        lambda content: content["images"].append(content["images"][0] | {"id": 43}),
        "files that several images name: 1 (000000000042.jpg, 2 times)",
        4,
    ),
    "a category of two ids": (
        lambda content: content["categories"].append({"id": 91, "name": "car"}),
        "names that several categories have: 1 (car, 2 times)",
        4,
    ),
    "a box of no width": (
        first(bbox=[3, 3, 0, 9]),
        "without an area within their image, left out: 1 (annotations[0]",
        3,
    ),
    "a box of negative height": (
        first(bbox=[3, 3, 9, -9]),
        "(annotations[0] (id 1) with bbox [3.0, 3.0, 9.0, -9.0])",
        3,
    ),
    "a box outside": (first(bbox=[300, 3, 9, 9]), "without an area within their image, left out: 1 (annotations[0]", 3),
    "an area below 0": (first(area=-3), "areas below 0, taken from the boxes: 1 (annotations[0]", 4),
    "all are crowds": (every("annotations", iscrowd=lambda _: 1), "all 5 objects are marked as crowds", 0),
    "all are crowds, as text": (every("annotations", iscrowd=lambda _: "1"), "all 5 objects are marked as crowds", 0),
    "no annotation": (lambda content: content["annotations"].clear(), "no image has an object", 0),
    "boxes beyond their image": (
        every("annotations", bbox=lambda box: [box[0] + box[2] / 2, box[1] + box[3] / 2, *box[2:]]),
        "boxes that reach beyond their image, cut to it: ",
        4,
    ),
    "one box that may be two corners": (
        lambda content: content.update(annotations=[instance(1, 5, 7, [[20, 9, 40, 9, 40, 30]], [20, 9, 40, 30])]),
        "boxes that look like [x0, y0, x1, y1]: 1 (annotations[0] (id 1) with bbox [20.0, 9.0, 40.0, 30.0])",
        1,
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_odd_is_told_of_once(tmp_path, name):
    change, fragment, objects = TOLD[name]
    with pytest.warns(UserWarning, match="instances_train2017") as warned:
        data = open_changed(tmp_path, change)
    (warning,) = (one for one in warned if one.category is UserWarning)
    assert str(warning.message).startswith(f"{data.annotations}: ")
    assert fragment in str(warning.message)
    assert fragment in str(data.inventory)
    assert data.inventory.counts["objects"] == sum(len(target["labels"]) for _, target in data) == objects
    assert sum(map(data.target_count, range(len(data)))) == objects


def test_of_many_cases_the_first_three_are_named(tmp_path):
    strangers = [instance(n, 100 + n, 7, [[0, 0, 9, 0, 9, 9]], [0.0, 0, 9, 9]) for n in range(20, 1720)]
    with pytest.warns(UserWarning, match="not listed") as warned:
        open_changed(tmp_path, lambda content: content["annotations"].extend(strangers))
    message = str(warned[0].message)
    assert "left out: 1,700 (annotations[5] (id 20) of image 120; annotations[6] (id 21) of image 121; " in message
    assert "; and 1,697 more)" in message
    assert len(message) < 600


def test_the_inventory_counts(tmp_path):
    data = open_changed(tmp_path)
    assert data.inventory.counts == {
        "images": 3, "images without objects": 1, "objects": 4, "crowds": 1, "boxes left out": 0, "categories": 3
    }  # fmt: skip
    counts = "3 images, 1 images without objects, 4 objects, 1 crowds, 0 boxes left out, 3 categories"
    assert str(data.inventory) == f"instances_train2017.json: {counts}"
    with pytest.warns(UserWarning, match=r"images without a caption: 1 \(image 9\)"):
        captions = CocoCaptions(data.images, data.annotations.with_name("captions_train2017.json"))
    assert captions.inventory.counts == {"images": 3, "captions": 3, "images without a caption": 1}


def polygon(*numbers):
    return first(segmentation=[list(numbers)])


def runs(counts, size=(37, 53)):
    return first(segmentation={"size": list(size), "counts": counts})


WHOLE = compressed(ellipse(37, 53, (10, 12), (7, 9)))["counts"]
# Refused at opening, its image left out by on_error="skip". name: (change, fragments of the message)
REFUSED = {
    "file name null": (image(file_name=None), "images[1] (id 5): got file_name null"),
    "file name a number": (image(file_name=5), "got file_name 5, expected the name"),
    "file name empty": (image(file_name=""), 'got file_name "", expected the name'),
    "width null": (image(width=None), "images[1] (id 5): got width null, expected"),
    "width 0": (image(width=0), "got width 0, expected a whole number of pixels"),
    "width of a half": (image(width=53.5), "got width 53.5"),
    "width true": (image(width=True), "got width true"),
    "height huge": (image(height="9" * 5000), 'got height "999'),
    "an image id twice": (
        lambda content: content["images"].append(content["images"][1] | {"file_name": "000000000042.jpg"}),
        "images[3] (id 5): got an id that images[1] has",
    ),
    "an image id twice, as text and number": (
        lambda content: content["images"].append(content["images"][0] | {"id": "05"}),
        "images[3] (id 5): got an id that images[1] has",
    ),
    "bbox null": (first(bbox=None), "annotations[0] (id 1): got bbox null, expected [x, y, width, height]"),
    "bbox of infinity": (first(bbox=[0, 0, float("inf"), 3]), "got bbox [0, 0, Infinity, 3]"),
    "bbox of text that is no number": (first(bbox=["1", "2", "3,5", "4"]), 'got bbox ["1", "2", "3,5", "4"]'),
    "bbox of nan as text": (first(bbox=["nan", 2, 3, 4]), 'got bbox ["nan", 2, 3, 4]'),
    "bbox of truth values": (first(bbox=[True, True, True, True]), "got bbox [true, true, true, true]"),
    "bbox a dictionary": (first(bbox={"x": 1}), 'got bbox {"x": 1}'),
    "bbox of five": (first(bbox=[1, 2, 3, 4, 5]), "got bbox [1, 2, 3, 4, 5]"),
    "area a word": (first(area="large"), 'got area "large", expected a number of pixels'),
    "crowd of 2": (first(iscrowd=2), "annotations[0] (id 1): got iscrowd 2, expected 0 or 1"),
    "crowd a word": (first(iscrowd="maybe"), 'got iscrowd "maybe", expected 0 or 1'),
    "category id null": (first(category_id=None), "annotations[0] (id 1): got category_id null, expected a"),
    "category id a list": (first(category_id=[7]), "got category_id [7]"),
    "category id not listed": (first(category_id=8), "got category_id 8, that 'categories' does not list"),
    "annotation id null": (first(id=None), "annotations[0]: got id null"),
    "annotation id missing": (lambda content: content["annotations"][0].pop("id"), "annotations[0] lacks 'id'"),
    "segmentation null": (first(segmentation=None), "annotations[0] (id 1): cannot decode its segmentation: got null"),
    "segmentation empty": (first(segmentation=[]), "got [], expected polygons [[x0, y0, x1, y1, x2, y2, …], …] or run"),
    "segmentation missing": (lambda content: content["annotations"][0].pop("segmentation"), "masks=False"),
    "segmentation a text": (first(segmentation="1 2 3"), 'got "1 2 3", expected polygons'),
    "an empty polygon": (first(segmentation=[[]]), "got [], expected [x0, y0"),
    "polygons of dictionaries": (first(segmentation=[{"x": 1, "y": 2}] * 3), 'got {"x": 1, "y": 2} at [0]'),
    "a dictionary of coordinates": (first(segmentation={"x": [1, 2], "y": [3, 4]}), 'got {"x": [1, 2], "y": [3, 4]}'),
    # Of what is no finite number, only what does no harm outside: the schema's `Number` is that of the boxes above.
    "a polygon with a word": (polygon(1, 1, 9, 1, "x", 9), 'got "x" at [0][4]'),
    "a polygon with a truth value": (polygon(1, 1, 9, 1, True, 9), "got true at [0][4]"),
    "a polygon far right": (polygon(1, 1, 9, 1, 150, 9), "the coordinate 150, expected points near the image of 53×37"),
    "a polygon far up": (polygon(1, -60, 9, 1, 9, 9), "the coordinate -60, expected points near the image of 53×37"),
    "a flat polygon": (polygon(1, 1, 5, 5, 9, 9), "all of its points lie on one line"),
    "a point three times": (polygon(4, 4, 4, 4, 4, 4), "all of its points lie on one line"),
    "run lengths below 0": (runs([2000, -39]), "got run lengths of a run below 0"),
    "run lengths too short": (runs([1000, 960]), "run lengths of 1,960 pixels, that do not cover the image of 1,961"),
    "run lengths null": (runs(None), "got counts null, expected whole numbers or compressed text"),
    "run lengths of fractions": (runs([1000.5, 960.5]), "got counts [1000.5, 960.5]"),
    "run lengths of truth values": (runs([True, 1960]), "got counts [true, 1960]"),
    "run lengths of no size": (runs([1961], size=()), "got run lengths of size [], expected [37, 53]"),
    "compressed run lengths cut short": (runs(WHOLE[:-2]), "cannot decode its segmentation"),
    "compressed run lengths go on": (runs(WHOLE + WHOLE), "that do not cover the image"),
    "compressed run lengths empty": (runs(""), 'got counts "", expected run lengths as pycocotools compresses them'),
    "compressed run lengths as Python's bytes": (runs(f"b'{WHOLE}'"), "expected run lengths as pycocotools compresses"),
    "compressed run lengths of other letters": (runs("é~€" + WHOLE), "expected run lengths as pycocotools compresses"),
    "compressed run lengths that never end": (runs("o" * 40), "expected run lengths as pycocotools compresses them"),
    "compressed run lengths of endless numbers": (runs("o" * 40 + "0"), "run lengths as pycocotools compresses"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_by_name(tmp_path, name):
    change, fragment = REFUSED[name]
    with pytest.raises(ValueError, match="cannot be used") as caught:
        open_changed(tmp_path, change)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'annotations/instances_train2017.json'}: ")
    assert fragment in message
    assert len(message) < 600
    assert "\n" not in message
    for inside in ("NoneType", "unhashable", "indices", "pydantic", "object is not", "Input should"):
        assert inside not in message


@pytest.mark.parametrize("name", REFUSED)
def test_skipping_leaves_its_image_out(tmp_path, name):
    change, fragment = REFUSED[name]
    with pytest.warns(UserWarning, match="skipped 1 of 3 items") as warned:
        data = open_changed(tmp_path, change, on_error="skip")
    assert fragment in " ".join(str(one.message) for one in warned)
    assert [target["image_id"] for _, target in data] == [9, 42]
    assert data.inventory.counts["skipped"] == 1


@pytest.mark.parametrize("name", [name for name in REFUSED if "polygon" in name or "run lengths" in name])
def test_detectors_do_not_mind_masks(tmp_path, name):
    assert open_changed(tmp_path, REFUSED[name][0], masks=False).inventory.counts["objects"] == 4


LEADING_OUT = [
    "../000000000005.jpg", "a/../../x.jpg", "/etc/hostname", "..\\x.jpg", "C:\\x.jpg", "C:x.jpg", "\\x.jpg", "..", ".",
    "\\\\host\\share\\x.jpg", "a/..", "x\0.jpg", "a\\..\\..\\x.jpg",
]  # fmt: skip


@pytest.mark.parametrize("name", LEADING_OUT)
def test_file_names_stay_below_the_folder(tmp_path, name):
    (tmp_path / "000000000005.jpg").write_bytes(b"secret")
    with pytest.raises(ValueError, match=r"images\[1\] \(id 5\): got file_name .*expected the name of a file below"):
        open_changed(tmp_path, image(file_name=name))
    with pytest.warns(UserWarning, match="skipped 1 of 3 items"):
        assert open_changed(tmp_path, lambda c: c["images"][1].update(file_name=name), on_error="skip").ids == [9, 42]


def test_file_names_may_be_of_any_script(tmp_path):
    name = "Straße\u202f7 – 車.jpg"
    folder = coco_folder(tmp_path)
    (folder[0] / "000000000005.jpg").rename(folder[0] / name)
    data = open_changed(tmp_path, image(file_name=name), masks=False)
    (folder[0] / "000000000005.jpg").unlink()  # written again with the annotations
    assert data[0][0].shape == (3, 37, 53)


def test_missing_files_are_counted_at_opening(tmp_path):
    folder = coco_folder(tmp_path, content())
    for number in (5, 42):
        (folder[0] / f"{number:012d}.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"cannot be used: 2 \(.*42.jpg: no such file; .*05.jpg: no such file\)"
    ):
        CocoInstances(*folder)
    with pytest.warns(UserWarning, match="skipped 2 of 3 items"):
        assert CocoInstances(*folder, on_error="skip").ids == [9]


# The whole file is of no use, with either on_error. name: (change, fragment)
HOPELESS = {
    "boxes of two corners": (
        every("annotations", bbox=lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]),
        "boxes that look like [x0, y0, x1, y1]: 3 (annotations[0] (id 1) with bbox [2.0, 3.0, 50.0, 36.0];",
    ),
    "normalized boxes": (
        every("annotations", bbox=lambda box: [side / 64 for side in box]),
        "boxes in normalized coordinates: 5 (annotations[0]",
    ),
    "normalized polygons": (
        lambda content: content.update(
            annotations=[instance(n, 5, 7, [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]], [5.0, 5, 9, 9]) for n in range(1, 4)]
        ),
        "polygons in normalized coordinates: 3 (",
    ),
    "annotations of other images alone": (
        every("annotations", image_id=lambda number: number + 1000),
        "annotations, all of images that are not listed: 5 (annotations[0] (id 1) of image 1005;",
    ),
    "a category id twice": (
        lambda content: content["categories"].append({"id": 7, "name": "bus"}),
        'categories[3] (id 7): got the id of "car", expected another',
    ),
    "a category without a name": (
        lambda content: content["categories"][1].update(name=None), "got name null, expected a text"
    ),
    "a category that is a text": (
        lambda content: content["categories"].append("bus"), 'categories[3]: got "bus", expected a record'
    ),
    "objects of the background": (
        lambda content: content["categories"][1].update(name="background"), "objects of a category 'background'"
    ),
    "images a dictionary": (lambda content: content.update(images={"1": {}}), "got no list 'images': {\"1\": {}}"),
    "annotations null": (lambda content: content.update(annotations=None), "got no list 'annotations': null"),
    "annotations of captions": (
        lambda content: content.update(annotations=caption_content()["annotations"]),
        "annotations of another kind: 3 (annotations[0] (id 0) lacks 'bbox';",
    ),
}  # fmt: skip


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("name", HOPELESS)
def test_what_is_wrong_as_a_whole_is_refused_as_a_whole(tmp_path, name, on_error):
    change, fragment = HOPELESS[name]
    with pytest.raises(ValueError, match=r"instances_train2017\.json: ") as caught:
        open_changed(tmp_path, change, on_error=on_error)
    assert fragment in str(caught.value)


BROKEN_JSON = {
    "a list": (b"[1, 2]", "got no list 'images', expected COCO's layout; its JSON is [1, 2]"),
    "null": (b"null", "its JSON is null"),
    "a number": (b"7", "its JSON is 7"),
    "nothing": (b"", "not valid JSON"),
    "thousands of digits": (b'{"images": [' + b"9" * 9999 + b"]}", "a number of thousands of digits"),
    "a key twice": (b'{"images": [], "images": []}', 'the key "images" stands twice in one object'),
    "a field twice": (b'{"images": [{"id": 1, "id": 2}]}', 'the key "id" stands twice in one object'),
    "lists in lists": (b'{"images": ' + b"[" * 100_000, "too many lists within lists"),
    "Latin-1": ('{"images": "ü"}'.encode("latin-1"), "byte 12 is not UTF-8"),
    "an image": (b"\xff\xd8\xff\xe0", "is not UTF-8"),
    "two files": (b"{} {}", "not valid JSON (Extra data"),
}


@pytest.mark.parametrize("name", BROKEN_JSON)
def test_what_is_no_json_object_is_refused(tmp_path, name):
    images, file = coco_folder(tmp_path)
    raw, fragment = BROKEN_JSON[name]
    file.write_bytes(raw)
    for kind in (CocoInstances, CocoCaptions):
        with pytest.raises(ValueError, match=r"instances_train2017\.json: ") as caught:
            kind(images, file)
        assert fragment in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_may_say_how_it_is_encoded(tmp_path, encoding):
    images, file = coco_folder(tmp_path, content())
    file.write_text(file.read_text("utf-8"), encoding)
    assert same(CocoInstances(images, file), open_changed(tmp_path / "plain"))


@pytest.mark.parametrize("caption", [None, 3, ["a dog"], {"text": "a dog"}, "", "  \n", True])
def test_captions_are_sentences(tmp_path, caption):
    images, _ = coco_folder(tmp_path)
    file = tmp_path / "annotations/captions_train2017.json"
    whole = caption_content()
    whole["annotations"][0]["caption"] = caption
    file.write_text(json.dumps(whole))
    shown = json.dumps(caption)
    with pytest.raises(
        ValueError, match=r"cannot be used: 1 \(annotations\[0\] \(id 0\): got caption .*a sentence"
    ) as caught:
        CocoCaptions(images, file)
    assert f"got caption {shown}, expected a sentence" in str(caught.value)
    with pytest.warns(UserWarning, match="skipped 1 of 3 items"):
        data = CocoCaptions(images, file, on_error="skip")
    assert [data.captions(index) for index in range(len(data))] == [[], ["Somebody – alone."]]


def test_labels_follow_another_order_of_the_same_names(tmp_path):
    data = open_changed(tmp_path)
    names = [[data.categories[label] for label in target["labels"]] for _, target in data]
    assert data.relabel(("background", "bus", "pole", "car", "person")) is data
    assert data.categories == ("background", "bus", "pole", "car", "person")
    assert [[data.categories[label] for label in target["labels"]] for _, target in data] == names
    for wrong in (("background", "car", "person"), ("car", "person", "pole"), ()):
        with pytest.raises(ValueError, match=r"categories: got .*expected 'background' and then all of"):
            data.relabel(wrong)


def test_a_root_category_that_is_used_stays(tmp_path):
    def root(content):
        content["categories"][0]["supercategory"] = "none"
        for category in content["categories"][1:]:
            category["supercategory"] = "car"

    assert open_changed(tmp_path, root).categories == ("background", "person", "car", "pole")


def test_a_large_file_is_looked_through_in_seconds(tmp_path):
    """2,000 images and 20,000 objects with polygons; a check of each number in Python would take minutes."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 300, (20_000, 2))
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(2000)]
    for record in images:
        (tmp_path / "photos" / record["file_name"]).touch()
    around = np.array([0, 0, 90, 5, 80, 70, 40, 90, 5, 60] * 4)
    objects = [
        instance(n, n % 2000, 1, [(np.tile([x, y], 20) + around).tolist()], [float(x), float(y), 90.0, 90.0])
        for n, (x, y) in enumerate(corners.tolist())
    ]
    file = tmp_path / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "x"}]}))
    data = CocoInstances(tmp_path / "photos", file)
    assert data.inventory.counts["objects"] == 20_000


def test_a_photograph_is_decoded_only_when_its_turn_comes(tmp_path):
    folder = coco_folder(tmp_path, content())
    Image.new("RGB", (9, 9)).save(folder[0] / "000000000005.jpg")
    data = CocoInstances(*folder)
    with pytest.raises(ValueError, match="got 9×9 pixels, expected 53×37"):
        data[0]


def test_the_box_of_a_mask_is_the_objects(tmp_path):
    """The extent: annotated area over that of the box, so that it outlasts resizing."""
    mask = ellipse(37, 53, (10, 12), (7, 9))
    area = int(mask.sum())
    extents = []
    for given in ({"area": area}, {"area": str(area)}, {"area": None}, {}):
        found = {
            key: value for key, value in instance(1, 5, 7, compressed(mask), box_of(mask)).items() if key != "area"
        }
        data = open_changed(
            tmp_path / str(len(extents)), lambda content, record=found | given: content.update(annotations=[record])
        )
        extents.append(data[0][1]["extent"].item())
    width, height = box_of(mask)[2:]
    assert extents == pytest.approx([area / (width * height)] * 2 + [1, 1])
