"""The right answers of notebook 13 written out, the edits that make them wrong, and what each says to its author."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.generative import kl_divergence, velocity


def kmeans_step(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "k d"]
) -> tuple[Int64[Tensor, " n"], Float[Tensor, "k d"]]:
    """One step of k-means: each point's nearest centre, and the means of the points of each.

    A centre without points stays. Lloyd, "Least squares quantization in PCM", 1982 (written in 1957).
    """
    distances = (points[:, None] - centres).square().sum(-1)
    labels = distances.argmin(1)
    groups = [points[labels == i] for i in range(len(centres))]
    moved = [group.mean(0) if len(group) else centre for group, centre in zip(groups, centres, strict=True)]
    return labels, torch.stack(moved)


KMEANS_STEP_MISTAKES = mistakes(
    kmeans_step,
    {
        "argmin → argmax": "Those are the farthest centres: take the argmin.",
        "torch.stack(moved) → centres": "The labels are right, but the centres stay where they were: move each to the "
        "mean of its points.",
        "if len(group) else centre → ": "The mean of no points is nan: a centre that no point has joined stays where "
        "it is.",
        "else centre → else 0 * centre": "A centre that no point has joined goes to 0; it stays where it is.",
        "(labels, → (torch.cdist(points, torch.stack(moved)).argmin(1),": "Those are the labels after the move; asked "
        "for are those by which the centres moved.",
        "group.mean(0) → group.sum(0)": "Each centre becomes the sum of its points; divide by how many they are.",
        "group.mean(0) → (group.sum(0) + centre) / (len(group) + 1)": "The old centre counts as one point more; the "
        "mean is that of the points alone.",
        "mean(0) → median(0).values": "That is the median, coordinate by coordinate; k-means takes the mean.",
        "distances.argmin(1) → (points @ centres.T).argmax(1)": "The largest dot product is not the least distance: "
        "centres far from 0 win.",
        "square → abs": "You sum the absolute differences; the distance squares them.",
        "square().sum(-1) → sum(-1).abs()": "Differences of both signs cancel out in your sum; square them first.",
        "(labels, → (distances.argmin(0),": "For each centre the nearest point; asked for is the nearest centre of "
        "each point.",
    },
)


def project(data: Float[Tensor, "n d"], k: int) -> Float[Tensor, "n d"]:
    """Each row drawn again from its `k` principal components: the nearest points of the best flat of k dimensions."""
    mean = data.mean(0)
    centred = data - mean
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)  # rows, by falling variance
    best = axes[:k]
    return mean + centred @ best.T @ best


PROJECT_MISTAKES = mistakes(
    project,
    {
        "data.mean(0) → 0": "The mean is not taken off: the first direction then points from 0 to the middle of the "
        "data.",
        "mean + → ": "The mean is not given back: add it at the end.",
        "mean + centred → data": "The directions come from the centred data, but the data you project is not centred: "
        "take the mean off there, too.",
        "+ centred → + data": "The mean is given back, but was not taken off before the projection.",
        "mean(0) → mean(1, keepdim=True)": "That is the mean of each row; the mean of the data is a row itself, one "
        "number for each column.",
        "mean(0) → mean()": "That is one mean for all numbers; each column has its own.",
        "axes[:k] → torch.linalg.eigh(centred.T.cov())[1][:, :k].T": "Those are the k directions of least variance: "
        "torch.linalg.eigh counts upwards.",
        "[:k] → [-k:]": "Those are the last k rows of Vh, where the least variance is; the best come first.",
        "axes[:k] → axes.T[:k]": "The principal directions are the rows of Vh, the columns of V; you have taken the "
        "others.",
        "centred @ best.T @ best → centred * (torch.arange(data.shape[1]) < k)": "You keep the first k columns of the "
        "data; the principal components are mixtures of all columns.",
        lambda data, k: data - project(data, k): "That is what PCA loses; asked for is what it keeps.",
        "mean + centred @ best.T @ best → centred @ best.T": "These are the k numbers of each row; draw the row again "
        "from them, and add the mean.",
        "_, _, axes → left, _, axes; centred @ best.T → left[:, :k]": "The singular values are missing: U · S · Vh is "
        "the data, U · Vh is not.",
        "data - mean → (data - mean) / data.std(0); @ best.T @ best → @ best.T @ best * data.std(0)": "The columns are "
        "divided by their deviations first: then directions of small variance count like the others.",
        "[:k] → [:k + 1]": "One component too many: the first k are [:k].",
        "[:k] → [:k - 1]": "One component too few: the first k are [:k].",
    },
)


DIVERGENCE_MISTAKES = mistakes(
    kl_divergence,
    {
        "log_variance.exp() - 1 - log_variance → log_variance - 1 - log_variance.log()": "The net gives log σ²; you "
        "have taken it for σ² itself.",
        lambda mean, log_variance: kl_divergence(mean, 2 * log_variance): "The net gives log σ²; you have taken it for "
        "log σ and doubled it.",
        "log_variance.exp() → (0.5 * log_variance).exp()": "The net gives log σ²; exp of half of it is σ, and the "
        "formula wants σ².",
        "0.5 * → -0.5 *": "The paper's ½ Σ (1 + log σ² − μ² − σ²) is the negative divergence: turn the sign.",
        "0.5 * → ": "The ½ is missing.",
        "- 1 → ": "The −1 is missing: a code like the normal distribution has divergence 0.",
        ".square() → ": "The mean is not squared.",
        "mean.square() + → ": "The mean is missing: a code away from 0 costs, too.",
        "+ log_variance.exp() - 1 - log_variance → ": "The variance is missing: a code too sure of itself costs, too.",
        "- log_variance → ": "The − log σ² is missing: without it a variance of 0 would be best.",
        "- log_variance → + log_variance": "+ log σ² should be − log σ²: a variance of nearly 0 must cost a lot.",
        lambda mean, log_variance: 0.5 * ((1 + mean.square()) / log_variance.exp() - 1 + log_variance).sum(1): "That "
        "is the divergence of N(0, 1) from N(μ, σ²); the other way round is asked for, and it is not the same.",
        "sum(1) → mean(1)": "That is the mean over the numbers of a code; their divergences add up.",
        "sum(1) → sum(0)": "You sum over the images of the batch; sum over the numbers of each code.",
        ".sum(1) → ": "One number for each number of the code; sum them for each image.",
        "sum(1) → sum(1).mean()": "That is the mean over the batch; asked for is one number for each image.",
        "sum(1) → sum()": "That is the sum over the batch; asked for is one number for each image.",
    },
)


def noisy(image: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    kept = alpha_bar[:, None, None, None]
    return kept.sqrt() * image + (1 - kept).sqrt() * noise


ADD_NOISE_MISTAKES = mistakes(
    noisy,
    {
        "= alpha_bar → = 1 - alpha_bar": "The shares are exchanged: ᾱ is what is left of the image.",
        ".sqrt() → ": "The roots are missing: ᾱ and 1 − ᾱ are shares of the variance, and the factors are their roots.",
        "(1 - kept).sqrt() → (1 - kept)": "The root over 1 − ᾱ is missing.",
        "kept.sqrt() → kept": "The root over ᾱ is missing.",
        "(1 - kept).sqrt() → (1 - kept.sqrt())": "That is 1 − √ᾱ; it is √(1 − ᾱ), the root of the difference.",
        "(1 - kept).sqrt() * → ": "The noise is added whole; its share is √(1 − ᾱ).",
        "kept.sqrt() * → ": "The image is kept whole; √ᾱ is its share, or the variance would grow.",
        "+ (1 → - (1": "The noise is subtracted; it is added.",
        velocity: "That is the velocity, what the net predicts; asked for is the noisy image.",
        "+ (1 - kept).sqrt() * noise → ": "The noise is missing: the image only gets fainter.",
        "alpha_bar[: → alpha_bar[:1": "All images are at the step of the first one; each has its own.",
        "alpha_bar[:, None, None, None] → alpha_bar.mean()": "All images get the mean of all ᾱ; each is at a step of "
        "its own.",
        "[:, None, None, None] → ": "`alpha_bar` meets the columns, one factor for each. It belongs to the images: "
        "alpha_bar[:, None, None, None].",
        "[:, None, None, None] → [:, None, None]": "`alpha_bar` meets the channels, one factor each. It belongs to the "
        "images: alpha_bar[:, None, None, None].",
    },
)


def reparameterised(
    mean: Float[Tensor, "b d"], log_variance: Float[Tensor, "b d"], noise: Float[Tensor, "b d"]
) -> Float[Tensor, "b d"]:
    """A code of N(μ, σ²) made from noise of N(0, 1), so that gradients reach μ and σ (the VAE's paper, section 2.4)."""
    deviation = (0.5 * log_variance).exp()
    return mean + deviation * noise


REPARAMETERISE_MISTAKES = mistakes(
    reparameterised,
    {
        "0.5 * log_variance → log_variance": "You multiply by σ²; a normal distribution is stretched by σ, the root: "
        "exp(½ log σ²).",
        "(0.5 * log_variance).exp() → log_variance": "You multiply by log σ² itself: exp(½ log σ²) is σ.",
        "(0.5 * log_variance).exp() → log_variance.abs().sqrt()": "The net gives log σ², not σ²: no root, but exp(½ "
        "log σ²).",
        "(0.5 * log_variance).exp() → (2 * log_variance).exp()": "exp(2 log σ²) is σ⁴: it is exp(½ log σ²).",
        "(0.5 * log_variance).exp() → (-0.5 * log_variance).exp()": "That is 1 / σ: without the minus it is σ.",
        "mean + → ": "The mean is missing: all codes lie around 0.",
        "mean + → mean * ": "The mean is added, not multiplied.",
        "deviation * noise → deviation": "The noise is missing: that is always the same code, one σ beside the mean.",
        "deviation * noise → noise": "The noise keeps the size of 1: multiply it by σ.",
        "mean + deviation * noise → mean": "That is the mean, without any noise: an auto-encoder.",
        "mean + deviation * noise → (mean + noise) * deviation": "σ stretches the noise alone; you stretch the mean, "
        "too.",
        "deviation * noise → deviation * torch.randn_like(noise)": "You draw noise of your own; use the one that is "
        "given, so that the code is a function of μ, σ and this noise.",
    },
)


def gan_losses(real: Float[Tensor, "b 1"], fake: Float[Tensor, "b 1"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The discriminator's loss and the generator's non-saturating one (Goodfellow et al., 2014, section 3)."""
    discriminator = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
    generator = -F.logsigmoid(fake).mean()
    return discriminator, generator


GAN_LOSSES_MISTAKES = mistakes(
    gan_losses,
    {
        "generator = -F.logsigmoid(fake) → generator = F.logsigmoid(-fake)": "That is log(1 − D(G(z))), the saturating "
        "loss of the minimax game: where the discriminator is sure, its gradient is nearly 0. Minimise −log D(G(z)).",
        "generator = -F.logsigmoid(fake) → generator = -F.logsigmoid(-fake)": "The generator is to be taken for real: "
        "−log D(G(z)); yours is least when it is found out.",
        "generator = - → generator = ": "The sign of the generator's loss is turned: a loss is minimised, so it is "
        "−log D(G(z)).",
        "discriminator = -F.logsigmoid(real).mean() - F.logsigmoid(-fake) → discriminator = F.logsigmoid(real).mean() "
        "+ F.logsigmoid(-fake)": "The sign of the discriminator's loss is turned: those logarithms are to become "
        "large, so the loss is their negative.",
        "logsigmoid(-fake) → logsigmoid(fake)": "Of generated images the discriminator should say “not real”: "
        "log(1 − D) is the logsigmoid of the negative score.",
        "-F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean() → -F.logsigmoid(-real).mean() - "
        "F.logsigmoid(fake).mean()": "Real and generated are exchanged in the discriminator's loss.",
        " - F.logsigmoid(-fake).mean() → ": "The discriminator's loss lacks the generated images: − log(1 − D(G(z))).",
        "-F.logsigmoid(real).mean() - → -": "The discriminator's loss lacks the real images: −log D(x).",
        "real).mean() - F.logsigmoid(-fake).mean() → real).mean() / 2 - F.logsigmoid(-fake).mean() / 2": "Half of the "
        "discriminator's loss: both terms count in full, so that it is 2 ln 2 where it can tell nothing.",
        "F.logsigmoid(real) → real.sigmoid(); F.logsigmoid(-fake) → (-fake).sigmoid(); F.logsigmoid(fake) → "
        "fake.sigmoid()": "The logarithms are missing: those are probabilities.",
        "F.logsigmoid(real) → real; F.logsigmoid(-fake) → -fake; F.logsigmoid(fake) → fake": "Those are the scores "
        "themselves, the loss of a Wasserstein GAN; here the score is the logit of D.",
        "F.logsigmoid(real) → real.sigmoid().log(); F.logsigmoid(-fake) → (1 - fake.sigmoid()).log(); "
        "F.logsigmoid(fake) → fake.sigmoid().log()": "Right where D is neither 0 nor 1. Where it is sure, float32 has "
        "log 0, minus infinity: F.logsigmoid takes both steps at once.",
        "(discriminator, generator) → (generator, discriminator)": "Both are right, but exchanged: the "
        "discriminator's first.",
        ".mean() → .sum()": "Those are sums over the batch; take the means.",
        "(discriminator, generator) → discriminator": "That is the discriminator's loss alone; give back both.",
    },
)


def ddpm_step(
    noisy: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], alpha: float, alpha_bar: float, fresh: Tensor
) -> Float[Tensor, "b c h w"]:
    """One step of ancestral sampling with σ² = β: DDPM, algorithm 2, line 4."""
    beta = 1 - alpha
    mean = (noisy - beta / (1 - alpha_bar) ** 0.5 * noise) / alpha**0.5
    return mean + beta**0.5 * fresh


DDPM_STEP_MISTAKES = mistakes(
    ddpm_step,
    {
        "+ beta ** 0.5 * fresh → ": "The fresh noise is missing: without it the step is no sample, and images become "
        "too smooth.",
        "beta ** 0.5 → beta": "The fresh noise has the standard deviation √β; β is its variance.",
        "beta ** 0.5 * fresh → fresh": "The fresh noise is added whole; its standard deviation is √β.",
        "/ alpha ** 0.5 → ": "The division by √α is missing: the image was made fainter by √α in this step.",
        "/ alpha ** 0.5 → / alpha": "You divide by α; it is √α, as α is a share of the variance.",
        "/ alpha ** 0.5 → / alpha_bar ** 0.5": "You divide by √ᾱ, which leads to step 0 at once; one step back is √α.",
        "beta / (1 - alpha_bar) ** 0.5 → (1 - alpha_bar) ** 0.5": "You take all the noise out: one step takes "
        "β / √(1 − ᾱ) of it.",
        "beta / (1 - alpha_bar) ** 0.5 → beta / (1 - alpha_bar)": "The root over 1 − ᾱ is missing.",
        "beta / (1 - alpha_bar) ** 0.5 → beta ** 0.5": "The factor of the predicted noise is β / √(1 − ᾱ): √β is that "
        "of the fresh noise.",
        "beta / (1 - alpha_bar) ** 0.5 → beta": "The factor of the predicted noise is β / √(1 − ᾱ); you have only β.",
        "(noisy - → (noisy + ": "The predicted noise is taken out: a minus.",
        "beta = 1 - alpha → beta = 1 - alpha_bar": "β is 1 − α, of this step alone; you have taken 1 − ᾱ, of all "
        "steps so far.",
        "mean + → mean - ": "The fresh noise is added; where its sign is turned, it is not the noise that was given.",
        "beta ** 0.5 * fresh → beta ** 0.5 * noise": "You put the predicted noise back in; use the fresh one.",
        "(noisy - beta / (1 - alpha_bar) ** 0.5 * noise) / alpha ** 0.5 → noisy / alpha ** 0.5 - beta "
        "/ (1 - alpha_bar) ** 0.5 * noise": "√α divides all of the difference, the predicted noise, too.",
    },
)


def ddim_step(
    clean: Float[Tensor, "b c h w"],
    noise: Float[Tensor, "b c h w"],
    alpha_bar: float,
    alpha_bar_next: float,
    eta: float,
    fresh: Float[Tensor, "b c h w"],
) -> Float[Tensor, "b c h w"]:
    """One step of DDIM to a step with more of the image, ᾱ' > ᾱ (equations 12 and 16)."""
    sigma = eta * ((1 - alpha_bar_next) / (1 - alpha_bar)) ** 0.5 * (1 - alpha_bar / alpha_bar_next) ** 0.5
    kept = (1 - alpha_bar_next - sigma**2) ** 0.5
    return alpha_bar_next**0.5 * clean + kept * noise + sigma * fresh


DDIM_STEP_MISTAKES = mistakes(
    ddim_step,
    {
        "- sigma ** 2 → ": "The predicted noise keeps all of its variance and the fresh noise comes on top: together "
        "they may have 1 − ᾱ' only, so take σ² off under the root.",
        "- sigma ** 2 → - sigma": "Under the root stand variances: σ², not σ.",
        "+ sigma * fresh → ": "The fresh noise is missing: right for η = 0 only.",
        "sigma * fresh → eta * fresh": "The fresh noise has the standard deviation σ; η is only its share.",
        "sigma * fresh → sigma ** 2 * fresh": "The fresh noise has the standard deviation σ, not its square.",
        "eta * ((1 → ((1": "η is missing: this is the step of η = 1, whatever is asked for.",
        "= eta * → = eta**0.5 * ": "η multiplies the standard deviation σ, not the variance: no root.",
        "= eta * → = eta**2 * ": "η multiplies the standard deviation σ: no square.",
        "** 0.5 * (1 - alpha_bar / alpha_bar_next) ** 0.5 → * (1 - alpha_bar / alpha_bar_next)": "That is the "
        "variance σ²; σ is its root.",
        "((1 - alpha_bar_next) / (1 - alpha_bar)) ** 0.5 * → ": "The first factor of σ is missing: "
        "√((1 − ᾱ') / (1 − ᾱ)).",
        "* (1 - alpha_bar / alpha_bar_next) ** 0.5 → ": "The second factor of σ is missing: √(1 − ᾱ / ᾱ').",
        "alpha_bar_next ** 0.5 * clean → alpha_bar ** 0.5 * clean": "√ᾱ is where the image comes from; it goes on to "
        "√ᾱ' of the clean one.",
        "alpha_bar_next ** 0.5 * clean → alpha_bar_next * clean": "The root over ᾱ' is missing.",
        "alpha_bar_next ** 0.5 * clean → clean": "The clean image is kept whole; its share is √ᾱ'.",
        "kept = (1 - alpha_bar_next - sigma ** 2) ** 0.5 → kept = 1 - alpha_bar_next - sigma ** 2": "The root is "
        "missing: 1 − ᾱ' − σ² is the variance of what stays of the predicted noise.",
        "kept = (1 - alpha_bar_next → kept = (1 - alpha_bar": "The noise that stays is measured at the step you come "
        "from; it is 1 − ᾱ' − σ² at the one you go to.",
        "+ kept * noise → ": "The predicted noise is missing: only fresh noise is left.",
        "kept * noise + sigma * fresh → kept * fresh + sigma * noise": "Predicted and fresh noise are exchanged.",
    },
)
