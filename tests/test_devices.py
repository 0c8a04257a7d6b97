"""Models live on the device they are asked for; figures and scores take tensors from there and give the same."""

import matplotlib
import numpy as np
import pytest
import torch
from pretend_gpu import PretendGPU
from torch import nn

from lecture_course.nb01_from_classification_to_pixels import figures as nb01
from lecture_course.nb02_unpooling import figures as nb02
from lecture_course.nb03_transposed_convolution import figures as nb03
from lecture_course.nb03_transposed_convolution import matrices
from lecture_course.nb04_unet import figures as nb04
from lecture_course.nb05_from_one_box_to_many import figures as nb05
from lecture_course.nb06_rcnn_and_fast_rcnn import cells
from lecture_course.nb06_rcnn_and_fast_rcnn import figures as nb06
from lecture_course.nb07_region_proposal_network import figures as nb07
from lecture_course.nb08_show_attend_and_tell import figures as nb08
from lecture_course.nb09_captioning_with_transformers import figures as nb09
from lecture_course.nb10_vision_transformer import figures as nb10
from lecture_course.nb11_detr import figures as nb11
from lecture_course.nb12_beit import figures as nb12
from lecture_course.nb13_whats_next import figures as nb13
from lecture_utils import city_models, claims, figures, recipes, tasks, toycity
from lecture_utils.captioning import ShowAttendTell, sample
from lecture_utils.detection.scores import CocoScores, ProposalRecall, apply_nms
from lecture_utils.generative import frechet_distance, precision_and_recall
from lecture_utils.segmentation import segmentation_scores
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.features import encode
from lecture_utils.tasks.masked_images import nearest_visible
from lecture_utils.transformers import attention_from, bias_by_step, class_token_attention, position_similarity
from lecture_utils.transformers.matcher import hungarian

matplotlib.use("agg")


@pytest.fixture
def pretended():
    with PretendGPU():
        yield
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("name", ["unet", "faster_rcnn", "beit", "diffusion"])
def test_a_loaded_model_lies_where_it_is_asked_for(name, pretended):
    assert all(tensor.is_cuda for tensor in recipes.load(name, device="cuda").state_dict(keep_vars=True).values())
    assert not any(tensor.is_cuda for tensor in recipes.load(name).state_dict(keep_vars=True).values())


def test_a_checkpoints_model_lies_there_too(tmp_path, pretended):
    from lecture_utils import checkpoints

    weights = {f"model.{name}": value for name, value in recipes.load("pixel").state_dict().items()}
    checkpoints.save(tmp_path / "mine.safetensors", weights, {})
    model = recipes.load("pixel", tmp_path / "mine.safetensors", device="cuda")
    assert all(weight.is_cuda for weight in model.parameters())


def test_an_encoder_works_where_it_is_and_gives_to_the_cpu(pretended):
    images = torch.rand(2, 3, 16, 16)
    there, here = tasks.grid_encoder(device="cuda"), tasks.grid_encoder()
    assert not encode(there, images).is_cuda
    assert torch.equal(encode(there, images), here(images))
    assert torch.equal(encode(nn.MaxPool2d(2), images), nn.MaxPool2d(2)(images))  # which has no weights


def test_items_of_captioners_are_on_the_cpu(pretended):
    class Pictures:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return torch.full((3, 16, 32), float(index)), []

        def captions(self, index):
            return ["a red car"]

    data = CaptionDataset(Pictures(), tasks.grid_encoder(device="cuda"), city_models.CITY_WORDS)
    assert not data.grids([0, 1]).is_cuda
    assert not data[1][1].is_cuda


def test_dice_of_the_cpu_say_the_same_on_every_device(pretended):
    torch.manual_seed(0)
    model, z = ShowAttendTell(12, 8, (2, 3), dim=8, hidden=8, attention_dim=4).eval(), torch.randn(3, 8, 2, 3)
    here = sample(model, z, generator=torch.Generator().manual_seed(1), max_length=9)
    there = sample(model.to("cuda"), z.to("cuda"), generator=torch.Generator().manual_seed(1), max_length=9)
    assert there.words.is_cuda
    assert there.words.tolist() == here.words.tolist()


@pytest.mark.parametrize("name", ["vae", "gan", "diffusion"])
def test_drawings_come_from_the_models_device_to_the_cpu(name, pretended):
    drawings = [tasks.generate_images(recipes.load(name, device=device), 2, seed=3) for device in ("cpu", "cuda")]
    assert not drawings[1].is_cuda
    assert torch.equal(*drawings)


def test_drawings_are_judged_on_any_device(pretended):
    torch.manual_seed(0)
    drawings, photographs = torch.randn(12, 3, 32, 32), torch.randn(9, 3, 32, 32)
    here = tasks.evaluate_samples(drawings, photographs)
    assert tasks.evaluate_samples(drawings.to("cuda"), photographs, device="cuda") == here


def random_boxes(n):
    low = torch.rand(n, 2) * 50
    return torch.cat([low, low + 5 + torch.rand(n, 2) * 20], dim=1)


def moved(value):
    """The same with every tensor on the GPU."""
    if isinstance(value, torch.Tensor):
        return value.to("cuda")
    if isinstance(value, dict):
        return {key: moved(part) for key, part in value.items()}
    return type(value)(map(moved, value)) if isinstance(value, list | tuple) else value


def fed(metric, found, targets):
    metric.update(found, targets)
    return metric.compute()


def detections(n):
    return [{"boxes": random_boxes(n), "labels": torch.arange(n) % 2 + 1, "scores": torch.linspace(1, 0.5, n)}]


def precisely(metric):
    return lambda found, targets: repr(fed(metric(), found, targets))


SCORES = {
    "average precision": (precisely(lambda: CocoScores(("background", "a", "b"))), detections(6), detections(4)),
    "recall": (precisely(lambda: ProposalRecall([1, 3])), [random_boxes(5)], detections(4)),
    "suppression": (lambda found: [one["scores"].tolist() for one in apply_nms(found)], detections(9)),
    "segmentation": (lambda counts: repr(segmentation_scores(counts)), torch.randint(9, (19, 19))),
    "Fréchet distance": (frechet_distance, torch.randn(9, 3), torch.randn(8, 3)),
    "precision and recall": (precision_and_recall, torch.randn(9, 3), torch.randn(8, 3)),
    "assignment": (lambda cost: [part.tolist() for part in hungarian(cost)], torch.rand(5, 3)),
    "nearest visible patch": (lambda hidden: nearest_visible(hidden, (2, 3)).tolist(), torch.rand(2, 6) > 0.5),
    "a claim": (
        lambda x: str(claims.check("c", slide=1, lecture="l", measured={"x": x.mean()}, holds=lambda m: m["x"] > 0)),
        torch.rand(3),
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_the_same_from_every_device(name, pretended):
    score, *given = SCORES[name]
    assert score(*moved(given)) == score(*given)


PHOTO, MAPS = torch.randint(256, (3, 32, 32)).byte(), torch.rand(4, 4, 4)
BOXES = random_boxes(3)
FIGURES = {
    "draw_image": lambda x: figures.draw_image(matplotlib.pyplot.gca(), x),
    "compare": lambda x, y: figures.compare({"photo": [x.permute(1, 2, 0)], "labels": [y]}),
    "overlay": lambda x, y: figures.overlay(x.permute(1, 2, 0), y),
    "boundaries": lambda x, y: nb04.boundaries_magnified(x, {"truth": y, "found": y}),
    "detections": lambda x, one: figures.draw_detections(x, {"found": one}, names=("background", "a", "b")),
    "corrected": lambda x, a, b: figures.corrected(x, a, b, truth=a),
    "learned_proposals": lambda found: nb07.learned_proposals([toycity.sample_scene(10_000_045)], [found]),
    "warped": lambda x, a, crops: nb06.warped(x, a, crops),
    "word_strip": lambda x, maps: figures.word_strip(x, ["a", "b"], maps),
    "gallery": lambda x, maps: nb08.gallery([x], [["a", "b"]], [maps[0]], [[1]]),
    "draw_attention_from": lambda x, maps: figures.draw_attention_from(x, maps, (1, 2)),
    "similarity_maps": lambda m: nb09.similarity_maps({"a": ("row", m[0])}),
    "head_bars": lambda m: nb09.head_bars(*[m[0].flatten()] * 3, 0.1, layers=1),
    "reached": lambda maps: figures.receptive_field({"a": maps[0]}, (1, 1)),
    "word_by_word": lambda maps: nb09.word_by_word(list("abcd"), {"": maps[0]}, rows="r", columns="c"),
    "similarity": lambda p: nb10.one_similarity(position_similarity(p, (2, 3)), (0, 1)),
    "position_maps": lambda s: nb10.position_maps(s, [(0, 1)]),
    "answers": lambda x, flow: nb10.answers([x], ["a"], [True], class_token_attention(flow, (2, 2))),
    "filter_rows": lambda filters: nb10.filter_rows({"a": filters}),
    "attention distances": lambda m: nb10.heads_by_layer({"a": (m[0], 1.0)}),
    "attention_from": lambda weights: figures.draw_attention_from(
        PHOTO, attention_from(weights, (0, 1), (2, 2))[0], (0, 1)
    ),
    "covered": lambda x, mask: figures.masked_patches(x, mask),
    "covered patches": lambda x, mask: nb12.covered(x, mask),
    "titled": lambda x, y: nb12.titled({"street": x, "labels": y}),
    "often_hidden": lambda m: nb12.often_hidden(m[0]),
    "as_words": lambda x, words: nb12.as_words(x, x, words, (0, 0, 2, 2)),
    "codebook": lambda codes: nb12.codebook(codes),
    "bias_maps": lambda table: nb12.bias_maps(bias_by_step(table, (2, 2))),
    "in_rows": lambda x: nb13.in_rows({"a": x[None]}),
    "clouds": lambda p: nb13.clouds({"a": (p, p[:, 0] > 0, [(p[0], p[:2])])}, xlabel="x", ylabel="y"),
    "cost_matrix": lambda cost: nb11.cost_matrix(cost, hungarian(cost), ["a", "b", "c"]),
    "found_by_query": lambda boxes, classes: nb11.found_by_query(
        [boxes, boxes[:0]], [classes, classes[:0]], ["none", "car"], np.zeros((8, 8, 3), np.uint8)
    ),
    "grid_row": lambda m: figures.grid_row({"a": m[0]}, highlight={"a": m[0] > 0.5}),
    "remembered": lambda m: nb02.remembered_position(m[0], m[0, :2, :2], (0, 1)),
    "matrix_product": lambda m: matrices.matrix_product(m[0], m[1, :2, :2], (2, 2)),
    "one_to_many": lambda m: nb03.one_to_many(m[0], m[1], at=(0, 1)),
    "roi_cells": lambda m: cells.roi_cells(m[0], (0, 0, 3, 3)),
    "covered objects": lambda proposals: nb05.covered(toycity.sample_scene(10_000_045), proposals),
    "streets": lambda found: nb05.streets([toycity.sample_scene(10_000_045)], [found]),
    "confusion_map": lambda counts: nb01.confusion_map(counts, list("abcd")),
    "curves": lambda m: figures.curves(m[0, 0], {"y": {"a": list(m[0, 1]), "b": m[0, 2]}}, xlabel="x"),
    "over_seeds": lambda m: figures.over_seeds(list("abcd"), {"y": {"m": m[0]}}, xlabel="x"),
}
GIVEN = {
    "draw_image": [torch.randint(19, (6, 5)).byte()],
    "compare": [PHOTO, torch.randint(19, (32, 32)).byte()],
    "detections": [PHOTO, detections(3)[0]],
    "corrected": [PHOTO, BOXES, BOXES + 1],
    "learned_proposals": [BOXES],
    "warped": [PHOTO, BOXES, torch.randint(256, (3, 3, 8, 8)).byte()],
    "similarity": [torch.randn(1, 7, 4)],
    "position_maps": [torch.rand(2, 3, 2, 3)],
    "answers": [PHOTO, torch.rand(1, 5, 5)],
    "filter_rows": [torch.randn(4, 3, 5, 5)],
    "attention_from": [torch.rand(1, 2, 4, 4)],
    "covered": [PHOTO, torch.rand(4, 4) > 0.5],
    "covered patches": [PHOTO, torch.rand(4, 4) > 0.5],
    "titled": [PHOTO, torch.randint(19, (32, 32)).byte()],
    "as_words": [PHOTO, torch.arange(16).view(4, 4)],
    "codebook": [torch.randint(256, (5, 3, 4, 4)).byte()],
    "bias_maps": [torch.randn(12, 2)],
    "in_rows": [PHOTO],
    "clouds": [torch.randn(9, 2)],
    "cost_matrix": [torch.rand(5, 3)],
    "found_by_query": [torch.rand(4, 4), torch.ones(4, dtype=torch.int64)],
    "covered objects": [BOXES],
    "streets": [BOXES],
    "confusion_map": [torch.randint(1, 9, (4, 4))],
    "word_strip": [PHOTO, MAPS],
    "gallery": [PHOTO, MAPS],
    "draw_attention_from": [PHOTO, MAPS],
}
GIVEN |= dict.fromkeys(("overlay", "boundaries"), GIVEN["compare"])


@pytest.mark.parametrize("name", FIGURES)
def test_figures_draw_the_same_from_every_device(name, pretended):
    given = GIVEN.get(name, [MAPS])
    pictures = []
    for tensors in (given, moved(given)):
        matplotlib.pyplot.close("all")
        drawn = FIGURES[name](*tensors)
        drawn = matplotlib.pyplot.gcf() if drawn is None else drawn
        if not isinstance(drawn, np.ndarray):
            drawn.canvas.draw()
            drawn = np.asarray(drawn.canvas.buffer_rgba())
        pictures.append(drawn)
    assert (pictures[0] == pictures[1]).all()


def test_an_array_of_tensors_in_half_precision():
    given = [torch.tensor([1.5, 2.0], dtype=torch.bfloat16, requires_grad=True), torch.tensor([3.0, 4.0])]
    assert figures.style.to_array(given).tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert figures.style.to_array(given[0], int).tolist() == [1, 2]
