"""Visual tokens: cutting and painting, nearest codes against scikit-learn and scipy, bad input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.cluster.vq import vq
from sklearn.cluster import KMeans

from lecture_utils.transformers import VisualTokens
from lecture_utils.transformers.visual_tokens import cut, nearest_code

pytestmark = pytest.mark.slide("34")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "patch"), [((8, 12), 4), ((3, 9), 3), ((5, 7), 1), ((6, 6), 6)])
def test_patches_are_those_of_torch(size, patch):
    image = random(2, 3, *size)
    assert torch.equal(cut(image, patch), F.unfold(image, patch, stride=patch).mT)


@pytest.mark.parametrize("shape", [(7, 5), (2, 9, 4), (3, 2, 6, 8), (0, 4)])
def test_the_nearest_code_is_scipys(shape):
    patches, codebook = random(*shape), random(11, shape[-1], seed=1)
    expected = [] if 0 in shape else vq(patches.flatten(0, -2).numpy(), codebook.numpy())[0]
    found = nearest_code(patches, codebook)
    assert found.shape == shape[:-1]
    assert found.flatten().tolist() == list(expected)


def test_words_are_the_clusters_of_scikit_learn():
    images = random(20, 3, 8, 12)
    means = KMeans(6, random_state=0, n_init=1).fit(cut(images, 4).flatten(0, 1).numpy())
    tokens = VisualTokens(6, 4)
    tokens.set_codebook(torch.from_numpy(means.cluster_centers_))
    same = tokens(images).flatten().numpy() == means.labels_
    assert same.mean() > 0.99  # the codes are kept in half precision
    assert np.array_equal(tokens.codebook.numpy(), means.cluster_centers_.astype(np.float16))


def test_a_picture_of_codes_is_read_as_it_was_written():
    tokens = VisualTokens(9, 4)
    tokens.set_codebook(random(9, 48))
    words = torch.randint(9, (2, 6), generator=torch.Generator().manual_seed(2))
    picture = tokens.decode(words, (2, 3))
    assert picture.shape == (2, 3, 8, 12)
    assert torch.equal(tokens(picture), words)
    assert torch.equal(picture[1, :, 4:8, 8:12].flatten(), tokens.codebook[words[1, 5]].float())


def test_the_codebook_is_no_parameter_and_is_kept_in_half_precision():
    tokens = VisualTokens(5, 2, channels=1)
    assert list(tokens.parameters()) == []
    assert tokens.state_dict()["codebook"].dtype == torch.float16
    assert tokens.codebook.shape == (5, 4)


def test_words_do_not_depend_on_autocast():
    tokens = VisualTokens(200, 4)
    tokens.set_codebook(
        random(200, 48) * 0.1 + 3
    )  # far from 0 and close to one another: bf16 could not tell them apart
    image = random(2, 3, 8, 8, seed=1) * 0.1 + 3
    plain = tokens(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokens(image), plain)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: VisualTokens(0, 4), "words: got 0"),
        (lambda: VisualTokens(4, 0), "patch: got 0"),
        (
            lambda: VisualTokens(4, 2).set_codebook(torch.zeros(3, 12)),
            r"codebook: got shape \(3, 12\), expected \(4, 12\)",
        ),
        (lambda: VisualTokens(4, 2)(torch.zeros(1, 3, 4, 5)), "image: got shape .* multiples of patch=2"),
        (lambda: cut(torch.zeros(3, 4, 4), 2), "image: got shape"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
