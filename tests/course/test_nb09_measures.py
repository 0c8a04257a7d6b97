"""What notebook 09 measures: points that know what is elsewhere, lists and their boxes, heads that point, and speed."""

import pytest
import torch
from torch import nn

from lecture_course.nb09_captioning_with_transformers import naming, presence, speed
from lecture_utils import recipes, tasks


@pytest.fixture(scope="module")
def scenes():
    return tasks.caption_data("test")


@pytest.fixture(scope="module")
def model():
    return recipes.load("caption_transformer")


@pytest.mark.slide("28")
def test_classes_that_are_there_are_told(scenes):
    there = presence.present(scenes, range(8))
    for index, row in enumerate(there):
        kinds = {obj.category for obj in scenes.truth(index)[1].objects}
        assert {name for name, yes in zip(presence.CLASSES, row, strict=True) if yes} == kinds & set(presence.CLASSES)


@pytest.mark.slide("28")
def test_only_with_self_attention_a_point_learns_of_another():
    """One point of 9 × 9 says whether the class is there; with the 3 × 3 convolution those far off cannot know."""
    generator = torch.Generator().manual_seed(0)
    there = torch.randint(0, 2, (64, 4), generator=generator).float()
    z = torch.randn(64, 8, 9, 9, generator=generator) / 10
    z[:, :4, 0, 0] += 3 * (2 * there - 1)
    scores = {}
    for name in presence.BLOCKS:
        model, gammas = presence.train(name, z, there, seed=0, steps=150)
        scores[name] = presence.accuracy(model, z, there)
        assert len(gammas) == 150
        assert (gammas[-1] != 0) == (name == "self-attention")
    assert scores["self-attention"] > 0.7
    assert max(score for name, score in scores.items() if name != "self-attention") < 0.65


def test_a_training_is_the_same_again():
    z, there = torch.rand(20, 8, 4, 4), torch.ones(20, 4)
    first, second = (presence.train("self-attention", z, there, seed=1, steps=3)[1] for _ in range(2))
    assert first == second


def test_the_points_near_one_another():
    near = naming.near((3, 4)).view(3, 4, 3, 4)
    assert near[1, 1].sum() == 9
    assert near[0, 0].sum() == 4
    assert near[0, 0, 1, 1]
    assert not near[0, 0, 0, 2]


def test_points_on_objects_are_in_their_boxes(scenes):
    boxes = [obj.box for obj in scenes.truth(4)[1].objects]
    on = naming.on_objects(scenes, 4, (16, 16)).view(16, 16)
    for row, column in on.nonzero().tolist():
        middle = (8 * column + 4, 8 * row + 4)
        assert any(x0 - 8 <= middle[0] <= x1 + 8 and y0 - 8 <= middle[1] <= y1 + 8 for x0, y0, x1, y1 in boxes)
    assert 0 < on.float().mean() < 0.5


@pytest.mark.slide("29")
def test_a_list_has_a_map_for_each_word_and_boxes_of_what_it_names(scenes, model):
    words, maps, boxes = naming.list_objects(model, scenes.grids([4]), scenes, 4)
    assert maps.shape == (2, 4, len(words), 16, 16)
    assert len(boxes) == len(words)
    torch.testing.assert_close(maps.sum((-1, -2)), torch.ones(2, 4, len(words)))
    seen = {obj.box for obj in scenes.truth(4)[1].objects}
    assert {box for box in boxes if box is not None} <= seen
    named = [word for word, box in zip(words, boxes, strict=True) if box is not None]
    assert named[:3] == ["red", "traffic", "light"]
    assert boxes[0] is None  # an article


@pytest.mark.slide("29")
def test_heads_that_point_are_those_of_the_card(scenes, model):
    """The last column, all heads together, is what the card measures on all scenes."""
    from lecture_utils import checkpoints

    hits = naming.pointing_heads(model, scenes.grids(range(30)), scenes, range(30))
    assert hits.shape[1] == 9
    assert set(hits.unique().tolist()) <= {0.0, 1.0}
    assert hits[:, -1].mean() == pytest.approx(checkpoints.card("caption_transformer")["metrics"]["pointing"], abs=0.12)


class Slow(nn.Module):
    """A captioner that takes the same time for every word."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z, captions):
        return self.weight * torch.ones(*captions.shape, 9), None

    def start(self, z):
        return (torch.zeros(len(z), 1),)

    def step(self, state, words, *, need_weights=False):
        return torch.eye(9)[torch.full((len(words),), 2)], None, state  # <end> at once


@pytest.mark.slide("29")
def test_words_per_second_are_words_over_seconds(monkeypatch):
    calls = []

    def seconds(function, *inputs):
        function(*inputs)
        calls.append(function)
        return 0.5

    monkeypatch.setattr(speed, "seconds", seconds)
    assert speed.learned_per_second(Slow(), torch.zeros(4, 1, 2, 2), 10) == 80
    assert speed.said_per_second(Slow(), torch.zeros(4, 1, 2, 2)) == 8
    assert len(calls) == 2
