"""Generative models and latent codes (slides 36 to 38)."""

from lecture_utils.generative.autoencoder import AutoEncoder, LinearAutoEncoder
from lecture_utils.generative.diffusion import (
    Diffusion,
    add_noise,
    cosine_alpha_bar,
    denoising_loss,
    predict_x0_and_noise,
    velocity,
)
from lecture_utils.generative.gan import GAN
from lecture_utils.generative.scores import frechet_distance, precision_and_recall
from lecture_utils.generative.vae import VAE, kl_divergence, negative_elbo
