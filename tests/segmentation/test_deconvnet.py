"""DeconvNet beside the table of its paper, a second one written with functions only, and the switches at work."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lecture_utils.segmentation import DeconvNet, deconvnet, max_unpool, tensor_shapes

# Table 2 of the paper without the rows of pooling and unpooling: kernel, side and channels of the output.
ENCODER = [
    *[(3, 224, 64)] * 2, *[(3, 112, 128)] * 2, *[(3, 56, 256)] * 3, *[(3, 28, 512)] * 3, *[(3, 14, 512)] * 3,
    (7, 1, 4096), (1, 1, 4096),
]  # fmt: skip
DECODER = [
    (7, 7, 512), *[(3, 14, 512)] * 3, *[(3, 28, 512)] * 2, (3, 28, 256), *[(3, 56, 256)] * 2, (3, 56, 128),
    (3, 112, 128), (3, 112, 64), *[(3, 224, 64)] * 2,
]  # fmt: skip
OUTPUT = (1, 224, 21)
POOLED = [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)]


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):
        return DeconvNet(3, 21)


@pytest.mark.slide("07")
def test_layers_are_those_of_the_paper(paper):
    steps = tensor_shapes(paper, 224, 224)
    table = [(f"conv {k}×{k}", (c, side, side)) for k, side, c in ENCODER]
    table += [(f"up-conv {k}×{k}", (c, side, side)) for k, side, c in DECODER]
    k, side, c = OUTPUT
    table.append((f"conv {k}×{k}", (c, side, side)))
    assert [(step.kind, step.output) for step in steps] == table


@pytest.mark.slide("07")
def test_parameters_are_those_of_the_papers_table(paper):
    """Each layer has a weight and a bias, and a batch normalisation with two numbers a channel, but for the last."""
    count, channels = 0, 3
    for kernel, _, output in [*ENCODER, *DECODER]:
        count += kernel**2 * channels * output + output + 2 * output
        channels = output
    count += channels * 21 + 21
    assert sum(p.numel() for p in paper.parameters()) == count
    assert round(count / 1e6) == 252  # section 4.2


@pytest.mark.slide("09")
def test_unpooling_mirrors_pooling(paper, monkeypatch):
    seen = []

    def noting(x, indices, size):
        seen.append((x.shape[1:3], tuple(size)))
        return max_unpool(x, indices, size)

    monkeypatch.setattr(deconvnet, "max_unpool", noting)
    paper(torch.empty(2, 3, 224, 224, device="meta"))
    assert [tuple(pooled) for pooled, _ in reversed(seen)] == POOLED
    assert [size for _, size in seen] == [(14, 14), (28, 28), (56, 56), (112, 112), (224, 224)]


@pytest.mark.slide("07")
@settings(max_examples=60, deadline=None)
@given(st.integers(65, 140), st.integers(65, 140), st.integers(2, 3), st.integers(1, 3))
def test_output_has_the_size_of_the_input(height, width, batch, bottleneck):
    with torch.device("meta"):
        model = DeconvNet(3, 5, base_channels=1, bottleneck=bottleneck)
    assert model(torch.empty(batch, 3, height, width, device="meta")).shape == (batch, 5, height, width)


@pytest.mark.parametrize("bottleneck", [1, 2, 7])
def test_takes_every_size_that_fills_the_bottleneck_and_says_which(bottleneck):
    with torch.device("meta"):
        model = DeconvNet(3, 2, base_channels=1, bottleneck=bottleneck)
    smallest = 32 * (bottleneck - 1) + 1
    image = torch.empty(2, 3, smallest, smallest + 5, device="meta")
    assert model(image).shape == (2, 2, smallest, smallest + 5)
    if bottleneck > 1:
        with pytest.raises(ValueError, match=rf"got {smallest - 1}×300 pixels, expected at least {smallest} a side"):
            model(torch.empty(2, 3, smallest - 1, 300, device="meta"))
        with pytest.raises(ValueError, match=rf"got 300×{smallest - 1} pixels"):
            model(torch.empty(2, 3, 300, smallest - 1, device="meta"))


@pytest.mark.slide("07")
@pytest.mark.parametrize(("height", "width"), [(96, 96), (65, 103)])
@pytest.mark.parametrize("training", [False, True])
def test_the_network_by_hand(height, width, training):
    torch.manual_seed(0)
    model = DeconvNet(3, 4, base_channels=2, bottleneck=3)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(std=0.2)
    image = torch.randn(3, 3, height, width)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    weights = iter([value for name, value in state.items() if not name.endswith("num_batches_tracked")])

    def layer(x, convolve, **options):
        x = convolve(x, next(weights), next(weights), **options)
        scale, shift, mean, variance = (next(weights) for _ in range(4))
        return F.batch_norm(x, mean, variance, scale, shift, training).relu()

    x, switches = image, []
    for count in (2, 2, 3, 3, 3):
        for _ in range(count):
            x = layer(x, F.conv2d, padding=1)
        pooled, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        switches.append((indices, x.shape[2:]))
        x = pooled
    x = layer(layer(x, F.conv2d), F.conv2d)
    x = layer(x, F.conv_transpose2d)
    for count in (3, 3, 3, 2, 2):
        indices, size = switches.pop()
        x = F.max_unpool2d(x, indices, 2, output_size=size)
        for _ in range(count):
            x = layer(x, F.conv_transpose2d, padding=1)
    expected = F.conv2d(x, next(weights), next(weights))
    torch.testing.assert_close(model.train(training)(image), expected, rtol=1e-3, atol=1e-4)
    assert list(weights) == []


@pytest.mark.slide("09")
def test_moving_a_maximum_moves_the_output():
    """Both images pool to the same values, so only the switches can tell where in its window each maximum was."""
    torch.manual_seed(0)
    model = DeconvNet(4, 5, base_channels=4, bottleneck=2).eval()
    model.encoder[0] = nn.Identity()  # the image itself is pooled first and unpooled last
    model.decoder[-1] = nn.Identity()
    upper_left, lower_right = torch.zeros(2, 1, 4, 64, 96)
    upper_left[..., ::2, ::2] = torch.rand(1, 4, 32, 48) + 0.1
    lower_right[..., 1::2, 1::2] = upper_left[..., ::2, ::2]
    before, after = model(upper_left), model(lower_right)
    torch.testing.assert_close(after[..., 1::2, 1::2], before[..., ::2, ::2])
    assert before[..., ::2, ::2].std() > 1e-3
    nothing = model.score.bias.view(1, 5, 1, 1).expand(1, 5, 32, 48)
    for row, column in [(0, 1), (1, 0), (1, 1)]:
        torch.testing.assert_close(before[..., row::2, column::2], nothing)
        torch.testing.assert_close(after[..., 1 - row :: 2, 1 - column :: 2], nothing)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (33, 71)])
def test_learns(height, width):
    torch.manual_seed(0)
    model = DeconvNet(3, 4, base_channels=4, bottleneck=2)
    scores = model(torch.randn(2, 3, height, width))
    F.cross_entropy(scores, torch.randint(0, 4, (2, height, width))).backward()
    assert scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(block[0].weight.grad.any() for block in [*model.encoder, model.fc6, model.fc7, *model.decoder])


@pytest.mark.parametrize("change", ["in_channels", "num_classes", "base_channels", "bottleneck"])
def test_refuses_bad_arguments(change):
    with pytest.raises(ValueError, match=f"^{change}: got 0"):
        DeconvNet(**{"in_channels": 3, "num_classes": 2, "base_channels": 1, "bottleneck": 1, change: 0})


def test_refuses_images_of_the_wrong_shape():
    with pytest.raises(ValueError, match="image: got shape"):
        DeconvNet(3, 2, base_channels=1, bottleneck=1)(torch.zeros(1, 4, 96, 96))
