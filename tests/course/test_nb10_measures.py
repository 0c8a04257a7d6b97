"""What notebook 10 measures, against what is known by construction or from other libraries."""

import copy

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn.functional import interpolate

from lecture_course.nb10_vision_transformer import measuring, photographs, windows
from lecture_utils import recipes, runtime, studies
from lecture_utils.datasets import LabelledObjects
from lecture_utils.tasks import photo_transforms
from lecture_utils.transformers import ViT

GRID = (2, 3)


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return ViT(num_classes=4, image_size=(8, 12), patch_size=4, dim=10, depth=2, heads=2).eval()


def coarse(image):
    """Without the grain, which differs from size to size."""
    return interpolate(image[None].float(), (12, 12), mode="area")


@pytest.mark.slide("31")
def test_windows_are_the_data_sets_own_painted_larger():
    data = LabelledObjects("test", 6)
    found = windows.windows("test", 6, [3, 0])
    assert list(found) == [3, 0]
    for number, large in found.items():
        assert large.shape == (windows.SHOWN, windows.SHOWN, 3)
        large = torch.tensor(large).permute(2, 0, 1)
        same, other = ((coarse(large) - coarse(data[k][0])).abs().mean() for k in (number, 1))
        assert same < other / 5
    with pytest.raises(ValueError, match=r"numbers: got \[99\]"):
        windows.windows("test", 6, [99])


def test_kinds_are_those_of_the_names():
    labels = [LabelledObjects.classes.index(name) for name in ("a person in a red coat", "a blue car", "a red sign")]
    light = next(k for k, name in enumerate(LabelledObjects.classes) if "light" in name)
    assert windows.first_of_each_kind([*labels, light, *labels]) == [1, 0, 2, 3]
    large = {0: np.full((2, 2, 3), 250), 1: np.zeros((2, 2, 3)), 2: np.full((2, 2, 3), 200), 3: np.full((2, 2, 3), 200)}
    cars = [labels[0], labels[1], labels[1], labels[1]]
    assert windows.first_bright_car(large, cars, [True, True, False, True]) == 3
    assert windows.NAMES[labels[0]] == "red coat"


def test_patches_on_an_object_are_those_that_overlap_its_box():
    boxes = torch.tensor([[3.0, 1, 9, 4], [4, 4, 8, 8]])
    found = windows.patches_on_objects(boxes, GRID, 4)
    assert found[0].tolist() == [[True, True, True], [False, False, False]]
    assert found[1].tolist() == [[False, False, False], [False, True, False]]
    assert windows.centre_patch(boxes[0], 4) == (0, 1)


def test_groups_by_area_are_nearly_equal():
    side = torch.rand(31) * 20
    boxes = torch.stack([side * 0, side * 0, side, side], 1)
    group = windows.by_area(boxes, 3)
    assert sorted(group.bincount().tolist()) == [10, 10, 11]
    assert side[group == 0].max() < side[group == 1].min()


@pytest.mark.slide("31")
def test_principal_components_are_sklearns(vit):
    components = measuring.principal_components(vit)
    filters = vit.patch_embed.weight.detach().flatten(1)
    expected = PCA().fit(filters.numpy())
    same = (components.flatten(1)[:9].numpy() * expected.components_[:9]).sum(1)
    np.testing.assert_allclose(np.abs(same), 1, atol=1e-3)


def test_filters_are_compared_as_one_vector(vit):
    other = copy.deepcopy(vit)
    other.patch_embed.weight.data *= 2
    assert measuring.filter_cosine(vit, other) == pytest.approx(1)
    other.patch_embed.weight.data[:5] *= -1
    squares = vit.patch_embed.weight.detach().flatten(1).square().sum(1)
    assert measuring.filter_cosine(vit, other) == pytest.approx(
        (1 - 2 * squares[:5].sum() / squares.sum()).item(), abs=1e-5
    )


def test_smooth_filters_are_told_from_noise():
    ramp = torch.linspace(-1, 1, 8).expand(2, 3, 8, 8)
    assert measuring.smoothness(ramp) > 0.9
    assert abs(measuring.smoothness(torch.randn(50, 3, 8, 8))) < 0.1
    assert measuring.smoothness((-1.0) ** torch.arange(8).expand(1, 3, 8, 8)) < 0.1


@pytest.mark.slide("31")
def test_similarity_by_distance_compares_border_with_border_and_inside_with_inside():
    border = measuring.on_border(8, 8)
    assert (border.sum(), border[1:-1, 1:-1].any()) == (28, False)
    of = border.flatten()
    alike = (of[:, None] & of).float().reshape(8, 8, 8, 8)  # 1 from border to border, else 0
    found = measuring.similarity_by_distance(alike)
    assert found == {
        "inside, neighbours": 0,
        "inside, 5 or more apart": 0,
        "border, neighbours": 1,
        "border, 5 or more apart": 1,
    }


@pytest.mark.slide("31")
def test_content_of_a_place_is_the_mean_of_what_is_seen_there():
    images = torch.zeros(3, 3, 8, 8)
    images[:, :, :4] = torch.rand(3, 3, 1, 1)  # above one colour, below black
    shown = measuring.mean_patches(images, 2)
    torch.testing.assert_close(shown[4].unflatten(0, (3, 2, 2)), images.mean(0)[:, 2:4, :2])
    alike = measuring.centred_cosines(shown, (4, 4))
    assert alike.shape == (4, 4, 4, 4)
    assert alike[0, 0, 1, 3] == pytest.approx(1)
    assert alike[0, 0, 2, 0] == pytest.approx(-1)
    found = measuring.pairs_of_places(alike)
    # inside four rows and columns no pair is so far apart
    np.testing.assert_allclose(list(found.values()), [np.nan, np.nan, np.nan, 1, -1, 0, 0], atol=1e-6)
    table = measuring.in_columns({"a": found, "b": found}, "cosine").splitlines()
    assert table[0].split() == ["cosine", "a", "b"]
    assert table[5].split()[-2:] == ["-1.00", "-1.00"]


@pytest.mark.slide("31")
def test_each_border_has_its_mean():
    values = torch.tensor([[9.0, 1, 9], [2, 3, 4], [9, 5, 9]])
    assert measuring.by_border(values) == {"top": 1, "bottom": 5, "left": 2, "right": 4, "inside": 3}


@pytest.mark.slide("31")
def test_agreement_counts_patches_with_the_commonest_favourite():
    maps = torch.zeros(1, 2, 1, 5, 5)
    maps[0, 0, 0, 1:, 1:] = torch.eye(4)  # each patch itself
    maps[0, 1, 0, 1:, 2] = 1  # all the second
    maps[0, 1, 0, 4, 3] = 2  # but the last the third
    assert measuring.agreement(maps).tolist() == [0.25, 0.75]


@pytest.mark.slide("31")
def test_attention_distance_is_that_to_the_patch_attended_to():
    maps = torch.zeros(1, 1, 2, 7, 7)
    maps[..., 0] = 0.5  # the class token, which has no place
    maps[0, 0, 0, 1:, 1:] = 0.5 * torch.eye(6)  # head 1: each patch to itself
    maps[0, 0, 1, 1:, 1] = 0.5  # head 2: all to the first patch
    found = measuring.attention_distance(maps, GRID, 4)
    to_first = [4 * (y * y + x * x) ** 0.5 for y in range(2) for x in range(3)]
    torch.testing.assert_close(found, torch.tensor([[0.0, sum(to_first) / 6]]))
    even = measuring.attention_distance(torch.full((1, 1, 1, 7, 7), 1 / 7), GRID, 4)
    torch.testing.assert_close(even[0, 0], measuring.distances(GRID, 4).mean())


@pytest.mark.slide("31")
def test_effective_patches_are_one_for_a_favourite_and_all_for_uniform_weights():
    maps = torch.zeros(2, 1, 2, 10, 10)
    maps[:, :, 0, :, 3] = 0.5
    maps[:, :, 0, :, 0] = 0.5  # the class token's share does not count
    maps[:, :, 1] = 0.1
    assert measuring.effective_patches(maps)[0].tolist() == pytest.approx([1, 9])


@pytest.mark.slide("31")
def test_weight_on_objects_is_told_by_who_attends():
    maps = torch.full((1, 2, 1, 7, 7), 1 / 7)
    maps[0, 1, 0, 1] = torch.eye(7)[2]  # in layer 2 the first patch attends to the second alone
    on = torch.tensor([[[True, True, False], [False, False, False]]])
    found = measuring.weight_on_objects(maps, on)
    torch.testing.assert_close(found["the class token"], torch.tensor([1 / 3, 1 / 3]))
    torch.testing.assert_close(found["patches on the object"], torch.tensor([1 / 3, (1 + 1 / 3) / 2]))
    torch.testing.assert_close(found["other patches"], torch.tensor([1 / 3, 1 / 3]))


@pytest.mark.slide("31")
def test_pointing_counts_highest_patches_that_touch():
    looked = torch.zeros(2, *GRID)
    looked[0, 0, 2] = looked[1, 1, 0] = 1
    boxes = torch.tensor([[9.0, 1, 11, 3], [0, 0, 3, 3]])
    assert measuring.touches(looked, boxes, 4).tolist() == [True, False]
    maps = torch.rand(2, 2, 2, 7, 7)
    maps[:, 1, 0, 0, 1:] = torch.tensor([[0, 0, 9.0, 0, 0, 0], [9, 0, 0, 0, 0, 0]])  # the best head hits both
    maps[:, 1, 1, 0, 1:] = torch.tensor([[0, 0, 0, 0, 0, 0.0], [0, 99, 0, 0, 0, 0]])  # its layer's mean the first
    maps[:, 0, :, 0, 1:] = torch.tensor([0, 0, 0, 0, 0, 1.0])  # and layer 1 none
    found = {name: hit.tolist() for name, hit in measuring.pointing(looked, maps, boxes, 4).items()}
    assert found == {
        "rollout": [True, False],
        "mean of the heads, best layer": [True, False],
        "best single head": [True, True],
        "rollout of another image": [False, False],
    }


@pytest.mark.slide("31")
def test_rules_without_a_network_point_at_colour_contrast_and_place():
    images = torch.zeros(2, 3, 8, 12)
    images[:, 0, :4, 8:] = 9.0  # a patch of one colour of its own
    images[:, :, 4:, :4] = torch.tensor([1.0, -1]).repeat(8).view(4, 4)  # and one with contrast
    boxes = torch.tensor([[9.0, 1, 11, 3], [1, 5, 3, 7]])
    found = {name: hit.tolist() for name, hit in measuring.pointing_rules(images, boxes, 4).items()}
    assert found["patch of the oddest colour"] == [True, False]
    assert found["patch of most contrast"] == [False, True]
    assert sum(found["one place for all"]) == 1


@pytest.mark.slide("31")
def test_a_difference_that_size_explains_is_gone_within_sizes():
    """Small: 20 % right, large: 80 %, and large ones are hit more often; hit or not makes no difference."""
    right, hit, size = [], [], []
    for group, share, hits in ((0, 0.2, 20), (1, 0.8, 80)):
        for k in range(100):
            hit.append(k < hits)
            inside = k if k < hits else k - hits
            right.append(inside < share * (hits if k < hits else 100 - hits))
            size.append(group)
    right, hit, size = torch.tensor(right), torch.tensor(hit), torch.tensor(size)
    assert right[hit].float().mean() - right[~hit].float().mean() > 0.3
    assert measuring.difference_within(right, hit, size * 0) > 0.3
    assert abs(measuring.difference_within(right, hit, size)) < 1e-6
    low, high = measuring.bootstrap(measuring.difference_within, right, hit, size, draws=200)
    assert -0.2 < low < 0 < high < 0.2
    assert measuring.difference_within(right, hit | True, size) == 0  # nothing to compare with


@pytest.mark.slide("32")
def test_gaps_are_told_in_finer_and_finer_groups_and_of_small_objects_alone():
    generator = torch.Generator().manual_seed(0)
    sides = 1 + 20 * torch.rand(300, generator=generator)
    boxes = torch.stack([torch.zeros(300), torch.zeros(300), sides, sides], 1)
    hit = torch.rand(300, generator=generator) < 0.5
    right = torch.where(sides < 7, hit, torch.ones(300, dtype=torch.bool))  # among small objects it decides, else not
    found = measuring.gaps_by_size(right, hit, boxes)
    assert list(found)[-1] == "the smallest third, within 10 groups"
    assert [high < 0.6 for _, high in found.values()] == [True, True, True, False]
    assert found["the smallest third, within 10 groups"][0] > 0.6


def test_leads_are_paired():
    first, second = torch.ones(40).bool(), torch.arange(40) % 4 > 0
    found = measuring.leads(first, second, {"half": (("a", "b"), torch.arange(40) // 20)})
    assert set(found) == {"a", "b"}
    for lead, low, high, images in found.values():
        assert lead == pytest.approx(0.25)
        assert low < 0.25 < high
        assert images == 20
    same = measuring.leads(second, second, {"all": (("c",), torch.zeros(40))})
    assert same["c"] == (0, 0, 0, 40)


@pytest.mark.slide("32")
def test_leads_are_told_by_two_groupings():
    first, second = torch.ones(4).bool(), torch.tensor([True, False, False, True])
    groups = ("ab", torch.tensor([0, 0, 1, 1])), ("xy", torch.tensor([0, 1, 0, 0]))
    found = measuring.lead_table(first, second, *groups, least=1)
    assert found.split() == ["x", "y", "a", "+0.00", "(1)", "+1.00", "(1)", "b", "+0.50", "(2)", "(0)"]
    assert measuring.lead_table(first, second, *groups, least=2).split()[2:5] == ["a", "(1)", "(1)"]


@pytest.mark.slide("32")
def test_both_start_from_the_same_seeds_and_batches():
    data = LabelledObjects("train", 12, transforms=photo_transforms(train=True))
    run = runtime.setup(device="cpu", quiet=True)
    losses, seconds = measuring.first_steps({"a": "resnet", "b": "resnet"}, data, run, steps=2, seeds=(0, 1))
    assert losses["a"] == losses["b"]
    assert losses["a"][0] != losses["a"][1]
    assert [len(each) for each in losses["a"]] == [2, 2]
    assert min(seconds.values()) > 0


@pytest.mark.slide("32")
def test_a_study_is_read_by_seed_and_fraction():
    rows = studies.load("vit_against_resnet")["rows"]
    found = measuring.over_fractions(rows, "vit")
    assert [len(each) for each in found] == [5, 5, 5]
    assert all(each[0] < each[-1] for each in found)
    last = measuring.budgets(rows, streets=8000, images=800 * 64).splitlines()
    assert last[0].split()[0] == "streets"
    assert last[1].split() == ["500", "102"]
    assert last[-1].split() == ["8,000", "6"]


@pytest.mark.slide("32")
def test_a_study_is_read_by_its_points():
    rows = [
        {"model": f"{name}_{n}_{t}", "seed": seed, "accuracy": n + t + seed}
        for name in ("vit", "vit_augmented")
        for n, t in ((5, 10), (7, 10))
        for seed in (0, 2)
    ]
    assert measuring.at_points(rows, "vit", [(7, 10), (5, 10)]) == [[17, 15], [19, 17]]


def test_images_are_prepared_whatever_the_data_set_does_to_them():
    plain, changed = (LabelledObjects("test", 5, transforms=t) for t in (None, photo_transforms(train=True)))
    images = measuring.batch_of(changed, "cpu")
    torch.testing.assert_close(images, torch.stack([photo_transforms()(image) for image, _ in plain]))
    model = recipes.recipe("vit").build().eval()
    assert measuring.classify(model, images).tolist() == model(images).argmax(1).tolist()


@pytest.mark.slide("31")
def test_the_table_of_parameters_counts_projection_and_positions():
    assert measuring.parameter_table((16,)).splitlines()[1].split() == ["16", "590,592", "151,296", "741,888"]


@pytest.mark.slide("31")
@pytest.mark.parametrize(("height", "width"), [(300, 451), (256, 200)])
def test_a_photograph_is_looked_into(height, width):
    torch.manual_seed(0)
    model = ViT(num_classes=1000, image_size=224, patch_size=16, dim=8, depth=3, heads=2).eval()
    photo = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    found = photographs.look(photo, "cpu", model=model, top=2)
    side = round(min(height, width) * 224 / 256)
    assert found.photo.shape == (3, side, side)
    x = photographs.WEIGHTS.transforms()(photo)[None]
    best = model(x)[0].softmax(-1).max().item()
    assert max(found.classes.values()) == pytest.approx(best)
    assert len(found.classes) == 2
    assert found.map_.shape == (14, 14)
    assert found.distance.shape == (3, 2)


def test_without_a_path_there_is_a_cat():
    assert photographs.read(None).shape == (3, 300, 451)
