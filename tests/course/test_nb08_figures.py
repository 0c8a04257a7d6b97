"""What the images of captions show, read off their artists, and what is measured for them."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Text
from sklearn.metrics import roc_auc_score

from lecture_course.nb08_show_attend_and_tell import bottleneck, decoders, pointing, readouts, sentences, telling
from lecture_course.nb08_show_attend_and_tell.figures import alignment, by_objects, channels, crop, fact_check, learning
from lecture_utils import studies, tasks
from lecture_utils.captioning import BottleneckRNN, ShowAttendTell, Vocabulary, beam_search, greedy
from lecture_utils.captioning.decoding import Captions
from lecture_utils.captioning.scores import bleu, clipped_matches
from lecture_utils.cityscapes import CLASSES
from lecture_utils.figures import over_seeds
from lecture_utils.figures.style import GREEN, VERMILION
from lecture_utils.toycity.describe import middle, phrase
from lecture_utils.toycity.facts import Fact, find_mentions

IMAGE = torch.randint(0, 256, (3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WORDS = ["<start>", "a", "red", "car", "is", "behind", "a", "person", "in", "a", "blue", "coat", "<end>"]
VOCABULARY = Vocabulary.build([" ".join(WORDS[1:-1])])
SIZES = {"vocab_size": len(VOCABULARY), "features": 6, "grid": (4, 4)}


def written(fig):
    return [text.get_text() for ax in fig.axes for text in ax.texts]


@pytest.mark.slide("24")
@pytest.mark.parametrize("words", [WORDS, WORDS[:2]])
def test_each_target_stands_over_the_word_before_it_and_the_image_goes_into_every_step(words):
    (ax,) = decoders.teacher_forcing(words, IMAGE, title="One caption").axes
    texts = [text for text in ax.texts if text.get_text() in words]
    rows = {}
    for text in texts:
        x, y = text.get_position()
        rows.setdefault(y, []).append((x, text.get_text()))
    above, below = (sorted(rows[y]) for y in sorted(rows))
    assert [word for _, word in above] == words[1:]
    assert [word for _, word in below] == words[:-1]
    assert [x for x, _ in above] == [x for x, _ in below]
    assert len(ax.images) == 1
    green = [patch for patch in ax.patches if to_hex(patch.get_edgecolor()) == GREEN.lower()]
    assert len(green) == len(words) - 1  # an arrow of the image into each step


def test_no_word_touches_the_next():
    fig = decoders.teacher_forcing(WORDS, IMAGE)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    rows = {}
    for text in ax.texts:
        if text.get_text() in WORDS:
            rows.setdefault(text.get_position()[1], []).append(text.get_window_extent())
    assert len(rows) == 2
    for boxes in rows.values():
        assert len(boxes) == len(WORDS) - 1
        assert all(a.x1 < b.x0 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)))


def test_a_caption_has_a_beginning_and_an_end():
    with pytest.raises(ValueError, match=r"words: got \['a'\], expected at least"):
        decoders.teacher_forcing(["a"], IMAGE)


def model(kind, **more):
    torch.manual_seed(3)
    built = kind(**SIZES, dim=8, hidden=12, **more).eval()
    for weights in built.parameters():
        weights.data *= 2
    return built, torch.randn(1, 6, 4, 4)


@pytest.mark.slide("25")
@pytest.mark.parametrize("kind", [BottleneckRNN, ShowAttendTell])
def test_a_trace_is_what_greedy_says_with_all_that_was_computed(kind):
    captioner, z = model(kind, **({"width": 12, "squeeze": 3} if kind is BottleneckRNN else {"attention_dim": 5}))
    told = decoders.trace(captioner, z, VOCABULARY, steps=7)
    said = greedy(captioner, z, max_length=7, need_weights=True)
    assert told.words == [VOCABULARY.words[i] for i in said.words[0] if i]
    assert told.hidden.shape == (len(told.words), 12)
    for word, chances in zip(told.words, told.likeliest, strict=True):
        assert len(chances) == 5
        assert chances[word] == max(chances.values()) <= 1
    if kind is BottleneckRNN:
        torch.testing.assert_close(told.c, captioner.start(z)[0][0])
        assert told.weights is None
        return
    torch.testing.assert_close(told.weights, said.attention[0, 0, 0])
    torch.testing.assert_close(told.scores.flatten(1).softmax(1), told.weights.flatten(1))
    a = captioner.start(z)[0][0]
    torch.testing.assert_close(told.context, told.gate[:, None] * (told.weights.flatten(1) @ a))
    assert told.c is None


@pytest.mark.slide("25")
@pytest.mark.slide("26")
def test_decoders_are_drawn_with_the_shapes_and_words_of_the_model():
    captioner, z = model(BottleneckRNN, width=12, squeeze=3)
    told = decoders.trace(captioner, z, VOCABULARY, steps=7)
    shown = written(decoders.encoder_decoder(IMAGE, z, captioner, told, title="One vector"))
    assert {"4 × 4 × 6", "4 × 4 × 3", "c: 12 numbers", "h₀ = c"} <= set(shown)
    assert [text for text in shown if text in told.words] == told.words[: decoders.STEPS]
    attending, z = model(ShowAttendTell, attention_dim=5)
    told = decoders.trace(attending, z, VOCABULARY, steps=7)
    fig = decoders.attending_decoder(IMAGE, told)
    assert [text for text in written(fig) if text in told.words] == told.words[: decoders.FEWER]
    inner = fig.axes[0].child_axes
    assert len(inner) == decoders.FEWER  # a map for each word
    for ax in inner:
        lines, white = ax.collections
        assert set(lines.levels) == set(white.levels) <= set(decoders.LEVELS)


@pytest.mark.slide("27")
def test_a_step_shows_scores_weights_context_and_the_next_word():
    attending, z = model(ShowAttendTell, attention_dim=5)
    told = decoders.trace(attending, z, VOCABULARY, steps=7)
    fig = decoders.attention_step(IMAGE, told, 2)
    (ax,) = fig.axes[:1]
    shown = written(fig)
    bold = [text.get_text() for text in ax.texts if text.get_weight() == "bold" and text.get_position()[1] < 0.5]
    assert bold == [told.words[2]]
    assert [text for text in shown if text in told.words][: len(told.words)] == told.words
    heights = [patch.get_height() for patch in ax.patches[: len(told.words)]]
    assert heights == pytest.approx((0.4 * told.gate).tolist())
    assert set(told.likeliest[2]) <= set(shown)
    assert any(f"β = {told.gate[2]:.2f}" in text for text in shown)
    scores = ax.child_axes[0].images[0]
    np.testing.assert_allclose(scores.get_array(), told.scores[2])
    assert scores.get_clim() == (told.scores.min().item(), told.scores.max().item())  # one scale for all words


def test_the_likeliest_next_word_is_in_colour():
    fig = decoders.next_word({"red": 0.6, "blue": 0.3}, title="“a …”")
    assert {"red", "blue", "0.60", "0.30", "“a …”"} == set(written(fig))
    lengths = [patch.get_width() for patch in fig.axes[0].patches]
    assert lengths[0] == pytest.approx(2 * lengths[1])


def test_a_low_temperature_shows_and_says_the_likeliest_word():
    attending, z = model(ShowAttendTell, attention_dim=5)
    shares = []
    for temperature in (0.01, 1, 100):
        fig = decoders.what_comes_next(attending, z, VOCABULARY, "a", temperature)
        shares.append(max(patch.get_width() for patch in fig.axes[0].patches))
    assert shares == sorted(shares, reverse=True)
    said = greedy(attending, z).words[0]
    cold = sentences.sampled(attending, z, VOCABULARY, (1e-4, 50)).split("\n")
    assert len(cold) == 4
    assert all(line.endswith(VOCABULARY.decode(said)) for line in cold[:2])
    assert cold[2] != cold[3]


def test_the_kinds_of_batches_are_noted():
    captions = ["from left to right a red car", "two cars and one person on a street at night", "a red car"]
    vocabulary = Vocabulary.build(captions)
    noted, kinds = telling.noting(lambda model, batch: batch[0], vocabulary)
    for number, caption in enumerate(captions):
        assert noted(None, (number, None, torch.tensor([vocabulary.encode(caption)]))) == number
    assert kinds == ["list", "counts", "one object"]


@pytest.mark.slide("25")
@pytest.mark.parametrize("k", [2, 3])
def test_the_tree_is_that_of_beam_search(k):
    attending, z = model(ShowAttendTell, attention_dim=5)
    tree = sentences.beam_steps(attending, z, VOCABULARY, k=k, steps=5)
    assert tree
    found = beam_search(attending, z, beam_size=k, length_penalty=0.0, max_length=len(tree))
    best, place = [], 0
    for step in reversed(tree):
        best, place = [step[place].word, *best], step[place].parent
    assert best == [VOCABULARY.words[i] for i in found.words[0]]
    assert tree[-1][0].total == pytest.approx(found.log_probability.item(), abs=1e-4)
    for step in tree:
        totals = [one.total for one in step if one.kept]
        assert len(totals) == k
        assert totals == sorted(totals, reverse=True)
        assert all(one.total <= totals[-1] + 1e-6 for one in step if not one.kept)
    for upto in (1, len(tree)):
        shown = [text.split("\n")[0] for text in written(sentences.beam_tree(tree, upto))]
        assert [word for word in shown if word in VOCABULARY.words[4:]] == [
            one.word for step in tree[:upto] for one in step if one.word in VOCABULARY.words[4:]
        ]
    with pytest.raises(ValueError, match="upto: got 0"):
        sentences.beam_tree(tree, 0)


@pytest.mark.slide("25")
def test_as_many_ngrams_are_green_as_count():
    rng = np.random.default_rng(0)
    draw = lambda n: list(rng.choice(["a", "red", "blue", "car"], n))  # noqa: E731
    for _ in range(20):
        said, references = draw(9), [draw(8), draw(10)]
        for n in (1, 2, 3, 4):
            counted = sentences.matched(said, references, n)
            assert (sum(counted), len(counted)) == clipped_matches(said, references, n)
    assert sentences.matched(["a"] * 4, [["a", "red"], ["a", "a"]], 1) == [True, True, False, False]
    fig = sentences.ngrams(said, references, title="N-grams")
    (ax,) = fig.axes
    green = [box for box in ax.patches if to_hex(box.get_edgecolor()) == GREEN.lower()]
    assert len(green) == sum(clipped_matches(said, references, n)[0] for n in (1, 2, 3, 4))
    assert len(ax.patches) == 9 + 8 + 7 + 6
    assert "{} of {}".format(*clipped_matches(said, references, 2)) in written(fig)


@pytest.mark.slide("27")
def test_the_table_holds_the_shares_under_their_objects():
    shares = np.array([[0.75, 0.2, 0.05], [0.1, 0.6, 0.3]])
    fig = alignment(IMAGE, ["red", "blue"], shares, [(0, 0, 8, 8), (10, 10, 30, 28)], title="Table")
    table = fig.axes[0]
    assert [text.get_text() for text in table.texts] == ["0.75", "0.20", "0.05", "0.10", "0.60", "0.30"]
    assert [label.get_text() for label in table.get_yticklabels()] == ["red", "blue"]
    assert sum(bool(ax.images) for ax in fig.axes[1:]) >= 2


@pytest.mark.parametrize("box", [(0, 0, 4, 9), (20, 3, 32, 8), (1, 1, 31, 30)])
def test_a_crop_is_a_square_that_holds_its_box(box):
    pixels = np.arange(32 * 32).reshape(32, 32)[..., None].repeat(3, 2)
    cut = crop(pixels, box)
    assert cut.shape[0] == cut.shape[1]
    rows, columns = np.unique(cut[..., 0] // 32), np.unique(cut[..., 0] % 32)
    for inside, (low, high) in ((columns, box[::2]), (rows, box[1::2])):
        assert inside[0] <= low
        assert inside[-1] >= high - 1


@pytest.mark.slide("25")
def test_the_channel_that_tells_a_class_is_found():
    torch.manual_seed(0)
    z, labels = torch.randn(3, 7, 4, 4), torch.zeros(3, 16, 16, dtype=torch.int64)
    labels[:, :8, 4:12] = 5
    z[:, 2, :2, 1:3] += 9
    found = readouts.best_channels(z, labels, {"car": 5})
    assert found == {"car": (2, pytest.approx(1.0))}
    values, positive = torch.randint(0, 4, (6, 50)).float(), torch.rand(50) < 0.4
    expected = [roc_auc_score(positive, row) for row in values]
    assert readouts.auc(values, positive).tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="positive: got 0 of 50"):
        readouts.auc(values, torch.zeros(50, dtype=torch.bool))
    scores, area = readouts.linear_readout(z, labels, 5, z[0])
    assert area > 0.95
    assert scores[:2, 1:3].min() > scores[2:].max()
    masks = [(labels[0] == one).numpy() for one in (5, 6)]
    fig = channels(IMAGE, {"channel 2": z[0, 2], "channel 3": z[0, 3]}, masks, title="Two")
    assert [ax.get_title() for ax in fig.axes] == ["the street", "channel 2", "channel 3"]
    borders = [ax.collections[0].get_segments() for ax in fig.axes[1:]]
    assert len(borders[0]) == 8 + 8 + 8  # around the class, whose upper side is the image's
    assert not len(borders[1])
    assert np.concatenate(borders[0]).max(0).tolist() == [11.5, 7.5]


@pytest.mark.slide("25")
def test_class_maps_are_those_of_the_best_channels_and_of_all():
    torch.manual_seed(0)
    z, labels = torch.randn(4, 6, 4, 4), torch.zeros(4, 16, 16, dtype=torch.int64)
    labels[:, :8], labels[:, 8:] = CLASSES.index("sky"), CLASSES.index("car")
    z[:, 3, :2] += 9
    z[:, 4, 2:] += 9
    maps, areas = readouts.class_maps(z, labels, ("car", "sky"), z[0])
    assert list(maps)[:2] == ["car: channel 4 (1.00)", "sky: channel 3 (1.00)"]
    assert list(maps)[2].startswith("car: all 6 channels")
    torch.testing.assert_close(maps["sky: channel 3 (1.00)"], z[0, 3])
    assert list(areas) == ["car", "sky", "all"]


@pytest.mark.slide("25")
def test_a_grid_that_holds_the_colours_of_cars_is_read():
    streets, numbers = tasks.caption_data("val"), 100
    grids = torch.rand(numbers, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    blind = readouts.colour_readout(grids, streets)
    for image in range(numbers):
        truth = streets.truth(image)[1]
        for number, one in enumerate(truth.objects, start=1):
            there = torch.from_numpy(truth.instances == number).unfold(0, 8, 8).unfold(1, 8, 8).flatten(2).any(-1)
            grids[image, list(telling.SYNONYMS).index(one.colour)][there] += 5
    seeing = readouts.colour_readout(grids, streets)
    assert set(seeing) == set(blind) <= set(telling.SYNONYMS)
    assert min(seeing.values()) > 0.9
    assert sum(blind.values()) / len(blind) < 0.65


@pytest.mark.slide("27")
def test_each_share_goes_to_the_nearest_object_and_all_sum_to_1():
    maps = torch.zeros(3, 8, 8)
    maps[0, 1, 1] = maps[1, 6, 6] = maps[2, 0, 7] = 1
    boxes = [(0, 0, 24, 24), (80, 80, 128, 128)]
    shares = pointing.shares_of_objects(maps, boxes, (128, 128))
    assert shares.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    mixed = torch.rand(4, 8, 8).flatten(1).softmax(1).view(4, 8, 8)
    torch.testing.assert_close(pointing.shares_of_objects(mixed, boxes, (128, 128)).sum(1), torch.ones(4))


def test_what_captions_name_comes_with_its_map_and_whether_it_is_there():
    streets = tasks.caption_data("val")
    caption = next(one for one in streets.dataset.captions(0) if one.startswith("from left"))
    wrong = "a black car" if "a black car" not in caption else "a green car"
    numbers = torch.tensor(streets.vocabulary.encode(f"{wrong} on a clear street")[1:])[None]
    maps = torch.rand(1, 1, 1, numbers.shape[1], 16, 16)
    (named,) = pointing.examples(Captions(numbers, maps, torch.zeros(1)), streets)
    assert (named.text, named.there, named.true, named.box) == (wrong, False, False, None)
    torch.testing.assert_close(named.map_, maps[0, 0, 0, 1] + maps[0, 0, 0, 2])
    right = streets.dataset.captions(0)
    assert telling.true_statements(right[:1], streets) == 1
    assert telling.truth_by_kind([right[4]], streets)["weather"] == 1


@pytest.mark.slide("27")
def test_pointing_is_counted_as_the_package_counts():
    streets = tasks.caption_data("val").first(8)
    lists = [streets.dataset.captions(image)[1] for image in range(len(streets))]
    numbers = torch.zeros(len(lists), 60, dtype=torch.int64)
    for image, listed in enumerate(lists):
        words = torch.tensor(streets.vocabulary.encode(listed)[1:])
        numbers[image, : len(words)] = words
    said = Captions(numbers, torch.rand(len(lists), 1, 1, 60, 16, 16), torch.zeros(len(lists)))
    listed = pointing.examples(said, streets)
    assert all(one.there and one.true and one.box is not None for one in listed)
    _, numbers = pointing.pointing_table({"list": listed}, streets)
    counted = pointing.of_package(said, streets)
    names = "pointing", "pointing_colour", "pointing_noun", "pointing_shuffled"
    assert [numbers["list"][k] for k in (0, 1, 3, 4)] == pytest.approx([counted[name] for name in names])
    for one in listed:
        assert one.words[one.kind] in ("car", "person", "sign", "traffic")


@pytest.mark.slide("27")
def test_of_right_lists_each_shows_another_phrase_by_its_colour():
    def named(image, caption, **change):
        words = caption.split()
        return [
            pointing.Example(**{**vars(example(image, one.text, torch.ones(2, 2), words=words)), **change})
            for one in find_mentions(words)
        ]

    alone, wrong = named(0, "a red car"), named(1, "a red car and a blue car", true=False)
    first, second = named(2, "a red car and a blue car"), named(3, "a red car and a person in a green coat")
    found = pointing.of_right_lists([*alone, *wrong, *first, *second], 3)
    assert [(one.image, one.text, one.places) for one in found] == [
        (2, "a red car", (1,)),
        (3, "a person in a green coat", (8,)),
    ]


@pytest.mark.slide("25")
def test_captions_are_held_against_other_streets():
    streets = tasks.caption_data("val").first(30)
    lists = [streets.dataset.captions(image)[1] for image in range(len(streets))]
    own, other = (telling.truth_by_kind(lists, streets, shift=shift) for shift in (0, 1))
    assert own["objects"] == 1 > other["objects"]
    chance = bottleneck.chance_by_objects(tasks.caption_data("val"))
    assert len(chance) == len(bottleneck.GROUPS)
    assert all(0 < share < 0.3 for share in chance)


@pytest.mark.slide("25")
def test_kinds_of_sentences_are_those_of_the_grammar():
    said = {
        "a red car is to the left of a blue sign": "two objects",
        "a red car is in front of a person in a blue coat": "two objects",
        "a clear street with trees in the daytime and a green car in the middle": "setting",
        "a foggy street without trees at night": "setting",
        "two cars and one person on a street at night": "counts",
        "a red car on a foggy street at sunset": "one object",
        "a red car in the middle": "one object",
        "from left to right a red car": "other",
    }
    assert [telling.kind_of(one) for one in said] == list(said.values())


def example(image, text, map_, *, words=None, there=True, box=None):
    """An object named in a caption, by default its own words, whose colour has the map."""
    words = words or text.split()
    (named,) = [one for one in find_mentions(words) if one.text == text][:1]
    maps = torch.zeros(len(words), *map_.shape)
    maps[named.colour] = map_
    places = tuple(range(named.start + 1, named.stop))
    return pointing.Example(image, words, named, places, maps, torch.zeros_like(maps), there, True, box)


def at(box):
    """A map that is highest in the middle of a box in an image of 128 × 128."""
    x0, y0, x1, y1 = (int(side / 8) for side in box)
    map_ = torch.zeros(16, 16)
    map_[(y0 + y1) // 2, (x0 + x1) // 2] = 2
    return map_


@pytest.mark.slide("27")
def test_pointing_is_counted_by_the_kind_of_sentence():
    streets = tasks.caption_data("val")
    alone = [i for i in range(len(streets)) if len(streets.truth(i)[1].objects) == 1][:2]
    (first, second) = (streets.truth(i)[1].objects[0] for i in alone)
    both = f"{phrase(first)} is behind {phrase(second)}".split()
    right = example(alone[0], phrase(first), at(first.box), words=both, box=first.box)
    wrong = example(alone[0], phrase(second), at(second.box), words=both, there=False)
    words = f"from left to right {phrase(second)}".split()
    listed = example(alone[1], phrase(second), at(second.box), words=words, box=second.box)
    assert pointing.points_at(right.map_, right, streets)
    assert not pointing.points_at(at((0, 0, 8, 8)), right, streets)
    groups = pointing.by_sentence([listed], [right, wrong])
    noun = f"list: {second.category}"
    assert {name: [one.text for one in some] for name, some in groups.items()} == {
        "list": [listed.text],
        noun: [listed.text],
        "comparison, first object": [right.text],
        "comparison, second object": [wrong.text],
    }
    table, numbers = pointing.pointing_table({"both": [right, listed], "one": [listed]}, streets)
    assert numbers["one"][:2] == [1, 1]
    assert np.isnan(numbers["one"][4])  # no look in the next caption
    assert numbers["both"][0] == 1
    head, *lines = table.split("\n")
    assert all(len(line) == len(head) for line in lines)


@pytest.mark.slide("27")
def test_a_colour_taken_from_another_kind_of_object_is_found():
    streets = tasks.caption_data("val")
    one, obj = next(
        (i, obj) for i in range(len(streets)) for obj in streets.truth(i)[1].objects if obj.category == "person"
    )
    hallucinated = example(one, f"a {obj.colour} car", at(obj.box), there=False)
    colours = {one.colour for one in streets.truth(one)[1].objects}
    other = next(colour for colour in telling.SYNONYMS if colour not in colours)
    elsewhere = example(one, f"a {other} car", at(obj.box), there=False)
    table, mixed = pointing.hallucinated([hallucinated, elsewhere], streets)
    assert mixed == [True]
    assert table.split("\n")[1].count(phrase(obj)) == 2
    assert table.endswith("none in the street")


@pytest.mark.slide("27")
def test_a_list_whose_colours_attend_to_their_objects_makes_a_diagonal():
    streets = tasks.caption_data("val").first(20)
    lists = [streets.dataset.captions(image)[1] for image in range(len(streets))]
    numbers = torch.zeros(len(lists), 60, dtype=torch.int64)
    maps = torch.zeros(len(lists), 1, 1, 60, 16, 16)
    for image, listed in enumerate(lists):
        words = torch.tensor(streets.vocabulary.encode(listed)[1:])
        numbers[image, : len(words)] = words
        seen = sorted(streets.truth(image)[1].objects, key=middle)
        for obj, named in zip(seen, find_mentions(listed.split()), strict=False):
            maps[image, 0, 0, named.colour] = at(obj.box)
    right = pointing.diagonals(Captions(numbers, maps, torch.zeros(20)), streets, 2)
    assert right
    assert list(right) == [image for image in range(20) if len(streets.truth(image)[1].objects) == 2]
    nowhere = torch.zeros_like(maps)
    assert not any(pointing.diagonals(Captions(numbers, nowhere, torch.zeros(20)), streets, 2).values())


@pytest.mark.slide("26")
def test_a_probe_reads_what_a_vector_holds():
    streets = tasks.caption_data("val")
    seen = [streets.truth(i)[1].objects for i in range(len(streets))]
    red = torch.tensor([[("car", "red") in {(one.category, one.colour) for one in some}] for some in seen]).float()
    lights = torch.tensor([[any(one.category == "traffic light" for one in some)] for some in seen]).float()
    noise = torch.randn(len(seen), 4, generator=torch.Generator().manual_seed(0))
    read = readouts.probe((torch.cat([lights, noise], 1), streets), (torch.cat([lights, noise], 1), streets))
    assert list(read) == list(readouts.PROBED)
    assert read["a traffic light"] == pytest.approx(1)
    assert read["a red car, a blue car, …"] < 0.7
    grids = torch.zeros(len(seen), 3, 16, 16)
    grids[:, 0, 5, 5] = red[:, 0]
    assert readouts.by_points((grids, streets), (grids, streets)) < 0.7  # not where the cars are
    for image, some in enumerate(seen):
        of_points = readouts._objects_of_points(streets, image, 16)
        for number, one in enumerate(some, start=1):
            grids[image, 1][of_points == number] = one.category == "car"
            grids[image, 2][of_points == number] = list(telling.SYNONYMS).index(one.colour)
    assert readouts.by_points((grids, streets), (grids, streets)) > 0.7
    torch.manual_seed(0)
    captioner = BottleneckRNN(len(VOCABULARY), 3, (16, 16), dim=8, hidden=6, width=6, squeeze=2).eval()
    table, read = readouts.probe_table((grids, streets), (grids, streets), captioner)
    assert [line.split("  ")[0] for line in table.split("\n")[1:]] == list(read) == list(readouts.PROBED)
    assert table.split("\n")[-2].endswith(f"{readouts.by_points((grids, streets), (grids, streets)):24.2f}")
    with_red = readouts.probe((torch.cat([red, noise], 1), streets), (torch.cat([red, noise], 1), streets))
    assert with_red["a red car, a blue car, …"] > read["a red car, a blue car, …"]


@pytest.mark.slide("25")
def test_tables_of_captions_hold_what_is_measured():
    streets = tasks.caption_data("val").first(10)
    captions = {f"reference {k}": [streets.dataset.captions(i)[k] for i in range(10)] for k in (1, 4)}
    table, scores = telling.caption_table(captions, streets)
    assert scores == {"reference 1": 1, "reference 4": 1}
    assert len(table.split("\n")) == 3
    table, over = telling.truth_table({"setting": captions["reference 4"]}, streets)
    own, other = (telling.truth_by_kind(captions["reference 4"], streets, shift=shift) for shift in (0, 1))
    assert over["setting"] == {kind: own[kind] - other[kind] for kind in own}
    assert table.split("\n")[1].split()[-3:] == ["10", "0", "0"]
    assert "of another street" in table
    references = [streets.dataset.captions(i) for i in range(10)]
    shorter = [one.replace(" with trees", "") for one in captions["reference 4"]]
    counts = telling._counts(shorter, references).sum(0)[None]
    assert telling._bleu_of_sums(counts).item() == pytest.approx(bleu(shorter, references), abs=1e-5)
    low, high = telling.bleu_gain(shorter, captions["reference 4"], references)
    assert 0 <= low <= 1 - bleu(shorter, references) <= high
    assert (
        pointing.elsewhere(["a red car and a red sign", "a blue car"], ["a grey car and a red sign", "a red car"]) == 1
    )


@pytest.mark.slide("25")
def test_sentences_are_compared_by_how_alike_they_are():
    """Settings against lists and themselves; BLEU-4 and truth on each group, and what one vector has of the gain."""
    streets = tasks.caption_data("val").first(6)
    every = [streets.dataset.captions(i) for i in range(6)]
    one = [references[4] for references in every]
    other = [*one[:2], one[1].replace("street", "road street"), *(references[1] for references in every[3:])]
    groups = telling.same_kind(one, other)
    assert groups == {"word for word the same": [0, 1], "of the same kind": [2], "of another kind": [3, 4, 5]}
    table, found = telling.groups_table(groups, {"one": one, "other": other}, streets)
    assert found["word for word the same"]["one"] == found["word for word the same"]["other"] == (1, 1)
    assert found["of the same kind"]["other"][0] == bleu(other[2:3], every[2:3]) < 1
    assert len({len(line) for line in table.split("\n")}) == 1
    assert telling.pair_table({"one": one, "other": one}, streets).endswith("0.000 to 0.000")
    assert telling.gain_table(one, one, streets).endswith("1.00 in BLEU-4, 1.00 in true")
    line, means = telling.mean_of_kinds([("list", 1.0), ("counts", 3.0), ("list", 2.0)])
    assert (line, means) == ("list 1.5, counts 3.0", {"list": 1.5, "counts": 3.0})


@pytest.mark.slide("25")
def test_against_all_references_a_false_sentence_may_lead():
    streets = tasks.caption_data("val").first(40)
    line, (more, less) = telling.false_before_true(streets)
    assert f"more in {more}, less in {less}" in line
    assert more > less == 0
    assert telling.versions_of(["a red car"]) == {
        "true": ["a red car"], "synonym": ["a scarlet car"], "wrong colour": [telling.with_wrong_colour("a red car", 0)]
    }  # fmt: skip


@pytest.mark.slide("25")
def test_parts_of_the_channels_are_read_one_by_one():
    streets = tasks.caption_data("val").first(100)
    labels = torch.stack([torch.from_numpy(streets.truth(i)[1].labels).long() for i in range(20)])
    grids = torch.rand(100, 256, 16, 16, generator=torch.Generator().manual_seed(0))
    grids[:20, 70] += 9 * (readouts._classes_of_points(grids[:20], labels) == CLASSES.index("car")).view(20, 16, 16)
    table, found = readouts.parts_table(grids, labels, streets)
    assert list(found) == list(readouts.PARTS) == [line[:24].strip() for line in table.split("\n")[1:]]
    assert found["first map, 64 to 255"][0] > 0.95 > 0.7 > found["last map, 0 to 63"][0]


@pytest.mark.slide("27")
def test_words_are_binned_by_the_probability_they_were_said_with():
    """Of a model whose words are all as likely, none is in another bin than the first."""
    streets = tasks.caption_data("val").first(50)
    lists = [streets.dataset.captions(image)[1] for image in range(50)]
    numbers = torch.zeros(50, 60, dtype=torch.int64)
    for row, listed in zip(numbers, lists, strict=True):
        words = torch.tensor(streets.vocabulary.encode(listed)[1:])
        row[: len(words)] = words
    maps = torch.rand(50, 1, 1, 60, 16, 16, generator=torch.Generator().manual_seed(0))
    said = Captions(numbers, maps, torch.zeros(50))
    blind = lambda z, captions: (torch.zeros(*captions.shape, len(streets.vocabulary)), None)  # noqa: E731
    table, hits = pointing.by_probability(blind, torch.zeros(50, 1, 1, 1), said, streets)
    assert np.isnan(hits["colour"]).tolist() == [False, True, True, True]
    listed = pointing.examples(said, streets)
    _, aimed = pointing.pointing_table({"list": [one for one in listed if one.words[0] == "from"]}, streets)
    assert hits["colour"][0] == pytest.approx(aimed["list"][1])
    assert pointing.as_counted(aimed["list"], said, streets)
    assert not pointing.as_counted([one + 0.01 for one in aimed["list"]], said, streets)
    head, *lines = table.split("\n")
    assert all(len(line) == len(head) for line in lines)


@pytest.mark.slide("26")
def test_losses_are_told_of_models_that_have_both():
    rows = [{"model": "bottleneck_mean", "seed": 0, "loss": 0.5}, {"model": "bottleneck_rnn", "seed": 0, "loss": 0.4}]
    rows.append({"model": "bottleneck_rnn", "seed": 0, "split": "train", "loss": 0.3})
    assert bottleneck.loss_table(rows).split("\n")[1].split() == ["MLP,", "192", "numbers", "0.400", "0.300"]


@pytest.mark.slide("27")
def test_the_shares_of_equal_objects_are_added():
    streets = tasks.caption_data("val")
    names = [[phrase(obj) for obj in streets.truth(image)[1].objects] for image in range(len(streets))]
    image = next(i for i, some in enumerate(names) if len(set(some)) < len(some))
    everywhere = torch.ones(16, 16)
    ranking = pointing.attended_objects(example(image, "a red car", everywhere), streets)
    assert {name for name, _ in ranking} == set(names[image])
    assert len(ranking) == len(set(names[image]))
    boxes = [obj.box for obj in streets.truth(image)[1].objects]
    (shares,) = pointing.shares_of_objects(everywhere[None] / 256, boxes, (128, 128))
    assert sum(share for _, share in ranking) == pytest.approx(shares[:-1].sum().item())


@pytest.mark.slide("25")
def test_a_colour_is_changed_at_the_same_place():
    sentence = "from left to right a blue car, a red sign and a grey car"
    assert telling.with_synonym(sentence) == sentence.replace("blue", "azure")
    changed = {telling.with_wrong_colour(sentence, n) for n in range(6)}
    assert len(changed) == 6
    assert sentence not in changed
    with pytest.raises(ValueError, match="expected one that names a colour"):
        telling.with_synonym("four cars")


def study(seeds=3):
    """Rows as the study `bottleneck` has them."""
    rng = np.random.default_rng(0)
    columns = [f"{metric}_{group}" for metric in ("facts", "bleu_4") for group in bottleneck.GROUPS.values()]
    return [
        {"model": name, "seed": seed, "seconds": 100 + seed, **split, **dict(zip(columns, rng.random(6), strict=True))}
        for name, seed, split in product(bottleneck.NAMES, range(seeds), ({}, {"split": "train"}))
    ]


@pytest.mark.slide("26")
def test_every_training_of_the_study_is_drawn_for_test_and_training_streets():
    rows = study()
    panels = bottleneck.panels_by_objects(rows)
    assert list(panels) == ["500 test streets", "500 training streets"]
    assert all(list(lines) == list(bottleneck.NAMES.values()) for lines in panels.values())
    assert panels["500 training streets"]["attention"][2][1] == rows[-1]["facts_3_4"]
    assert bottleneck.by_objects(rows, "bottleneck_mean", "test", "bleu_4")[0][0] == rows[0]["bleu_4_1_2"]
    chance = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]
    fig = by_objects(list(bottleneck.GROUPS), panels, chance, title="Facts")
    assert [ax.get_title() for ax in fig.axes] == list(panels)
    for ax, lines, blind in zip(fig.axes, panels.values(), chance, strict=True):
        dots = np.concatenate([np.asarray(scatter.get_offsets())[:, 1] for scatter in ax.collections])
        assert sorted(dots) == pytest.approx(sorted(np.array(list(lines.values())).ravel()))
        means = [np.mean(runs, 0) for runs in lines.values()]
        np.testing.assert_allclose([line.get_ydata() for line in ax.lines], [*means, blind])
    fig.draw_without_rendering()
    names = [text for text in fig.axes[-1].texts]
    assert {text.get_text() for text in names} == {*bottleneck.NAMES.values(), "chance"}
    boxes = sorted((Text.get_window_extent(text) for text in names), key=lambda box: box.y0)  # without their arrows
    assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))
    assert all(box.x1 <= fig.bbox.x1 for box in boxes)


@pytest.mark.slide("26")
def test_the_study_is_a_table_with_chance_below():
    panels = bottleneck.panels_by_objects(study())
    head, _, *lines = bottleneck.objects_table(panels, {name: [0.1, 0.2, 0.3] for name in panels}).split("\n")
    assert [line[:20].strip() for line in lines] == [*bottleneck.NAMES.values(), "chance", "attention − MLP 192"]
    assert lines[-2].split()[1:] == ["0.10", "0.20", "0.30"] * 2
    numbers = [[float(share) for share in line[20:].split()] for line in lines]
    np.testing.assert_allclose(numbers[-1], np.subtract(numbers[4], numbers[1]), atol=0.011)
    assert len({len(line) for line in (head, *lines)}) == 1


@pytest.mark.slide("26")
def test_gains_are_fractions_of_what_attention_gains_over_chance():
    lines = {"mean of the points": [[0.2, 0.1, 0.3]], "attention": [[0.5, 0.9, 0.7], [0.7, 0.9, 0.9]]}
    assert bottleneck.gains(lines, [0.1, 0.1, 0.4]) == {"mean of the points": pytest.approx([0.2, 0, -0.25], abs=1e-6)}


def test_the_loss_is_drawn_with_that_of_a_model_that_knows_nothing():
    (ax,) = learning([4.0, 3.0, 2.0, 1.0], 4.1, ["list", "counts", "list", "list"], title="Learning").axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["counts", "list"]
    assert [len(dots.get_offsets()) for dots in ax.collections] == [1, 3]
    with pytest.raises(ValueError, match="kinds: got 1, expected one for each of the 2"):
        learning([2.0, 1.0], 4.1, ["list"], title="Learning")
    curve, level = ax.lines
    assert list(curve.get_ydata()) == [4, 3, 2, 1]
    assert set(level.get_ydata()) == {4.1}
    assert len(ax.get_xticks()) <= 5


@pytest.mark.slide("26")
def test_budgets_name_steps_rates_parameters_and_seconds():
    found = {budget["model"]: budget for budget in bottleneck.budgets(study())}
    models = [getattr(model, "name", model) for model in studies.STUDIES["bottleneck"].models]
    assert list(found) == [bottleneck.NAMES[model] for model in models]
    assert {budget["steps"] for budget in found.values()} == {4000}
    assert {budget["seconds"] for budget in found.values()} == {101}
    assert found["MLP, 192 numbers"]["parameters"] > 2 * found["mean of the points"]["parameters"]
    head, *lines = bottleneck.budget_table(study()).split("\n")
    assert [line.split("  ")[0].strip() for line in lines] == list(found)
    assert all(len(line) == len(head) for line in lines)


def best_rates(rows):
    """Of each model of the study `bottleneck_rates`, as "bottleneck_rnn_0.001", the rate with the least loss."""
    best = {}
    for row in rows:
        model, rate = row["model"].rsplit("_", 1)
        best[model] = min(best.get(model, (float("inf"), 0.0)), (row["loss"], float(rate)))
    return {model: rate for model, (_, rate) in best.items()}


def test_the_captioners_are_trained_at_the_rates_that_the_study_found_best():
    rates = best_rates(studies.load("bottleneck_rates")["rows"])
    assert rates.items() <= {recipe.name: recipe.options.lr for recipe in studies.CAPTIONERS}.items()


def test_the_best_rate_of_each_model_is_found():
    rows = [
        {"model": f"bottleneck_{kind}_{rate:g}", "loss": loss}
        for kind, rate, loss in (("mean", 1e-3, 0.9), ("mean", 3e-3, 0.5), ("1024", 1e-3, 0.4), ("1024", 3e-4, 0.6))
    ]
    assert best_rates(rows) == {"bottleneck_mean": 3e-3, "bottleneck_1024": 1e-3}


@pytest.mark.slide("25")
def test_statements_are_ticked_or_crossed_under_their_caption():
    captions = {"a red car": [Fact("a red car", True)], "two cars, one long sentence " * 4: [Fact("two cars", False)]}
    (left, right) = fact_check(IMAGE, captions, title="Is it true?").axes
    assert len(left.images) == 1
    lines = {
        text.get_text().strip(): to_hex(text.get_color())
        for text in sorted(right.texts, key=lambda t: t.get_position()[1])
    }
    assert lines["✓ a red car"] == GREEN.lower()
    assert lines["✗ two cars"] == VERMILION.lower()
    order = list(lines)
    assert order.index("“a red car”") < order.index("✓ a red car") < order.index("✗ two cars") == len(order) - 1
    assert "two cars, one long sentence " * 4 in " ".join(order[3:-1]).strip("“”") + " "


def test_no_statement_leaves_the_figure():
    facts = [Fact("a red traffic light before a person in a yellow coat", i % 2 == 0) for i in range(14)]
    fig = fact_check(IMAGE, {"a red traffic light " * 8: facts})
    fig.draw_without_rendering()
    _, right = fig.axes
    boxes = [text.get_window_extent() for text in right.texts if text.get_text()]
    assert all(box.x1 <= fig.bbox.x1 and box.y0 >= fig.bbox.y0 - 1 for box in boxes)
    assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(sorted(boxes, key=lambda box: -box.y0)))


def test_without_a_caption_there_is_nothing_to_tick():
    with pytest.raises(ValueError, match="captions: got no caption"):
        fact_check(IMAGE, {})


@pytest.mark.slide("26")
def test_means_and_extremes_of_the_seeds_are_drawn():
    rng = np.random.default_rng(0)
    runs = {"one": rng.random((3, 4)), "two": rng.random((5, 4))}
    (ax,) = over_seeds("abcd", {"score": runs}, xlabel="group", title="Seeds", limits={"score": (-1, 2)}).axes
    assert ax.get_ylim() == (-1, 2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("group", "score")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list("abcd")
    for drawn, values in zip(ax.containers, runs.values(), strict=True):
        np.testing.assert_allclose(drawn.lines[0].get_ydata(), values.mean(0))
        ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends, np.stack([values.min(0), values.max(0)], 1))
    dots = [np.asarray(scatter.get_offsets())[:, 1] for scatter in ax.collections if len(scatter.get_offsets()) > 1]
    assert sorted(map(len, dots))[-2:] == [12, 20]


def test_a_row_of_values_for_every_place():
    with pytest.raises(ValueError, match=r"panels: got shape \(2, 3\) of 'one', expected \(trainings, 4\)"):
        over_seeds("abcd", {"score": {"one": np.zeros((2, 3))}}, xlabel="group")
