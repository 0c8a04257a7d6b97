"""The U-Net beside the paper's numbers, a second U-Net written with functions only, and inputs of every size."""

# Where the tests run with jaxtyping's checks on, its TypeError comes before the functions' own ValueError.

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.segmentation import UNet, kaggle_unet, tensor_shapes
from lecture_utils.segmentation.unet import CropAndConcat


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def on_meta(*args, **kwargs):
    with torch.device("meta"):
        return UNet(*args, **kwargs)


@pytest.fixture(scope="module")
def paper():
    return on_meta(1, 2, padding="valid")


@pytest.mark.slide("12")
def test_parameter_counts_of_the_paper_and_of_its_descendants(paper):
    assert parameters(paper) == 31_030_658
    assert parameters(on_meta(3, 2, padding="valid")) == 31_031_810
    assert parameters(on_meta(3, 2, padding="same", norm="batch")) == 31_037_698
    with torch.device("meta"):
        assert parameters(kaggle_unet(10)) == 34_530_826


@pytest.mark.slide("12")
def test_sizes_of_the_paper(paper):
    steps = tensor_shapes(paper, 572, 572)
    convs = [step.output for step in steps if step.kind == "conv 3×3"]
    seconds = convs[1::2]
    encoder, decoder = seconds[:5], seconds[5:]
    assert encoder == [(64, 568, 568), (128, 280, 280), (256, 136, 136), (512, 64, 64), (1024, 28, 28)]
    assert decoder == [(512, 52, 52), (256, 100, 100), (128, 196, 196), (64, 388, 388)]
    joins = [step for step in steps if step.kind == "copy and crop"]
    assert [(step.inputs[0][1] - step.inputs[1][1]) // 2 for step in joins] == [4, 16, 40, 88]
    assert steps[-1].kind == "conv 1×1"
    assert steps[-1].output == (2, 388, 388)


@pytest.mark.slide("12")
@pytest.mark.parametrize(("size", "scored"), [(188, 4), (572, 388), (588, 404)])
def test_valid_sizes(paper, size, scored):
    assert paper(torch.empty(1, 1, size, 572, device="meta")).shape == (1, 2, scored, 388)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_valid_takes_exactly_the_sizes_that_every_pooling_halves(depth):
    def fits(size):
        for _ in range(depth):
            size -= 4
            if size <= 0 or size % 2:
                return False
            size //= 2
        size -= 4
        for _ in range(depth):
            size = 2 * size - 4
        return size > 0

    model = on_meta(1, 1, base_channels=1, depth=depth, padding="valid")
    taken = []
    for size in range(1, 140):
        try:
            model(torch.empty(1, 1, size, size, device="meta"))
            taken.append(size)
        except ValueError:
            pass
    assert taken == [size for size in range(1, 140) if fits(size)]


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [(573, 572, ["height 573", "572 and 588"]), (572, 571, ["width 571", "556 and 572"]), (96, 572, ["96", "188"])],
)
def test_valid_names_the_nearest_sizes(paper, height, width, words):
    with pytest.raises(ValueError, match="image: got") as problem:
        paper(torch.empty(1, 1, height, width, device="meta"))
    assert all(word in str(problem.value) for word in words)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2), st.integers(1, 4))
def test_same_padding_keeps_any_size(height, width, batch, depth):
    model = on_meta(3, 5, base_channels=2, depth=depth)
    assert model(torch.empty(batch, 3, height, width, device="meta")).shape == (batch, 5, height, width)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 33), (32, 16)])
def test_same_padding_gives_finite_scores_and_gradients(norm, height, width):
    torch.manual_seed(0)
    model = UNet(3, 4, base_channels=4, norm=norm)
    scores = model(torch.randn(2, 3, height, width))
    scores.square().mean().backward()
    assert scores.shape == (2, 4, height, width)
    assert scores.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def reference(image, weights, depth, pad):
    """The U-Net's formula with functions alone, from its weights in the order of the tensor's way."""
    weights = iter(weights)

    def conv(x):
        return F.conv2d(x, next(weights), next(weights), padding=pad)

    def block(x):
        return conv(conv(x).relu()).relu()

    skips, x = [], image
    for _ in range(depth):
        skips.append(block(x))
        x = F.max_pool2d(skips[-1], 2)
    x = block(x)
    ups = [(next(weights), next(weights)) for _ in range(depth)]
    for up in ups:
        x = F.conv_transpose2d(x, *up, stride=2)
        skip = skips.pop()
        crop = [(skip.shape[i] - x.shape[i]) // 2 for i in (2, 3)]
        x = block(torch.cat([F.pad(skip, (-crop[1], -crop[1], -crop[0], -crop[0])), x], 1))
    return F.conv2d(x, next(weights), next(weights))


@pytest.mark.parametrize(("padding", "height", "width"), [("same", 20, 36), ("valid", 48, 56)])
def test_equals_the_formula_written_with_functions(padding, height, width):
    torch.manual_seed(0)
    model = UNet(2, 3, base_channels=3, depth=2, padding=padding).double()
    for bias in (p for p in model.parameters() if p.ndim == 1):
        torch.nn.init.normal_(bias)
    image = torch.randn(2, 2, height, width, dtype=torch.float64)
    expected = reference(image, model.parameters(), depth=2, pad=int(padding == "same"))
    torch.testing.assert_close(model(image), expected)


def test_a_size_that_does_not_fit_is_padded_at_the_right_and_the_bottom_by_its_edge():
    torch.manual_seed(0)
    model = UNet(1, 2, base_channels=2, depth=2)
    image = torch.randn(1, 1, 9, 14)
    by_hand = torch.cat([image] + [image[:, :, -1:]] * 3, 2)
    by_hand = torch.cat([by_hand] + [by_hand[..., -1:]] * 2, 3)
    torch.testing.assert_close(model(image), model(by_hand)[:, :, :9, :14])


@pytest.mark.parametrize(("height", "width", "top", "left"), [(6, 9, 0, 2), (5, 5, 0, 0), (8, 6, 1, 0), (9, 10, 2, 2)])
def test_crop_takes_the_centre_and_the_skip_comes_first(height, width, top, left):
    skip, x = torch.randn(2, 3, height, width), torch.randn(2, 4, 5, 5)
    joined = CropAndConcat()(skip, x)
    assert torch.equal(joined[:, :3], skip[:, :, top : top + 5, left : left + 5])
    assert torch.equal(joined[:, 3:], x)


def test_order_of_normalisation_and_relu():
    net = kaggle_unet()
    for block in (*net.encoder, net.bottleneck, *net.decoder):
        assert [type(layer).__name__ for layer in block] == ["Conv2d", "ReLU", "BatchNorm2d"] * 2
    block = UNet(3, 2, base_channels=2, norm="batch").encoder[0]
    assert [type(layer).__name__ for layer in block] == ["Conv2d", "BatchNorm2d", "ReLU"] * 2


def test_he_initialisation_keeps_the_variance_of_the_signal():
    torch.manual_seed(0)
    model = UNet(3, 19, base_channels=32)
    for conv, incoming in (
        (model.encoder[1][2], 9 * 64),
        (model.decoder[0][0], 9 * 512),
        (model.up[0], 512),  # each output pixel of a 2×2 up-convolution meets one input pixel
    ):
        assert conv.weight.std().item() == pytest.approx((2 / incoming) ** 0.5, rel=0.03)
        assert conv.bias.abs().max() == 0
    scores = model.eval()(torch.randn(1, 3, 64, 64))
    assert 0.1 < scores.std() < 10


def test_tensor_shapes_leaves_the_model_as_it_was():
    model = UNet(3, 2, base_channels=2, depth=2, norm="batch")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tensor_shapes(model, 33, 20)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(("height", "width"), [(45, 64), (17, 16)])
def test_tensor_shapes_are_those_of_a_real_run(height, width):
    model = UNet(3, 2, base_channels=2, depth=3)
    noted = tensor_shapes(model, height, width)
    real = []
    for module in (*model.encoder, model.bottleneck, *model.decoder):
        module.register_forward_hook(lambda module, inputs, output: real.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, height, width))
    assert real == [step.output for step in noted if step.kind == "conv 3×3"][1::2]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"in_channels": 0}, "in_channels"),
        ({"num_classes": -1}, "num_classes"),
        ({"base_channels": 0}, "base_channels"),
        ({"depth": 0}, "depth"),
        ({"padding": "reflect"}, "padding"),
        ({"norm": "layer"}, "norm"),
    ],
)
def test_refuses_bad_arguments(change, named):
    with pytest.raises((ValueError, TypeError), match=f"^{named}: got|parameter '{named}'"):
        UNet(**{"in_channels": 3, "num_classes": 2, "base_channels": 2, **change})


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 16, 16), (1, 3, 0, 16), (1, 3, 16, 0)])
def test_refuses_images_of_the_wrong_shape(shape):
    with pytest.raises(
        (ValueError, TypeError), match=r"image: got shape .*expected \(batch, 3, height, width\)|parameter 'image'"
    ):
        UNet(3, 2, base_channels=2)(torch.zeros(shape))
