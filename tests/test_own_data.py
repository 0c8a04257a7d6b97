"""Data of one's own: what is checked before a training and a scoring, on small folders laid out like the real ones."""

import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lecture_utils import checkpoints, own_data, recipes, runtime, tasks
from lecture_utils.__main__ import main
from lecture_utils.cityscapes import colour_labels
from lecture_utils.datasets import CocoCaptions, CocoInstances, Flickr8k, memory
from lecture_utils.toycity.export import CATEGORIES


def photo(path, height=72, width=96, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels.repeat(8, 0).repeat(8, 1)).save(path)


def write_coco(root, splits=("train", "val"), photos=12, sizes=((72, 96),), name="{}.jpg"):
    """Boxes of the four categories and five captions on each photograph."""
    for split in splits:
        images, boxes, captions = [], [], []
        for n in range(photos):
            height, width = sizes[n % len(sizes)]
            photo(root / f"{split}2017" / name.format(n), height, width, n)
            images.append({"id": n, "file_name": name.format(n), "height": height, "width": width})
            box = [4, 5, width // 2, height // 2]
            boxes.append({"id": n, "image_id": n, "category_id": 1 + n % 4, "bbox": box, "area": 9, "iscrowd": 0})
            captions += [{"id": 5 * n + k, "image_id": n, "caption": "a red car behind a sign"} for k in range(5)]
        categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)]
        folder = root / "annotations"
        folder.mkdir(exist_ok=True)
        for kind, notes in (("instances", boxes), ("captions", captions)):
            content = {"images": images, "annotations": notes}
            content |= {"categories": categories} if kind == "instances" else {}
            (folder / f"{kind}_{split}2017.json").write_text(json.dumps(content))
    return root


def write_flickr(root, photos=40, words=6):
    lines = ["image,caption"]
    for n in range(photos):
        photo(root / "Images" / f"{n}.jpg", 48 + 8 * (n % 3), 64, n)
        lines += [f"{n}.jpg," + " ".join(["car"] * words)] * 5
    (root / "captions.txt").write_text("\n".join(lines) + "\n")
    return root


def write_pairs(root, splits=("train", "val"), pairs=12, sizes=((96, 96),)):
    for split in splits:
        (root / split).mkdir(parents=True)
        for n in range(pairs):
            height, width = sizes[n % len(sizes)]
            dice = np.random.default_rng(n)
            labels = dice.integers(0, 19, (height // 8, width // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            pixels = dice.integers(0, 256, (height, width, 3), dtype=np.uint8)
            both = Image.fromarray(np.hstack([pixels, colour_labels(labels)]))
            both.save(root / split / f"{n + 1}.png")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folders, written once; tests that change one take a copy."""
    home = tmp_path_factory.mktemp("own data")
    write_coco(home / "coco")
    write_flickr(home / "flickr")
    write_pairs(home / "pairs")
    return home


@pytest.fixture
def data(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "my data")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my data"


def train(name, root, *more):
    return main(["train", name, "--root", str(root), "--steps", "2", "--batch-size", "2", *map(str, more)])


def printed_command(capsys):
    return shlex.split(capsys.readouterr().out.splitlines()[-1], comments=True)[3:]


# ---- The same command on other data. ----

CHANGES = {
    "pixel": ("pairs", "train/3.png", lambda file: write_other_mask(file)),
    "rpn1": ("coco", "annotations/instances_train2017.json", lambda file: swap(file, "[4, 5, 48", "[4, 6, 48")),
    "detr": ("coco", "annotations/instances_train2017.json", lambda file: swap(file, "[4, 5, 48", "[4, 6, 48")),
    "only_transformers": ("flickr", "captions.txt", lambda file: swap(file, "car car", "bus car")),
    "show_attend_tell": ("coco", "annotations/captions_train2017.json", lambda file: swap(file, "red", "big")),
    "beit_segmentation": ("pairs", "train/3.png", lambda file: write_other_mask(file)),
}


def swap(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def write_other_mask(file):
    with Image.open(file) as picture:
        pixels = np.asarray(picture).copy()
    pixels[:8, -8:] = colour_labels(np.full((8, 8), 11, np.uint8))
    Image.fromarray(pixels).save(file)


@pytest.mark.parametrize("name", CHANGES)
def test_corrected_labels_are_another_training_and_the_message_names_them(data, capsys, name):
    folder, file, change = CHANGES[name]
    root, size = data / folder, ["--size", 64] if name in ("pixel", "rpn1", "detr") else []
    assert train(name, root, *size) == 0
    weights = (data.parent / f"runs/{name}.safetensors").read_bytes()
    assert train(name, root, *size) == 0  # the same data: it returns what is there
    before = (root / file).stat()
    change(root / file)
    os.utime(root / file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as copied with its times
    capsys.readouterr()
    assert train(name, root, *size) == 2
    said = capsys.readouterr().err
    assert f"the data of {root} changed since: 1 file differs ({file.removeprefix('train/')})" in said
    assert "--restart" in said
    assert "Traceback" not in said
    assert (data.parent / f"runs/{name}.safetensors").read_bytes() == weights


def test_a_touched_or_resaved_file_is_no_other_data(data):
    assert train("pixel", data / "pairs") == 0
    for file in (data / "pairs").rglob("*.png"):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    assert train("pixel", data / "pairs") == 0


def test_what_changed_is_told_in_numbers(data, capsys):
    assert train("pixel", data / "pairs") == 0
    for name in ("1", "2", "3", "4"):
        write_other_mask(data / f"pairs/train/{name}.png")
    (data / "pairs/train/5.png").unlink()
    assert train("pixel", data / "pairs") == 2
    assert "4 files differ (1.png, 2.png, 3.png, …), 1 is gone (5.png)" in capsys.readouterr().err


def test_a_changed_validation_split_is_none_of_the_trainings_business(data):
    assert train("pixel", data / "pairs") == 0
    write_other_mask(data / "pairs/val/1.png")
    assert train("pixel", data / "pairs") == 0


def test_a_checkpoint_of_before_fingerprints_says_so(data, capsys):
    assert train("pixel", data / "pairs") == 0
    file = data.parent / "runs/pixel.safetensors"
    tensors, metadata = checkpoints.read(file)
    del metadata["settings"]["data"]
    checkpoints.save(file, tensors, metadata)
    assert train("pixel", data / "pairs") == 2
    assert "what it saw was not noted" in capsys.readouterr().err


def test_the_toy_city_needs_no_fingerprint(made, monkeypatch, tmp_path):
    """Its files may differ in a bit from machine to machine, so a training goes on elsewhere."""
    from lecture_utils.tasks import segmentation

    monkeypatch.setattr(segmentation, "toy_city", lambda: made / "pairs")
    kind = {"steps": 1, "batch_size": 2, "checkpoint": tmp_path / "x.safetensors", "quiet": True}
    recipes.train("pixel", runtime.setup(quiet=True), **kind)
    assert checkpoints.settings(tmp_path / "x.safetensors")["data"] is None


# ---- The command that is printed, and other data than a checkpoint is for. ----


@pytest.mark.parametrize(("name", "folder"), [("pixel", "pairs"), ("rpn1", "coco"), ("only_transformers", "flickr")])
def test_the_printed_command_scores_what_was_trained(data, capsys, name, folder):
    size = ["--size", "64"] if name != "only_transformers" else []
    assert train(name, data / folder, *size) == 0
    command = printed_command(capsys)
    assert command[:4] == ["evaluate", name, "--root", str(data / folder)]
    assert command[4:6] == (size or command[4:6])
    assert ("--split" in command) == (folder != "flickr")
    assert main([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["scenes"] == (
        len(Flickr8k(data / folder, "test")) if folder == "flickr" else 12
    )
    assert said.err == ""


def test_with_nothing_unseen_the_printed_command_says_so(data, capsys):
    shutil.rmtree(data / "pairs/val")
    assert train("pixel", data / "pairs") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "--split train" in last
    assert last.endswith("# has no val or test: these are what was learned from")
    assert main(shlex.split(last, comments=True)[3:]) == 0


def test_a_checkpoint_of_a_folder_does_not_score_the_toy_city(data, capsys):
    assert train("rpn1", data / "coco", "--size", 64) == 0
    assert main(["evaluate", "rpn1", "--checkpoint", "runs/rpn1.safetensors"]) == 2
    said = capsys.readouterr().err
    assert f"runs/rpn1.safetensors learned from {data / 'coco'}; give --root '{data / 'coco'}'" in said


def test_other_data_and_other_sizes_than_those_learned_from_are_told(data, capsys):
    shutil.copytree(data / "pairs", data / "others")
    assert train("pixel", data / "pairs", "--size", 64) == 0
    capsys.readouterr()
    given = ["evaluate", "pixel", "--split", "val", "--checkpoint", "runs/pixel.safetensors", "--root"]
    assert main([*given, str(data / "others"), "--size", "64"]) == 0
    assert f"learned from {data / 'pairs'}, and is scored on {data / 'others'}" in capsys.readouterr().err
    assert main([*given, str(data / "pairs")]) == 0
    assert "learned with --size 64, and is scored with no --size" in capsys.readouterr().err
    write_other_mask(data / "pairs/train/1.png")
    assert main([*given, str(data / "pairs"), "--size", "64"]) == 0
    assert "changed since runs/pixel.safetensors learned from it: 1 file differs (1.png)" in capsys.readouterr().err
    assert main(["evaluate", "pixel", "--split", "val", "--root", str(data / "pairs"), "--json"]) == 0
    said = capsys.readouterr()
    assert "the shipped pixel learned from the toy city, and is scored on" in said.err
    json.loads(said.out.splitlines()[-1])


def test_a_checkpoint_of_another_recipe_with_the_same_layers_is_refused(data, capsys):
    assert train("beit_segmentation", data / "pairs") == 0
    file = "runs/beit_segmentation.safetensors"
    assert main(["evaluate", "beit_from_scratch", "--root", str(data / "pairs"), "--checkpoint", file]) == 2
    assert f"{file} is of beit_segmentation, expected one of beit_from_scratch" in capsys.readouterr().err


# ---- Sizes, lengths, splits. ----


@pytest.mark.parametrize("name", recipes.RECIPES)
@pytest.mark.parametrize("size", [8, 12, 33, 64, 100, 128])
def test_each_size_is_taken_or_refused_with_the_option_and_one_that_fits(made, name, size, monkeypatch):
    """Against the models themselves: what is refused would not run, what is not refused runs."""
    chosen = recipes.recipe(name)
    takes = {"pixels": chosen.pixels, "multiple": chosen.multiple}
    try:
        own_data.require_size(name, size, **takes)
        fits = True
    except ValueError as problem:
        fits = False
        mend = int(re.search(r"give --size (\d+)$", str(problem))[1])
        own_data.require_size(name, mend, **takes)
    if chosen.task.layout is None or chosen.task is tasks.detection.SELECTIVE_SEARCH:
        return
    root = made / {"pairs": "pairs", "instances": "coco", "captions": "coco"}[chosen.task.layout]
    try:
        data = chosen.task.data("train", root, size=size)
        model = chosen.build()
        if chosen.task.prepare and fits:
            chosen.task.prepare(model, data)
        own_data.dry_run(name, model, data, chosen.task.make_loss(data), collate=chosen.task.collate, batch_size=2)
        assert fits
    except ValueError:
        assert not fits


@pytest.mark.parametrize(
    ("name", "folder", "more", "words"),
    [
        (
            "detr",
            "coco",
            ["--size", 100],
            "size: got images of 100 × 100 pixels, detr takes sides that are multiples of 8",
        ),
        ("only_transformers", "flickr", ["--size", 64], "only_transformers takes 128 × 128 pixels: give --size 128"),
        ("show_attend_tell", "coco", ["--size", 100], "show_attend_tell takes 128 × 128 pixels: give --size 128"),
        ("eight_slots", "coco", [], "size: got images of 72 × 96 pixels, eight_slots takes 128 × 128"),
        ("beit", "pairs", ["--size", 100], "beit takes 96 × 96 pixels: give --size 96"),
        ("beit_segmentation", "pairs", ["--size", 64], "beit_segmentation takes 96 × 96"),
        ("unet", "pairs", ["--size", 7], "size: got 7, expected a whole number of at least 8"),
        ("unet", "pairs", ["--size", 0], "size: got 0, expected a whole number of at least 8"),
        ("unet", "pairs", ["--size", 1], "size: got 1, expected a whole number of at least 8"),
        ("vit", None, ["--size", 50], "vit takes sides that are multiples of 6: give --size 48"),
        ("vit", "pairs", [], "expected none: streets with one object are painted"),
        ("diffusion", None, ["--size", 64], "diffusion takes 32 × 32 pixels"),
        ("deconvnet", "pairs", ["--size", 16, "--batch-size", 1], "deconvnet cannot learn from images of 16 × 16"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_before_the_first_step(data, capsys, name, folder, more, words):
    root = ["--root", str(data / folder)] if folder else []
    assert main(["train", name, *root, "--steps", "2", *map(str, more)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (data.parent / "runs").exists()


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_several_sizes_without_the_option(data, capsys, command):
    write_pairs(data / "mixed", sizes=((96, 96), (64, 128), (48, 48)))
    write_coco(data / "mixed", sizes=((72, 96), (96, 72)))
    (data / "mixed/val").rename(data / "mixed/test")
    (data / "mixed/val2017").rename(data / "mixed/test2017")
    for kind in ("instances", "captions"):
        (data / f"mixed/annotations/{kind}_val2017.json").rename(data / f"mixed/annotations/{kind}_test2017.json")
    for name, words in (
        ("unet", "holds images of 3 sizes, 96 × 96 (4, as 1.png), 64 × 128 (4, as 2.png), 48 × 48 (4, as 3.png)"),
        ("rpn1", "holds images of 2 sizes, 72 × 96 (6, as 0.jpg), 96 × 72 (6, as 1.jpg)"),
        ("fast_rcnn", "holds images of 2 sizes"),
        ("detr", "holds images of 2 sizes"),
    ):
        assert main([command, name, "--root", str(data / "mixed")]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "give --size, as --size 128" in said
    assert not list(data.rglob("*.safetensors"))  # no proposals were searched
    assert train("unet", data / "mixed", "--size", 64) == 0


@pytest.mark.parametrize("name", ["caption_transformer", "only_transformers"])
def test_captions_that_are_too_long_are_cut_and_counted(tmp_path, recwarn, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = write_flickr(tmp_path / "f", words=20)
    with (root / "captions.txt").open("a") as file:
        file.write("3.jpg," + " ".join(["sign"] * 94) + "\n")
    assert train(name, root) == 0
    (said,) = {str(one.message) for one in recwarn if "captions" in str(one.message)}
    assert f"{root / 'captions.txt'}: 1 of " in said
    assert "longer than 63 words" in said
    assert "the longest has 94 ('sign sign" in said
    recwarn.clear()
    (root / "captions.txt").write_text((root / "captions.txt").read_text().replace(" sign" * 31, ""))
    assert train(name, root, "--restart") == 0  # 63 words: the longest that fit
    assert not [one for one in recwarn if "captions" in str(one.message)]


def test_a_recurrent_captioner_takes_long_captions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train("bottleneck_rnn", write_flickr(tmp_path / "f", words=94)) == 0


@pytest.mark.parametrize(("name", "folder"), [("unet", "pairs"), ("rpn1", "coco"), ("show_attend_tell", "coco")])
def test_a_split_that_is_not_there(data, capsys, name, folder):
    for split in ("test", "foo"):
        assert main(["evaluate", name, "--root", str(data / folder), "--split", split]) == 2
        said = capsys.readouterr().err
        assert f"split: {data / folder} has no '{split}', only 'train' and 'val'; give --split val" in said


def test_beit_on_too_few_images_speaks_of_images(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train("beit", write_pairs(tmp_path / "few", pairs=1)) == 2
    said = capsys.readouterr().err
    assert "got 144 patches of 8 × 8 pixels in 1 images, expected at least 256" in said
    assert "n_clusters" not in said


# ---- Memory and time. ----


@pytest.mark.parametrize("name", ["rpn1", "detr", "fast_rcnn"])
def test_photographs_are_kept_at_the_size_asked_for(tmp_path, name):
    """Full-size they would be 12 × 3 × 600 × 800 bytes."""
    write_coco(tmp_path, splits=("train",), sizes=((600, 800), (800, 600)))
    if name == "fast_rcnn":
        tasks.detection.search, before = lambda image: torch.tensor([[0.0, 0, 9, 9]]), tasks.detection.search
    try:
        data = recipes.recipe(name).task.data("train", tmp_path, size=64).preload()
    finally:
        if name == "fast_rcnn":
            tasks.detection.search = before
    kept = own_data.reader_of(data)._kept
    full = {"rpn1": 12, "fast_rcnn": 12, "detr": 0}[name]
    assert len(kept) == full
    assert kept.bytes < full * (3 * 64 * 64 + 200) + 1


def test_resizing_on_reading_gives_what_resizing_later_gave(tmp_path):
    """To the last bit: photograph, boxes, masks and captions, even and odd sizes, larger and smaller."""
    write_coco(tmp_path, splits=("train",), sizes=((72, 96), (40, 200), (16, 24)))
    for size in (64, 33):
        resized = tasks.photo_transforms(size=size)
        given = tmp_path / "train2017", tmp_path / "annotations/instances_train2017.json"
        old, new = (
            CocoInstances(*given, masks=False, transforms=resized),
            tasks.detection_data("train", tmp_path, size=size),
        )
        new.transforms = tasks.photo_transforms()
        new.preload()
        for index in range(len(old)):
            (a, before), (b, now) = old[index], new[index]
            assert torch.equal(a, b)
            assert torch.equal(before["boxes"], now["boxes"])
            assert before["boxes"].canvas_size == now["boxes"].canvas_size
        captions = tmp_path / "train2017", tmp_path / "annotations/captions_train2017.json"
        old, new = CocoCaptions(*captions, transforms=resized), CocoCaptions(*captions, size=size)
        for index in range(len(old)):
            assert torch.equal(old[index][0], tasks.photo_transforms()(new[index][0]))
            assert old[index][1] == new[index][1]


@pytest.mark.parametrize("name", ["unet", "rpn1", "detr", "show_attend_tell"])
def test_what_does_not_fit_into_memory_is_read_each_time_with_the_same_result(made, name, monkeypatch):
    chosen = recipes.recipe(name)
    root, size = made / ("pairs" if name == "unet" else "coco"), 128 if name == "show_attend_tell" else 64
    whole = chosen.task.data("train", root, size=size).preload()
    monkeypatch.setattr(memory, "KEPT_BYTES", 140_000)
    part = chosen.task.data("train", root, size=size).preload()
    store = part._kept if hasattr(part, "encoder") else getattr(part, "_kept", None) or part._decoded
    assert 0 < len(store) < 12
    assert store.full
    assert store.bytes <= 140_000
    for index in range(12):
        items = []
        for data in (whole, part):
            torch.manual_seed(3)
            items.append(data[index])
        tensors = [[value for value in item if isinstance(value, torch.Tensor)] for item in items]
        assert all(torch.allclose(a, b, atol=2e-3) for a, b in zip(*tensors, strict=True))


WORKER = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n"


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "out of memory; give a smaller",
        ),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "--size"),
        (MemoryError(), "out of memory; give"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "give --workers 0"),
        (
            ValueError(f"{WORKER}ValueError: a.jpg: not a complete image: x\n"),
            "train: a.jpg: not a complete image: x",
        ),
    ],
)
def test_wanting_memory_and_what_workers_say_is_one_line(monkeypatch, capsys, problem, words):
    def fail(*args, **kwargs):
        raise problem

    monkeypatch.setattr(recipes, "train", fail)
    assert main(["train", "pixel"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert said.count("\n") == 1


def test_a_fault_of_the_courses_own_is_seen(monkeypatch):
    monkeypatch.setattr(recipes, "train", lambda *args, **kwargs: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError):
        main(["train", "pixel"])


def test_a_rehearsal_changes_nothing(made):
    """Neither weights, nor running means, nor random numbers: a training is what it was."""
    chosen = recipes.recipe("unet")
    data, model = chosen.task.data("train", made / "pairs"), chosen.build()
    loss = chosen.task.make_loss(data)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    own_data.dry_run("unet", model, data, loss, collate=None, batch_size=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
