"""Cityscapes as photo-and-mask pairs, the layout of Kaggle's `cityscapes-image-pairs` (slides 3 and 13).

Each file N.jpg holds the photograph on the left and the colour mask on the right; `masks` finds the labels.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from lecture_utils.arguments import pair
from lecture_utils.cityscapes import IGNORE_COLOUR
from lecture_utils.datasets.masks import CITYSCAPES, Palette, mask_labels, own_palette
from lecture_utils.datasets.memory import MemoryCache
from lecture_utils.datasets.plausibility import check_pairs
from lecture_utils.datasets.reading import (
    check_on_error,
    decode,
    keep_readable,
    make_command,
    to_rgb,
    to_tensor,
    upright,
)

KAGGLE_SLUG = "cityscapes-image-pairs"
SMALLEST_PHOTO = 8  # pixels a side; anything smaller is no photograph
_NESTINGS = (".", "cityscapes_data", "cityscapes_data/cityscapes_data")
_SUFFIXES = (".jpg", ".jpeg", ".png")


def split_pair(
    image: Image.Image | np.ndarray,
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """Cut a side-by-side image (H, 2W) of any size in two: photo (H, W, 3) on the left, colour mask on the right.

    Raises ValueError for a greyscale image, an odd width, or halves below 8 × 8 pixels.
    """
    if isinstance(image, Image.Image):
        if len(image.getbands()) < 3 and image.mode not in ("P", "PA"):
            raise ValueError(f"image: got a greyscale image (mode {image.mode}), expected the mask's colours")
        image = to_rgb(upright(image), background=IGNORE_COLOUR)  # no label where a mask is transparent
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: got {image.dtype} of shape {image.shape}, expected uint8 of shape (H, 2W, 3)")
    height, width, _ = image.shape
    if width % 2:
        raise ValueError(f"image: got {width}×{height} pixels, expected an even width: a photo beside its mask")
    if min(height, width // 2) < SMALLEST_PHOTO:
        raise ValueError(f"image: got {width}×{height} pixels, expected at least {2 * SMALLEST_PHOTO}×{SMALLEST_PHOTO}")
    return image[:, : width // 2], image[:, width // 2 :]


class CityscapesPairs(Dataset):
    """Photographs and label maps read from side-by-side files `root/{train,val,…}/N.jpg` (or .jpeg, .png).

    root is the folder with the splits, or one that holds them in `cityscapes_data/`, once or twice nested.
    Items: `tv_tensors.Image` (3, H, W) uint8 and `tv_tensors.Mask` (H, W) uint8 of train ids, in the order of the
    numbers N; `transforms(image, mask)` from torchvision's v2 moves both (when it pads, give it
    `fill={tv_tensors.Mask: IGNORE_INDEX}`). size: (height, width), or one number for a square, of the items.

    palette: the label of each colour of another palette than Cityscapes', as {(128, 0, 0): 0, (224, 224, 192): 255};
    255 is ignored, and black where it has no label. At opening a few files are looked at; ValueError where they are no
    pairs in this palette (`plausibility`). check_masks=False leaves that out.

    Files are decoded once, on first use, and kept as uint8, as many as fit (`MemoryCache`); `preload()` decodes all
    at once, best done before a `DataLoader` starts workers. A bad file raises ValueError naming it when its turn comes;
    on_error="skip" reads every file at once and leaves the bad ones out with one warning. Raises FileNotFoundError for
    a missing folder.
    """

    def __init__(
        self,
        root: Path | str,
        split: str = "train",
        *,
        transforms: Callable | None = None,
        on_error: str = "raise",
        size: int | tuple[int, int] | None = None,
        palette: Mapping[tuple[int, int, int], int] | None = None,
        check_masks: bool = True,
    ) -> None:
        check_on_error(on_error)
        self.palette = CITYSCAPES if palette is None else own_palette(palette)
        self.folder = find_split(root, split)
        self.transforms = transforms
        self.size = None if size is None else pair("size", size, least=1)
        self.files = list_images(self.folder)
        self._decoded = MemoryCache()  # (photo, labels) by file
        if check_masks:
            check_pairs(self.files, self.palette, _halves)
        if on_error == "skip":
            self.files = keep_readable(self.files, self._pair, source=self.folder)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        photo, labels = self._pair(self.files[index])
        # Copies: a transform that works in place must not change what later epochs see.
        image, mask = tv_tensors.Image(photo.clone()), tv_tensors.Mask(labels.clone())
        return (image, mask) if self.transforms is None else self.transforms(image, mask)

    @property
    def sources(self) -> tuple[list[Path], list[Path]]:
        """The files, which hold the labels too."""
        return self.files, []

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """(height, width) of the photograph in each file, by its name, nothing decoded; it may yet be resized."""
        found = {}
        for path in self.files:
            with suppress(Exception), Image.open(path) as image:  # a bad file is refused when its turn comes
                found[path.name] = image.height, image.width // 2
        return found

    def preload(self) -> "CityscapesPairs":
        """Decode every file now, in threads, with a progress bar; return the data set itself."""
        keep_readable(self.files, self._pair, source=self.folder, on_error="raise")
        return self

    def _pair(self, path: Path) -> tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "h w"]]:
        found = self._decoded.get(path)
        if found is None:
            found = self._decoded.keep(path, _resize(*_read_pair(path, self.palette), self.size))
        return found


def read_pair(path: Path | str) -> tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "h w"]]:
    """Read one side-by-side file: photo (3, H, W) and train ids (H, W), uint8 both.

    Raises FileNotFoundError or ValueError, naming the file, where it is missing, broken, greyscale or wrongly sized.
    """
    return _read_pair(Path(path), CITYSCAPES)


def _read_pair(path: Path, palette: Palette) -> tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "h w"]]:
    photo, mask = _halves(path)
    return to_tensor(photo), torch.from_numpy(mask_labels(mask, palette))


def _halves(path: Path) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    image, _ = decode(path)
    try:
        return split_pair(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def find_split(root: Path | str, split: str) -> Path:
    """The folder of `split` below `root`, in any of the nestings; one that holds images before one that does not.

    Raises FileNotFoundError, with the command that makes the data, where there is none.
    """
    root = Path(root)
    found = [folder for nesting in _NESTINGS if (folder := root / nesting / split).is_dir()]
    if not found:
        missing = root / split if root.is_dir() else root
        raise FileNotFoundError(f"{missing}: no such folder. {_remedy(split)}")
    return next((folder for folder in found if _images_in(folder)), found[0])


def _remedy(split: str) -> str:
    return f"Make it with `{make_command('CITY', split)}`, or give the folder of the Kaggle data set {KAGGLE_SLUG}"


def list_images(folder: Path) -> list[Path]:
    """The image files of `folder` in the order of the numbers in their names: 2.jpg before 10.jpg.

    Raises FileNotFoundError where it holds none.
    """
    files = _images_in(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: holds no image ({', '.join(_SUFFIXES)}). {_remedy(folder.name)}")
    return sorted(
        files, key=lambda path: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
    )


def _images_in(folder: Path) -> list[Path]:
    # Names with a leading dot are what macOS leaves beside the files of an archive ("._1.jpg").
    return [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")]


def _resize(
    photo: UInt8[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"], size: tuple[int, int] | None
) -> tuple[UInt8[Tensor, "3 h2 w2"], UInt8[Tensor, "h2 w2"]]:
    """Resize photo and labels; labels by nearest neighbour, because a mix of two classes would be a third."""
    if size is None or size == tuple(labels.shape):
        return photo, labels
    photo = F.resize(photo, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    labels = F.resize(labels[None], list(size), interpolation=InterpolationMode.NEAREST_EXACT)
    return photo, labels[0]
