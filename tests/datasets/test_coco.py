import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools.coco import COCO
from samples_on_disk import box_of, coco_content, coco_folder, compressed, instance, uncompressed
from torchvision import tv_tensors
from torchvision.datasets import CocoDetection
from torchvision.transforms import v2

from lecture_utils.datasets import CocoCaptions, CocoInstances, coco, segmentations

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
    pytest.mark.filterwarnings("ignore:.*(without an area|images without a caption):UserWarning"),
]


@pytest.fixture
def folder(tmp_path):
    return coco_folder(tmp_path)


def test_images_boxes_and_masks_are_those_of_torchvision_and_pycocotools(folder):
    data, reference, index = CocoInstances(*folder), CocoDetection(*map(str, folder)), COCO(str(folder[1]))
    assert data.ids == reference.ids == [5, 9, 42]
    for (image, target), (photo, objects) in zip(data, reference, strict=True):
        objects = [found for found in objects if not found["iscrowd"] and found["bbox"][3] > 0]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(photo))
        corners = [[x, y, x + w, y + h] for x, y, w, h in (found["bbox"] for found in objects)]
        assert target["boxes"].tolist() == corners
        assert len(target["masks"]) == len(objects)
        for mask, found in zip(target["masks"], objects, strict=True):
            assert np.array_equal(mask.numpy(), index.annToMask(found).astype(bool))
        names = [index.cats[found["category_id"]]["name"] for found in objects]
        assert [data.categories[label] for label in target["labels"]] == names


def test_types_shapes_and_canvas(folder):
    for (image, target), count in zip(CocoInstances(*folder), (3, 0, 1), strict=True):
        height, width = image.shape[1:]
        assert type(image) is tv_tensors.Image
        assert image.dtype == torch.uint8
        assert type(target["boxes"]) is tv_tensors.BoundingBoxes
        assert target["boxes"].format == tv_tensors.BoundingBoxFormat.XYXY
        assert target["boxes"].canvas_size == (height, width)
        assert target["boxes"].shape == (count, 4)
        assert target["boxes"].dtype == torch.float32
        assert type(target["masks"]) is tv_tensors.Mask
        assert target["masks"].shape == (count, height, width)
        assert target["masks"].dtype == torch.bool
        assert target["labels"].shape == (count,)
        assert target["labels"].dtype == torch.int64
        assert type(target["image_id"]) is int
        assert type(target["crowds"]) is tv_tensors.BoundingBoxes
        assert target["crowds"].shape == (len(target["crowd_labels"]), 4)
        assert target["extent"].dtype == torch.float32
        assert target["extent"].shape == (count,)
        assert set(target) == {"boxes", "labels", "masks", "image_id", "extent", "crowds", "crowd_labels"}


def test_labels_are_contiguous_by_category_id(folder):
    data = CocoInstances(*folder)
    assert data.categories == ("background", "person", "car", "pole")
    assert data[0][1]["labels"].tolist() == [2, 1, 3]


def test_boxes_are_cut_to_the_image(tmp_path):
    content = coco_content()
    content["annotations"] = [
        instance(1, 5, 7, [[0, 0, 9, 0, 9, 9]], [-4.0, -2.0, 20.0, 10.0]),
        instance(2, 5, 7, [[0, 0, 9, 0, 9, 9]], [50.0, 30.0, 20.0, 10.0]),
        instance(3, 5, 7, [[0, 0, 9, 0, 9, 9]], [53.0, 30.0, 20.0, 10.0]),
        instance(4, 5, 7, [[0, 0, 9, 0, 9, 9]], [9.0, 9.0, -3.0, 5.0]),
    ]
    with pytest.warns(UserWarning, match=r"without an area .*: 2 \(annotations\[2\] \(id 3\) with bbox \[53.0, 30.0"):
        data = CocoInstances(*coco_folder(tmp_path, content))
    target = data[0][1]
    assert target["boxes"].tolist() == [[0, 0, 16, 8], [50, 30, 53, 37]]
    assert target["labels"].tolist() == [2, 2]
    assert len(target["masks"]) == 2


@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.sampled_from([compressed, uncompressed]),
)
def test_any_mask_comes_back_from_both_run_lengths(tmp_path_factory, mask, encode):
    height, width = mask.shape
    folder = tmp_path_factory.mktemp("coco")
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / "1.png")
    content = {
        "images": [{"id": 1, "file_name": "1.png", "height": height, "width": width}],
        "annotations": [instance(1, 1, 4, encode(mask), box_of(mask) if mask.any() else [0, 0, width, height])],
        "categories": [{"id": 4, "name": "object"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    target = CocoInstances(folder, folder / "instances.json")[0][1]
    assert np.array_equal(target["masks"][0].numpy(), mask)


def test_transforms_move_image_boxes_and_masks_together(folder):
    plain, target = CocoInstances(*folder)[0]
    image, flipped = CocoInstances(*folder, transforms=v2.RandomHorizontalFlip(1))[0]
    assert torch.equal(image, plain.flip(-1))
    assert torch.equal(flipped["masks"], target["masks"].flip(-1))
    x0, y0, x1, y1 = target["boxes"].unbind(1)
    assert torch.equal(flipped["boxes"], torch.stack([53 - x1, y0, 53 - x0, y1], 1))
    resized = CocoInstances(*folder, transforms=v2.Resize((20, 80)))
    assert [item["masks"].shape for _, item in resized] == [(3, 20, 80), (0, 20, 80), (1, 20, 80)]


def test_detectors_need_no_masks(folder, monkeypatch):
    monkeypatch.setattr(segmentations, "decode", None)  # decoding one would be an error
    plain, target = CocoInstances(*folder, masks=False, areas=False)[0]
    assert set(target) == {"boxes", "labels", "image_id", "crowds", "crowd_labels"}
    assert target["labels"].tolist() == [2, 1, 3]
    assert plain.shape == (3, 37, 53)


def test_what_is_preloaded_is_kept_and_not_changed_by_a_transform_in_place(folder, monkeypatch):
    def spoil(image, target):
        target["boxes"].zero_()
        target.clear()
        return image.zero_(), target

    expected = [CocoInstances(*folder)[i] for i in range(3)]
    data = CocoInstances(*folder, transforms=spoil).preload()
    monkeypatch.setattr(coco, "_photo", None)  # reading one again would be an error
    assert all(image.sum() == 0 and target == {} for image, target in data)
    data.transforms = None
    for (image, target), (photo, wanted) in zip(data, expected, strict=True):
        assert type(image) is type(photo)
        assert type(target["boxes"]) is type(wanted["boxes"])
        assert torch.equal(image, photo)
        assert torch.equal(target["boxes"], wanted["boxes"])


def test_captions_are_those_of_the_image(folder):
    data = CocoCaptions(folder[0], folder[1].parent / "captions_train2017.json")
    assert data.ids == [5, 9, 42]
    assert [captions for _, captions in data] == [
        ["A car, left of a person.", "Two people."],
        [],
        ["Somebody – alone."],
    ]
    image, _ = data[2]
    assert torch.equal(image, CocoInstances(*folder)[2][0])
    flipped = CocoCaptions(data.images, data.annotations, transforms=v2.RandomHorizontalFlip(1))
    assert torch.equal(flipped[2][0], image.flip(-1))
    assert flipped[2][1] == ["Somebody – alone."]


@pytest.mark.slide("24")
def test_captions_alone_need_no_photograph(folder, monkeypatch):
    data = CocoCaptions(folder[0], folder[1].parent / "captions_train2017.json")
    expected = [captions for _, captions in data]
    monkeypatch.setattr(coco, "_photo", None)  # decoding one would be an error
    assert [data.captions(index) for index in range(3)] == expected
    data.captions(0).clear()
    assert data.captions(0) == expected[0]
    with pytest.raises(IndexError):
        data.captions(3)


def test_captions_alone_go_with_the_photographs_that_can_be_read(folder):
    whole = CocoCaptions(folder[0], folder[1].parent / "captions_train2017.json")
    (folder[0] / "000000000005.jpg").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="skipped 1 of 3"):
        data = CocoCaptions(whole.images, whole.annotations, on_error="skip")
    assert [data.captions(index) for index in range(2)] == [[], ["Somebody – alone."]]
    assert pickle.loads(pickle.dumps(data)).captions(1) == ["Somebody – alone."]


def test_a_greyscale_photograph_becomes_rgb(folder):
    grey = np.random.default_rng(0).integers(0, 256, (30, 31), dtype=np.uint8)
    path = folder[0] / "000000000009.jpg"
    Image.fromarray(grey).save(path)
    stored = torch.from_numpy(np.array(Image.open(path)))
    for on_error in ("raise", "skip"):
        data = CocoInstances(*folder, on_error=on_error)
        assert torch.equal(data[1][0], stored.expand(3, -1, -1))


def test_reading_prints_nothing(folder, capfd):
    list(CocoInstances(*folder))
    list(CocoInstances(*folder, on_error="skip"))
    assert capfd.readouterr().out == ""


def test_the_reader_can_be_sent_to_another_process(folder):
    data = pickle.loads(pickle.dumps(CocoInstances(*folder)))
    assert data[0][1]["labels"].tolist() == [2, 1, 3]


def test_boxes_alone_need_no_segmentation(folder):
    images, annotations = folder
    content = json.loads(annotations.read_text())
    for found in content["annotations"]:
        del found["segmentation"]
    annotations.write_text(json.dumps(content))
    assert len(CocoInstances(images, annotations, masks=False)[0][1]["boxes"]) == 3
    with pytest.raises(ValueError, match="lacks 'segmentation'; with masks=False it is not needed"):
        CocoInstances(images, annotations)
