"""The pixel classifier sees one pixel: it equals a multilayer perceptron run on every pixel by itself."""

from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecture_utils.segmentation import PixelClassifier
from lecture_utils.segmentation.pixel import colour_ceiling


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


@pytest.mark.slide("04")
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


@pytest.mark.slide("04")
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 3, 7, 255])), max_size=60))
def test_ceiling_of_colour_is_the_commonest_label_of_each_colour(pixels):
    of_colour = defaultdict(Counter)
    for colour, label in pixels:
        if label != 255:
            of_colour[colour][label] += 1
    colours, labels = (torch.tensor([pixel[i] for pixel in pixels], dtype=torch.long) for i in (0, 1))
    counted = sum(sum(counts.values()) for counts in of_colour.values())
    ceiling = colour_ceiling(colours, labels)
    if counted:
        assert ceiling == pytest.approx(sum(max(counts.values()) for counts in of_colour.values()) / counted)
    else:
        assert ceiling != ceiling


@pytest.mark.slide("04")
def test_no_pixel_classifier_passes_the_ceiling():
    torch.manual_seed(0)
    palette, picked = torch.randn(20, 3), torch.randint(20, (1, 30, 40))
    labels = torch.randint(4, (1, 30, 40))
    image = palette[picked].movedim(-1, 1)
    ceiling = colour_ceiling(picked.flatten(), labels.flatten())
    for _ in range(5):
        right = PixelClassifier(3, 4)(image).argmax(1) == labels
        assert right.float().mean() <= ceiling
