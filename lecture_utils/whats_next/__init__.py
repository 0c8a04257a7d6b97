"""What's next: models that draw, and numbers that say less and mean the same (slides 36 to 38)."""

from lecture_utils.whats_next.autoencoder import AutoEncoder, LinearAutoEncoder
from lecture_utils.whats_next.diffusion import (
    Diffusion,
    add_noise,
    clean_and_noise,
    cosine_alpha_bar,
    denoising_loss,
    velocity,
)
from lecture_utils.whats_next.gan import GAN
from lecture_utils.whats_next.scores import frechet_distance, precision_and_recall
from lecture_utils.whats_next.vae import VAE, divergence, negative_elbo
