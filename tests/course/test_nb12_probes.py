"""What notebook 12 measures: linear probes, colours as a baseline, vocabularies of several sizes."""

import pytest
import torch

from lecture_course.nb12_beit import probes, vocabularies
from lecture_utils import city_models, tasks, toycity
from lecture_utils.transformers.visual_tokens import cut

DICE = torch.Generator().manual_seed(0)


@pytest.mark.slide("34")
def test_streets_have_their_labels():
    streets = probes.labelled("val", 6)
    pairs = tasks.segmentation_data("val")
    for index, seed in enumerate(toycity.seeds("val", 6)):
        scene, labels = toycity.sample_scene(seed), torch.as_tensor(pairs[index][1]).long()
        assert probes.KINDS[streets.kinds[index]] == (scene.time, scene.weather)
        assert torch.equal(streets.images[index], pairs[index][0].as_subclass(torch.Tensor))
        for at in (0, 30, 143):
            row, column = divmod(at, 12)
            patch = labels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert streets.classes[index, at] == patch.flatten().mode().values


@pytest.mark.slide("34")
def test_colour_statistics_are_those_of_both_halves():
    images = torch.rand(3, 3, 8, 6, generator=DICE)
    found = probes.colour_statistics(images)
    assert found.shape == (3, 12)
    torch.testing.assert_close(found[1, :3], images[1, :, :4].mean((1, 2)))
    torch.testing.assert_close(found[1, 9:], images[1, :, 4:].std((1, 2)))


@pytest.mark.slide("34")
def test_patches_know_where_they_are():
    found = probes.with_place(torch.zeros(2, 6, 1), (2, 3))
    assert found.shape == (2, 6, 1 + 2 + 3)
    assert found[1, 4].tolist() == [0, 0, 1, 0, 1, 0]


@pytest.mark.slide("34")
def test_a_probe_finds_what_is_linear_and_nothing_else():
    y = torch.randint(0, 2, (300,), generator=DICE)
    noise = torch.randn(300, 4, generator=DICE)
    known = {"linear": noise + 4 * y[:, None], "nothing": torch.randn(300, 4, generator=DICE)}
    parts = {name: x[:200] for name, x in known.items()}, {name: x[200:] for name, x in known.items()}
    found = probes.probe(parts[0], y[:200], parts[1], y[200:], draws=2, number=60, tune=80)
    assert min(found["linear"]) > 0.95
    assert max(found["nothing"]) < 0.7
    assert all(len(values) == 2 for values in found.values())
    with pytest.raises(ValueError, match="draws: got 3 of 60, and 80 to tune on, of 200 streets"):
        probes.probe(parts[0], y[:200], parts[1], y[200:], draws=3, number=60, tune=80)


@pytest.mark.slide("34")
def test_ignored_patches_do_not_count():
    y = torch.tensor([[0, 1, 255]]).expand(40, -1)
    x = y.clamp(max=1)[..., None].float() + 0.01 * torch.randn(40, 3, 1, generator=DICE)
    assert probes.probe({"x": x}, y, {"x": x}, y, draws=1, number=20, tune=20) == {"x": [1.0]}


@pytest.mark.slide("34")
def test_tokens_are_those_of_the_backbone():
    net = city_models.build("beit").eval()
    images = torch.randn(3, 3, 96, 96, generator=DICE)
    tokens = probes.features(net.backbone, images)
    torch.testing.assert_close(tokens[1], net.backbone(images[1:2])[0][0, 1:].detach(), atol=1e-4, rtol=1e-4)
    streets = probes.Labelled(images, torch.zeros(3).long(), torch.zeros(3, 144).long())
    assert {name: x.shape[1:] for name, x in probes.of_streets(streets, {"net": tokens}).items()} == {
        "12 colour statistics": (12,),
        "net": (80,),
    }
    assert {name: x.shape[1:] for name, x in probes.of_patches(streets, {"net": tokens}).items()} == {
        "its pixels": (144, 192 + 24),
        "net": (144, 80 + 24),
    }


@pytest.mark.slide("34")
def test_a_vocabulary_is_a_clustering():
    centres = torch.tensor([-2.0, 0.5, 3.0])
    images = centres[torch.randint(0, 3, (8, 1, 3, 3), generator=DICE)].expand(-1, 3, -1, -1)
    images = images.repeat_interleave(8, 2).repeat_interleave(8, 3) + 0.01 * torch.randn(8, 3, 24, 24, generator=DICE)
    codes = vocabularies.k_means(images, 12)
    shown = vocabularies.painted(codes, images)
    assert shown.shape == images.shape
    assert vocabularies.lost(codes, images) < 0.001
    near = torch.cdist(cut(images, 8)[5], codes).argmin(1)
    torch.testing.assert_close(cut(shown, 8)[5], codes[near])
    with pytest.raises(ValueError, match="images: got 72 patches, expected at least 100"):
        vocabularies.k_means(images, 100)
