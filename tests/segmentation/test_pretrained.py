"""Torchvision's pretrained FCN through our adapter: parameters, answers, and what is said without a file."""

import pytest
import torch
from torchvision.models.segmentation import fcn_resnet50

from lecture_utils.downloads import downloaded_file
from lecture_utils.segmentation.pretrained import WEIGHTS, PretrainedFCN, pretrained_fcn


class Halves(torch.nn.Module):
    """In place of a network: a cat in the upper half, the background below, in scores an eighth as large."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[2:]))
        height, width = images.shape[2] // 8, images.shape[3] // 8
        scores = torch.zeros(1, 21, height, width)
        scores[:, WEIGHTS.meta["categories"].index("cat"), : height // 2] = 9.0
        scores[:, 0, height // 2 :] = 9.0
        return {"out": scores}


def test_has_the_parameters_that_torchvision_states():
    with torch.device("meta"):
        model = pretrained_fcn(trained=False)
    assert sum(parameter.numel() for parameter in model.parameters()) == WEIGHTS.meta["num_params"] == 35_322_218
    assert model.categories[0] == "background"
    assert {"person", "cat", "car"} < set(model.categories)


@pytest.mark.parametrize(("height", "width"), [(60, 81), (97, 50)])
def test_labels_have_the_size_of_the_photograph(height, width):
    model = PretrainedFCN(Halves())
    labels = model(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))
    assert labels.shape == (height, width)
    assert labels.dtype == torch.uint8
    assert model.categories[labels[2, 3]] == "cat"
    assert model.categories[labels[-3, -2]] == "background"
    assert min(model.network.sizes[0]) == 520


def test_a_kept_file_gives_torchvisions_own_labels(no_network):
    """Random weights, in the place and under the name of the downloaded ones; both load them, ours and torchvision."""
    torch.manual_seed(3)
    file = downloaded_file(WEIGHTS)
    file.parent.mkdir(parents=True)
    torch.save(pretrained_fcn(trained=False).network.state_dict(), file)
    ours, theirs = pretrained_fcn(), fcn_resnet50(weights=WEIGHTS).eval()
    photo = torch.randint(0, 256, (3, 520, 520), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs(WEIGHTS.transforms()(photo)[None])["out"].argmax(dim=1)[0]
    assert (ours(photo) == expected).float().mean() > 0.999


def test_without_a_network_the_file_and_its_place_are_named(no_network):
    with pytest.raises(FileNotFoundError, match=r"fcn_resnet50_coco.*cannot be reached"):
        pretrained_fcn()


@pytest.mark.parametrize("image", [torch.zeros(3, 8, 8), torch.zeros(8, 8, 3).byte(), torch.zeros(1, 3, 8, 8).byte()])
def test_refuses_what_is_no_photograph(image):
    with pytest.raises(ValueError, match=r"image: got .*expected torch.uint8 \(3, h, w\)"):
        PretrainedFCN(Halves())(image)
