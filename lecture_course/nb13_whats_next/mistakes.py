"""What goes wrong in the exercises of notebook 13: wrong functions, and what each of them says to its author."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes


def apart(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances, (n, k)."""
    return (points[:, None] - centres).square().sum(-1)


def mean_of(members: Tensor, centre: Tensor) -> Tensor:
    """The mean of a centre's points; the centre, where it has none."""
    return members.mean(0) if len(members) else centre


def step_of(
    nearest: Callable[[Tensor, Tensor], Tensor] = lambda points, centres: apart(points, centres).argmin(1),
    moved: Callable[[Tensor, Tensor], Tensor] = mean_of,
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A step with another way to the labels, or from a centre's points to its new place."""

    def step(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        labels = nearest(points, centres)
        return labels, torch.stack([moved(points[labels == i], centre) for i, centre in enumerate(centres)])

    return step


def labels_after_the_move(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    _, new = step_of()(points, centres)
    return apart(points, new).argmin(1), new


STEPS = mistakes(
    "Those are the farthest centres: take the argmin.",
    step_of(lambda x, c: apart(x, c).argmax(1)),
    "The labels are right, but the centres stay where they were: move each to the mean of its points.",
    lambda x, c: (step_of()(x, c)[0], c),
    "The mean of no points is nan: a centre that no point has joined stays where it is.",
    step_of(moved=lambda members, centre: members.mean(0)),
    "A centre that no point has joined goes to 0; it stays where it is.",
    step_of(moved=lambda members, centre: members.sum(0) / max(len(members), 1)),
    "Those are the labels after the move; asked for are those by which the centres moved.",
    labels_after_the_move,
    "Each centre becomes the sum of its points; divide by how many they are.",
    step_of(moved=lambda members, centre: members.sum(0) if len(members) else centre),
    "The old centre counts as one point more; the mean is that of the points alone.",
    step_of(moved=lambda members, centre: torch.cat([members, centre[None]]).mean(0)),
    "That is the median, coordinate by coordinate; k-means takes the mean.",
    step_of(moved=lambda members, centre: members.median(0).values if len(members) else centre),
    "The largest dot product is not the least distance: centres far from 0 win.",
    step_of(lambda x, c: (x @ c.T).argmax(1)),
    "You sum the absolute differences; the distance squares them.",
    step_of(lambda x, c: (x[:, None] - c).abs().sum(-1).argmin(1)),
    "Differences of both signs cancel out in your sum; square them first.",
    step_of(lambda x, c: (x[:, None] - c).sum(-1).abs().argmin(1)),
    "For each centre the nearest point; asked for is the nearest centre of each point.",
    lambda x, c: (apart(x, c).argmin(0), step_of()(x, c)[1]),
)


def posterior_of(
    *,
    weigh: Callable[[Tensor], Tensor] = torch.log,
    spread: Callable[[Tensor], Tensor] = torch.clone,
    width: float = 0.5,
    half: float = 0.5,
    over_axes: Callable[..., Tensor] = torch.sum,
    share: Callable[[Tensor], Tensor] = lambda scores: scores.softmax(1),
) -> Callable[..., Tensor]:
    """Responsibilities with one part of the logarithm, or what becomes of it, replaced."""

    def posterior(points: Tensor, weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
        variances = spread(variances)
        far = half * (points[:, None] - means).square() / variances
        return share(weigh(weights) - over_axes(far + width * (2 * torch.pi * variances).log(), dim=-1))

    return posterior


RESPONSIBILITIES = mistakes(
    "The weights are missing: without them all Gaussians are equally common.",
    posterior_of(weigh=torch.zeros_like),
    "Among logarithms the weights are logarithms, too: a product becomes a sum.",
    posterior_of(weigh=torch.clone),
    "`variances` are σ² already; you have squared them once more.",
    posterior_of(spread=torch.square),
    "`variances` are σ² already; you have taken the root before dividing by them.",
    posterior_of(spread=torch.sqrt),
    "The density's first factor, 1 / √(2πσ²), is missing: a wide Gaussian is a low one.",
    posterior_of(width=0.0),
    "The root is missing in 1 / √(2πσ²): its logarithm is −½ log(2πσ²).",
    posterior_of(width=1.0),
    "The ½ is missing in the exponent: −½ (x − μ)² / σ².",
    posterior_of(half=1.0),
    "The exponent's minus is missing: what lies farther away has become more likely.",
    posterior_of(half=-0.5),
    "The axes of a point are averaged: the density is the product over all of them, its logarithm their sum.",
    posterior_of(over_axes=torch.mean),
    "Each column sums to 1: you have divided by the sum over the points. The Gaussians share each point.",
    posterior_of(share=lambda scores: scores.softmax(0)),
    "Right where a density is more than 0. Far from all Gaussians every one is 0 in float32, and 0 / 0 is nan: keep "
    "the logarithms, and let softmax divide.",
    posterior_of(share=lambda scores: scores.exp() / scores.exp().sum(1, keepdim=True)),
    "These are weight · density; divide by their sum over all Gaussians.",
    posterior_of(share=torch.exp),
    "These are the logarithms of weight · density; softmax makes shares of them.",
    posterior_of(share=torch.clone),
    "These are the logarithms of the shares.",
    posterior_of(share=lambda scores: scores.log_softmax(1)),
    "Each point goes to one Gaussian, as in k-means; here they share it.",
    posterior_of(share=lambda scores: F.one_hot(scores.argmax(1), scores.shape[1]).to(scores.dtype)),
)


def directions(centred: Tensor) -> Tensor:
    """The principal directions, one a row, by falling variance."""
    return torch.linalg.svd(centred, full_matrices=False)[2]


def onto(rows: Tensor, axes: Tensor) -> Tensor:
    """Rows drawn again from their coordinates along axes, (k, d)."""
    return rows @ axes.T @ axes


def centred_by(centre: Callable[[Tensor], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """PCA around another centre than the mean."""
    return lambda x, k: centre(x) + onto(x - centre(x), directions(x - centre(x))[:k])


def standardised(x: Tensor, k: int) -> Tensor:
    mean, deviation = x.mean(0), x.std(0)
    y = (x - mean) / deviation
    return mean + deviation * onto(y, directions(y)[:k])


def without_singular_values(x: Tensor, k: int) -> Tensor:
    left, _, axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0) + left[:, :k] @ axes[:k]


PROJECTIONS = mistakes(
    "The mean is not taken off: the first direction then points from 0 to the middle of the data.",
    centred_by(lambda x: torch.zeros_like(x[:1])),
    "The mean is not given back: add it at the end.",
    lambda x, k: onto(x - x.mean(0), directions(x - x.mean(0))[:k]),
    "The directions come from the centred data, but the data you project is not centred: take the mean off there, too.",
    lambda x, k: onto(x, directions(x - x.mean(0))[:k]),
    "The mean is given back, but was not taken off before the projection.",
    lambda x, k: x.mean(0) + onto(x, directions(x - x.mean(0))[:k]),
    "That is the mean of each row; the mean of the data is a row itself, one number for each column.",
    centred_by(lambda x: x.mean(1, keepdim=True)),
    "That is one mean for all numbers; each column has its own.",
    centred_by(lambda x: x.mean()),
    "Those are the k directions of least variance: torch.linalg.eigh counts upwards.",
    lambda x, k: x.mean(0) + onto(x - x.mean(0), torch.linalg.eigh((x - x.mean(0)).T.cov())[1][:, :k].T),
    "Those are the last k rows of Vh, where the least variance is; the best come first.",
    lambda x, k: x.mean(0) + onto(x - x.mean(0), directions(x - x.mean(0))[-k:]),
    "The principal directions are the rows of Vh, the columns of V; you have taken the others.",
    lambda x, k: x.mean(0) + onto(x - x.mean(0), directions(x - x.mean(0)).T[:k]),
    "You keep the first k columns of the data; the principal components are mixtures of all columns.",
    lambda x, k: x.mean(0) + (x - x.mean(0)) * (torch.arange(x.shape[1]) < k),
    "That is what PCA loses; asked for is what it keeps.",
    lambda x, k: x - centred_by(lambda x: x.mean(0))(x, k),
    "These are the k numbers of each row; draw the row again from them, and add the mean.",
    lambda x, k: (x - x.mean(0)) @ directions(x - x.mean(0))[:k].T,
    "The singular values are missing: U · S · Vh is the data, U · Vh is not.",
    without_singular_values,
    "The columns are divided by their deviations first: then directions of small variance count like the others.",
    standardised,
    "One component too many: the first k are [:k].",
    lambda x, k: centred_by(lambda x: x.mean(0))(x, k + 1),
    "One component too few: the first k are [:k].",
    lambda x, k: centred_by(lambda x: x.mean(0))(x, k - 1),
)


def terms(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The divergence of each number of each code, (b, d)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


DIVERGENCES = mistakes(
    "The net gives log σ²; you have taken it for σ² itself.",
    lambda m, v: 0.5 * (m.square() + v - 1 - v.log()).sum(1),
    "The net gives log σ²; you have taken it for log σ and doubled it.",
    lambda m, v: terms(m, 2 * v).sum(1),
    "The net gives log σ²; exp of half of it is σ, and the formula wants σ².",
    lambda m, v: 0.5 * (m.square() + (0.5 * v).exp() - 1 - v).sum(1),
    "The paper's ½ Σ (1 + log σ² − μ² − σ²) is the negative divergence: turn the sign.",
    lambda m, v: -terms(m, v).sum(1),
    "The ½ is missing.",
    lambda m, v: 2 * terms(m, v).sum(1),
    "The −1 is missing: a code like the normal distribution has divergence 0.",
    lambda m, v: (terms(m, v) + 0.5).sum(1),
    "The mean is not squared.",
    lambda m, v: (terms(m, v) + 0.5 * (m - m.square())).sum(1),
    "The mean is missing: a code away from 0 costs, too.",
    lambda m, v: terms(torch.zeros_like(m), v).sum(1),
    "The variance is missing: a code too sure of itself costs, too.",
    lambda m, v: 0.5 * m.square().sum(1),
    "The − log σ² is missing: without it a variance of 0 would be best.",
    lambda m, v: (terms(m, v) + 0.5 * v).sum(1),
    "+ log σ² should be − log σ²: a variance of nearly 0 must cost a lot.",
    lambda m, v: (terms(m, v) + v).sum(1),
    "That is the divergence of N(0, 1) from N(μ, σ²); the other way round is asked for, and it is not the same.",
    lambda m, v: 0.5 * ((1 + m.square()) / v.exp() - 1 + v).sum(1),
    "That is the mean over the numbers of a code; their divergences add up.",
    lambda m, v: terms(m, v).mean(1),
    "You sum over the images of the batch; sum over the numbers of each code.",
    lambda m, v: terms(m, v).sum(0),
    "One number for each number of the code; sum them for each image.",
    terms,
    "That is the mean over the batch; asked for is one number for each image.",
    lambda m, v: terms(m, v).sum(1).mean(),
    "That is the sum over the batch; asked for is one number for each image.",
    lambda m, v: terms(m, v).sum(),
)


def mixed(
    signal: Callable[[Tensor], Tensor] = torch.sqrt,
    sigma: Callable[[Tensor], Tensor] = lambda alpha_bar: (1 - alpha_bar).sqrt(),
) -> Callable[..., Tensor]:
    """Image and noise added, with other shares of them."""
    return lambda image, noise, alpha_bar: (
        signal(alpha_bar)[:, None, None, None] * image + sigma(alpha_bar)[:, None, None, None] * noise
    )


MIXTURES = mistakes(
    "The shares are exchanged: ᾱ is what is left of the image.",
    lambda image, noise, alpha_bar: mixed()(image, noise, 1 - alpha_bar),
    "The roots are missing: ᾱ and 1 − ᾱ are shares of the variance, and the factors are their roots.",
    mixed(torch.clone, lambda alpha_bar: 1 - alpha_bar),
    "The root over 1 − ᾱ is missing.",
    mixed(sigma=lambda alpha_bar: 1 - alpha_bar),
    "The root over ᾱ is missing.",
    mixed(signal=torch.clone),
    "That is 1 − √ᾱ; it is √(1 − ᾱ), the root of the difference.",
    mixed(sigma=lambda alpha_bar: 1 - alpha_bar.sqrt()),
    "The noise is added whole; its share is √(1 − ᾱ).",
    mixed(sigma=torch.ones_like),
    "The image is kept whole; √ᾱ is its share, or the variance would grow.",
    mixed(signal=torch.ones_like),
    "The noise is subtracted; it is added.",
    mixed(sigma=lambda alpha_bar: -(1 - alpha_bar).sqrt()),
    "That is the velocity, what the net foretells; asked for is the noisy image.",
    lambda image, noise, alpha_bar: mixed()(noise, -image, alpha_bar),
    "The noise is missing: the image only gets fainter.",
    mixed(sigma=torch.zeros_like),
    "All images are at the step of the first one; each has its own.",
    lambda image, noise, alpha_bar: mixed()(image, noise, alpha_bar[:1].expand_as(alpha_bar)),
    "All images get the mean of all ᾱ; each is at a step of its own.",
    lambda image, noise, alpha_bar: mixed()(image, noise, alpha_bar.mean().expand_as(alpha_bar)),
    "`alpha_bar` meets the columns, one factor for each. It belongs to the images: alpha_bar[:, None, None, None].",
    lambda image, noise, alpha_bar: alpha_bar.sqrt() * image + (1 - alpha_bar).sqrt() * noise,
    "`alpha_bar` meets the channels, one factor each. It belongs to the images: alpha_bar[:, None, None, None].",
    lambda image, noise, alpha_bar: (
        alpha_bar[:, None, None].sqrt() * image + (1 - alpha_bar)[:, None, None].sqrt() * noise
    ),
)
