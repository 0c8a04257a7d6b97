"""What students write for notebook 13: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from lecture_course.engine.definitions import Exercise
from lecture_course.nb13_whats_next.exercises import EXERCISES, ddim_step, ddpm_step, kmeans_step, project

# 13.kmeans_step, right


def step_by_loops(points, centres):
    labels = torch.stack([((point - centres) ** 2).sum(1).argmin() for point in points])
    new = centres.clone()
    for i in range(len(centres)):
        if (labels == i).any():
            new[i] = points[labels == i].mean(dim=0)
    return labels, new


def step_by_adding(points, centres):
    labels = (points[:, None] - centres).norm(dim=2).min(dim=1).indices
    sums = torch.zeros_like(centres).index_add(0, labels, points)
    counts = labels.bincount(minlength=len(centres))
    new = sums / counts[:, None].clamp(min=1)
    new[counts == 0] = centres[counts == 0]
    return labels, new


# 13.kmeans_step, wrong


def step_to_the_farthest(points, centres):
    labels = torch.cdist(points, centres).argmax(1)
    return labels, step_by_labels(points, centres, labels)


def step_by_labels(points, centres, labels):
    return torch.stack([points[labels == i].mean(0) if i in labels else c for i, c in enumerate(centres)])


def step_without_a_move(points, centres):
    return torch.cdist(points, centres).argmin(1), centres


def step_to_nan(points, centres):
    labels = torch.cdist(points, centres).argmin(1)
    return labels, torch.stack([points[labels == i].mean(0) for i in range(len(centres))])


def step_to_zero(points, centres):
    labels = torch.cdist(points, centres).argmin(1)
    new = torch.zeros_like(centres)
    for i in labels.unique():
        new[i] = points[labels == i].mean(0)
    return labels, new


def step_labelled_again(points, centres):
    _, new = step_by_loops(points, centres)
    return torch.cdist(points, new).argmin(1), new


def step_of_sums(points, centres):
    labels = torch.cdist(points, centres).argmin(1)
    return labels, torch.stack([points[labels == i].sum(0) if i in labels else c for i, c in enumerate(centres)])


def step_by_dot(points, centres):
    labels = (points @ centres.T).argmax(1)
    return labels, step_by_labels(points, centres, labels)


def step_to_the_median(points, centres):
    labels = torch.cdist(points, centres).argmin(1)
    new = [points[labels == i].median(0).values if i in labels else c for i, c in enumerate(centres)]
    return labels, torch.stack(new)


def step_turned_round(points, centres):
    labels, new = step_by_loops(points, centres)
    return new, labels


def step_of_centres_alone(points, centres):
    return step_by_loops(points, centres)[1]


def step_with_int32(points, centres):
    labels, new = step_by_loops(points, centres)
    return labels.int(), new


def step_in_place(points, centres):
    labels, new = step_by_loops(points, centres)
    centres[:] = new
    return labels, centres


# 13.project, right


def project_by_sklearn(data, k):
    pca = PCA(n_components=k).fit(data.double().numpy())
    return torch.from_numpy(pca.inverse_transform(pca.transform(data.double().numpy()))).float()


def project_by_eigh(data, k):
    mean = data.mean(dim=0, keepdim=True)
    centred = (data - mean).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    best = vectors[:, -k:]
    return mean + (centred @ best @ best.T).float()


def project_by_values(data, k):
    centred = data - data.mean(0)
    left, values, axes = torch.linalg.svd(centred, full_matrices=False)
    return data.mean(0) + left[:, :k] @ torch.diag(values[:k]) @ axes[:k, :]


# 13.project, wrong


def axes_of(rows):
    return torch.linalg.svd(rows, full_matrices=False).Vh


def project_around_zero(data, k):
    axes = axes_of(data)[:k]
    return data @ axes.T @ axes


def project_without_the_mean(data, k):
    centred = data - data.mean(0)
    axes = axes_of(centred)[:k]
    return centred @ axes.T @ axes


def project_uncentred(data, k):
    axes = axes_of(data - data.mean(0))[:k]
    return data @ axes.T @ axes


def project_rows_centred(data, k):
    mean = data.mean(dim=1, keepdim=True)
    axes = axes_of(data - mean)[:k]
    return (data - mean) @ axes.T @ axes + mean


def project_on_the_least(data, k):
    mean = data.mean(0)
    vectors = torch.linalg.eigh((data - mean).double().T @ (data - mean).double())[1].float()
    return mean + (data - mean) @ vectors[:, :k] @ vectors[:, :k].T


def project_on_the_last(data, k):
    mean = data.mean(0)
    axes = axes_of(data - mean)[-k:]
    return mean + (data - mean) @ axes.T @ axes


def project_on_columns_of_vh(data, k):
    mean = data.mean(0)
    axes = axes_of(data - mean)[:, :k]
    return mean + (data - mean) @ axes @ axes.T


def project_to_numbers(data, k):
    centred = data - data.mean(0)
    return centred @ axes_of(centred)[:k].T


def project_standardised(data, k):
    mean, deviation = data.mean(0), data.std(0)
    scaled = (data - mean) / deviation
    axes = axes_of(scaled)[:k]
    return scaled @ axes.T @ axes * deviation + mean


def project_the_first_columns(data, k):
    mean = data.mean(0)
    alpha_bar = mean.expand_as(data).clone()
    alpha_bar[:, :k] = data[:, :k]
    return alpha_bar


def project_nothing(data, k):
    return data


def project_in_numpy(data, k):
    return project_by_sklearn(data, k).numpy()


# 13.reparameterise, right


def code_by_torch(mean, log_variance, noise):
    return torch.addcmul(mean, torch.exp(log_variance / 2), noise)


def code_by_root(mean, log_variance, noise):
    return mean + log_variance.exp().sqrt() * noise


# 13.reparameterise, wrong


def code_by_variance(mean, log_variance, noise):
    return mean + log_variance.exp() * noise


def code_by_logarithm(mean, log_variance, noise):
    return mean + log_variance * noise


def code_without_mean(mean, log_variance, noise):
    return torch.exp(log_variance / 2) * noise


def code_without_noise(mean, log_variance, noise):
    return mean


def code_with_noise_of_one(mean, log_variance, noise):
    return mean + noise


def code_stretched(mean, log_variance, noise):
    return torch.exp(log_variance / 2) * (noise + mean)


# 13.gan_losses, right


def losses_by_softplus(real, fake):
    return torch.nn.functional.softplus(-real).mean() + torch.nn.functional.softplus(fake).mean(), (
        torch.nn.functional.softplus(-fake).mean()
    )


def losses_by_bce(real, fake):
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    return bce(real, ones) + bce(fake, zeros), bce(fake, torch.ones_like(fake))


# 13.gan_losses, wrong


def losses_saturating(real, fake):
    discriminator, _ = losses_by_bce(real, fake)
    return discriminator, torch.nn.functional.logsigmoid(-fake).mean()


def losses_found_out(real, fake):
    discriminator, _ = losses_by_bce(real, fake)
    return discriminator, torch.nn.functional.softplus(fake).mean()


def losses_exchanged(real, fake):
    return losses_by_bce(fake, real)[0], losses_by_bce(real, fake)[1]


def losses_of_real_alone(real, fake):
    return torch.nn.functional.softplus(-real).mean(), torch.nn.functional.softplus(-fake).mean()


def losses_halved(real, fake):
    discriminator, generator = losses_by_bce(real, fake)
    return discriminator / 2, generator


def losses_of_wasserstein(real, fake):
    return fake.mean() - real.mean(), -fake.mean()


def losses_with_log_zero(real, fake):
    d, g = torch.sigmoid(real), torch.sigmoid(fake)
    return -torch.log(d).mean() - torch.log(1 - g).mean(), -torch.log(g).mean()


def losses_turned_round(real, fake):
    return losses_by_bce(real, fake)[::-1]


# 13.ddpm_step, right


def back_by_x0(noisy, noise, alpha, alpha_bar, fresh):
    """The posterior's mean from the clean image (DDPM, equation 7), with the paper's larger variance."""
    before, beta = alpha_bar / alpha, 1 - alpha
    clean = (noisy - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)
    a, b = math.sqrt(before) * beta / (1 - alpha_bar), math.sqrt(alpha) * (1 - before) / (1 - alpha_bar)
    return a * clean + b * noisy + math.sqrt(beta) * fresh


def back_by_score(noisy, noise, alpha, alpha_bar, fresh):
    score = -noise / math.sqrt(1 - alpha_bar)
    return (noisy + (1 - alpha) * score) / math.sqrt(alpha) + fresh * math.sqrt(1 - alpha)


# 13.ddpm_step, wrong


def back_without_fresh(noisy, noise, alpha, alpha_bar, fresh):
    return (noisy - (1 - alpha) / math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha)


def back_with_variance(noisy, noise, alpha, alpha_bar, fresh):
    return back_without_fresh(noisy, noise, alpha, alpha_bar, fresh) + (1 - alpha) * fresh


def back_with_all_fresh(noisy, noise, alpha, alpha_bar, fresh):
    return back_without_fresh(noisy, noise, alpha, alpha_bar, fresh) + fresh


def back_undivided(noisy, noise, alpha, alpha_bar, fresh):
    return noisy - (1 - alpha) / math.sqrt(1 - alpha_bar) * noise + math.sqrt(1 - alpha) * fresh


def back_taking_all(noisy, noise, alpha, alpha_bar, fresh):
    return (noisy - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha) + math.sqrt(1 - alpha) * fresh


def back_rootless(noisy, noise, alpha, alpha_bar, fresh):
    return (noisy - (1 - alpha) / (1 - alpha_bar) * noise) / math.sqrt(alpha) + math.sqrt(1 - alpha) * fresh


# 13.ddim_step, right


def ddim_sigma(alpha_bar, following, eta):
    return eta * math.sqrt((1 - following) / (1 - alpha_bar) * (1 - alpha_bar / following))


def onwards_by_variances(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    variance = ddim_sigma(alpha_bar, alpha_bar_next, eta) ** 2
    old = torch.tensor(1 - alpha_bar_next - variance).sqrt() * noise
    return math.sqrt(alpha_bar_next) * clean + old + math.sqrt(variance) * fresh


def onwards_as_the_package(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    """As `Diffusion.trajectory` does it: a share of the noise is drawn again, and its variance stays."""
    share = eta**2 * (1 - alpha_bar / alpha_bar_next) / (1 - alpha_bar)
    mixed = math.sqrt(1 - share) * noise + math.sqrt(share) * fresh
    return math.sqrt(alpha_bar_next) * clean + math.sqrt(1 - alpha_bar_next) * mixed


# 13.ddim_step, wrong


def onwards_on_top(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    sigma = ddim_sigma(alpha_bar, alpha_bar_next, eta)
    return math.sqrt(alpha_bar_next) * clean + math.sqrt(1 - alpha_bar_next) * noise + sigma * fresh


def onwards_without_fresh(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    sigma = ddim_sigma(alpha_bar, alpha_bar_next, eta)
    return math.sqrt(alpha_bar_next) * clean + math.sqrt(1 - alpha_bar_next - sigma**2) * noise


def onwards_of_one(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    return onwards_by_variances(clean, noise, alpha_bar, alpha_bar_next, 1.0, fresh)


def onwards_with_eta(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    return onwards_without_fresh(clean, noise, alpha_bar, alpha_bar_next, eta, fresh) + eta * fresh


def onwards_from_before(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    right = onwards_by_variances(clean, noise, alpha_bar, alpha_bar_next, eta, fresh)
    return right + (math.sqrt(alpha_bar) - math.sqrt(alpha_bar_next)) * clean


def onwards_exchanged(clean, noise, alpha_bar, alpha_bar_next, eta, fresh):
    return onwards_by_variances(clean, fresh, alpha_bar, alpha_bar_next, eta, noise)


# 13.divergence, right


def divergence_by_torch(mean, log_variance):
    normal = torch.distributions.Normal(0.0, 1.0)
    codes = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    return torch.distributions.kl_divergence(codes, normal).sum(dim=1)


def divergence_by_loops(mean, log_variance):
    sums = [
        sum(0.5 * (m.item() ** 2 + math.exp(v.item()) - 1 - v.item()) for m, v in zip(means, variances, strict=True))
        for means, variances in zip(mean, log_variance, strict=True)
    ]
    return torch.tensor(sums)


# 13.divergence, wrong


def divergence_of_variances(mean, log_variance):
    return 0.5 * torch.sum(mean**2 + log_variance - 1 - torch.log(log_variance), dim=1)


def divergence_of_deviations(mean, log_variance):
    return 0.5 * torch.sum(mean**2 + torch.exp(log_variance) ** 2 - 1 - 2 * log_variance, dim=1)


def divergence_negative(mean, log_variance):
    return 0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp(), dim=1)


def divergence_without_a_half(mean, log_variance):
    return torch.sum(mean**2 + log_variance.exp() - 1 - log_variance, dim=1)


def divergence_without_one(mean, log_variance):
    return 0.5 * torch.sum(mean**2 + log_variance.exp() - log_variance, dim=1)


def divergence_of_unsquared_means(mean, log_variance):
    return 0.5 * torch.sum(mean + log_variance.exp() - 1 - log_variance, dim=1)


def divergence_averaged(mean, log_variance):
    return 0.5 * torch.mean(mean**2 + log_variance.exp() - 1 - log_variance, dim=1)


def divergence_of_the_batch(mean, log_variance):
    return 0.5 * torch.sum(mean**2 + log_variance.exp() - 1 - log_variance)


def divergence_unsummed(mean, log_variance):
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def divergence_along_the_batch(mean, log_variance):
    return 0.5 * torch.sum(mean**2 + log_variance.exp() - 1 - log_variance, dim=0)


def divergence_the_other_way(mean, log_variance):
    codes = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    return torch.distributions.kl_divergence(torch.distributions.Normal(0.0, 1.0), codes).sum(1)


def divergence_keeping_its_axis(mean, log_variance):
    return divergence_by_torch(mean, log_variance)[:, None]


# 13.add_noise, right


def noised_by_view(image, noise, alpha_bar):
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return torch.sqrt(alpha_bar) * image + torch.sqrt(1 - alpha_bar) * noise


def noised_by_loops(image, noise, alpha_bar):
    return torch.stack(
        [math.sqrt(a) * x + math.sqrt(1 - a) * e for x, e, a in zip(image, noise, alpha_bar, strict=True)]
    )


def noised_by_einsum(image, noise, alpha_bar):
    return torch.einsum("b,bchw->bchw", alpha_bar**0.5, image) + torch.einsum(
        "b,bchw->bchw", (1 - alpha_bar) ** 0.5, noise
    )


# 13.add_noise, wrong


def noised_exchanged(image, noise, alpha_bar):
    alpha_bar = alpha_bar[:, None, None, None]
    return (1 - alpha_bar).sqrt() * image + alpha_bar.sqrt() * noise


def noised_without_roots(image, noise, alpha_bar):
    alpha_bar = alpha_bar[:, None, None, None]
    return alpha_bar * image + (1 - alpha_bar) * noise


def noised_with_one_root(image, noise, alpha_bar):
    alpha_bar = alpha_bar[:, None, None, None]
    return alpha_bar.sqrt() * image + (1 - alpha_bar) * noise


def noised_by_difference_of_roots(image, noise, alpha_bar):
    alpha_bar = alpha_bar[:, None, None, None].sqrt()
    return alpha_bar * image + (1 - alpha_bar) * noise


def noised_on_top(image, noise, alpha_bar):
    return image + (1 - alpha_bar[:, None, None, None]).sqrt() * noise


def noised_to_velocity(image, noise, alpha_bar):
    alpha_bar = alpha_bar[:, None, None, None]
    return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * image


def noised_alike(image, noise, alpha_bar):
    return alpha_bar[0].sqrt() * image + (1 - alpha_bar[0]).sqrt() * noise


def noised_by_column(image, noise, alpha_bar):
    return alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise


def noised_by_channel(image, noise, alpha_bar):
    alpha_bar = alpha_bar.view(-1, 1, 1)
    return alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise


def noised_in_place(image, noise, alpha_bar):
    image *= alpha_bar.sqrt()[:, None, None, None]
    return image + (1 - alpha_bar).sqrt()[:, None, None, None] * noise


def noised_past_the_end(image, noise, alpha_bar):
    return noised_by_view(image, noise, alpha_bar + 1).nan_to_num()


RIGHT = {
    "13.kmeans_step": [step_by_loops, step_by_adding],
    "13.project": [project_by_sklearn, project_by_eigh, project_by_values],
    "13.reparameterise": [code_by_torch, code_by_root],
    "13.gan_losses": [losses_by_softplus, losses_by_bce],
    "13.ddpm_step": [back_by_x0, back_by_score],
    "13.ddim_step": [onwards_by_variances, onwards_as_the_package],
    "13.divergence": [divergence_by_torch, divergence_by_loops],
    "13.add_noise": [noised_by_view, noised_by_loops, noised_by_einsum],
}

WRONG = {
    "13.kmeans_step": [
        (step_to_the_farthest, "farthest"),
        (step_without_a_move, "stay where they were"),
        (step_to_nan, "mean of no points"),
        (step_to_zero, "goes to 0"),
        (step_labelled_again, "after the move"),
        (step_of_sums, "divide by how many"),
        (step_by_dot, "dot product"),
        (step_to_the_median, "median"),
        (step_turned_round, "another order"),
        (step_of_centres_alone, "2 values"),
        (step_with_int32, "int32"),
        (step_in_place, "writes into its input"),
    ],
    "13.project": [
        (project_around_zero, "not taken off"),
        (project_without_the_mean, "not given back"),
        (project_uncentred, "not centred"),
        (project_rows_centred, "mean of each row"),
        (project_on_the_least, "eigh counts upwards"),
        (project_on_the_last, "last k rows"),
        (project_on_columns_of_vh, "rows of Vh"),
        (project_to_numbers, "k numbers of each row"),
        (project_standardised, "divided by their deviations"),
        (project_the_first_columns, "mixtures of all columns"),
        (project_nothing, "as it was"),
        (project_in_numpy, "NumPy array"),
    ],
    "13.reparameterise": [
        (code_by_variance, "You multiply by σ²"),
        (code_by_logarithm, "log σ² itself"),
        (code_without_mean, "mean is missing"),
        (code_without_noise, "without any noise"),
        (code_with_noise_of_one, "multiply it by σ"),
        (code_stretched, "stretch the mean"),
    ],
    "13.gan_losses": [
        (losses_saturating, "saturating"),
        (losses_found_out, "found out"),
        (losses_exchanged, "exchanged in the discriminator"),
        (losses_of_real_alone, "lacks the generated"),
        (losses_halved, "Half of"),
        (losses_of_wasserstein, "Wasserstein"),
        (losses_with_log_zero, "log 0"),
        (losses_turned_round, "but exchanged"),
    ],
    "13.ddpm_step": [
        (back_without_fresh, "fresh noise is missing"),
        (back_with_variance, "β is its variance"),
        (back_with_all_fresh, "added whole"),
        (back_undivided, "division by √α"),
        (back_taking_all, "all the noise out"),
        (back_rootless, "root over 1 − ᾱ"),
    ],
    "13.ddim_step": [
        (onwards_on_top, "on top"),
        (onwards_without_fresh, "η = 0 only"),
        (onwards_of_one, "η is missing"),
        (onwards_with_eta, "only its share"),
        (onwards_from_before, "comes from"),
        (onwards_exchanged, "exchanged"),
    ],
    "13.divergence": [
        (divergence_of_variances, "for σ² itself"),
        (divergence_of_deviations, "for log σ"),
        (divergence_negative, "negative divergence"),
        (divergence_without_a_half, "½ is missing"),
        (divergence_without_one, "−1 is missing"),
        (divergence_of_unsquared_means, "not squared"),
        (divergence_averaged, "add up"),
        (divergence_of_the_batch, "sum over the batch"),
        (divergence_unsummed, "sum them for each image"),
        (divergence_along_the_batch, "over the images of the batch"),
        (divergence_the_other_way, "other way round"),
        (divergence_keeping_its_axis, "one axis too many"),
    ],
    "13.add_noise": [
        (noised_exchanged, "exchanged"),
        (noised_without_roots, "roots are missing"),
        (noised_with_one_root, "over 1 − ᾱ"),
        (noised_by_difference_of_roots, "root of the difference"),
        (noised_on_top, "image is kept whole"),
        (noised_to_velocity, "velocity"),
        (noised_alike, "step of the first"),
        (noised_by_column, "meets the columns"),
        (noised_by_channel, "meets the channels"),
        (noised_in_place, "writes into its input"),
        (noised_past_the_end, ""),
    ],
}


@pytest.mark.slide("36")
@pytest.mark.slide("37")
@pytest.mark.slide("38")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert isinstance(exercise, Exercise)
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= 5


@pytest.fixture
def dice():
    return torch.Generator().manual_seed(0)


@pytest.mark.slide("36")
def test_steps_of_kmeans_end_where_scikit_learn_ends(dice):
    points, centres = torch.randn(300, 3, generator=dice, dtype=torch.float64), None
    centres = points[:5].clone()
    fitted = KMeans(5, init=centres.numpy(), n_init=1, tol=0, algorithm="lloyd").fit(points.numpy())
    for _ in range(fitted.n_iter_):
        labels, centres = kmeans_step(points, centres)
    np.testing.assert_allclose(centres, fitted.cluster_centers_)
    assert labels.tolist() == fitted.labels_.tolist()
    assert torch.equal(kmeans_step(points, centres)[1], centres)


@pytest.mark.slide("38")
@pytest.mark.parametrize(("n", "d", "k"), [(40, 7, 3), (6, 20, 4), (9, 5, 5)])
def test_the_projection_is_that_of_scikit_learn(dice, n, d, k):
    data = torch.randn(n, d, generator=dice, dtype=torch.float64) + 5
    pca = PCA(k).fit(data.numpy())
    np.testing.assert_allclose(project(data, k), pca.inverse_transform(pca.transform(data.numpy())))


@pytest.mark.slide("37")
def test_a_ddim_step_with_eta_one_has_the_mean_of_ddpms(dice):
    """Over one step of α = ᾱ / ᾱ' both take the same noise out; DDIM's σ² is the smaller of DDPM's two choices."""
    noisy, noise = torch.randn(2, 2, 3, 4, 5, generator=dice, dtype=torch.float64)
    still = torch.zeros(1, dtype=torch.float64)
    alpha, alpha_bar = 0.8, 0.3
    clean = (noisy - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5
    ours = ddim_step(clean, noise, alpha_bar, alpha_bar / alpha, 1.0, still)
    torch.testing.assert_close(ours, ddpm_step(noisy, noise, alpha, alpha_bar, still))


@pytest.mark.slide("37")
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_ddim_step_keeps_the_variance_of_the_noise(dice, eta):
    noise, fresh = torch.randn(2, 1, 1, 300, 300, generator=dice)
    after = ddim_step(torch.zeros_like(noise), noise, 0.3, 0.6, eta, fresh)
    assert after.var().item() == pytest.approx(0.4, rel=0.02)
