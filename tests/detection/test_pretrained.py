"""Torchvision's pretrained detector through our adapter: parameters, answers, and what is said without a file."""

import pytest
import torch
from torchvision.models import detection
from torchvision.transforms.functional import to_tensor

from lecture_utils.detection.pretrained import PretrainedFasterRCNN, pretrained_faster_rcnn
from lecture_utils.detection.scores import CocoScores
from lecture_utils.downloads import downloaded_file

BUILDERS = {1: detection.fasterrcnn_resnet50_fpn, 2: detection.fasterrcnn_resnet50_fpn_v2}
WEIGHTS = {
    1: detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    2: detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
}
FAST = {"min_size": 64, "max_size": 96, "box_score_thresh": 0.0, "box_detections_per_img": 20}


@pytest.mark.parametrize(("version", "parameters"), [(1, 41_755_286), (2, 43_712_278)])
def test_has_the_parameters_that_torchvision_states(version, parameters):
    with torch.device("meta"):
        model = pretrained_faster_rcnn(version, trained=False)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert WEIGHTS[version].meta["num_params"] == parameters


@pytest.mark.parametrize("version", [1, 2])
def test_a_kept_file_gives_torchvisions_own_detections(version, no_network):
    """Random weights, in the place and under the name of the downloaded ones; both load them, ours and torchvision."""
    torch.manual_seed(version)
    state = pretrained_faster_rcnn(version, trained=False).network.state_dict()
    for name, values in state.items():
        if name.endswith("running_var"):
            values.uniform_(0.5, 2)  # so that the constant added to the variance matters
        if name.endswith("cls_score.weight"):
            values *= 5
    file = downloaded_file(WEIGHTS[version])
    file.parent.mkdir(parents=True)
    torch.save(state, file)

    ours = pretrained_faster_rcnn(version, **FAST)
    theirs = BUILDERS[version](weights=WEIGHTS[version], **FAST).eval()
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    photos = [torch.randint(0, 256, size, dtype=torch.uint8) for size in ((3, 61, 83), (3, 90, 50))]
    found = ours(photos)
    with torch.no_grad():
        expected = theirs([to_tensor(photo.permute(1, 2, 0).numpy()) for photo in photos])
    assert sum(len(one["boxes"]) for one in found) > 0
    categories = WEIGHTS[version].meta["categories"]
    for own, other in zip(found, expected, strict=True):
        known = torch.tensor([categories[label] != "N/A" for label in other["labels"]], dtype=torch.bool)
        torch.testing.assert_close(own["boxes"], other["boxes"][known])
        torch.testing.assert_close(own["scores"], other["scores"][known])
        names = [categories[label] for label in other["labels"][known]]
        assert [ours.categories[label] for label in own["labels"]] == names


class Answer(torch.nn.Module):
    """In place of a network: it gives the same for every photograph."""

    def __init__(self, **found):
        super().__init__()
        self.found = found

    def forward(self, images):
        assert all(image.min() >= 0 and image.max() <= 1 for image in images)
        return [self.found for _ in images]


def test_labels_are_numbered_as_the_reader_of_coco_numbers_them():
    names = WEIGHTS[1].meta["categories"]
    labels = torch.tensor([names.index("person"), 12, names.index("stop sign"), names.index("toothbrush")])
    assert names[12] == "N/A"
    boxes = torch.arange(16.0).reshape(4, 4)
    model = PretrainedFasterRCNN(Answer(boxes=boxes, labels=labels, scores=torch.ones(4)), names)
    assert len(model.categories) == 81
    (found,) = model([torch.zeros(3, 8, 9, dtype=torch.uint8)])
    assert found["labels"].tolist() == [1, 12, 80]  # COCO's own ids: 1, 13, 90
    assert [model.categories[label] for label in found["labels"]] == ["person", "stop sign", "toothbrush"]
    torch.testing.assert_close(found["boxes"], boxes[[0, 2, 3]])


def test_the_same_scores_judge_it():
    names = ["__background__", "cat", "N/A", "dog"]
    boxes = torch.tensor([[1.0, 2, 30, 40], [5, 5, 20, 30]])
    model = PretrainedFasterRCNN(
        Answer(boxes=boxes, labels=torch.tensor([1, 3]), scores=torch.tensor([0.9, 0.8])), names
    )
    scores = CocoScores(model.categories)
    photo = torch.full((3, 50, 60), 255, dtype=torch.uint8)
    scores.update(model([photo]), [{"boxes": boxes, "labels": torch.tensor([1, 2])}])
    assert scores.compute()["ap"] == {"cat": pytest.approx(1), "dog": pytest.approx(1)}


@pytest.mark.parametrize("version", [1, 2])
def test_without_a_network_it_names_the_file(version, no_network, tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        pretrained_faster_rcnn(version)
    name = WEIGHTS[version].url.rpartition("/")[2]
    assert str(tmp_path / "hub" / "checkpoints" / name) in str(raised.value)
    assert WEIGHTS[version].url in str(raised.value)
    assert "no route to host" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"half a download", "weights of another network", "not weights"])
def test_a_damaged_file_is_named(content, no_network):
    file = downloaded_file(WEIGHTS[1])
    file.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save({"a": torch.ones(2)} if content.startswith("weights") else 3, file)
    with pytest.raises(ValueError, match=file.name):
        pretrained_faster_rcnn()


def test_a_file_cannot_run_code(no_network, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    file = downloaded_file(WEIGHTS[1])
    file.parent.mkdir(parents=True)
    torch.save(Evil(), file)
    with pytest.raises(ValueError, match=file.name):
        pretrained_faster_rcnn()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("image", [torch.zeros(3, 8, 8), torch.zeros(8, 8, 3, dtype=torch.uint8)])
def test_refuses_what_is_no_photograph(image):
    model = PretrainedFasterRCNN(Answer(), WEIGHTS[1].meta["categories"])
    with pytest.raises(ValueError, match=r"images: got .*expected torch\.uint8 \(3, h, w\)"):
        model([image])


def test_refuses_an_unknown_version():
    with pytest.raises(ValueError, match="version: got 3"):
        pretrained_faster_rcnn(3)
