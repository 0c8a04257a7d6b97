"""What notebook 12 measures: linear probes, colours as a baseline, vocabularies of several sizes."""

import pytest
import torch

from lecture_course.nb12_beit import probes, vocabularies
from lecture_utils import city_models, tasks, toycity
from lecture_utils.cityscapes import IGNORE_INDEX
from lecture_utils.tasks.photos import MEAN, STD
from lecture_utils.transformers.visual_tokens import VisualTokens, cut

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
    found = probes.probe(parts[0], y[:200], parts[1], y[200:], draws=2, number=60)
    assert min(found["linear"]) > 0.95
    assert max(found["nothing"]) < 0.7
    assert all(len(values) == 2 for values in found.values())
    with pytest.raises(ValueError, match="draws: got 4 of 60, of 200 streets"):
        probes.probe(parts[0], y[:200], parts[1], y[200:], draws=4, number=60)


@pytest.mark.slide("34")
def test_a_probe_with_a_hidden_layer_finds_what_is_not_linear():
    x, unseen = torch.randn(1500, 2, generator=DICE), torch.randn(500, 2, generator=DICE)
    y, right = (part.prod(1).gt(0).long() for part in (x, unseen))
    linear, deep = (
        probes.probe({"x": x}, y, {"x": unseen}, right, draws=1, number=1500, neurons=n)["x"][0] for n in (0, 64)
    )
    assert linear < 0.65 < 0.85 < deep


@pytest.mark.slide("34")
def test_ignored_patches_do_not_count():
    y = torch.tensor([[0, 1, 255]]).expand(40, -1)
    x = y.clamp(max=1)[..., None].float() + 0.01 * torch.randn(40, 3, 1, generator=DICE)
    assert probes.probe({"x": x}, y, {"x": x}, y, draws=1, number=20) == {"x": [1.0]}


@pytest.mark.slide("34")
def test_a_probe_sees_no_street_beyond_its_draw():
    """C is chosen within the draw: what stands in the streets after it changes nothing."""
    x, y = torch.randn(90, 5, generator=DICE), torch.randint(0, 3, (90,), generator=DICE)
    other = torch.cat([x[:60], torch.randn(30, 5, generator=DICE)]), torch.cat([y[:60], 2 - y[60:]])
    same = [probes.probe({"x": a}, b, {"x": x[60:]}, y[60:], draws=1) for a, b in ((x, y), other)]
    assert same[0] == same[1]


@pytest.mark.slide("34")
def test_a_draw_counts_where_it_is_ahead_of_all_others():
    found = probes.compared({"a": [0.5, 0.9], "b": [0.7, 0.1], "ours": [0.6, 1.0]}, "ours")
    assert found == pytest.approx({"a": 70, "b": 40, "ours": 80, "draws ahead": 1})


@pytest.mark.slide("34")
def test_histograms_and_counts_are_shares_of_levels_and_numbers_of_tokens():
    grey = torch.full((1, 3, 16, 16), 96 / 255)
    grey[..., 8:, :] = 1.0
    images = (grey - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    found = probes.colour_histograms(images).view(2, 3, 8)  # halves, colours, levels
    assert (found[0, :, 3] == 1).all()  # 96 is in 96 to 127
    assert (found[1, :, 7] == 1).all()
    tokens = VisualTokens(3, 8)
    tokens.set_codebook(
        torch.stack([images[0, :, at : at + 8, :8].flatten() for at in (0, 8)] + [torch.zeros(192) + 9])
    )
    assert probes.counts(tokens, images).tolist() == [[2.0, 2.0, 0.0]]


@pytest.mark.slide("34")
def test_colours_around_a_patch_are_those_of_its_neighbours():
    images = torch.rand(2, 3, 96, 96, generator=DICE)
    colours = probes.patch_colours(images)
    torch.testing.assert_close(colours[1, 3:, 2, 7], images[1, :, 16:24, 56:64].std((1, 2), correction=0))
    near = probes.around(colours).view(2, 144, 6, 5, 5)
    torch.testing.assert_close(near[0, 12 * 4 + 6], colours[0, :, 2:7, 4:9])
    assert (near[0, 0, :, :2] == 0).all()


@pytest.mark.slide("34")
def test_each_task_has_its_readers_and_its_answers():
    net = city_models.build("beit").eval()
    net.tokens.set_codebook(torch.randn(256, 192, generator=DICE))
    images, masks = torch.randn(3, 3, 96, 96, generator=DICE), torch.rand(3, 12, 12, generator=DICE) < 0.4
    tokens = probes.features(net, images)
    torch.testing.assert_close(tokens[1], net.backbone(images[1:2])[0][0, 1:].detach(), atol=1e-4, rtol=1e-4)
    streets = probes.Labelled(images, masks, torch.arange(3), torch.full((3, 144), 7))
    read = probes.representations(streets, {"net": net}, net.tokens)
    assert [{name: x.shape[1:] for name, x in read[task].items()} for task in probes.TASKS] == [
        {"12 colour statistics": (12,), "colour histograms": (48,), "visual-token counts": (256,), "net": (80,)},
        {"its pixels": (144, 192 + 24), "with 5 × 5 colours": (144, 192 + 150 + 24), "net": (144, 80 + 24)},
        {
            "row and column": (144, 24),
            "nearest visible patch": (144, 6 + 24),
            "visible 5 × 5 colours": (144, 175 + 24),
            "its nearest visible token": (144, 80 + 24),
            "net": (144, 80 + 24),
        },
    ]
    hidden = streets.answers[probes.TASKS[2]]
    assert torch.equal(hidden == 7, masks.flatten(1))
    assert (hidden[~masks.flatten(1)] == IGNORE_INDEX).all()


@pytest.mark.slide("34")
def test_readers_of_a_hidden_patch_see_no_hidden_pixel():
    net = city_models.build("beit").eval()
    images = torch.randn(2, 3, 96, 96, generator=DICE)
    masks = torch.rand(2, 12, 12, generator=DICE) < 0.4
    pixels = masks.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    others = torch.where(pixels, torch.randn(images.shape, generator=DICE), images)
    streets = [probes.Labelled(x, masks, torch.zeros(2).long(), torch.zeros(2, 144).long()) for x in (images, others)]
    one, other = (probes.representations(part, {"net": net}, net.tokens)[probes.TASKS[2]] for part in streets)
    for name in one:
        at = masks.flatten(1)
        torch.testing.assert_close(one[name][at], other[name][at], atol=1e-5, rtol=1e-5)


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


@pytest.mark.slide("34")
def test_masks_hide_equally_many_and_single_patches_can_lie_where_blocks_do():
    anywhere, placed, blocks = (probes.masks_of(kind, 40, 400, seed=1) for kind in probes.MASKS)
    assert blocks.shape == (400, 12, 12)
    assert torch.equal(placed.sum((1, 2)), blocks.sum((1, 2)))
    assert torch.equal(anywhere.sum((1, 2)), blocks.sum((1, 2)))
    often, spread, flat = (part.float().mean(0) for part in (blocks, placed, anywhere))
    assert (often - spread).abs().mean() < 0.05 < (often - flat).abs().mean()
    together = [(part[:, 1:] & part[:, :-1]).float().mean() for part in (blocks, placed)]
    assert together[0] > 1.2 * together[1]  # in blocks, neighbours are hidden together
    with pytest.raises(ValueError, match="kind: got 'rows', expected one of single patches"):
        probes.masks_of("rows", 40, 2, seed=0)
