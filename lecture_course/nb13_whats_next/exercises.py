"""The exercises of notebook 13: clusters, principal components, VAE, GAN and diffusion (slides 36 to 38)."""

import torch
from torch import Generator

from lecture_course.engine.definitions import Case, Exercise
from lecture_course.nb13_whats_next.mistakes import (
    ADD_NOISE_MISTAKES,
    DDIM_STEP_MISTAKES,
    DDPM_STEP_MISTAKES,
    DIVERGENCE_MISTAKES,
    GAN_LOSSES_MISTAKES,
    KMEANS_STEP_MISTAKES,
    PROJECT_MISTAKES,
    REPARAMETERISE_MISTAKES,
    ddim_step,
    ddpm_step,
    gan_losses,
    kmeans_step,
    project,
    reparameterised,
)
from lecture_utils.generative import add_noise, kl_divergence


def points_and_centres(rng: Generator) -> list[Case]:
    def case(n: int, k: int, d: int, note: str, *, alone: int | None = None) -> Case:
        middles = 3 + 2 * torch.randn(k, d, generator=rng)
        points = middles[torch.randint(k, (n,), generator=rng)] + torch.randn(n, d, generator=rng)
        centres = middles + torch.randn(k, d, generator=rng)
        if alone is not None:
            centres[alone] = 50 + torch.rand(d, generator=rng)
        return Case((points, centres), note=note)

    return [
        case(5, 2, 2, "five points, two centres"),
        case(12, 3, 1, "points on a line"),
        case(40, 4, 2, "four clusters in the plane"),
        case(30, 3, 5, "a centre that no point joins", alone=1),
        case(200, 6, 3, "colours"),
    ]


def data_and_k(rng: Generator) -> list[Case]:
    def case(n: int, d: int, k: int, note: str) -> Case:
        turn, _ = torch.linalg.qr(torch.randn(d, d, generator=rng))
        spread = 3.0 * 0.7 ** torch.arange(d)
        data = torch.randn(n, d, generator=rng) * spread @ turn + 4 * torch.randn(d, generator=rng)
        return Case((data, k), note=note)

    return [
        case(6, 2, 1, "six points in the plane, one number each"),
        case(20, 5, 2, "five columns, two components"),
        case(50, 4, 3, "all components but one"),
        case(10, 3, 3, "all components: nothing is lost"),
        case(6, 12, 4, "fewer rows than columns"),
    ]


def codes(rng: Generator) -> list[Case]:
    def case(b: int, d: int, note: str) -> Case:
        return Case((torch.randn(b, d, generator=rng), torch.randn(b, d, generator=rng)), note=note)

    some = case(4, 6, "sure and unsure codes")
    return [
        case(1, 2, "one code of two numbers"),
        case(3, 5, "batch of 3"),
        case(5, 2, "short codes"),
        Case((some.args[0], 3 * some.args[1]), note=some.note),
        Case((torch.zeros(2, 3), torch.zeros(2, 3)), note="the normal distribution itself"),
    ]


def images_noise_and_kept(rng: Generator) -> list[Case]:
    def case(b: int, c: int, h: int, w: int, note: str) -> Case:
        image, noise = torch.randn(2, b, c, h, w, generator=rng)
        return Case((image, noise, 0.05 + 0.9 * torch.rand(b, generator=rng)), note=note)

    return [
        case(1, 1, 3, 4, "one image"),
        case(3, 1, 5, 3, "as many images as columns"),
        case(2, 3, 5, 7, "batch of 2"),
        case(3, 3, 4, 6, "as many images as channels"),
        case(5, 3, 8, 8, "batch of 5"),
    ]


def codes_and_noise(rng: Generator) -> list[Case]:
    def case(b: int, d: int, note: str) -> Case:
        mean, log_variance, noise = 2 * torch.randn(3, b, d, generator=rng)
        return Case((mean, log_variance, noise), note=note)

    return [
        case(1, 2, "one code of two numbers"),
        case(3, 5, "batch of 3"),
        case(4, 4, "as many codes as numbers"),
        Case((torch.zeros(2, 3), torch.zeros(2, 3), torch.randn(2, 3, generator=rng)), note="μ = 0 and σ = 1"),
    ]


def scores(rng: Generator) -> list[Case]:
    def case(b: int, note: str, *, sure: float = 1.0) -> Case:
        return Case(tuple(sure * torch.randn(2, b, 1, generator=rng)), note=note)

    return [
        case(1, "one image each"),
        case(6, "batch of 6"),
        Case((torch.zeros(4, 1), torch.zeros(4, 1)), note="a discriminator that can tell nothing"),
        case(8, "a discriminator that is sure", sure=200.0),
    ]


def noisy_and_fresh(rng: Generator) -> list[Case]:
    def case(b: int, c: int, h: int, w: int, alpha: float, alpha_bar: float, note: str) -> Case:
        noisy, noise, fresh = torch.randn(3, b, c, h, w, generator=rng)
        return Case((noisy, noise, alpha, alpha_bar, fresh), note=note)

    return [
        case(1, 1, 3, 4, 0.9, 0.5, "one image, in the middle"),
        case(2, 3, 5, 7, 0.97, 0.85, "near the end: little noise is left"),
        case(3, 1, 4, 4, 0.3, 0.02, "near the beginning: hardly any image"),
    ]


def clean_and_fresh(rng: Generator) -> list[Case]:
    def case(b: int, c: int, h: int, w: int, eta: float, alpha_bar: float, following: float, note: str) -> Case:
        clean, noise, fresh = torch.randn(3, b, c, h, w, generator=rng)
        return Case((clean, noise, alpha_bar, following, eta, fresh), note=note)

    return [
        case(1, 1, 3, 4, 0.0, 0.3, 0.6, "η = 0: no fresh noise"),
        case(2, 3, 5, 7, 1.0, 0.3, 0.6, "η = 1: as DDPM"),
        case(3, 1, 4, 4, 0.5, 0.1, 0.8, "η = ½, a long step"),
        case(2, 2, 4, 3, 0.7, 0.90, 0.95, "near the end"),
    ]


EXERCISES = (
    Exercise(
        "13.kmeans_step",
        title="One step of k-means",
        minutes=10,
        difficulty=2,
        reference=kmeans_step,
        cases=points_and_centres,
        mistakes=KMEANS_STEP_MISTAKES,
        hints=(
            "torch.cdist(points, centres) has the shape (n, k); the nearest centre is an argmin over its last axis.",
            "points[labels == i] are the points of centre i; their mean over axis 0 is its new place.",
            "If there are none, the centre stays. torch.stack puts the k new centres into one tensor.",
        ),
        because="Neither half of the step can enlarge the sum of squared distances, and there are only so many ways to "
        "label the points: k-means always comes to rest, though not always at the best place.",
    ),
    Exercise(
        "13.project",
        title="Back from k numbers",
        minutes=10,
        difficulty=2,
        reference=project,
        cases=data_and_k,
        mistakes=PROJECT_MISTAKES,
        hints=(
            "data.mean(0) is one row; take it off every row.",
            "torch.linalg.svd(centred, full_matrices=False) gives U, S, Vh: Vh's rows are the directions, best first.",
            "centred @ axes.T are the k numbers of each row, times axes the row again; then add the mean.",
        ),
        because="No other k numbers, taken from a row by a matrix and drawn by a matrix, lose less of the variance.",
    ),
    Exercise(
        "13.reparameterise",
        title="Noise from outside",
        minutes=5,
        difficulty=1,
        reference=reparameterised,
        cases=codes_and_noise,
        mistakes=REPARAMETERISE_MISTAKES,
        hints=(
            "A sample of N(0, 1), stretched by σ and moved by μ, is a sample of N(μ, σ²).",
            "σ² is log_variance.exp(); what is its root?",
            "σ is (0.5 * log_variance).exp(): half of the logarithm is the logarithm of the root.",
        ),
        because="The sampling is outside of the network: the code is a smooth function of μ and σ, so the decoder's "
        "error tells both which way to go. Through a sample drawn inside, no gradient passes.",
    ),
    Exercise(
        "13.divergence",
        title="How far from the normal distribution?",
        minutes=10,
        difficulty=2,
        reference=kl_divergence,
        cases=codes,
        mistakes=DIVERGENCE_MISTAKES,
        hints=(
            "σ² is log_variance.exp(), and log σ² is log_variance itself.",
            "½ (μ² + σ² − 1 − log σ²) for all numbers at once has the shape (b, d).",
            "The numbers of a code are independent, so their divergences add up: sum over axis 1.",
        ),
        because="It is 0 for the normal distribution alone: what a code tells of its image has a price, in nats.",
    ),
    Exercise(
        "13.gan_losses",
        title="Two losses for two players",
        minutes=12,
        difficulty=2,
        reference=gan_losses,
        cases=scores,
        mistakes=GAN_LOSSES_MISTAKES,
        hints=(
            "D is the sigmoid of a score, so log D is F.logsigmoid(score).",
            "1 − sigmoid(s) = sigmoid(−s): log(1 − D) is F.logsigmoid(−score).",
            "Discriminator: −log D(x) − log(1 − D(G(z))), the mean of each over the batch. Generator: −log D(G(z)).",
        ),
        because="In the minimax game the generator minimises log(1 − D(G(z))). Early on D is sure that all of it is "
        "fake, and there this is flat. −log D(G(z)) has its optimum at the same place and is steep where it is worst.",
    ),
    Exercise(
        "13.add_noise",
        title="Many steps at once",
        minutes=8,
        difficulty=1,
        reference=add_noise,
        cases=images_noise_and_kept,
        mistakes=ADD_NOISE_MISTAKES,
        hints=(
            "kept has one number for each image, (b,); the images are (b, c, h, w).",
            "kept[:, None, None, None] is (b, 1, 1, 1): one factor for all the pixels of an image.",
            "Both factors are roots: kept.sqrt() for the image, (1 − kept).sqrt() for the noise.",
        ),
        because="Image and noise are independent, so their variances add up: ᾱ + (1 − ᾱ) = 1 at every step. And no "
        "step needs those before it, so training can draw any of them.",
    ),
    Exercise(
        "13.ddpm_step",
        title="One step back",
        minutes=12,
        difficulty=2,
        reference=ddpm_step,
        cases=noisy_and_fresh,
        mistakes=DDPM_STEP_MISTAKES,
        hints=(
            "β = 1 − α is the variance of the noise that this one step added.",
            "The mean: take β / √(1 − ᾱ) of the predicted noise out, then divide by √α.",
            "Last, add fresh noise of standard deviation √β.",
        ),
        because="The reverse of a small noisy step is again nearly normal: its mean needs the predicted noise, and its "
        "fresh noise makes that the result is a sample and not a mean, which would be blurred.",
    ),
    Exercise(
        "13.ddim_step",
        title="How much of the noise is new?",
        minutes=15,
        difficulty=3,
        reference=ddim_step,
        cases=clean_and_fresh,
        mistakes=DDIM_STEP_MISTAKES,
        hints=(
            "σ = η √((1 − ᾱ') / (1 − ᾱ)) √(1 − ᾱ / ᾱ') is the standard deviation of the fresh noise.",
            "All noise together must have the variance 1 − ᾱ': what stays of the predicted noise has 1 − ᾱ' − σ².",
            "√ᾱ' · clean + √(1 − ᾱ' − σ²) · noise + σ · fresh.",
        ),
        because="η only decides how much of the noise is drawn again, not how much there is. With η = 0 the first "
        "noise decides everything, so that one can mix two seeds, and a few long steps lose little.",
    ),
)
