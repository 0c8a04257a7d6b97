"""What every reader shares: decoding one image, and doing without the files that cannot be read."""

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.transforms import v2
from tqdm import tqdm

from lecture_utils.arguments import pair
from lecture_utils.datasets.inventory import shown
from lecture_utils.datasets.memory import READERS
from lecture_utils.toycity.export import COMMAND

Item = TypeVar("Item")

WHITE = (255, 255, 255)  # what a page shows behind a transparent pixel
_NAMED_IN_WARNING = 3
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the value of the EXIF tag Orientation; 1 is upright
_QUARTER_TURNS = [_TURNS[value] for value in (5, 6, 7, 8)]  # those that swap width and height
_HEADERS = 5000


def read_photo(
    path: Path | str, *, size: tuple[int, int] | None = None, coordinates: bool = False, least: int | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Read a photograph (H, W, 3) as viewers show it: turned by its EXIF orientation, any kind of pixels as RGB.

    size is the (width, height) that an annotation states; ValueError says where it fits the pixels neither turned nor
    as they are stored. With coordinates=True the annotation holds places in the image: where its size fits the stored
    pixels only, it was made on them, so they are left unturned (orientations 5 to 8; the others keep the size, and
    labelling tools show an image as viewers do). `warn_of_stored_pixels` tells of these.
    least is for what is resized anyway: a large JPEG comes at a half, a quarter or an eighth of its sides, none of them
    below least, in a fraction of the time and memory.
    Raises FileNotFoundError or ValueError that names the file (see `decode` and `to_rgb`).
    """
    path = Path(path)
    stored, (width, height) = decode(path, least)
    image = upright(stored)
    there = (height, width) if _turn(stored) in _QUARTER_TURNS else (width, height)
    if size is not None and there != size:
        if (width, height) != size:
            raise ValueError(
                f"{path}: got {there[0]}×{there[1]} pixels, expected {size[0]}×{size[1]} as annotated"
                f"{'; width and height are swapped' if there == size[::-1] else ''}"
            )
        image = stored if coordinates else image
    try:
        return to_rgb(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def warn_of_stored_pixels(sizes: Mapping[Path, tuple[int, int]], *, source: Path) -> None:
    """Say once how many photographs `read_photo` leaves unturned, because their annotated sizes fit only so.

    sizes has the annotated (width, height) of each file. Headers alone are read, of 5,000 files at most.
    """
    looked_at = list(sizes)[:: -(-len(sizes) // _HEADERS) or 1]
    found = [path for path in looked_at if _fits_stored_only(path, sizes[path])]
    if found:
        warnings.warn(
            f"{source}: {len(found)} of {len(looked_at)} photographs have an EXIF orientation, but width and height as "
            f"they are stored: {first_few([path.name for path in found])}. Their boxes were drawn on the unturned "
            "pixels, so they are read unturned; to have them upright, remove the orientation and annotate them again",
            stacklevel=3,
        )


def _fits_stored_only(path: Path, size: tuple[int, int]) -> bool:
    if size[0] == size[1]:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head.startswith(b"\xff\xd8") and b"\xff\xe1" not in head:
            return False  # a JPEG without the segment that holds EXIF data: ten times as fast as asking Pillow
        with Image.open(path) as image:
            return image.size == size and _turn(image) in _QUARTER_TURNS
    except Exception:  # a broken file is named when it is read
        return False


def decode(path: Path, least: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode the whole image file `path`, its first frame, in the mode and orientation it was stored in.

    Returns it and its stored (width, height): with `least`, a JPEG may come smaller, see `read_photo`.
    Raises FileNotFoundError where there is no such file and ValueError where it is not a complete image.
    """
    try:
        with Image.open(path) as image:
            size = image.size
            if least is not None:
                image.draft(None, (least, least))
            image.load()
            return image, size
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: not a complete image (it is a folder); fetch or make it again") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller") from None
    except Exception as error:  # decoders meet broken bytes with many kinds of exception
        if _is_heif(path):
            raise ValueError(f"{path}: HEIC, a format of phones that is not read here; save it as JPEG") from error
        reason = str(error).replace(repr(str(path)), "it").replace("\n", " ")
        raise ValueError(f"{path}: not a complete image ({reason}); fetch or make it again") from error


def _is_heif(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(12)[4:] in (b"ftypheic", b"ftypheix", b"ftypmif1")
    return False


def upright(image: Image.Image) -> Image.Image:
    """Turn and mirror an image as its EXIF orientation asks; the same object where there is nothing to turn.

    EXIF data that cannot be read are passed over, as viewers do. (`ImageOps.exif_transpose` also writes the EXIF data
    anew, which fails on some that can be read.)
    """
    turn = _turn(image)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # broken EXIF data, too, are met with many kinds of exception
        return None


def to_rgb(image: Image.Image, *, background: tuple[int, int, int] = WHITE) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an image of any mode as RGB (H, W, 3), in an array of its own.

    Integers of 16 bits are scaled by their range and floats from [0, 1]; palettes are looked up, CMYK becomes RGB, and
    transparent pixels show `background`. Raises ValueError for what has no range of its own (floats beyond [0, 1],
    integers of 32 bits) and for modes that Pillow cannot convert (LAB).
    """
    if image.mode.startswith("I") or image.mode == "F":
        grey = _scaled_floats(image) if image.mode == "F" else _upper_bytes(image)
        return np.repeat(grey[..., None], 3, axis=2)
    if _may_be_transparent(image):
        layer = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), layer)
    try:
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except ValueError:
        raise ValueError(f"got an image of mode {image.mode}, which is not read here; save it as RGB") from None


def _may_be_transparent(image: Image.Image) -> bool:
    modes = [image.mode, image.palette.mode if image.palette else ""]
    return "transparency" in image.info or any(mode.endswith(("A", "a")) for mode in modes)


def _upper_bytes(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """The upper byte of 16-bit grey. Mode "I", 32 bits wide, holds 16 of them where it comes from a PNG or PGM."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "I" and (image.format not in ("PNG", "PPM") or low < 0 or high >= 1 << 16):
        raise ValueError(f"got 32-bit integers from {low} to {high}, of no known range; save it with 8 or 16 bits")
    return (values >> 8).astype(np.uint8)


def _scaled_floats(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # nan is neither
        raise ValueError(
            f"got floating-point pixels from {low:g} to {high:g}, expected 0 to 1; scale them, or save 8 bits"
        )
    return (255 * values).round().astype(np.uint8)


def to_tensor(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    """Copy pixels (H, W, 3) into a contiguous tensor (3, H, W), uint8 both."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def resizing(size: int | tuple[int, int] | None) -> Callable:
    """What resizes an image and, along with it, its boxes and masks; None leaves everything as it is."""
    return v2.Identity() if size is None else v2.Resize(pair("size", size, least=1))


def enough_for(size: int | tuple[int, int] | None) -> int | None:
    """The `least` side of a photograph that is resized to `size`: twice as large, resizing blurs it as it would all."""
    return None if size is None else 2 * max(pair("size", size, least=1))


def inside(name: str) -> str:
    """The name of a file below a folder, its parts joined by "/"; ValueError where it leads out of the folder.

    Windows' backslashes are taken for slashes. Names are judged as they are written: a link may lead anywhere.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    windows = PureWindowsPath(name)
    if not parts or ".." in parts or windows.drive or windows.root or min(name) < " ":
        raise ValueError(f"got the file name {shown(name)}, expected one below the folder; it would lead out of it")
    return "/".join(parts)


def make_command(out: Path | str, split: str) -> str:
    """The shell command that makes `split` of a small toy city in the folder `out`."""
    return COMMAND.format(out=out, scenes=200, size=96, split=split)


def check_on_error(on_error: str) -> None:
    """Raise ValueError unless `on_error` is "raise" or "skip"."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: got {on_error!r}, expected 'raise' or 'skip'")


def keep_readable(
    items: Sequence[Item], read: Callable[[Item], object], *, source: Path, on_error: str = "skip"
) -> list[Item]:
    """Read every item in threads, with a progress bar, and return those that can be read, in their order.

    `read` raises ValueError or FileNotFoundError for a bad item. With on_error="raise" the first such error ends it;
    with "skip" the bad items are left out and counted in one warning. Raises ValueError where no item is left.
    """

    def problem(item: Item) -> Exception | None:
        try:
            read(item)
        except (ValueError, FileNotFoundError) as error:
            if on_error == "raise":
                raise
            return error
        return None

    with ThreadPoolExecutor(READERS) as pool:
        outcomes = pool.map(problem, items)
        try:
            problems = list(tqdm(outcomes, total=len(items), desc=f"reading {source.name}", leave=False, delay=1))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _warn([str(found) for found in problems if found is not None], total=len(items), source=source)
    return [item for item, found in zip(items, problems, strict=True) if found is None]


def _warn(problems: list[str], *, total: int, source: Path) -> None:
    if not problems:
        return
    if len(problems) == total:
        raise ValueError(f"{source}: none of its {total} items can be read: {first_few(problems)}")
    # The fourth frame is the caller's line that made the reader: _warn, keep_readable, the reader, that line.
    warnings.warn(f"{source}: skipped {len(problems)} of {total} items: {first_few(problems)}", stacklevel=4)


def first_few(cases: list[str]) -> str:
    rest = len(cases) - _NAMED_IN_WARNING
    return "; ".join([*cases[:_NAMED_IN_WARNING], *([f"and {rest} more"] if rest > 0 else [])])
