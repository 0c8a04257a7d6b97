"""The sliding window: patches cut one by one are the reference for `slide`, and `slide` is it for the single pass."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lecture_utils.costs import costs
from lecture_utils.segmentation.sliding_window import (
    FullyConvolutional,
    PatchClassifier,
    fully_convolutional,
    linear_everywhere,
    patch_around,
    pooled_side,
    slide,
)


def classifier(patch=13, depth=2, *, norm="batch", **kwargs):
    """A small network with random weights and, as after a training, random statistics."""
    model = PatchClassifier(3, 5, patch=patch, depth=depth, base_channels=4, hidden=6, norm=norm, **kwargs)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.bias)
    for p in model.parameters():
        if p.ndim == 1:
            nn.init.normal_(p)
    return model.eval()


@pytest.mark.slide("05")
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 9), (16, 11)])
def test_slide_labels_each_pixel_by_the_patch_around_it(height, width):
    torch.manual_seed(0)
    model, image = classifier(), torch.randn(2, 3, height, width)
    scores = slide(model, image)
    assert scores.shape == (2, 5, height, width)
    padded = torch.zeros(2, 3, height + 12, width + 12)
    padded[..., 6:-6, 6:-6] = image
    for y in range(height):
        for x in range(width):
            torch.testing.assert_close(scores[..., y, x], model(padded[..., y : y + 13, x : x + 13]))
            torch.testing.assert_close(scores[..., y, x], model(patch_around(image, y, x, 13)))


@pytest.mark.slide("05")
@pytest.mark.parametrize(("patch", "depth"), [(5, 1), (7, 1), (13, 2), (17, 2), (25, 2), (29, 3), (37, 3)])
@pytest.mark.parametrize("size", [(12, 12), (13, 9), (1, 30)])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_one_pass_gives_the_scores_of_the_sliding_window(patch, depth, size, norm):
    torch.manual_seed(patch)
    model, image = classifier(patch, depth, norm=norm), torch.randn(3, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(fully_convolutional(model)(image), slide(model, image), atol=1e-5, rtol=1e-5)


@pytest.mark.slide("05")
@settings(max_examples=25)
@given(st.integers(0, 3), st.integers(1, 33), st.integers(1, 33), st.integers(1, 3), st.integers(1, 2))
def test_one_pass_agrees_at_any_size(batch, height, width, depth, top):
    torch.manual_seed(height)
    model, image = classifier(2**depth * (top + 3) - 3, depth), torch.randn(batch, 3, height, width)
    with torch.no_grad():
        torch.testing.assert_close(fully_convolutional(model)(image), slide(model, image), atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_the_sliding_window_and_reach_the_one_set_of_weights():
    torch.manual_seed(0)
    model, image = classifier(norm=None).double(), torch.randn(2, 3, 7, 8).double()
    weight = torch.randn(2, 5, 7, 8).double()
    found = []
    for run in (lambda: slide(model, image), lambda: fully_convolutional(model)(image)):
        model.zero_grad()
        (run() * weight).sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(p.abs().sum() > 0 for p in found[0])
    torch.testing.assert_close(found[1], found[0])


def test_both_forms_have_the_same_parameters():
    model = classifier()
    dense = fully_convolutional(model)
    assert [id(p) for p in dense.parameters()] == [id(p) for p in model.parameters()]
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(dense.parameters(), lr=0.1)
    dense.train()(torch.randn(1, 3, 9, 9)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(model.layers[0].weight, before["layers.0.weight"])


def test_it_learns_in_one_pass_what_the_centre_of_a_patch_is():
    torch.manual_seed(0)
    model = fully_convolutional(PatchClassifier(1, 2, patch=5, depth=1, base_channels=8, norm="batch"))
    image = torch.randn(4, 1, 20, 20)
    labels = (image[:, 0] > 0).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(image), labels).backward()
        optimizer.step()
    right = slide(model.classifier.eval(), image).argmax(1) == labels
    assert right.float().mean() > 0.9


@pytest.mark.slide("06")
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 24), (30, 33)])
def test_with_its_strides_left_in_it_scores_every_eighth_pixel(height, width):
    torch.manual_seed(0)
    model, image = classifier(29, 3), torch.randn(2, 3, height, width)
    with torch.no_grad():
        coarse = FullyConvolutional(model, dense=False)(image)
        torch.testing.assert_close(coarse, fully_convolutional(model)(image)[..., ::8, ::8], atol=1e-5, rtol=1e-5)


@pytest.mark.slide("05")
def test_one_pass_saves_most_of_the_work():
    model = PatchClassifier(3, 5)
    image = torch.empty(1, 3, 32, 32, device="meta")
    patches = costs(model, torch.empty(32 * 32, 3, 29, 29, device="meta"))
    dense = costs(fully_convolutional(model), image)
    assert patches.parameters == dense.parameters
    assert patches.flops > 5 * dense.flops


@pytest.mark.slide("01")
def test_a_patch_becomes_one_score_a_class():
    model = PatchClassifier(3, 4)
    maps = model.layers[:-4](torch.randn(2, 3, 29, 29))
    assert maps.shape == (2, 64, 1, 1)
    probabilities = model(torch.randn(2, 3, 29, 29)).softmax(1)
    assert probabilities.shape == (2, 4)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))


@settings(max_examples=60)
@given(st.integers(1, 150), st.integers(1, 4))
def test_a_patch_fits_when_no_pooling_drops_a_row(patch, depth):
    side, exact = patch, True
    for _ in range(depth):
        side -= 3
        exact &= side > 0 and side % 2 == 0
        side //= 2
    if exact:
        assert pooled_side(patch, depth) == side
        assert patch % 2 == 1
    else:
        with pytest.raises(ValueError, match=f"patch: got {patch}, expected"):
            pooled_side(patch, depth)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_patch_around_has_the_pixel_in_its_middle_and_zeros_beyond_the_border(size):
    image = torch.arange(1.0, 2 * 3 * 4 * 6 + 1).reshape(2, 3, 4, 6)
    for y in range(4):
        for x in range(6):
            patch = patch_around(image, y, x, size)
            assert patch.shape == (2, 3, size, size)
            half = size // 2
            for i in range(size):
                for j in range(size):
                    row, column = y + i - half, x + j - half
                    inside = 0 <= row < 4 and 0 <= column < 6
                    expected = image[..., row, column] if inside else torch.zeros(2, 3)
                    assert torch.equal(patch[..., i, j], expected)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_linear_layer_everywhere_is_the_layer_on_each_square(side):
    torch.manual_seed(0)
    layer, x = nn.Linear(3 * side**2, 4), torch.randn(2, 3, 5, 7)
    scores = linear_everywhere(x, layer.weight, layer.bias)
    assert scores.shape == (2, 4, 6 - side, 8 - side)
    for i in range(6 - side):
        for j in range(8 - side):
            square = x[..., i : i + side, j : j + side]
            torch.testing.assert_close(scores[..., i, j], layer(square.flatten(1)))


def test_refuses_bad_arguments():
    for change in ("in_channels", "num_classes", "depth", "base_channels", "hidden", "patch"):
        with pytest.raises(ValueError, match=f"^{change}: got 0"):
            PatchClassifier(**{"in_channels": 3, "num_classes": 2, change: 0})
    with pytest.raises(ValueError, match="norm: got 'layer'"):
        PatchClassifier(3, 2, norm="layer")
    with pytest.raises(ValueError, match="patch: got 28, expected 29, 37"):
        PatchClassifier(3, 2, patch=28)
    model = classifier()
    with pytest.raises(ValueError, match=r"patches: got shape \(1, 3, 13, 12\), expected 13 × 13"):
        model(torch.zeros(1, 3, 13, 12))
    for run in (fully_convolutional(model), lambda image: slide(model, image)):
        with pytest.raises(ValueError, match="image: got shape"):
            run(torch.zeros(1, 4, 16, 16))
    with pytest.raises(ValueError, match="size: got 4, expected an odd"):
        patch_around(torch.zeros(1, 3, 4, 4), 0, 0, 4)
    for row, column in ((-1, 0), (0, -1), (4, 0), (0, 5)):
        with pytest.raises(ValueError, match=rf"row, column: got \({row}, {column}\), expected a pixel of 4×5"):
            patch_around(torch.zeros(1, 3, 4, 5), row, column, 3)
    with pytest.raises(ValueError, match="weight: got 10 columns, expected 3 channels times a square"):
        linear_everywhere(torch.zeros(1, 3, 4, 4), torch.zeros(2, 10))
