"""Photographs as people have them: turned by EXIF, of any kind of pixels, in every reader."""

import json
import time
import warnings
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from samples_on_disk import caption_content, coco_content, coco_folder, instance, write_pair
from scipy import ndimage
from torchvision.transforms import v2

from lecture_utils.datasets import (
    CityscapesPairs,
    CocoCaptions,
    CocoInstances,
    Flickr8k,
    memory,
    read_photo,
    split_pair,
)
from lecture_utils.datasets.reading import keep_readable, to_rgb

ORIENTATIONS = range(1, 9)
QUARTER_TURNS = range(5, 9)
WHITE = np.array([255, 255, 255])


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image (H, W, 3) that JPEG keeps nearly as it is, and that no turn leaves alike."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    blurred = ndimage.gaussian_filter(noise, (4, 4, 0))
    return np.uint8(255 * (blurred - blurred.min()) / np.ptp(blurred))


def exif(orientation: object) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """By the standard (EXIF 2.3, 4.6.4): where row 0 and column 0 of the stored pixels are on the screen."""
    pixels = pixels.transpose(1, 0, 2) if orientation in QUARTER_TURNS else pixels
    top_to_bottom = orientation in (1, 2, 5, 6)
    left_to_right = orientation in (1, 4, 5, 8)
    return pixels[:: 1 if top_to_bottom else -1, :: 1 if left_to_right else -1]


# ---- large photographs


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_large_jpeg_is_decoded_no_larger_than_is_asked_for(tmp_path, orientation):
    pixels = smooth(300, 416)
    Image.fromarray(pixels).save(tmp_path / "1.jpg", exif=exif(orientation), quality=95)
    size = (300, 416) if orientation in QUARTER_TURNS else (416, 300)
    found = read_photo(tmp_path / "1.jpg", size=size, least=70)
    expected = shown(pixels, orientation)[2::4, 2::4]
    assert found.shape == expected.shape  # a quarter of its sides; an eighth would be below 70
    assert np.abs(found.astype(int) - expected).mean() < 4
    assert read_photo(tmp_path / "1.jpg", least=400).shape == shown(pixels, orientation).shape
    with pytest.raises(ValueError, match="expected 70×90 as annotated"):
        read_photo(tmp_path / "1.jpg", size=(70, 90), least=70)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_large_photograph_resized_as_it_is_read_is_what_it_would_be_afterwards(tmp_path, suffix):
    images, annotations = turned_coco(tmp_path, 1, size=(416, 300))
    content = json.loads(annotations.read_text())
    content["images"][0]["file_name"] = f"1{suffix}"
    annotations.write_text(json.dumps(content))
    Image.fromarray(smooth(300, 416)).save(images / f"1{suffix}", quality=95)
    image, target = CocoInstances(images, annotations, size=(24, 32))[0]
    expected, truth = v2.Resize((24, 32))(*CocoInstances(images, annotations)[0])
    assert torch.equal(target["boxes"], truth["boxes"])
    assert torch.equal(target["masks"], truth["masks"])
    assert torch.equal(target["extent"], truth["extent"])
    assert (image.int() - expected.int()).abs().max() <= (2 if suffix == ".jpg" else 0)


def test_few_photographs_are_held_whole_at_once():
    reading, most, lock = 0, 0, Lock()

    def read(number):
        nonlocal reading, most
        with lock:
            reading += 1
            most = max(most, reading)
        time.sleep(0.005)
        with lock:
            reading -= 1
        return torch.zeros(number)

    memory.MemoryCache().fill(range(40), read, description="numbers")
    assert keep_readable(range(40), read, source=Path("here")) == [*range(40)]
    assert most <= memory.READERS <= 4


# ---- orientation


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photograph_is_turned_as_viewers_turn_it(tmp_path, orientation, suffix):
    pixels = smooth(37, 52)
    path = tmp_path / f"1{suffix}"
    Image.fromarray(pixels).save(path, exif=exif(orientation), quality=95)
    found = read_photo(path)
    expected = shown(pixels, orientation)
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).mean() < 4  # JPEG's; unturned, it is 40 and more
    assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")))
    assert found.flags.writeable
    assert found.flags.c_contiguous


BROKEN = {
    "no orientation of the eight": exif(9).tobytes(),
    "orientation 0": exif(0).tobytes(),
    "text": b"Exif\0\0" + b"no EXIF data at all",
    "nothing": b"Exif\0\0",
    "cut short": exif(6).tobytes()[:15],
    "an endless list": b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 40,
    "tag of another type": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04top\0\0\0\0\0",
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_exif_data_are_passed_over(tmp_path, name, suffix):
    path = tmp_path / f"1{suffix}"
    Image.fromarray(smooth(37, 52)).save(path, exif=BROKEN[name])
    assert read_photo(path).shape == (37, 52, 3)


def test_an_orientation_is_followed_though_other_exif_data_are_broken(tmp_path):
    # The second entry says that it is text, at a place far behind the end.
    entries = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\x01\x0f\0\x02\xff\xff\xff\xff\x7f\xff\xff\xff"
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + b"\0\0\0\0"
    Image.fromarray(smooth(37, 52)).save(tmp_path / "1.jpg", exif=broken)
    assert read_photo(tmp_path / "1.jpg").shape == (52, 37, 3)


def turned_coco(folder, orientation, *, size, number=1, content=None):
    """A data set with `number` photographs of 52 × 37 stored pixels and one box each; size: what is annotated."""
    content = coco_content() if content is None else content
    width, height = size
    content["images"] = [
        {"id": n, "file_name": f"{n}.jpg", "width": width, "height": height} for n in range(1, number + 1)
    ]
    box = [3.0, 5.0, 20.0, 10.0]
    if content.get("categories"):
        content["annotations"] = [instance(n, n, 7, [[3, 5, 23, 5, 23, 15, 3, 15]], box) for n in range(1, number + 1)]
    else:
        content["annotations"] = [{"id": n, "image_id": n, "caption": "A car."} for n in range(1, number + 1)]
    images, annotations = coco_folder(folder)
    annotations.write_text(json.dumps(content))
    for n in range(1, number + 1):
        Image.fromarray(smooth(37, 52)).save(images / f"{n}.jpg", exif=exif(orientation), quality=95)
    return images, annotations


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_coco_photographs_are_turned_under_their_boxes(tmp_path, orientation):
    size = (37, 52) if orientation in QUARTER_TURNS else (52, 37)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        data = CocoInstances(*turned_coco(tmp_path, orientation, size=size))
    image, target = data[0]
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - shown(smooth(37, 52), orientation)).mean() < 4
    assert target["masks"].shape[1:] == image.shape[1:]
    assert target["boxes"].tolist() == [[3, 5, 23, 15]]


@pytest.mark.parametrize("orientation", QUARTER_TURNS)
def test_coco_photographs_annotated_unturned_stay_so_and_are_counted_once(tmp_path, orientation):
    folder = turned_coco(tmp_path, orientation, size=(52, 37), number=5)
    with pytest.warns(UserWarning, match="EXIF orientation") as caught:
        image, _ = CocoInstances(*folder)[0]
    own = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert len(own) == 1
    assert f"{folder[1]}: 5 of 5 photographs" in own[0]
    assert "1.jpg; 2.jpg; 3.jpg; and 2 more" in own[0]
    assert "unturned" in own[0]
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - smooth(37, 52)).mean() < 4


def test_an_annotated_size_that_fits_in_no_orientation_is_refused(tmp_path):
    data = CocoInstances(*turned_coco(tmp_path, 6, size=(52, 36)))
    with pytest.raises(ValueError, match=r"1\.jpg: got 37×52 pixels, expected 52×36 as annotated$"):
        data[0]
    data = CocoInstances(*turned_coco(tmp_path, 1, size=(37, 52)))
    with pytest.raises(ValueError, match="got 52×37 pixels, expected 37×52 as annotated; width and height are swapped"):
        data[0]


@pytest.mark.parametrize("size", [(37, 52), (52, 37)])
def test_captions_are_about_the_turned_photograph_whatever_size_is_annotated(tmp_path, size):
    folder = turned_coco(tmp_path, 8, size=size, content=caption_content())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        image, _ = CocoCaptions(*folder)[0]
    assert image.shape == (3, 52, 37)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_flickr8k_photographs_are_turned(tmp_path, orientation):
    (tmp_path / "Images").mkdir()
    names = [f"{n}.jpg" for n in range(20)]
    for name in names:
        Image.fromarray(smooth(37, 52)).save(tmp_path / "Images" / name, exif=exif(orientation), quality=95)
    (tmp_path / "captions.txt").write_text("image,caption\n" + "".join(f"{name},A car.\n" for name in names))
    image, _ = Flickr8k(tmp_path, "train")[0]
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - shown(smooth(37, 52), orientation)).mean() < 4


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_pairs_are_turned_as_a_whole(tmp_path, orientation):
    labels = np.repeat(np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4), 10, axis=0), 11, axis=1)
    path = write_pair(tmp_path / "train" / "1.png", smooth(30, 44), labels)
    both = np.asarray(Image.open(path))
    undo = Image.fromarray(np.ascontiguousarray(shown(both, orientation)))  # each of the three is its own inverse
    undo.save(path, exif=exif(orientation))
    photo, mask = CityscapesPairs(tmp_path)[0]
    assert np.array_equal(photo.permute(1, 2, 0).numpy(), smooth(30, 44))
    assert np.array_equal(mask.numpy(), labels)
    assert np.array_equal(split_pair(Image.open(path))[0], smooth(30, 44))


# ---- kinds of pixels


def grey_ramp(dtype, highest) -> np.ndarray:
    return np.linspace(0, highest, 16 * 16).astype(dtype).reshape(16, 16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path, suffix, order):
    values = grey_ramp(np.uint16, 65535)
    mode = "I;16B" if order == ">u2" and suffix == ".tif" else "I;16"
    Image.frombytes(mode, (16, 16), values.astype(order if mode == "I;16B" else "<u2").tobytes()).save(
        tmp_path / f"1{suffix}"
    )
    found = read_photo(tmp_path / f"1{suffix}")
    assert np.array_equal(found, np.repeat(np.uint8(values // 256)[..., None], 3, 2))


def test_eight_bits_widened_to_sixteen_come_back(tmp_path):
    values = grey_ramp(np.uint8, 255)
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "1.png")
    assert np.array_equal(read_photo(tmp_path / "1.png")[..., 1], values)


def test_floats_from_0_to_1_are_scaled(tmp_path):
    Image.fromarray(grey_ramp(np.float32, 1)).save(tmp_path / "1.tif")
    assert np.array_equal(read_photo(tmp_path / "1.tif")[..., 2], np.round(255 * grey_ramp(np.float32, 1)))


# What no range of a type explains. name: (pixels, fragment of the message)
NO_RANGE = {
    "floats up to 255": (grey_ramp(np.float32, 255), "floating-point pixels from 0 to 255, expected 0 to 1"),
    "floats below 0": (grey_ramp(np.float32, 1) - 1, "floating-point pixels from -1 to 0"),
    "nan": (np.where(grey_ramp(np.float32, 1) > 0.5, np.nan, 0).astype(np.float32), "from nan to nan"),
    "inf": (np.where(grey_ramp(np.float32, 1) > 0.5, np.inf, 0).astype(np.float32), "from 0 to inf"),
    "32-bit integers": (grey_ramp(np.int32, 2**31 - 1), "32-bit integers from 0 to 2147483647"),
    "32-bit integers below 0": (grey_ramp(np.int32, 99) - 99, "32-bit integers from -99 to 0"),
    "32-bit integers that would fit into 16 bits": (grey_ramp(np.int32, 4000), "save it with 8 or 16 bits"),
}


@pytest.mark.parametrize("name", NO_RANGE)
def test_pixels_of_no_known_range_are_refused_by_name(tmp_path, name):
    values, fragment = NO_RANGE[name]
    path = tmp_path / "1.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(ValueError, match=r"1\.tif: got") as caught:
        read_photo(path)
    assert fragment in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA"])
def test_transparent_pixels_show_the_page_behind_them(mode):
    alpha = Image.new("L", (16, 16))
    alpha.paste(255, (0, 0, 16, 8))
    picture = Image.new("RGB", (16, 16), (51, 51, 51))  # a colour of the palette that convert("P") takes
    if mode == "PA":
        picture = picture.convert("P").convert("PA")
    elif mode in ("LA", "La"):
        picture = picture.convert("L")
    picture.putalpha(alpha)
    picture = picture.convert(mode)
    assert picture.mode == mode
    found = to_rgb(picture)
    assert (found[:8] == 51).all()
    assert (found[8:] == 255).all()
    assert (to_rgb(picture, background=(0, 10, 0))[8:] == (0, 10, 0)).all()


def test_half_transparent_pixels_are_mixed_with_the_page():
    picture = Image.new("RGBA", (8, 8), (0, 100, 200, 51))  # a fifth
    assert np.abs(to_rgb(picture).astype(int) - (0.2 * np.array([0, 100, 200]) + 0.8 * WHITE)).max() <= 1


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_palettes_are_looked_up_and_their_transparent_colour_is_the_page(tmp_path, suffix):
    picture = Image.new("P", (16, 8))
    picture.putpalette([10, 20, 30, 200, 100, 0, 7, 8, 9])
    picture.paste(1, (8, 0, 16, 8))
    picture.save(tmp_path / f"opaque{suffix}")
    picture.save(tmp_path / f"clear{suffix}", transparency=0)
    assert (read_photo(tmp_path / f"opaque{suffix}")[:, :8] == (10, 20, 30)).all()
    assert (read_photo(tmp_path / f"clear{suffix}")[:, :8] == 255).all()
    assert (read_photo(tmp_path / f"clear{suffix}")[:, 8:] == (200, 100, 0)).all()


def test_a_colour_declared_transparent_is_the_page(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = (9, 99, 199)
    Image.fromarray(pixels).save(tmp_path / "1.png", transparency=(0, 0, 0))
    assert (read_photo(tmp_path / "1.png") == np.where(pixels.any(-1, keepdims=True), pixels, 255)).all()


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("CMYK", ".tif"), ("YCbCr", ".tif"), ("L", ".jpg")])
def test_other_colour_spaces_become_rgb(tmp_path, mode, suffix):
    pixels = smooth(32, 48)
    picture = Image.fromarray(pixels).convert(mode)  # Pillow writes CMYK as Adobe does: inverted
    picture.save(tmp_path / f"1{suffix}", **({"quality": 95} if suffix == ".jpg" else {}))
    expected = np.asarray(Image.fromarray(pixels).convert("L"))[..., None] if mode == "L" else pixels
    assert np.abs(read_photo(tmp_path / f"1{suffix}").astype(int) - expected).mean() < 4


def test_black_and_white_is_0_and_255():
    assert set(to_rgb(Image.fromarray(smooth(16, 16)).convert("1")).ravel().tolist()) == {0, 255}


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png", ".webp"])
def test_of_several_frames_the_first_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    frames[0].save(tmp_path / f"1{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert Image.open(tmp_path / f"1{suffix}").n_frames == 3
    assert (read_photo(tmp_path / f"1{suffix}") == (250, 0, 0)).all()


@pytest.mark.parametrize("kind", ["heic", "heix", "mif1"])
def test_a_phone_s_other_format_is_named(tmp_path, kind):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftyp" + kind.encode() + b"\0" * 40)
    with pytest.raises(ValueError, match=r"IMG_1\.HEIC: HEIC.* save it as JPEG"):
        read_photo(tmp_path / "IMG_1.HEIC")


def test_too_many_pixels_are_named(tmp_path, monkeypatch):
    Image.fromarray(smooth(20, 20)).save(tmp_path / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"1\.png: more than 200 pixels; make it smaller"):
        read_photo(tmp_path / "1.png")


def test_every_reader_reads_every_kind_of_pixel(tmp_path):
    images, annotations = turned_coco(tmp_path, 1, size=(16, 16))
    Image.fromarray(grey_ramp(np.uint16, 65535)).save(images / "1.jpg", "PNG")
    assert CocoInstances(images, annotations)[0][0].float().mean() == pytest.approx(127, abs=2)
    (tmp_path / "Images").mkdir()
    Image.fromarray(grey_ramp(np.float32, 1)).save(tmp_path / "Images" / "1.tif")
    (tmp_path / "captions.txt").write_text("image,caption\n1.tif,A ramp.\n")
    found = [Flickr8k(tmp_path, split) for split in ("train", "val", "test") if _has(tmp_path, split)]
    assert found[0][0][0].float().mean() == pytest.approx(127, abs=2)


def _has(root, split) -> bool:
    try:
        return len(Flickr8k(root, split)) > 0
    except ValueError:
        return False
