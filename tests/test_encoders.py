"""The grids of features: the backbone's, which stays as it is, and torchvision's ResNets."""

import pytest
import torch
import torch.nn.functional as F
from torchvision import models

from lecture_utils import recipes
from lecture_utils.detection.backbone import Backbone
from lecture_utils.downloads import downloaded_file
from lecture_utils.encoders import hypercolumn_encoder, last_map, resnet_grid, space_to_depth_encoder
from lecture_utils.tasks import grid_encoder


def small_backbone(seed=0):
    torch.manual_seed(seed)
    backbone = Backbone(base_channels=4, out_channels=6)
    for name, values in backbone.named_buffers():
        if name.endswith("running_var"):
            values.uniform_(0.5, 2)
    return backbone


@pytest.mark.slide("25")
@pytest.mark.parametrize("size", [(32, 48), (16, 16), (128, 64)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_point_holds_the_last_map_and_each_pixel_of_the_first(size, batch):
    grid = hypercolumn_encoder(small_backbone())
    image = torch.randn(batch, 3, *size)
    z = grid(image)
    h, w = size[0] // 8, size[1] // 8
    assert z.shape == (batch, grid.features, h, w) == (batch, 6 + 4 * 8, h, w)
    first, last = small_backbone().eval().first_and_last(image)
    for row, column in ((0, 0), (h - 1, w - 1), (h // 2, w - 1)):
        block = (..., slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
        torch.testing.assert_close(z[:, :6, row, column], last[block].mean((2, 3)))
        torch.testing.assert_close(z[:, 6:, row, column], first[block].flatten(1))


@pytest.mark.slide("33")
def test_space_to_depth_keeps_every_feature():
    backbone, images = small_backbone(), torch.randn(2, 3, 32, 48)
    folded = space_to_depth_encoder(backbone)
    z = folded(images)
    assert z.shape == (2, 24, 4, 6)
    assert folded.features == 24
    assert not folded.train().training  # its normalisation must not move
    torch.testing.assert_close(F.pixel_shuffle(z, 2), backbone.eval()(images))


@pytest.mark.slide("25")
def test_nothing_is_learned_or_counted_in_the_backbone():
    """In whatever mode a captioner trains on it: no gradients, and its normalisation keeps its statistics."""
    backbone = small_backbone()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    grid = hypercolumn_encoder(backbone)
    image = torch.randn(4, 3, 32, 32)
    whole = torch.nn.Sequential(grid, torch.nn.Conv2d(grid.features, 2, 1))
    first = grid(image)
    for mode in (True, False):
        whole.train(mode)
        assert not any(module.training for module in grid.modules())
        out = whole(image)
        assert torch.equal(grid(image), first)
        out.sum().backward()
    assert not first.requires_grad
    assert all(weights.grad is None and not weights.requires_grad for weights in grid.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert whole[1].weight.grad is not None


@pytest.mark.parametrize("shape", [(1, 3, 24, 32), (1, 3, 32, 40), (1, 3, 100, 100)])
def test_sizes_that_the_backbone_would_round_are_refused(shape):
    with pytest.raises(ValueError, match=r"images: got \d+ × \d+ pixels, expected multiples of 16"):
        hypercolumn_encoder(small_backbone())(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (3, 32, 32), (1, 3, 0, 32)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"image: got shape .*expected \(batch, 3, height, width\)"):
        hypercolumn_encoder(small_backbone())(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"image: got shape .*expected \(batch, 3, height, width\)"):
        last_map(models.resnet18())(torch.zeros(shape))


@pytest.mark.slide("25")
def test_the_city_is_seen_through_the_shipped_detectors_backbone():
    grid = grid_encoder()
    image = torch.randn(2, 3, 128, 128)
    z = grid(image)
    assert z.shape == (2, 256, 16, 16)
    backbone = recipes.load("faster_rcnn").backbone.eval()
    with torch.no_grad():
        first, last = backbone.first_and_last(image)
    torch.testing.assert_close(z, torch.cat([F.avg_pool2d(last, 2), F.pixel_unshuffle(first, 2)], 1))


@pytest.mark.slide("25")
@pytest.mark.parametrize(
    ("name", "features", "size", "grid"),
    [
        ("resnet18", 512, (224, 224), (7, 7)),
        ("resnet18", 512, (100, 224), (4, 7)),
        ("resnet50", 2048, (64, 96), (2, 3)),
    ],
)
def test_a_resnets_last_map(name, features, size, grid):
    torch.manual_seed(0)
    encoder = resnet_grid(name, trained=False)
    assert encoder.features == features
    image = torch.randn(2, 3, *size)
    z = encoder(image)
    assert z.shape == (2, features, *grid)
    assert not z.requires_grad
    encoder.train()
    assert torch.equal(encoder(image), z)
    assert all(not weights.requires_grad for weights in encoder.parameters())


def test_a_resnet_of_ones_own_is_not_changed_by_looking():
    torch.manual_seed(0)
    resnet = models.resnet18()
    before = {key: value.clone() for key, value in resnet.state_dict().items()}
    last_map(resnet)(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in resnet.state_dict().items())


@pytest.mark.slide("25")
def test_a_kept_file_gives_torchvisions_own_features(no_network):
    torch.manual_seed(0)
    twin = models.resnet18().eval()
    file = downloaded_file(models.ResNet18_Weights.DEFAULT)
    file.parent.mkdir(parents=True)
    torch.save(twin.state_dict(), file)
    image = torch.randn(1, 3, 64, 96)
    x = twin.maxpool(twin.relu(twin.bn1(twin.conv1(image))))
    expected = twin.layer4(twin.layer3(twin.layer2(twin.layer1(x))))
    # A file under the weights' name whose checksum is another's is taken: torch checks only what it fetches itself.
    torch.testing.assert_close(grid_encoder("resnet18")(image), expected)


def test_without_a_network_the_file_is_named(no_network, tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        resnet_grid("resnet50")
    url = models.ResNet50_Weights.DEFAULT.url
    assert str(tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]) in str(raised.value)
    assert url in str(raised.value)
    assert "no route to host" in str(raised.value)


@pytest.mark.parametrize("name", ["vgg16", "resnet1", "", None])
def test_refuses_an_unknown_name(name):
    with pytest.raises(ValueError, match=r"name: got .*expected one of 'resnet18'"):
        resnet_grid(name)
