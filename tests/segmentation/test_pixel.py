"""The pixel classifier sees one pixel: it equals a multilayer perceptron run on every pixel by itself."""

import pytest
import torch

from lecture_utils.segmentation import PixelClassifier


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("shape", [(2, 3, 5, 8), (1, 3, 1, 1), (0, 3, 4, 4)])
def test_equals_a_perceptron_on_each_pixel(depth, shape):
    torch.manual_seed(0)
    model = PixelClassifier(3, 4, hidden=6, depth=depth)
    image = torch.randn(shape)
    x = image.movedim(1, -1).reshape(-1, 3)
    convs = [layer for layer in model.layers if hasattr(layer, "weight")]
    assert len(convs) == depth + 1
    for conv in convs:
        x = x @ conv.weight.flatten(1).T + conv.bias
        x = x if conv is convs[-1] else x.relu()
    expected = x.reshape(shape[0], *shape[2:], 4).movedim(-1, 1)
    torch.testing.assert_close(model(image), expected)


def test_neighbours_do_not_matter():
    model = PixelClassifier(3, 4)
    image = torch.randn(1, 3, 6, 9)
    order = torch.randperm(54)
    shuffled = image.flatten(2)[..., order].unflatten(2, (6, 9))
    torch.testing.assert_close(model(shuffled).flatten(2), model(image).flatten(2)[..., order])


@pytest.mark.parametrize("change", ["in_channels", "num_classes", "hidden", "depth"])
def test_refuses_bad_arguments(change):
    with pytest.raises(ValueError, match=f"^{change}: got 0"):
        PixelClassifier(**{"in_channels": 3, "num_classes": 2, change: 0})


def test_refuses_images_of_the_wrong_shape():
    with pytest.raises(ValueError, match="image: got shape"):
        PixelClassifier(3, 2)(torch.zeros(1, 2, 16, 16))
