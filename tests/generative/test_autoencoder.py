"""Auto-encoders: the linear one against scikit-learn's PCA, and the shapes of both halves of the convolutional one."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from torch import nn

from lecture_utils.generative import GAN, VAE, AutoEncoder, LinearAutoEncoder
from lecture_utils.generative.autoencoder import decoder, encoder

pytestmark = pytest.mark.slide("38")


@pytest.fixture(scope="module")
def gapped():
    """Centred data with a gap in its spectrum behind the third component, float64."""
    dice = np.random.default_rng(0)
    turn, _ = np.linalg.qr(dice.normal(size=(9, 9)))
    data = dice.normal(size=(400, 9)) * [3, 2.5, 2, 0.5, 0.4, 0.3, 0.3, 0.2, 0.1] @ turn
    return data - data.mean(0)


@pytest.fixture(scope="module")
def trained(gapped):
    """The linear auto-encoder at its best: L-BFGS on all the data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LinearAutoEncoder(9, latent=3).double()
    data = torch.from_numpy(gapped)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_change=0)

    def closure():
        optimiser.zero_grad()
        loss = F.mse_loss(model(data), data)
        loss.backward()
        return loss

    optimiser.step(closure)
    return model.requires_grad_(False)


def test_the_linear_auto_encoder_spans_pcas_subspace(gapped, trained):
    axes = PCA(3).fit(gapped).components_
    assert subspace_angles(trained.decoder.weight.numpy(), axes.T).max() < 1e-4
    assert subspace_angles(trained.encoder.weight.numpy().T, axes.T).max() < 1e-4


def test_the_linear_auto_encoder_explains_as_much_as_pca(gapped, trained):
    pca = PCA(3).fit(gapped)
    drawn = trained(torch.from_numpy(gapped)).numpy()
    explained = 1 - ((drawn - gapped) ** 2).sum() / (gapped**2).sum()
    assert explained == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-8)
    np.testing.assert_allclose(drawn, pca.inverse_transform(pca.transform(gapped)), atol=1e-3)


def test_its_axes_are_not_pcas(gapped, trained):
    """The same subspace, in other coordinates: neither orthogonal nor in order."""
    gram = trained.decoder.weight.T @ trained.decoder.weight
    assert not torch.allclose(gram, torch.diag(gram.diag()), atol=1e-2)


def test_the_linear_auto_encoder_has_no_bias():
    model = LinearAutoEncoder(6, latent=2)
    assert [tuple(weight.shape) for weight in model.parameters()] == [(2, 6), (6, 2)]
    assert not model(torch.zeros(3, 6)).any()


@pytest.mark.parametrize(
    ("size", "widths"), [(8, (4,)), (12, (3, 5)), (24, (4, 6, 8)), (32, (8, 16, 32)), (40, (2,) * 3)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_becomes_a_code_and_a_picture_again(size, widths, channels):
    model = AutoEncoder(latent=7, size=size, channels=channels, widths=widths)
    image = torch.randn(2, channels, size, size)
    assert model.encoder(image).shape == (2, 7)
    assert model(image).shape == image.shape
    smallest = next(layer for layer in model.decoder if isinstance(layer, nn.Unflatten)).unflattened_size
    assert smallest == (widths[-1], size // 2 ** len(widths), size // 2 ** len(widths))


def test_the_picture_is_drawn_from_the_code_alone():
    model = AutoEncoder(latent=5, size=16).eval()
    image = torch.randn(3, 3, 16, 16)
    assert torch.equal(model(image), model.decoder(model.encoder(image)))


def test_the_encoder_halves_by_strides_and_the_decoder_enlarges_by_neighbours():
    strides = [layer.stride for layer in encoder(5, size=16) if isinstance(layer, nn.Conv2d)]
    assert strides == [(2, 2)] * 3
    layers = decoder(5, size=16)
    assert sum(isinstance(layer, nn.Upsample) and layer.mode == "nearest" for layer in layers) == 3
    assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in layers)
    assert isinstance(layers[-1], nn.Conv2d)  # colours may be negative: no activation behind it


@pytest.mark.parametrize("size", [0, 4, 12, 33, -8])
@pytest.mark.parametrize("model", [AutoEncoder, VAE, GAN])
def test_sizes_that_are_not_halved_exactly_are_refused(model, size):
    with pytest.raises(ValueError, match=f"size: got {size}, expected a multiple of 8, because 3 layers halve it each"):
        model(latent=4, size=size)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"latent": 0}, "latent: got 0"),
        ({"channels": 0}, "channels: got 0"),
        ({"widths": ()}, "widths: got 0"),
        ({"widths": (4, 0, 8)}, "every width: got 0"),
    ],
)
def test_counts_below_one_are_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        AutoEncoder(**{"latent": 4, "size": 16} | changed)


@pytest.mark.parametrize("arguments", [{"inputs": 0, "latent": 2}, {"inputs": 4, "latent": 0}])
def test_a_linear_auto_encoder_of_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match="got 0, expected a whole number of at least 1"):
        LinearAutoEncoder(**arguments)


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (3, 16, 16), (2, 3, 8, 32), (2, 3, 32, 32), (2, 3, 16, 15)])
@pytest.mark.parametrize("model", [AutoEncoder, VAE, GAN])
def test_pictures_of_another_shape_are_refused(model, shape):
    """Even those with as many pixels, which the linear layer would take."""
    with pytest.raises(ValueError, match=re.escape(f"image: got shape {shape}, expected (batch, 3, 16, 16)")):
        model(latent=4, size=16)(torch.zeros(shape))
