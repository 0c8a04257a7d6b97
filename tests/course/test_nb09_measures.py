"""What notebook 09 measures: points that know what is elsewhere, lists and their boxes, heads that point, and speed."""

import time

import pytest
import torch
from torch import nn

from lecture_course.nb09_captioning_with_transformers import (
    leaking,
    lookup,
    naming,
    positions,
    presence,
    softmax,
    speed,
)
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
def test_a_point_learns_of_another_by_attention_or_a_global_maximum():
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
        assert (gammas[-1] != 0) == ("self-attention" in name)
    assert min(scores["self-attention"], scores["global max pooling"]) > 0.7
    assert max(scores["each point alone"], scores["one more 3 × 3 convolution"]) < 0.65


@pytest.mark.slide("28")
def test_a_probe_reads_what_pooling_keeps():
    """The mean tells class 0, whose channel is high everywhere; only the maximum class 1, one point of many."""
    there = torch.randint(0, 2, (200, 2), generator=torch.Generator().manual_seed(0)).float()
    z = torch.rand(200, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    z[:, 0] += there[:, 0, None, None]
    z[:, 1, 3, 4] += 2 * there[:, 1]
    z[:, 1] -= z[:, 1].mean((1, 2), keepdim=True)
    train, test = (z[:100], there[:100]), (z[100:], there[100:])
    assert presence.probe(torch.amax, train, test) > 0.95
    assert 0.7 < presence.probe(torch.mean, train, test) < 0.85


def test_agreement_counts_the_commonest_highest_key():
    weights = torch.tensor([[[0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.0, 0.3, 0.7]], torch.eye(3).tolist()])
    assert presence.agreement(weights) == pytest.approx((2 / 3 + 1 / 3) / 2)
    model = presence.PointClassifier(presence.BLOCKS["self-attention"](), 8).eval()
    z = torch.rand(2, 8, 4, 4)
    highest = model.block(model.reduce(z))[1].argmax(-1)
    points = highest.mode().values
    objects = torch.zeros(2, 16, dtype=torch.bool)
    objects[0, points[0]] = True
    habits = presence.habits(model, z, objects)
    assert habits["shared"] == pytest.approx((highest == points[:, None]).float().mean().item())
    assert habits["on objects"] == 1
    assert habits["of the next"] == int(points[0] == points[1])
    assert 0 <= habits["largest"] <= 1
    other = {name: 2 * value for name, value in habits.items()}
    said = presence.habit_ranges([habits, other], 2)
    assert said.startswith("2 trainings, 2 streets: ")
    assert "on an object in 1 to 2 streets" in said


def test_the_divided_block_is_the_other_one_with_smaller_scores():
    torch.manual_seed(0)
    divided, x = presence.divided_attention(), torch.rand(1, presence.CHANNELS, 3, 3)
    query, key = divided.query[0](x).flatten(2), divided.key(x).flatten(2)
    expected = (query.mT @ key / 8**0.5).softmax(-1)
    torch.testing.assert_close(divided(x)[1], expected)


@pytest.mark.slide("28")
def test_each_point_asks_for_the_lamp_of_its_colour():
    x, answers, asks = lookup.draw(5, torch.Generator().manual_seed(0))
    assert asks.flatten(1).sum(1).tolist() == [56] * 5
    for grid, wanted, of in zip(x.flatten(2), answers.flatten(1), asks.flatten(1), strict=True):
        colour, lamp, shows = grid[:8].argmax(0), grid[8] == 1, grid[9]
        assert (lamp == ~of).all()
        assert sorted(colour[lamp].tolist()) == list(range(8))
        sign = {int(c): float(s) for c, s in zip(colour[lamp], shows[lamp], strict=True)}
        assert [sign[int(c)] > 0 for c in colour] == wanted.tolist()
        assert (shows[of] == 0).all()


def test_an_asker_learns_and_its_weights_sum_to_1():
    model, found = lookup.train("self-attention", seed=0, at=(1, 3))
    assert list(found) == [1, 3]
    assert found[3] == lookup.accuracy(model)
    assert 0 <= lookup.accuracy(model, 4) <= 1
    assert lookup.commonest_sign(2000) == pytest.approx((4 + 4 * 70 / 256) / 8, abs=0.01)  # E|k - 4| of eight coins
    torch.testing.assert_close(lookup.attention_weights(model, 2).sum(-1), torch.ones(2, 64))
    assert min(lookup.value_norms(model, 2)) > 0
    assert 0 <= lookup.on_own_lamp(model, 2) <= 1
    assert lookup.summary([model]).startswith("1 trainings: ")


def test_each_asks_its_own_lamp(monkeypatch):
    """Weights that are right for every asker of the first grid, and for none of the second."""
    x = lookup.draw(2, torch.Generator().manual_seed(lookup.UNSEEN))[0].flatten(2)
    same = (x[:, :8].mT @ x[:, :8]) * x[:, 8:9]
    same[1] = 1 - x[1, 8]
    monkeypatch.setattr(lookup, "attention_weights", lambda model, grids: same)
    assert lookup.on_own_lamp(None, 2) == 0.5


def test_a_pooled_map_has_weights_of_its_own():
    pooled, x = presence.GlobalPooling(torch.amax), torch.rand(2, presence.CHANNELS, 3, 3)
    expected = x + (x.amax((2, 3)) @ pooled.out.weight[:, :, 0, 0].T)[..., None, None]
    torch.testing.assert_close(pooled(x), expected)


def test_a_rate_is_tried_on_other_streets():
    pair = torch.rand(20, 8, 4, 4), torch.ones(20, 4)
    assert list(presence.by_rate("each point alone", pair, pair)) == list(presence.RATES)


@pytest.mark.slide("28")
def test_scores_spread_with_the_root_of_d():
    plain, divided = softmax.spread(64), softmax.spread(64, 1 / 8)
    assert plain.deviation == pytest.approx(8, rel=0.05)
    assert divided.deviation == pytest.approx(1, rel=0.05)
    assert plain.largest > 0.5 > divided.largest
    long, short = softmax.spread(1024), softmax.spread(1024, 1 / 32)
    assert long.gradients.median() < 0.01 * short.gradients.median()
    assert softmax.starved(long, short) > 0.5 > 0.1 > softmax.starved(plain, divided)


@pytest.mark.slide("29")
def test_neighbours_of_sines_are_alike():
    near, every = positions.mean_cosines(positions.sinusoids(16, 32))
    assert near > every + 0.1
    assert positions.mean_cosines(torch.tensor([[1.0, 0], [0, 2], [0, 1]])) == pytest.approx((1 / 2, 1 / 3))
    torch.testing.assert_close(positions.cosines(torch.tensor([[1.0, 0], [0, 2]])), torch.eye(2).double())


@pytest.mark.slide("29")
def test_mirrored_positions_mirror_the_list(scenes, model):
    other = positions.mirrored(model)
    before, after = (positions.vectors(each)["columns"] for each in (model, other))
    torch.testing.assert_close(before.flip(0), after)
    z = scenes.grids(range(20))
    (named, pairs, right), (others, of, wrong) = (positions.in_order(each, z, scenes) for each in (model, other))
    assert min(named, others) > 20
    assert right / pairs > 0.7 > 0.5 > wrong / of


@pytest.mark.slide("29")
def test_a_small_captioner_learns_and_speaks(scenes):
    z = torch.nn.functional.avg_pool2d(scenes.grids(range(40)), 4)
    model, losses = leaking.train(scenes, z, is_causal=True, steps=3)
    said = leaking.speak(model, z[:2], scenes)
    assert (len(losses), len(said)) == (3, 2)
    loss, right = leaking.next_words(model, z[:2], scenes)
    assert loss > 0
    assert 0 <= right <= 1
    told = [scenes.dataset.captions(index)[0] for index in (0, 1)]
    true, of = leaking.true_statements(told, scenes)
    assert true == of
    assert leaking.true_statements(told, scenes, ahead=1)[0] < of
    assert leaking.true_statements(["in in in"], scenes) == (0, 1)


def test_a_training_is_the_same_again():
    z, there = torch.rand(20, 8, 4, 4), torch.ones(20, 4)
    first, second = (presence.train("self-attention", z, there, seed=1, steps=3)[1] for _ in range(2))
    assert first == second


def test_points_on_objects_are_in_their_boxes(scenes):
    boxes = [obj.box for obj in scenes.truth(4)[1].objects]
    on = naming.on_objects(scenes, 4, (16, 16)).view(16, 16)
    for row, column in on.nonzero().tolist():
        middle = (8 * column + 4, 8 * row + 4)
        assert any(x0 - 8 <= middle[0] <= x1 + 8 and y0 - 8 <= middle[1] <= y1 + 8 for x0, y0, x1, y1 in boxes)
    assert 0 < on.float().mean() < 0.5
    lights = naming.on_objects(scenes, 4, (16, 16), category="traffic light")
    assert 0 < lights.sum() < on.sum()


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
    maps, box = torch.zeros(3, 16, 16), (16.0, 8.0, 31.0, 15.0)  # row 1, columns 2 and 3
    maps[0, 1, 3] = maps[1, 1, 4] = 1
    assert naming.on_boxes(maps, [box, box, None]) == [True, False, None]


def test_the_commonest_setting_is_one_of_the_sentences(scenes):
    assert naming.commonest_setting(scenes, 1) == scenes.dataset.captions(0)[-1]


@pytest.mark.slide("29")
def test_heads_that_point_are_those_of_the_card(scenes, model):
    """The last column, all heads together, is what the card measures on all scenes."""
    from lecture_utils import checkpoints

    hits = naming.pointing_heads(model, scenes.grids(range(30)), scenes, range(30))
    assert hits.shape[1] == 9
    assert set(hits.unique().tolist()) <= {0.0, 1.0}
    elsewhere = naming.pointing_heads(model, scenes.grids(range(30)), scenes, range(30), maps_of_next=True)
    assert elsewhere.shape == hits.shape
    assert elsewhere[:, -1].mean() < 0.6 * hits[:, -1].mean()
    assert hits[:, -1].mean() == pytest.approx(checkpoints.card("caption_transformer")["metrics"]["pointing"], abs=0.12)


def test_together_is_held_against_the_best_head():
    hits = torch.tensor([[1.0, 0, 1], [1, 0, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1]])
    assert naming.together_against_best(hits) == (2, 1)


@pytest.mark.slide("28")
def test_weight_on_objects_is_a_fraction(scenes, model):
    objects, points = torch.ones(2, 256, dtype=torch.bool), model.encode_grid(scenes.grids(range(2)))
    assert naming.weight_on(objects, model.encoder, points) == pytest.approx([1, 1], abs=1e-4)
    assert naming.weight_on(~objects, model.encoder, points) == [0, 0]


@pytest.mark.slide("29")
def test_maps_spread_over_as_many_points_as_they_have_alike():
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 1], maps[1, :2] = 1, 1 / 8
    torch.testing.assert_close(naming.effective_points(maps), torch.tensor([1.0, 8]))


@pytest.mark.slide("29")
def test_maps_are_sharper_for_colours_than_behind_traffic(scenes, model):
    sharp = naming.sharpness(model, scenes.grids(range(8)), scenes)
    assert len(sharp) == 4
    assert sharp["colour"].shape == (2, 4)
    assert sharp["colour"].mean() < sharp["“light” after “traffic”"].mean()


@pytest.mark.slide("29")
def test_the_list_of_another_street_is_rarely_true(scenes):
    shares = naming.lists_of_another(scenes, 60)
    assert 40 < len(shares) <= 60
    assert 0.02 < sum(shares) / len(shares) < 0.3


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
def test_seconds_of_a_step_and_words_per_second(monkeypatch):
    calls = []

    def seconds(function, *inputs, times=3):
        function(*inputs)
        calls.append(function)
        return 0.5

    monkeypatch.setattr(speed, "seconds", seconds)
    slow = Slow()
    assert speed.repeated(lambda words: slow(None, words)[0], 4, (5, 10), repeats=2) == [[500, 500], [500, 500]]
    monkeypatch.setattr(speed, "seconds", lambda function, *_, times=3: 0.5 if function is speed.greedy else 0.25)
    assert speed.said_per_second(slow, torch.zeros(4, 1, 2, 2)) == (8, 16)
    assert len(calls) == 4


@pytest.mark.slide("29")
def test_what_is_timed_gives_logits_for_each_word():
    z, words = torch.rand(2, 6, 3, 4), torch.ones(2, 5, dtype=torch.int64)
    models = speed.captioners(9, 6, (3, 4), width=8)
    assert {name: tuple(model(z, words)[0].shape) for name, model in models.items()} == dict.fromkeys(models, (2, 5, 9))
    later = words.clone()
    later[:, 3] = 2
    once = models["… once, for all words"]
    torch.testing.assert_close(once(z, words)[0][:, :3], once(z, later)[0][:, :3])


def test_only_the_processor_is_timed():
    assert speed.seconds(time.sleep, 0.05, times=1) < 0.04


def test_attending_once_has_the_layers_of_attending_again():
    """With uniform weights and an open gate both attend to the mean point, so both say the same."""
    torch.manual_seed(0)
    models = speed.captioners(9, 6, (3, 4), width=8)
    again, once = models["… by dot products"], models["… once, for all words"]
    once.attending.load_state_dict(again.state_dict())
    for model in (again, once.attending):
        nn.init.zeros_(model.score.of_h.weight)
        nn.init.constant_(model.gate.bias, 50.0)
    z, words = torch.rand(2, 6, 3, 4), torch.randint(4, 9, (2, 5))
    torch.testing.assert_close(once(z, words)[0], again(z, words)[0])


def test_the_table_of_work_has_its_unit():
    table = speed.work_table({"a": [2.0, 4.0], "decoder": [1.0, 1.0]}, {"a": (1200.0, 3400.0)}).splitlines()
    assert table[2].split() == ["a", "3.0", "(2.0", "to", "4.0)", "1,200", "3,400"]
    assert table[3].split() == ["decoder", "1.0", "(1.0", "to", "1.0)"]


def test_the_slope_is_that_of_a_line():
    assert speed.slope((10, 20, 40), (5.0, 7, 11)) == pytest.approx(0.2)
