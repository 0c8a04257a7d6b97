"""Greedy, beam and dice: against every caption there is, on made-up trees and on small captioners."""

import math
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils import recipes, toycity
from lecture_utils.captioning import beam_search, greedy, sample
from lecture_utils.captioning.vocabulary import END, PAD, START, UNKNOWN
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.tasks import grid_encoder, photo_transforms

from .captioners import BUILDERS, WORDS, Rereading, Tree, captioner, picture

pytestmark = pytest.mark.slide("25", "27", "29", "30")
EVERY = pytest.mark.parametrize("name", BUILDERS)
SEARCHES = {
    "greedy": partial(greedy, need_weights=True),
    "beam": partial(beam_search, need_weights=True),
    "wide beam": partial(beam_search, beam_size=7, need_weights=True),
    "sample": lambda model, z, *, need_weights=True, **how: sample(
        model, z, generator=torch.Generator().manual_seed(0), need_weights=need_weights, **how
    ),
}


def log_probabilities(logits):
    """Of <end> and the words; the special ones are never said."""
    allowed = [word for word in range(len(logits)) if word not in (PAD, START, UNKNOWN)]
    total = math.log(sum(math.exp(logits[word].item()) for word in allowed))
    return {word: logits[word].item() - total for word in allowed}


def every_caption(tree, number, *, max_length, prefix=()):
    """Each caption of a tree with its log-probability and the number of words that were not given."""

    def grow(words, node, total):
        said = len(words)
        if said == max_length or (words and words[-1] == END):
            yield words, total, said - len(prefix)
            return
        scores = log_probabilities(tree.logits[number, node])
        following = [prefix[said]] if said < len(prefix) else list(scores)
        for word in following:
            cost = 0.0 if said < len(prefix) else scores[word]
            yield from grow((*words, word), node * tree.words + 1 + word, total + cost)

    yield from grow((), 0, 0.0)


def spoken(words):
    return tuple(word for word in words.tolist() if word != PAD)


def check_sums(model, z, said, prefix=()):
    """The log-probabilities and maps are those that the model gives when it is told what it said."""
    captions = torch.cat([torch.full((len(z), 1), START), said.words], dim=1)[:, :-1]
    state, maps, total = model.start(z), [], torch.zeros(len(z), dtype=torch.float64)
    ended = torch.zeros(len(z), dtype=torch.bool)
    for place, words in enumerate(captions.T):
        logits, attention, state = model.step(state, words, need_weights=True)
        maps.append(attention)
        for one in range(len(z)):
            if not ended[one] and place >= len(prefix):
                total[one] += log_probabilities(logits[one])[said.words[one, place].item()]
        ended |= said.words[:, place] == END
    torch.testing.assert_close(said.log_probability.double(), total, rtol=1e-5, atol=1e-4)
    maps = torch.stack(maps, dim=3)
    assert said.attention.shape == maps.shape
    there = (said.words != PAD)[:, None, None, :, None, None]
    torch.testing.assert_close(said.attention * there, maps * there)


@given(st.integers(0, 10**6), st.integers(6, 8), st.integers(1, 5), st.sampled_from([0.0, 0.7, 1.0]))
@settings(max_examples=40)
def test_a_beam_of_one_is_greedy_on_trees(seed, words, max_length, alpha):
    tree, z = Tree(words, trees=3, depth=max_length, seed=seed), torch.tensor([[0.0], [1.0], [2.0]])
    how = {"max_length": max_length, "need_weights": True}
    one, other = greedy(tree, z, **how), beam_search(tree, z, beam_size=1, length_penalty=alpha, **how)
    assert torch.equal(one.words, other.words)
    assert torch.equal(one.attention, other.attention)
    torch.testing.assert_close(one.log_probability, other.log_probability)


@EVERY
def test_a_beam_of_one_is_greedy_on_captioners(name):
    for seed in range(8):
        model, z = captioner(name, seed), picture(name, 3, seed)
        for alpha, prefix in ((1.0, ()), (0.0, (5,)), (0.7, (7, 4))):
            how = {"max_length": 9, "prefix": prefix, "need_weights": True}
            one, other = greedy(model, z, **how), beam_search(model, z, beam_size=1, length_penalty=alpha, **how)
            assert torch.equal(one.words, other.words)
            torch.testing.assert_close(one.attention, other.attention)
            torch.testing.assert_close(one.log_probability, other.log_probability)


def shipped_pictures(name):
    """What the captioner of this name, trained, looks at."""
    transform = photo_transforms()
    photos = [toycity.render(toycity.sample_scene(seed), 128).image for seed in (3, 14, 15)]
    images = torch.stack([transform(torch.from_numpy(photo).permute(2, 0, 1)) for photo in photos])
    return images if name == "only_transformers" else grid_encoder()(images)


@pytest.mark.parametrize("name", ["bottleneck_rnn", "show_attend_tell", "caption_transformer", "only_transformers"])
def test_a_beam_of_one_is_greedy_on_what_the_course_ships(name):
    model, z = recipes.load(name), shipped_pictures(name)
    for prefix in ((), CITY_WORDS.encode("from left to right")[1:-1]):
        how = {"prefix": prefix, "need_weights": True}
        one, other = greedy(model, z, **how), beam_search(model, z, beam_size=1, **how)
        assert torch.equal(one.words, other.words)
        torch.testing.assert_close(one.attention, other.attention, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one.log_probability, other.log_probability, rtol=1e-3, atol=1e-3)
        assert len(one.words.unique(dim=0)) > 1


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", ["transformer", "only transformers"])
def test_what_is_kept_of_the_words_says_what_reading_them_again_says(name, search):
    for seed in range(4):
        model, z = captioner(name, seed), picture(name, 3, seed)
        how = {"prefix": (5,) * (seed % 2), "max_length": 12}
        kept, read = (SEARCHES[search](one, z, **how) for one in (model, Rereading(model)))
        assert torch.equal(kept.words, read.words)
        torch.testing.assert_close(kept.attention, read.attention)
        torch.testing.assert_close(kept.log_probability, read.log_probability)
        without = SEARCHES[search](model, z, **how, need_weights=False)
        assert torch.equal(without.words, read.words)
        assert without.attention is None


@pytest.mark.parametrize("name", ["caption_transformer", "only_transformers"])
def test_what_the_course_ships_says_what_it_says_when_it_reads_again(name):
    model, z = recipes.load(name), shipped_pictures(name)
    for search in ("greedy", "beam", "sample"):
        kept, read = (SEARCHES[search](one, z) for one in (model, Rereading(model)))
        assert torch.equal(kept.words, read.words)
        torch.testing.assert_close(kept.log_probability, read.log_probability, rtol=1e-3, atol=1e-3)


def test_words_that_are_alike_are_chosen_alike():
    """An untrained model may find all words equally likely: the first is taken, by a beam of one, too."""
    tree = Tree(40, depth=1)
    tree.logits.zero_()
    for width in (1, 2, 5):
        said = beam_search(tree, torch.zeros(4, 1), beam_size=width, max_length=1)
        assert torch.equal(said.words, greedy(tree, torch.zeros(4, 1), max_length=1).words)


@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.7, 1.0, 2.0]), st.integers(1, 4), st.sampled_from([(), (4,), (5, 4)])
)
@settings(max_examples=40)
def test_a_beam_wide_enough_finds_the_best_caption_of_all(seed, alpha, max_length, prefix):
    if max_length < len(prefix) + 1:
        return
    tree, z = Tree(6, trees=2, depth=max_length, seed=seed), torch.tensor([[1.0], [0.0]])
    said = beam_search(tree, z, beam_size=3**max_length, length_penalty=alpha, max_length=max_length, prefix=prefix)
    for place, number in enumerate((1, 0)):
        captions = list(every_caption(tree, number, max_length=max_length, prefix=prefix))
        words, total, _ = max(captions, key=lambda caption: caption[1] / caption[2] ** alpha)
        assert spoken(said.words[place]) == words
        assert said.log_probability[place].item() == pytest.approx(total, rel=1e-4, abs=1e-4)


def test_a_wide_beam_finds_what_greedy_misses():
    """The likeliest first word leads nowhere; two beams keep the other one, too."""
    tree = Tree(6, depth=3)
    tree.logits.fill_(0.0)
    tree.logits[0, 0, 4:] = torch.tensor([1.0, 0.9])
    tree.logits[0, 1 + 5, 4] = 9.0  # after 5 comes 4, surely
    tree.logits[0, (1 + 5) * 6 + 1 + 4, END] = 9.0
    z = torch.zeros(1, 1)
    assert spoken(beam_search(tree, z, beam_size=2, max_length=3).words[0]) == (5, 4, END)
    assert spoken(greedy(tree, z, max_length=3).words[0])[0] == 4


def test_without_a_norm_short_captions_win():
    tree = Tree(6, depth=5)
    tree.logits.fill_(0.0)
    tree.logits[..., END] = 0.3  # every word costs about a nat
    tree.logits[0, 0, END] = -1.0
    lengths = [
        len(spoken(beam_search(tree, torch.zeros(1, 1), beam_size=300, length_penalty=a, max_length=5).words[0]))
        for a in (0.0, 3.0)
    ]
    assert lengths[0] < lengths[1] == 5


@EVERY
@pytest.mark.parametrize("search", SEARCHES)
def test_log_probabilities_and_maps_are_those_of_what_was_said(name, search):
    for seed in range(3):
        model, z = captioner(name, seed), picture(name, 4, seed)
        for prefix in ((), (6, 4)):
            with torch.no_grad():
                check_sums(model, z, SEARCHES[search](model, z, max_length=8, prefix=prefix), prefix)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=30)
def test_each_beams_maps_are_its_own(seed, width, max_length):
    tree, z = Tree(7, trees=3, depth=max_length, seed=seed, spread=1.0), torch.tensor([[2.0], [0.0], [2.0]])
    said = beam_search(tree, z, beam_size=width, max_length=max_length, need_weights=True)
    check_sums(tree, z, said)
    assert torch.equal(said.words[0], said.words[2])


@pytest.mark.parametrize("search", SEARCHES)
def test_batches_are_said_as_alone(search):
    tree = Tree(7, trees=5, depth=6, seed=3)
    together = SEARCHES[search](tree, torch.arange(5.0)[:, None], max_length=6)
    if search == "sample":
        return  # one sequence of dice for all
    for number in range(5):
        alone = SEARCHES[search](tree, torch.tensor([[float(number)]]), max_length=6)
        assert spoken(alone.words[0]) == spoken(together.words[number])
        torch.testing.assert_close(alone.log_probability[0], together.log_probability[number])
        length = len(spoken(alone.words[0]))
        assert torch.equal(alone.attention[0, :, :, :length], together.attention[number, :, :, :length])


@pytest.mark.parametrize("search", SEARCHES)
@given(st.integers(0, 10**6), st.integers(1, 6), st.lists(st.sampled_from([3, 4, 5, 6]), max_size=3))
@settings(max_examples=15)
def test_what_is_said_begins_with_the_prefix_and_ends_once(search, seed, max_length, prefix):
    if max_length < len(prefix):
        return
    tree = Tree(7, trees=4, depth=max_length, seed=seed)
    said = SEARCHES[search](tree, torch.arange(4.0)[:, None], max_length=max_length, prefix=prefix)
    assert said.words.shape[1] <= max_length
    assert said.words.dtype == torch.int64
    assert said.attention.shape == (4, 2, 1, said.words.shape[1], 2, 3)
    assert (said.log_probability <= 1e-6).all()
    for row in said.words.tolist():
        assert row[: len(prefix)] == prefix
        rest = row[len(prefix) :]
        assert START not in rest
        assert UNKNOWN not in rest
        if END in rest:
            assert set(rest[rest.index(END) + 1 :]) <= {PAD}
            assert PAD not in rest[: rest.index(END)]
        else:
            assert PAD not in rest
            assert len(row) == max_length


@pytest.mark.parametrize("search", ["greedy", "beam", "sample"])
def test_the_words_that_are_never_said_are_not_even_when_they_are_likeliest(search):
    tree = Tree(7, depth=4)
    tree.logits[..., [PAD, START, UNKNOWN]] = 50.0
    said = SEARCHES[search](tree, torch.zeros(3, 1), max_length=4)
    assert not set(said.words.flatten().tolist()) & {START, UNKNOWN}
    check_sums(tree, torch.zeros(3, 1), said)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_prefix_of_full_length_is_all_and_costs_nothing(search):
    said = SEARCHES[search](Tree(7, depth=2), torch.zeros(2, 1), max_length=2, prefix=torch.tensor([4, 6]))
    assert said.words.tolist() == [[4, 6]] * 2
    assert said.log_probability.tolist() == [0.0, 0.0]


@EVERY
@pytest.mark.parametrize("search", SEARCHES)
def test_no_pictures_no_captions(name, search):
    said = SEARCHES[search](captioner(name), picture(name, 0), max_length=4)
    assert said.words.shape[0] == said.log_probability.shape[0] == said.attention.shape[0] == 0


def test_a_vocabulary_without_a_word_says_the_end():
    for search in SEARCHES.values():
        assert search(Tree(4, depth=3), torch.zeros(2, 1), max_length=3).words.tolist() == [[END], [END]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_are_drawn_as_often_as_softmax_says(temperature):
    tree, many = Tree(9, depth=1, seed=5, spread=1.0), 8000
    dice = torch.Generator().manual_seed(1)
    said = sample(tree, torch.zeros(many, 1), temperature=temperature, max_length=1, generator=dice)
    allowed = [END, 4, 5, 6, 7, 8]
    expected = (tree.logits[0, 0, allowed] / temperature).softmax(0) * many
    counts = torch.tensor([(said.words == word).sum().item() for word in allowed])
    assert counts.sum() == many
    assert ((counts - expected) ** 2 / expected).sum() < 20.5  # χ² with five degrees of freedom: one in a thousand
    # The log-probability is that of the model, not of its warmed or cooled dice.
    word = said.words[0].item()
    own = tree.logits[0, 0, allowed].log_softmax(0)[allowed.index(word)]
    assert said.log_probability[0].item() == pytest.approx(own.item(), rel=1e-5)


@EVERY
def test_cold_dice_are_greedy(name):
    model, z = captioner(name), picture(name, 3)
    said = greedy(model, z, max_length=8)
    for temperature in (1e-3, 1e-30):
        assert torch.equal(sample(model, z, temperature=temperature, max_length=8).words, said.words)


def test_hot_dice_make_all_words_alike():
    said = sample(Tree(9, depth=1), torch.zeros(6000, 1), temperature=1e6, max_length=1)
    counts = said.words.flatten().bincount(minlength=9)
    assert counts[[PAD, START, UNKNOWN]].sum() == 0
    assert counts[[END, 4, 5, 6, 7, 8]].min() > 800


def test_dice_repeat_with_their_seed():
    tree, z = Tree(9, depth=6, spread=0.5), torch.zeros(20, 1)
    throw = lambda seed: sample(tree, z, max_length=5, generator=torch.Generator().manual_seed(seed)).words  # noqa: E731
    assert torch.equal(throw(1), throw(1))
    assert not torch.equal(throw(1), throw(2))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    throw(1)
    assert torch.equal(torch.get_rng_state(), before)  # its own dice alone
    torch.manual_seed(0)
    first = sample(tree, z, max_length=5).words
    torch.manual_seed(0)
    assert torch.equal(sample(tree, z, max_length=5).words, first)


@pytest.mark.parametrize("search", SEARCHES)
def test_no_gradients_are_kept(search):
    model = captioner("soft")
    said = SEARCHES[search](model, picture("soft", 1), max_length=3)
    assert not said.attention.requires_grad
    assert not said.log_probability.requires_grad


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"max_length": 0}, "max_length: got 0, expected a whole number of at least 1"),
        ({"max_length": 2.5}, r"max_length: got 2\.5"),
        ({"max_length": True}, "max_length: got True"),
        ({"max_length": 2, "prefix": [4, 5, 6]}, "max_length: got 2, expected a whole number of at least 3"),
        ({"prefix": [START]}, r"prefix: got \[1\]"),
        ({"prefix": [4, END]}, r"prefix: got \[2\]"),
        ({"prefix": [PAD]}, r"prefix: got \[0\]"),
        ({"prefix": [-1, 5]}, r"prefix: got \[-1\]"),
        ({"prefix": [4, WORDS, 99]}, rf"prefix: got {WORDS}, expected numbers of words, below {WORDS}"),
    ],
)
def test_refuses_bad_lengths_and_prefixes(search, how, message):
    with pytest.raises(ValueError, match=message):
        SEARCHES[search](captioner("soft"), picture("soft", 1), **how)


@pytest.mark.parametrize("width", [0, -1, 1.5, True, "3"])
def test_refuses_a_width_below_one(width):
    with pytest.raises(ValueError, match="beam_size: got"):
        beam_search(Tree(6), torch.zeros(1, 1), beam_size=width)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, -math.inf, -0.5])
def test_refuses_an_alpha_that_ranks_nothing(alpha):
    with pytest.raises(ValueError, match="length_penalty: got"):
        beam_search(Tree(6), torch.zeros(1, 1), length_penalty=alpha)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_refuses_a_temperature_that_is_none(temperature):
    with pytest.raises(ValueError, match="temperature: got"):
        sample(Tree(6), torch.zeros(1, 1), temperature=temperature)


def test_the_tree_has_as_many_captions_as_counted():
    """The brute force itself: END or one of two words at each of three places."""
    captions = list(every_caption(Tree(6, depth=3), 0, max_length=3))
    assert len({words for words, *_ in captions}) == len(captions) == 1 + 2 * (1 + 2 * 3)
    assert sum(math.exp(total) for _, total, _ in captions) == pytest.approx(1)
    assert {words for words, *_ in captions} == {
        words for length in (1, 2, 3) for words in product((END, 4, 5), repeat=length)
        if END not in words[:-1] and (length == 3 or words[-1] == END)
    }  # fmt: skip
