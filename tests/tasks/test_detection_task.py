"""Data, losses and scores of detection: flips, proposals that are searched once, batches of lists."""

import json
import re
from dataclasses import replace

import pytest
import torch

from lecture_utils import checkpoints, runtime, tasks
from lecture_utils.datasets import CocoInstances
from lecture_utils.detection.selective_search import selective_search
from lecture_utils.recipes import RECIPES
from lecture_utils.tasks import detection
from lecture_utils.toycity import export


@pytest.fixture
def city(tmp_path):
    for split, scenes in (("train", 3), ("val", 2)):
        export(tmp_path, split=split, scenes=scenes, size=64, quiet=True)
    return tmp_path


def test_a_folder_or_the_coco_in_it_is_read(city):
    image, target = tasks.detection_data("val", city)[0]
    again, _ = tasks.detection_data("val", city / "coco")[0]
    assert image.dtype == torch.float32
    assert torch.equal(image, again)
    assert {"boxes", "labels"} <= set(target)
    assert "masks" not in target


def test_only_training_flips_and_boxes_and_proposals_go_along(city):
    train = tasks.proposal_data("train", city)
    still = CocoInstances(city / "coco/train2017", city / "coco/annotations/instances_train2017.json", masks=False)
    torch.manual_seed(0)
    flips = 0
    for _ in range(20):
        _, target = train[0]
        boxes, proposals = still[0][1]["boxes"], detection.selective_search_proposals(still)[0]
        flipped = not torch.equal(target["boxes"], boxes)
        flips += flipped
        for given, before in ((target["boxes"], boxes), (target["proposals"], proposals)):
            x0, y0, x1, y1 = before.as_subclass(torch.Tensor).T
            expected = torch.stack([64 - x1, y0, 64 - x0, y1] if flipped else [x0, y0, x1, y1], dim=1)
            assert torch.equal(given.as_subclass(torch.Tensor), expected)
    assert 2 < flips < 18


def test_proposals_are_searched_once_and_again_when_the_scenes_are_others(city, monkeypatch):
    searches = []

    def search(image, **settings):
        searches.append(image.shape)
        return selective_search(image, **settings)

    monkeypatch.setattr(detection, "selective_search", search)
    first = tasks.proposal_data("val", city).preload()
    second = tasks.proposal_data("val", city).preload()
    assert len(searches) == 2
    assert all(torch.equal(a, b) for a, b in zip(first.proposals, second.proposals, strict=True))
    expected = {tuple(box) for box in selective_search(photo(first, 0), scale=4).tolist()}
    assert {tuple(box) for box in first.proposals[0].tolist()} == expected
    export(city, split="val", scenes=3, size=64, quiet=True)
    assert len(tasks.proposal_data("val", city).preload().proposals) == 3
    assert len(searches) == 5


def photo(data, index):
    return data.dataset[index][0].permute(1, 2, 0).numpy()


def test_where_nothing_can_be_written_proposals_are_kept_among_the_courses_data(city, tmp_path, monkeypatch):
    monkeypatch.setattr(detection.os, "access", lambda path, mode: False)
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "elsewhere"))
    tasks.proposal_data("val", city).preload()
    assert len(list((tmp_path / "elsewhere").glob("proposals_val2017-*.safetensors"))) == 1
    assert not list(city.glob("coco/annotations/*.safetensors"))


def test_what_is_kept_beside_the_annotations_is_read_where_nothing_can_be_written(city, tmp_path, monkeypatch):
    kept = tasks.proposal_data("val", city).proposals
    monkeypatch.setattr(detection.os, "access", lambda path, mode: False)
    monkeypatch.setattr(detection, "selective_search", None)  # another search would be an error
    monkeypatch.setattr(detection, "FileLock", None)
    assert all(torch.equal(a, b) for a, b in zip(tasks.proposal_data("val", city).proposals, kept, strict=True))


def test_a_search_gives_the_same_order_each_time(city):
    first = tasks.proposal_data("val", city).proposals
    (city / "coco/annotations/proposals_val2017.safetensors").unlink()
    assert all(torch.equal(a, b) for a, b in zip(tasks.proposal_data("val", city).proposals, first, strict=True))


def test_a_batch_is_one_tensor_and_a_list_of_plain_targets(city):
    images, targets = tasks.collate([tasks.proposal_data("val", city)[i] for i in (0, 1)])
    assert type(images) is torch.Tensor
    assert images.shape == (2, 3, 64, 64)
    assert all(type(value) is torch.Tensor for target in targets for value in target.values())
    assert [set(target) for target in targets] == [{"boxes", "labels", "extent", "proposals"}] * 2


def test_images_of_several_sizes_in_a_batch_are_refused_and_resizing_helps(city):
    small, large = tasks.detection_data("val", city)[0], tasks.detection_data("val", city, size=96)[0]
    with pytest.raises(ValueError, match=r"images: got the sizes \[\(64, 64\), \(96, 96\)\]"):
        tasks.collate([small, large])
    assert torch.allclose(large[1]["boxes"], small[1]["boxes"] * 1.5)


def test_other_categories_are_refused(city):
    file = city / "coco/annotations/instances_val2017.json"
    file.write_text(file.read_text().replace('"person"', '"giraffe"'))
    with pytest.raises(ValueError, match=r"root: got the categories .*giraffe.* expected .*person"):
        tasks.detection_data("val", city)


def test_the_citys_categories_may_come_in_another_order_and_below_a_root(city):
    file = city / "coco/annotations/instances_train2017.json"
    expected = [target["labels"].tolist() for _, target in tasks.detection_data("train", city)]
    content = json.loads(file.read_text())
    for record in content["annotations"]:
        record["category_id"] = 5 - record["category_id"]
    for record in content["categories"]:
        record |= {"id": 5 - record["id"], "supercategory": "objects"}
    content["categories"].insert(0, {"id": 0, "name": "objects", "supercategory": "none"})
    file.write_text(json.dumps(content))
    assert [target["labels"].tolist() for _, target in tasks.detection_data("train", city)] == expected


@pytest.mark.slide("20")
@pytest.mark.parametrize(
    ("name", "losses"), [("faster_rcnn", 4), ("fast_rcnn", 2), ("rcnn", 2), ("rpn1", 2), ("rpn3", 2), ("rpn9", 2)]
)
def test_each_detectors_losses_are_summed_and_its_boxes_scored(city, name, losses):
    recipe = RECIPES[name]
    data = recipe.task.data("val", city)
    batch = tasks.collate([data[0], data[1]])
    model = recipe.build()
    torch.manual_seed(0)
    total = recipe.task.make_loss(data)(model, batch)
    torch.manual_seed(0)
    each = model(*detection.inputs(*batch), batch[1])
    assert len(each) == losses
    assert total.item() == pytest.approx(sum(each.values()).item())
    run = replace(runtime.setup(quiet=True), device="cpu", precision="fp32")
    scores = recipe.task.score(model, data, run)
    assert set(scores) >= ({"recall_300"} if name.startswith("rpn") else {"map", "map_50", "map_small", "ap"})


def boxes(image):
    return torch.tensor([[0.0, 0.0, image.shape[-1], image.shape[-2]]])


def test_proposals_are_searched_at_the_size_asked_for_and_in_about_as_many_pixels_as_the_citys(city, monkeypatch):
    looked = []

    def look(image, *, scale):
        looked.append((image.shape[1] * scale, image.shape[0] * scale))
        return torch.tensor([[0.0, 0.0, image.shape[1], image.shape[0]]])

    monkeypatch.setattr(detection, "selective_search", look)
    for (width, height), (most, least) in {
        (128, 128): (256, 256),
        (64, 64): (256, 256),
        (96, 96): (288, 288),
        (559, 536): (256, 245),
        (2016, 1512): (256, 192),
        (30, 1200): (256, 8),
    }.items():
        (found,) = detection.search(torch.zeros(3, height, width, dtype=torch.uint8)).tolist()
        assert found == pytest.approx([0, 0, width, height], abs=1e-3)
        assert tuple(sorted(looked[-1])) == (least, most)


def test_the_toy_city_is_searched_as_ever(city, tmp_path):
    """Its proposals come with notebooks and checkpoints: the same boxes, kept under the same marks."""
    export(tmp_path / "full", split="val", scenes=1, size=128, quiet=True)
    data = tasks.proposal_data("val", tmp_path / "full").preload()
    expected = torch.unique(selective_search(photo(data, 0), scale=2), dim=0)
    assert torch.equal(data.proposals[0], expected)
    _, marks = checkpoints.read(tmp_path / "full/coco/annotations/proposals_val2017.safetensors")
    assert set(marks) == {"annotations", "images", "enlarge"}


def test_proposals_of_each_size_have_a_file_of_their_own(city, monkeypatch):
    monkeypatch.setattr(detection, "search", boxes)
    for size in (None, 96, 48, 96):
        data = tasks.proposal_data("val", city, size=size).preload()
        assert data.proposals[0].tolist() == [[0, 0, size or 64, size or 64]]
        image, target = data[0]
        assert image.shape == (3, size or 64, size or 64)
        assert target["proposals"].tolist() == [[0, 0, size or 64, size or 64]]
    names = {file.name for file in (city / "coco/annotations").glob("*.safetensors")}
    assert names == {f"proposals_val2017{size}.safetensors" for size in ("", "_96", "_48")}


def test_corrected_boxes_need_no_new_search_and_other_photographs_do(city, monkeypatch):
    searches = []
    monkeypatch.setattr(detection, "search", lambda image: searches.append(1) or boxes(image))
    tasks.proposal_data("val", city).preload()
    file = city / "coco/annotations/instances_val2017.json"
    file.write_text(file.read_text() + " ")
    tasks.proposal_data("val", city).preload()
    assert len(searches) == 2
    photos = sorted((city / "coco/val2017").iterdir())
    photos[0].write_bytes(photos[1].read_bytes())
    tasks.proposal_data("val", city).preload()
    assert len(searches) == 4


def test_a_search_that_was_stopped_goes_on_where_it_was(city, monkeypatch, capsys):
    monkeypatch.setattr(detection, "PART", 2)
    done, stop_at = [], 2

    def search(image):
        if len(done) >= stop_at:
            raise KeyboardInterrupt
        done.append(1)
        return boxes(image)

    monkeypatch.setattr(detection, "search", search)
    monkeypatch.setattr(detection.os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        tasks.proposal_data("train", city).preload()
    stop_at = 99
    capsys.readouterr()
    assert len(tasks.proposal_data("train", city).preload().proposals) == 3
    assert len(done) == 3  # the third alone was searched in the second run
    assert re.match(r"\s*Selective Search: +67%.* 2/3 ", capsys.readouterr().err)  # and the bar began there
    assert not list(city.rglob("*.parts"))


def test_parts_of_another_search_are_not_gone_on_with(city, monkeypatch):
    monkeypatch.setattr(detection, "PART", 1)
    monkeypatch.setattr(detection, "search", boxes)
    parts = city / "coco/annotations/proposals_val2017.parts"
    checkpoints.save(
        parts / "0000000.safetensors",
        {"boxes": torch.ones(1, 4), "counts": torch.tensor([1])},
        {"of": "other", "start": 0},
    )
    assert tasks.proposal_data("val", city).preload().proposals[0].tolist() == [[0, 0, 64, 64]]
    assert not parts.exists()
