"""Data, losses and scores of captioning: a tiny city, COCO's and Flickr8k's folders, a perfect captioner."""

import gc
import json
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from lecture_utils import recipes, runtime, tasks, toycity
from lecture_utils.__main__ import main
from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, ShowAttendTell, greedy
from lecture_utils.captioning.vocabulary import END, PAD, START, UNKNOWN
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.datasets import source
from lecture_utils.tasks import caption_dataset, caption_scores
from lecture_utils.tasks.caption_dataset import CaptionDataset, caption_images
from lecture_utils.tasks.caption_scores import (
    Generated,
    generate_all,
    named_objects,
    pointing,
    score_captions,
    score_lists,
)
from lecture_utils.tasks.captioning import LOOK_EVERYWHERE
from lecture_utils.toycity.describe import LIST

SCENES = {"train": 6, "val": 3, "test": 5}
CAPTIONERS = ("bottleneck_rnn", "show_attend_tell", "caption_transformer", "only_transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def city(monkeypatch, data_root):
    """The city of a few scenes."""
    monkeypatch.setenv("LECTURE_DATA", str(data_root))
    monkeypatch.setattr(source, "DETECTION_SCENES", SCENES)
    return data_root


@pytest.fixture
def run():
    return replace(runtime.setup(quiet=True), device="cpu", precision="fp32")


def untrained(captioner, words, **settings):
    torch.manual_seed(0)
    return captioner(words, 256, (16, 16), dim=16, **settings).eval()


@pytest.mark.slide("24")
def test_an_item_is_an_index_a_grid_and_the_five_sentences(city):
    data = tasks.caption_data("test")
    assert len(data) == 5
    index, z, captions = data[3]
    assert (index, tuple(z.shape), z.dtype) == (3, (256, 16, 16), torch.float32)
    for numbers in captions:
        assert (numbers[0], numbers[-1]) == (START, END)
        assert UNKNOWN not in numbers
    assert [CITY_WORDS.decode(numbers) for numbers in captions] == list(data.dataset.captions(3))
    torch.testing.assert_close(z, data.grids([3])[0], rtol=2e-3, atol=1e-3)  # kept in half precision


def test_grids_are_those_of_the_encoder_whatever_is_asked_for_with_them(city):
    data = tasks.caption_data("test")
    z = data.grids([4, 1])
    assert z.dtype == torch.float32
    photo = data.dataset[1][0].as_subclass(torch.Tensor)
    torch.testing.assert_close(z[1:], data.encoder(photo[None]), rtol=1e-4, atol=1e-4)
    assert not z.requires_grad


def test_without_an_encoder_a_captioner_sees_the_image(city):
    data = tasks.caption_pixels("val")
    index, image, _ = data[2]
    assert index == 2
    assert image.shape == (3, 128, 128)
    assert torch.allclose(image, data.dataset[2][0].as_subclass(torch.Tensor), atol=2e-3)


def test_the_truth_of_a_picture_is_its_scene(city):
    data = tasks.caption_data("test")
    for index in range(len(data)):
        scene, picture = data.truth(index)
        assert data.dataset.captions(index) == list(toycity.describe(scene, picture))
        photo, _ = source.city_captions("test")[index]
        assert np.abs(photo.permute(1, 2, 0).numpy().astype(int) - picture.image).mean() < 6  # JPEG


def test_every_scene_is_painted_once_however_often_it_is_asked_for(city, monkeypatch):
    painted = []
    monkeypatch.setattr(caption_dataset.toycity, "render", lambda scene, size: painted.append(scene))
    data = CaptionDataset(range(300), None, CITY_WORDS, split="test")
    for _ in range(2):
        for index in range(300):
            data.truth(index)
    assert len(painted) == 300


def test_a_data_set_that_nobody_holds_goes_with_all_it_has_painted(city):
    data = CaptionDataset(range(3), None, CITY_WORDS, split="test")
    data.truth(0)
    alive = weakref.ref(data)
    del data
    gc.collect()
    assert alive() is None


@pytest.mark.slide("24")
def test_a_batch_holds_one_caption_a_picture_of_one_kind_padded_behind_its_end():
    first = [[START, 7, END], [START, 8, 9, END], [START, 5, 5, 5, END]]
    items = [(4, torch.zeros(2, 3, 5), first), (9, torch.ones(2, 3, 5), [[START, END], [START, 6, 6, 6, 6, END]])]
    drawn = set()
    for _ in range(60):
        indices, z, captions = tasks.collate_captions(items)
        assert indices.tolist() == [4, 9]
        assert torch.equal(z, torch.stack([torch.zeros(2, 3, 5), torch.ones(2, 3, 5)]))
        assert captions.shape[1] == max(len(row[row != PAD]) for row in captions)
        drawn.add(tuple(tuple(row[row != PAD].tolist()) for row in captions))
    short, long = (START, END), (START, 6, 6, 6, 6, END)
    assert drawn == {(tuple(first[0]), short), (tuple(first[1]), long), (tuple(first[2]), short)}


@pytest.mark.slide("27")
def test_the_losses_are_cross_entropy_and_a_little_of_the_doubly_stochastic_term():
    model = untrained(ShowAttendTell, 20).train()
    torch.manual_seed(1)
    z, captions = torch.randn(3, 256, 16, 16), torch.randint(4, 20, (3, 6))
    captions[1, 4:] = PAD
    batch = (torch.arange(3), z, captions)
    logits, attention = model(z, captions[:, :-1], need_weights=True)
    terms, looks = [], torch.zeros(3, 256)
    for b, t in ((b, t) for b in range(3) for t in range(5)):
        if captions[b, t + 1] != PAD:
            terms.append(-logits[b, t].log_softmax(0)[captions[b, t + 1]])
            looks[b] += attention[b, 0, 0, t].flatten()
    plain = torch.stack(terms).mean()
    twice = ((1 - looks) ** 2).sum(1).mean()
    torch.testing.assert_close(tasks.captioning_loss(None)(model, batch), plain)
    torch.testing.assert_close(tasks.captioning.attending_loss(None)(model, batch), plain + LOOK_EVERYWHERE * twice)


@pytest.mark.parametrize("kind", [BottleneckRNN, ShowAttendTell, CaptionTransformer])
def test_all_is_said_in_order_whatever_the_batches(city, run, kind, monkeypatch):
    data = tasks.caption_data("test").preload()
    model = untrained(kind, len(CITY_WORDS))
    said = generate_all(model, data, run)
    prompt = LIST.split()
    for index in range(len(data)):
        z = data[index][1][None]
        free = greedy(model, z)
        lists = greedy(model, z, prefix=CITY_WORDS.encode(LIST)[1:-1], need_weights=True)
        assert said.free[index] == CITY_WORDS.decode(free.words[0])
        assert said.lists[index] == CITY_WORDS.to_tokens(lists.words[0])
        assert said.lists[index][:4] == prompt
        if kind is BottleneckRNN:
            assert said.maps is None
            continue
        length = lists.words.shape[1]
        expected = lists.attention[0].flatten(0, 1).sum(0)
        torch.testing.assert_close(said.maps[index, :length], expected, atol=1e-5, rtol=1e-4)
        assert not said.maps[index, length:].any()  # nothing behind the end, also where the batch was longer


def test_all_is_said_in_order_when_several_processes_shared_it(city, run, monkeypatch):
    """They give back what they said one process after the other."""
    data = tasks.caption_data("test").preload()
    model = untrained(BottleneckRNN, len(CITY_WORDS))
    alone, evaluate = generate_all(model, data, run), caption_scores.training.evaluate_batches
    shared = lambda *given, **named: evaluate(*given, **named)[[1, 3, 0, 2, 4]]  # noqa: E731
    monkeypatch.setattr(caption_scores.training, "evaluate_batches", shared)
    assert generate_all(model, data, run) == alone
    assert len(set(alone.free)) > 1


def test_behind_the_end_of_a_caption_there_are_no_maps(city, run, monkeypatch):
    """Of two captions said together, the shorter one has zeros where the longer one goes on."""

    class Ends(torch.nn.Module):
        """Says as many words as the first number of z tells."""

        grid = (16, 16)

        def start(self, z):
            return (z[:, 0, 0, 0].round(),)

        def step(self, state, words, *, need_weights=False):
            (left,) = state
            word = torch.where(left > 0, 5, END)
            maps = torch.full((len(words), 1, 1, 16, 16), 1 / 256)
            return F.one_hot(word, len(CITY_WORDS)) * 50.0, maps, (left - 1,)

        def parameters(self):
            return iter([torch.zeros(1)])

    data = CaptionDataset(range(3), None, CITY_WORDS)
    data.dataset = SimpleNamespace(captions=lambda index: ["a"], __len__=lambda: 3)
    grids = torch.tensor([7.0, 12.0, 9.0])[:, None, None, None].expand(3, 1, 16, 16)
    data._kept.update({index: [(z, ["a"])] for index, z in enumerate(grids)})
    monkeypatch.setattr(CaptionDataset, "__len__", lambda self: 3)
    said = generate_all(Ends(), data, run)
    assert [len(words) for words in said.lists] == [7, 12, 9]
    looked = said.maps.sum((2, 3)) > 0
    assert looked.sum(1).tolist() == [8, 13, 10]  # each word's, and that of the end


def oracle(data, *, look=lambda thing: thing.box):
    """What a perfect captioner says, looking with each word of an object at the middle of its box."""
    free, lists, maps = [], [], torch.zeros(len(data), 60, 16, 16)
    for index in range(len(data)):
        captions, (_, picture) = data.dataset.captions(index), data.truth(index)
        free.append(captions[index % 5])
        lists.append(captions[1].replace(",", " ,").split())
        for named, thing in named_objects(lists[-1], picture.objects):
            x0, y0, x1, y1 = look(thing)
            maps[index, named.start + 1 : named.stop, int((y0 + y1) / 16), int((x0 + x1) / 16)] = 1.0
    return Generated(free, lists, maps)


@pytest.mark.slide("26", "27")
def test_a_perfect_captioner_scores_one(city, run, monkeypatch):
    data = tasks.caption_data("test")
    monkeypatch.setattr(caption_scores, "generate_all", lambda model, data, run: oracle(data))
    monkeypatch.setattr(caption_scores, "next_word_loss", lambda model, data, run: 0.0)
    scores = score_captions(None, data, run)
    numbers = [len(data.truth(index)[1].objects) for index in range(len(data))]
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "facts", "facts_free", "pointing", "pointing_colour"):
        assert scores[name] == pytest.approx(1), name
    for name, group in {"1_2": (1, 2), "3_4": (3, 4), "5_more": range(5, 9)}.items():
        there = any(number in group for number in numbers)
        for score in (scores[f"facts_{name}"], scores[f"bleu_4_{name}"]):
            assert score == pytest.approx(1) if there else score != score
    assert 0 < scores["pointing_chance"] < 0.3
    assert scores["pointing_shuffled"] < 0.7


@pytest.mark.slide("26")
def test_a_street_without_things_does_not_count_for_the_facts_of_lists(city, monkeypatch):
    data = tasks.caption_data("test")
    said, truth = oracle(data), data.truth
    empty = (None, SimpleNamespace(objects=[]))
    monkeypatch.setattr(data, "truth", lambda index: truth(index) if index else empty)
    monkeypatch.setattr(caption_scores, "true_share", lambda sentence, data, index: float(index > 0))
    scores = score_lists(said, data)
    assert scores["facts"] == 1
    assert scores["facts_free"] == pytest.approx(4 / 5)


@pytest.mark.slide("27")
def test_pointing_is_counted_by_hand(city):
    """Two images; the first caption names two objects and looks at one of them, the second names what is not there."""
    data = tasks.caption_data("test")
    things = [toycity.VisibleObject(SimpleNamespace(colour=c), "car", box, 9)
              for c, box in (("red", (0.0, 0, 24, 24)), ("blue", (96.0, 96, 128, 128)))]  # fmt: skip
    picture = SimpleNamespace(objects=things, labels=np.zeros((128, 128)))
    data.truth = lambda index: (None, picture)
    words = [*LIST.split(), "a", "red", "car", "and", "a", "blue", "car"]
    maps = torch.zeros(2, 60, 16, 16)
    maps[0, 4, 9, 9] = 2.0  # "a": an article looks at nothing that counts
    maps[0, 5, 1, 1] = 1.0  # "red": in the red car's box, at its lower right
    maps[0, 6, 9, 9] = 0.6  # "car": far from it
    maps[0, 9:11, 10, 11] = 0.5  # "blue car": two cells from the box, which begins at cell 12
    maps[1, 5:7, 3, 3] = 1.0  # the other image's map for the same words: one cell outside
    said = Generated(["", ""], [words, ["from", "left", "to", "right", "a", "green", "car"]], maps)
    scores = pointing(said, data)
    assert scores["pointing"] == 0.5  # 1 > 0.6: "red" outweighs "car"; the blue car is missed
    assert scores["pointing_colour"] == 0.5
    assert scores["pointing_noun"] == 0.0
    assert scores["pointing_chance"] == pytest.approx((16 / 256 + 25 / 256) / 2)
    assert scores["pointing_shuffled"] == 1.0  # of the second object, the other list says nothing, so it has no look


def test_pointing_of_a_model_without_attention_or_without_a_hit(city):
    data = tasks.caption_data("test")
    assert pointing(Generated([], [], None), data) == {}
    scores = pointing(Generated([""] * 5, [[]] * 5, torch.rand(5, 60, 16, 16)), data)
    assert set(scores) >= {"pointing", "pointing_chance", "pointing_shuffled"}
    assert all(value != value for value in scores.values())  # nan: nothing named, nothing to divide by


@pytest.mark.slide("27")
def test_the_second_red_car_is_the_second_from_the_left():
    def thing(colour, category, x):
        return toycity.VisibleObject(SimpleNamespace(colour=colour), category, (x - 4, 10.0, x + 4, 20.0), 9)

    seen = [thing("red", "car", 90), thing("red", "car", 20), thing("blue", "person", 50), thing("red", "car", 60)]
    words = "from left to right a red car , a person in a blue coat , a green car" + 3 * " and a red car"
    found = [(mention.noun, named) for mention, named in named_objects(words.split(), seen)]
    assert found == [(6, seen[1]), (9, seen[2]), (21, seen[3]), (25, seen[0])]  # the fourth red car names nothing


@pytest.mark.slide("25", "27", "29", "30")
@pytest.mark.parametrize("name", CAPTIONERS)
def test_an_untrained_captioner_is_scored_without_an_error(city, run, name):
    torch.manual_seed(0)
    count, scores = recipes.evaluate(name, recipes.recipe(name).build(), run)
    assert count == 5
    assert {"bleu_1", "bleu_4", "facts", "facts_free", "facts_5_more", "bleu_4_1_2"} <= set(scores)
    assert ("pointing" in scores) == (name != "bottleneck_rnn")
    assert 0 <= scores["facts"] < 0.5
    json.dumps(recipes.metrics(scores), allow_nan=False)


def write_photos(folder, names, size=(40, 30)):
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(0)
    for name in names:
        Image.fromarray(dice.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)


@pytest.fixture
def flickr(tmp_path):
    root = tmp_path / "flickr8k"
    names = [f"{n}_ab.jpg" for n in range(60)]
    write_photos(root / "Images", names)
    lines = [f'{name},"A red car , and person {k} ."' for name in names for k in range(5)]
    (root / "captions.txt").write_text("\n".join(["image,caption", *lines]) + "\n")
    return root


@pytest.fixture
def coco(tmp_path):
    root = tmp_path / "coco2017"
    for split in ("train", "val"):
        names = [f"{n:012}.jpg" for n in range(1, 5)]
        write_photos(root / f"{split}2017", names)
        images = [{"id": n, "file_name": name, "width": 30, "height": 40} for n, name in enumerate(names, start=1)]
        notes = [{"id": 10 * n + k, "image_id": n, "caption": "A red car is behind\na sign."} for n in (1, 2, 3)
                 for k in range(5)]  # the fourth has none  # fmt: skip
        (root / "annotations").mkdir(exist_ok=True)
        content = {"info": {}, "licenses": [], "images": images, "annotations": notes}
        (root / f"annotations/captions_{split}2017.json").write_text(json.dumps(content))
    return root


def test_flickr8k_is_read_by_its_path(flickr):
    data = caption_images("test", flickr)
    image, captions = data[0]
    assert image.shape == (3, 128, 128)
    assert image.dtype == torch.float32
    assert len(captions) == 5
    assert caption_images("train", str(flickr), size=64)[0][0].shape == (3, 64, 64)
    assert tasks.caption_pixels("test", flickr)[0][1].shape == (3, 128, 128)


@pytest.mark.parametrize("nested", [False, True])
def test_coco_is_read_by_its_path_and_in_a_folder_of_that_name(coco, nested):
    if nested:
        coco.rename(coco.parent / "coco")
    data = caption_images("val", coco.parent if nested else coco)
    assert len(data) == 4
    assert data[0][0].shape == (3, 128, 128)
    assert [len(data.captions(index)) for index in range(4)] == [5, 5, 5, 0]
    _, z, numbers = tasks.caption_data("val", coco.parent if nested else coco)[3]
    assert numbers == [[START, END]]
    assert z.shape == (256, 16, 16)


def test_photographs_have_no_scene(flickr):
    with pytest.raises(ValueError, match="truth: only images of the toy city"):
        tasks.caption_data("test", flickr).truth(0)


def write_untrained(name, file):
    torch.manual_seed(0)
    state = recipes.recipe(name).build().state_dict()
    save_file({f"model.{key}": value for key, value in state.items()}, file)


def test_evaluate_on_photographs_needs_no_scenes(flickr, coco, capsys):
    given = ["evaluate", "show_attend_tell", "--json", "--root"]
    expected = len(caption_images("test", flickr))
    assert main([*given, str(flickr)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["scenes"] == expected
    assert set(result["metrics"]) == {"loss", "bleu_1", "bleu_2", "bleu_3", "bleu_4"}
    assert main([*given, str(coco), "--split", "val"]) == 0  # one image has no caption: it is not counted
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]) == set(result["metrics"])


def test_training_on_photographs_and_scoring_what_it_wrote(flickr, tmp_path, capsys):
    file = str(tmp_path / "trained.safetensors")
    given = ["show_attend_tell", "--root", str(flickr), "--checkpoint", file]
    assert main(["train", *given, "--steps", "2", "--batch-size", "3"]) == 0
    assert main(["evaluate", *given]) == 0
    assert "bleu_4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "captions.txt").unlink(), "captions.txt: no such file"),
        (lambda root: (root / "captions.txt").write_text("a,b\n"), "expected 'image,caption'"),
        (lambda root: (root / "captions.txt").write_bytes(b"image,caption\na.jpg,\xff\xfe\n"), "captions.txt"),
        (lambda root: [file.unlink() for file in (root / "Images").iterdir()], "no such file"),
        (lambda root: [file.write_bytes(b"x") for file in (root / "Images").iterdir()], "not a complete image"),
        (
            lambda root: (root / "captions.txt").write_text("image,caption\n"),
            "no photograph of it falls into the split",
        ),
    ],
)
def test_a_bad_folder_is_one_line(flickr, tmp_path, capsys, spoil, message):
    write_untrained("show_attend_tell", tmp_path / "w.safetensors")
    spoil(flickr)
    given = ["--root", str(flickr), "--checkpoint", str(tmp_path / "w.safetensors")]
    assert main(["evaluate", "show_attend_tell", *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_other_bad_input_is_one_line(coco, tmp_path, capsys):
    write_untrained("show_attend_tell", tmp_path / "w.safetensors")
    given = ["evaluate", "show_attend_tell", "--checkpoint", str(tmp_path / "w.safetensors"), "--root"]
    for arguments, message in (
        ([str(tmp_path / "nowhere")], "nowhere"),
        ([str(coco), "--split", "test"], "has no 'test', only 'train' and 'val'"),
        ([str(coco), "--split", "val", "--size", "64"], "takes 128 × 128 pixels: give --size 128"),
        ([str(coco), "--split", "val", "--size", "100"], "got images of 100 × 100 pixels"),
    ):
        assert main([*given, *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error, error
        assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", ["show_attend_tell", "caption_transformer"])
def test_the_loss_is_the_mean_over_all_words_of_all_sentences(city, run, kind):
    """Sentence by sentence without padding; a transformer of few positions is asked for the words that it reads."""
    words = len(CITY_WORDS)
    long = {"max_length": 6, "heads": 2} if kind == "caption_transformer" else {}
    model = untrained(ShowAttendTell if kind == "show_attend_tell" else CaptionTransformer, words, **long)
    data = tasks.caption_data("test")
    expected = []
    for index in range(len(data)):
        z = data.grids([index])
        for caption in data.dataset.captions(index):
            numbers = torch.tensor([data.vocabulary.encode(caption)])[:, : 7 if long else None]
            logits = model(z, numbers[:, :-1])[0]
            expected += F.cross_entropy(logits[0], numbers[0, 1:], reduction="none").tolist()
    assert caption_scores.next_word_loss(model, data, run) == pytest.approx(np.mean(expected), rel=2e-3)  # halved maps
