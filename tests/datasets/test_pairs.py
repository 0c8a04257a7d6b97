import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from samples_on_disk import blocks, pair_folder, write_pair
from torchvision import tv_tensors
from torchvision.transforms import v2

from lecture_utils.cityscapes import colour_labels
from lecture_utils.datasets import CityscapesPairs, mask_labels, nearest_class, read_pair, split_pair
from lecture_utils.datasets import pairs as module

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
    (tmp_path / "train" / "notes.txt").write_text("no image")
    assert [path.name for path in CityscapesPairs(tmp_path).files] == ["1.png", "2.png", "10.png", "21.png", "100.png"]


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=12))
def test_any_numbers_come_in_order(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("numbers")
    for number in numbers:
        (folder / f"{number}.jpg").touch()
    assert [int(path.stem) for path in module.list_images(folder)] == sorted(numbers)


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
        image, mask = CityscapesPairs(tmp_path, transforms=moves, check_masks=False)[0]
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
