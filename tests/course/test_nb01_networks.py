"""The networks of notebook 01: every tensor drawn is one of the model's, and every step can be read."""

import numpy as np
import pytest
import torch
from torch import nn

from lecture_course.nb01_from_classification_to_pixels import networks
from lecture_utils import recipes
from lecture_utils.costs import costs
from lecture_utils.figures.network import draw_network
from lecture_utils.figures.network_blocks import steps_of
from lecture_utils.figures.network_parts import sheets_of
from lecture_utils.segmentation import FCN, DeconvNet, PatchClassifier, UNet, fully_convolutional
from tests.figures.test_network import require_legible


def photo(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def seeded(model):
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.weight.abs().sum() == 0:
            nn.init.normal_(part.weight)  # skips begin at zero
    return model.eval()


def require_steps(drawing, names):
    blocks, arrows = drawing
    assert [step[0].name for step in steps_of(blocks)] == names
    for highlight in (None, *range(len(names))):
        for enlarge in (False, True):
            fig = draw_network(blocks, arrows, highlight=highlight, about="The whole network.", enlarge=enlarge)
            require_legible(fig)


@pytest.fixture
def windows():
    whole = seeded(fully_convolutional(PatchClassifier(3, 19, base_channels=4, hidden=16, norm="batch")))
    image = torch.randn(1, 3, 47, 58)
    return whole, image, networks.windows_drawing(whole, image, photo(94, 116), (20, 25), 4)


@pytest.mark.slide("05")
def test_what_is_framed_in_two_windows_are_the_same_numbers(windows):
    _, _, (blocks, _) = windows
    compared = 0
    for first, second in zip(*([b for b in blocks if b.at[1] == row and b.marks] for row in (0, 2)), strict=True):
        ((x0, y0, x1, y1, _),), ((u0, v0, u1, v1, _),) = first.marks, second.marks
        if isinstance(first.value, torch.Tensor):
            assert torch.allclose(first.value[:, y0:y1, x0:x1], second.value[:, v0:v1, u0:u1], atol=1e-5)
            sheets = [sheets_of(block)[0] for block in (first, second)]
            assert np.allclose(sheets[0][y0:y1, x0:x1], sheets[1][v0:v1, u0:u1], atol=0.01)  # and the same colours
            compared += 1
    assert [b.marks[0][2] - b.marks[0][0] for b in blocks if b.at[1] == 0 and b.marks] == [25, 22, 8, 1]
    assert compared == 3


@pytest.mark.slide("06")
def test_the_one_pass_holds_the_windows_values_where_they_are_framed(windows):
    whole, image, (blocks, _) = windows
    for n, dilation in ((1, 1), (2, 2), (3, 4)):
        (once,) = (b for b in blocks if b.at == (n, 1))
        for row, (x0, y0, x1, y1, _) in zip((0, 2), once.marks, strict=True):
            (own,) = (b for b in blocks if b.at == (n, row))
            assert torch.allclose(once.value[:, y0:y1:dilation, x0:x1:dilation], own.value, atol=1e-5)
            assert (x1 - x0, y1 - y0) == tuple(1 + dilation * (side - 1) for side in own.value.shape[:0:-1])
    assert np.array_equal(blocks[-1].value, whole(image)[0].argmax(0))


def test_windows_can_be_stepped_through(windows):
    names = ["image", "two windows", *(f"convolution {n}, twice" for n in (1, 2, 3)), "MLP, twice"]
    require_steps(windows[2], [*names, "convolutions 1 to 3, once", "hidden layer, once", "label map"])


@pytest.mark.parametrize(("place", "shift"), [((5, 25), 4), ((20, 25), 0), ((20, 40), 4), ((20, 15), 29)])
def test_windows_that_do_not_overlap_inside_the_image_are_refused(windows, place, shift):
    with pytest.raises(ValueError, match="place, shift: got"):
        networks.windows_drawing(*windows[:2], photo(94, 116), place, shift)


@pytest.mark.slide("06")
@pytest.mark.parametrize("depth", [1, 3])
def test_a_narrow_fcn_has_the_same_channels_at_every_level(depth):
    model = networks.NarrowFCN(3, 19, base_channels=4, depth=depth)
    convolutions = [part for part in model.encoder.modules() if isinstance(part, nn.Conv2d)]
    assert [part.out_channels for part in convolutions] == [4] * 2 * depth
    assert model(torch.randn(1, 3, 17, 21)).shape == (1, 19, 17, 21)


@pytest.mark.slide("06")
def test_an_encoder_without_poolings_keeps_the_size_and_the_weights():
    with torch.device("meta"):
        pooled, full = networks.encoder(2, True), networks.encoder(2, False)
        narrow = networks.encoder(2, False, doubling=False)
    image = torch.empty(1, 3, 18, 22, device="meta")
    assert full(image).shape == (1, 19, 18, 22)
    assert sum(p.numel() for p in full.encoder.parameters()) == sum(p.numel() for p in pooled.encoder.parameters())
    assert isinstance(narrow, networks.NarrowFCN)


@pytest.mark.slide("05")
def test_the_multiply_adds_of_the_layers_add_up_to_those_of_a_patch():
    model = PatchClassifier(3, 19, patch=13, depth=2, base_channels=4, hidden=16)
    counts = networks.multiply_adds_by_layer(model, torch.randn(1, 3, 13, 13))
    assert list(counts) == ["convolution 1", "convolution 2", "linear layer 1", "linear layer 2"]
    assert sum(patch for patch, _ in counts.values()) == costs(model, torch.randn(1, 3, 13, 13)).multiply_adds
    assert counts["convolution 2"] == (2 * 2 * 16 * 4 * 8, 16 * 4 * 8)


@pytest.mark.slide("07")
def test_encoders_and_trainings_are_read_off_the_networks_and_recipes():
    patch = fully_convolutional(PatchClassifier(3, 19, base_channels=4))
    models = [FCN(3, 19, base_channels=4), DeconvNet(3, 19, base_channels=4, bottleneck=1), UNet(3, 19), patch]
    assert [networks.encoder_of(model) for model in (*models, nn.Conv2d(3, 19, 1))] == [
        "10 conv, 64", f"13 conv, fc6, fc7, {models[1].fc7[0].out_channels}", "10 conv, 1024", "3 conv, 16", "none",
    ]  # fmt: skip
    own = [recipes.RECIPES[name].options for name in ("fcn", "fcn16s", "fcn8s")]
    assert networks.training_of("fcn8s") == (sum(o.steps for o in own), own[2].batch_size, own[2].lr)
    assert networks.training_of("patch")[:2] == (4000, 2)


@pytest.mark.slide("07")
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_an_fcn_is_drawn_with_its_skips_and_sums(stride):
    model, image = seeded(FCN(3, 19, base_channels=4, stride=stride)), torch.randn(1, 3, 75, 101)
    blocks, arrows = networks.fcn_drawing(model, image, photo(150, 202))
    shapes = {block.label: block.shape for block in blocks}
    assert shapes["pool 3"] == (16, 10, 13)
    assert shapes["coarse scores"] == (19, 3, 4)
    assert np.array_equal(blocks[-1].value, model(image)[0].argmax(0))
    skips = {32: 0, 16: 1, 8: 2}[stride]
    assert sum(arrow.kind == "added" for arrow in arrows) == skips
    if skips:
        double, skip, pool = model.doublings[0], model.skips[0], blocks[4]
        (coarse,) = (b for b in blocks if b.name == "pool 5")
        total = double(model.score(coarse.value[None]))[0, :, :5, :7] + skip(pool.value[None])[0]
        (drawn,) = (b for b in blocks if b.name == "sum 1")
        assert np.array_equal(drawn.value, total.argmax(0))
        assert drawn.shape == (19, 5, 7)
    sums = [name for k in range(skips) for name in (f"scores of pool {4 - k}", f"sum {k + 1}")]
    require_steps((blocks, arrows), ["pools 1 to 5", "coarse scores", *sums, "label map"])


@pytest.mark.slide("07")
def test_a_deconvnet_is_drawn_with_the_unpooled_maps_between():
    model, image = seeded(DeconvNet(3, 19, base_channels=4, bottleneck=1)), torch.randn(1, 3, 71, 90)
    blocks, arrows = networks.deconvnet_drawing(model, image, photo(142, 180))
    places = {block.at: block for block in blocks}
    for level in range(1, 6):
        before, sparse = places[level, 0].value, places[level, 1].value
        assert before.shape == sparse.shape
        assert (sparse != 0).sum() <= sparse.numel() / 3  # one of four, but for odd sides
        assert torch.equal(model.decoder[5 - level](sparse[None])[0], places[level, 2].value)
    assert np.array_equal(blocks[-1].value, model(image)[0].argmax(0))
    assert sum(arrow.kind == "switches" for arrow in arrows) == 5
    names = ["encoder 1", "encoders 2 to 5", "fc6, fc7", "fc6 mirrored", "decoder 5", "decoders 4 to 2"]
    require_steps((blocks, arrows), [*names, "decoder 1", "label map"])
