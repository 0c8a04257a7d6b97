import io
import pickle
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from samples_on_disk import blocks, pair_folder, write_pair
from scipy import ndimage
from torchvision import tv_tensors
from torchvision.transforms import v2

from lecture_utils import toycity
from lecture_utils.cityscapes import IGNORE_INDEX, PALETTE, colour_labels
from lecture_utils.datasets import CityscapesPairs, mask_labels, nearest_class, read_pair, split_pair
from lecture_utils.datasets import pairs as module


def brute_force(rgb: np.ndarray) -> np.ndarray:
    colours = np.vstack([PALETTE, [[0, 0, 0]]]).astype(np.int64)
    distances = ((rgb.astype(np.int64)[..., None, :] - colours) ** 2).sum(-1)
    return np.array([*range(19), IGNORE_INDEX], dtype=np.uint8)[distances.argmin(-1)]


# ---- colours to labels


def test_every_palette_colour_comes_back():
    labels = np.array([[*range(19), IGNORE_INDEX]], dtype=np.uint8)
    assert np.array_equal(nearest_class(colour_labels(labels)), labels)


@pytest.mark.parametrize("shape", [(64, 96), (1, 7), (33, 5), (0, 4), (3, 0)])
def test_nearest_equals_brute_force_the_first_and_the_second_time(shape):
    rgb = np.random.default_rng(shape[1]).integers(0, 256, (*shape, 3), dtype=np.uint8)
    module._table.cache_clear()
    expected = brute_force(rgb)
    for _ in range(2):
        labels = nearest_class(rgb)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, expected)


def test_nearest_is_exact_at_ties_and_one_step_beside_them():
    # Midpoints of two palette colours, and their neighbours: where rounding would show.
    colours = np.vstack([PALETTE, [[0, 0, 0]]]).astype(int)
    middles = ((colours[:, None] + colours) // 2).reshape(-1, 3)
    steps = np.array([(r, g, b) for r in (-1, 0, 1) for g in (-1, 0, 1) for b in (-1, 0, 1)])
    rgb = np.clip(middles[:, None] + steps, 0, 255).astype(np.uint8)
    assert np.array_equal(nearest_class(rgb), brute_force(rgb))


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_nearest_equals_brute_force_on_anything(rgb):
    assert np.array_equal(nearest_class(rgb), brute_force(rgb))


def test_nearest_takes_views():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(nearest_class(rgb[::-1, 10::2]), brute_force(rgb)[::-1, 10::2])


def test_ten_thousand_colours_are_fast():
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (10_000, 3), dtype=np.uint8)
    mask = colours[rng.integers(0, len(colours), (512, 256))]
    module._table.cache_clear()
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        nearest_class(mask)
        seconds.append(time.perf_counter() - start)
    # Measured 0.02 s, then 1.2 ms; the bounds allow a busy machine twenty times that.
    assert seconds[0] < 0.5
    assert min(seconds[1:]) < 0.03


@pytest.mark.slide("13")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quality", [75, 90])
def test_labels_survive_jpeg(tmp_path, seed, quality):
    rng = np.random.default_rng(seed)
    labels = blocks(rng, 96, 128, block=13)  # 13: the edges fall inside JPEG's blocks of 8 and 16
    photo = ndimage.gaussian_filter(rng.uniform(0, 255, (96, 128, 3)), (4, 4, 0)).astype(np.uint8)
    path = write_pair(tmp_path / "1.jpg", photo, labels, quality=quality)
    _, recovered = read_pair(path)
    right = recovered.numpy() == labels
    edge = ndimage.maximum_filter(labels, 5) != ndimage.minimum_filter(labels, 5)
    assert right[~edge].mean() >= 0.99
    assert len(np.unique(np.asarray(Image.open(path))[:, 128:].reshape(-1, 3), axis=0)) > 500  # the noise is there


# ---- one file


@given(height=st.integers(8, 40), width=st.integers(8, 40), seed=st.integers(0, 99))
def test_split_pair_undoes_joining(height, width, seed):
    both = np.random.default_rng(seed).integers(0, 256, (height, 2 * width, 3), dtype=np.uint8)
    for image in (both, Image.fromarray(both)):
        photo, mask = split_pair(image)
        assert np.array_equal(photo, both[:, :width])
        assert np.array_equal(mask, both[:, width:])


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_other_colour_modes_are_read(tmp_path, mode):
    labels = blocks(np.random.default_rng(0), 16, 24)
    both = Image.fromarray(np.hstack([colour_labels(labels)] * 2))
    both = both.quantize(64) if mode == "P" else both.convert(mode)
    both.save(tmp_path / "1.png")
    assert Image.open(tmp_path / "1.png").mode == mode
    photo, recovered = read_pair(tmp_path / "1.png")
    assert np.array_equal(recovered.numpy(), labels)
    assert photo.shape == (3, 16, 24)


# ---- the folder


@pytest.mark.slide("03", "13")
@pytest.mark.parametrize("nesting", ["", "cityscapes_data", "cityscapes_data/cityscapes_data"])
@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_items_are_what_was_written(tmp_path, nesting, suffix):
    truth = pair_folder(tmp_path / nesting, suffix=suffix, size=(24, 40))
    data = CityscapesPairs(tmp_path, "train")
    assert len(data) == 3
    for (image, mask), (photo, labels) in zip(data, truth.values(), strict=True):
        assert type(image) is tv_tensors.Image
        assert type(mask) is tv_tensors.Mask
        assert image.dtype == mask.dtype == torch.uint8
        assert np.array_equal(image.permute(1, 2, 0).numpy(), photo)
        assert np.array_equal(mask.numpy(), labels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_jpegs_are_read_as_pillow_reads_them(tmp_path, suffix):
    pair_folder(tmp_path, [1], suffix=suffix, size=(17, 33))
    image, mask = CityscapesPairs(tmp_path, "train")[0]
    both = np.asarray(Image.open(tmp_path / "train" / f"1{suffix}"))
    assert np.array_equal(image.permute(1, 2, 0).numpy(), both[:, :33])
    assert np.array_equal(mask.numpy(), mask_labels(both[:, 33:]))


def test_order_is_that_of_the_numbers_and_other_files_are_left_alone(tmp_path):
    pair_folder(tmp_path, [10, 2, 1, 100, 21])
    (tmp_path / "train" / "._1.png").write_bytes(b"left by an archive")
    (tmp_path / "train" / "notes.txt").write_text("no picture")
    assert [path.name for path in CityscapesPairs(tmp_path).files] == ["1.png", "2.png", "10.png", "21.png", "100.png"]


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=12))
def test_any_numbers_come_in_order(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("numbers")
    for number in numbers:
        (folder / f"{number}.jpg").touch()
    assert [int(path.stem) for path in module.list_pictures(folder)] == sorted(numbers)


def test_the_nesting_that_holds_pictures_is_taken(tmp_path):
    (tmp_path / "cityscapes_data" / "train").mkdir(parents=True)
    pair_folder(tmp_path / "cityscapes_data" / "cityscapes_data")
    assert len(CityscapesPairs(tmp_path)) == 3


def test_sizes_may_differ_between_files(tmp_path):
    pair_folder(tmp_path, [1], size=(20, 31))
    pair_folder(tmp_path, [2], size=(9, 64))
    assert [mask.shape for _, mask in CityscapesPairs(tmp_path)] == [(20, 31), (9, 64)]


@pytest.mark.parametrize(("size", "shape"), [((12, 50), (12, 50)), (16, (16, 16)), ((48, 80), (48, 80))])
def test_size_resizes_the_photo_smoothly_and_labels_by_nearest(tmp_path, size, shape):
    truth = pair_folder(tmp_path, [1], size=(24, 40))
    image, mask = CityscapesPairs(tmp_path, size=size)[0]
    photo, labels = truth[1]
    expected = v2.functional.resize_image(torch.from_numpy(photo).permute(2, 0, 1), list(shape), antialias=True)
    assert torch.equal(image, expected)
    # Nearest, by hand: the source pixel under the centre of each new pixel.
    rows = ((np.arange(shape[0]) + 0.5) * 24 / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * 40 / shape[1]).astype(int)
    assert np.array_equal(mask.numpy(), labels[rows][:, columns])


def test_transforms_move_photo_and_labels_together(tmp_path):
    labels = blocks(np.random.default_rng(0), 24, 40)
    write_pair(tmp_path / "train" / "1.png", colour_labels(labels), labels)
    moves = v2.Compose([v2.RandomHorizontalFlip(1), v2.RandomCrop((16, 24))])
    for _ in range(5):
        image, mask = CityscapesPairs(tmp_path, transforms=moves)[0]
        assert mask.shape == (16, 24)
        # The photo shows its own labels, so after any move it must still show those of the moved mask.
        assert np.array_equal(nearest_class(image.permute(1, 2, 0).numpy()), mask.numpy())


def test_a_file_is_decoded_once_and_the_copy_kept_is_safe(tmp_path):
    truth = pair_folder(tmp_path, [1])
    data = CityscapesPairs(tmp_path)
    image, mask = data[0]
    (tmp_path / "train" / "1.png").unlink()
    image.zero_()
    mask.zero_()
    image, mask = data[0]
    assert np.array_equal(image.permute(1, 2, 0).numpy(), truth[1][0])
    assert np.array_equal(mask.numpy(), truth[1][1])


def test_preload_decodes_everything(tmp_path):
    truth = pair_folder(tmp_path, range(1, 30))
    data = CityscapesPairs(tmp_path).preload()
    for path in (tmp_path / "train").iterdir():
        path.unlink()
    assert all(np.array_equal(mask.numpy(), truth[n][1]) for n, (_, mask) in enumerate(data, start=1))


def test_a_loader_with_workers_gives_the_same_batches(tmp_path):
    pair_folder(tmp_path, range(1, 6))
    data = CityscapesPairs(tmp_path)
    alone, shared = (torch.utils.data.DataLoader(data, batch_size=2, num_workers=n) for n in (0, 2))
    for (image, mask), (other_image, other_mask) in zip(alone, shared, strict=True):
        assert torch.equal(image, other_image)
        assert torch.equal(mask, other_mask)


def test_the_reader_can_be_sent_to_another_process(tmp_path):
    pair_folder(tmp_path)
    data = pickle.loads(pickle.dumps(CityscapesPairs(tmp_path, size=16)))
    assert data[2][1].shape == (16, 16)


def test_a_mask_holds_no_class_that_only_blurred_edges_suggest():
    # Between sky and building JPEG makes colours nearest to "wall"; no city scene has a wall.
    strays = {"nearest": 0, "sure": 0}
    for seed in range(30):
        picture = toycity.render(toycity.sample_scene(seed), 96)
        file = io.BytesIO()
        Image.fromarray(colour_labels(picture.labels)).save(file, "JPEG", quality=90, subsampling=0)
        stored = np.asarray(Image.open(file))
        known = set(np.unique(picture.labels))
        strays["nearest"] += len(set(np.unique(nearest_class(stored))) - known)
        labels = mask_labels(stored)
        strays["sure"] += len(set(np.unique(labels)) - known)
        assert (labels == picture.labels).mean() > 0.999
    assert strays["nearest"] > 10
    assert strays["sure"] == 0


def test_sure_classes_leave_clean_masks_alone_and_survive_a_single_pixel():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.repeat(rng.choice([*range(19), 255], size=(5, 7)), 3, axis=0), 2, axis=1).astype(np.uint8)
    assert (mask_labels(colour_labels(labels)) == labels).all()
    assert mask_labels(np.full((1, 1, 3), (128, 64, 128), np.uint8)).tolist() == [[0]]
