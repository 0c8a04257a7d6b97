"""Selective Search: regions that look like objects, from colour and texture alone (slide 17).

Uijlings, van de Sande, Gevers and Smeulders, "Selective Search for object recognition", IJCV 2013. The implementation
is OpenCV's (contrib, `ximgproc.segmentation`); there is none in this package. Where an OpenCV without contrib lies, as
on Colab and Kaggle, whose three flavours share a folder, the images of the notebooks have stored proposals.
"""

import functools
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from lecture_utils import runtime
from lecture_utils.arguments import require_positive
from lecture_utils.costs import timed

STRATEGIES = ("fast", "quality")
STORE = "selective_search.npz"  # in data/, made by handouts/proposals.py
ALIKE = 3  # grey levels: two machines may render and decode a street with other last bits


def selective_search(
    image: UInt8[np.ndarray, "h w 3"], *, strategy: str = "fast", number: int | None = None, scale: int = 1
) -> Float[Tensor, "n 4"]:
    """Propose boxes (x0, y0, x1, y1) in pixels of an RGB image, in OpenCV's order; the first `number` of them, or all.

    "fast" groups the image 12 times (2 colour spaces, 3 first segmentations, 2 ways to measure likeness), "quality"
    100 times (5, 5 and 4): more boxes, more seconds. No box comes twice. Which boxes come is the same at every call;
    their order is not, for OpenCV draws it at random: a box's rank is its level of grouping times a random number, and
    low levels, small boxes, tend to come first (in the paper, section 3.3, it is the other way round).
    A first segment has about a hundred pixels or more, so in a small image small objects are overlooked; `scale`
    searches in an image that many times as wide and high. Where OpenCV or its contrib modules are missing, images of
    the notebooks get their stored proposals, and others an `ImportError` that says what to install.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image: got {got}, expected a uint8 array of shape (height, width, 3)")
    if 0 in image.shape:
        raise ValueError(f"image: got shape {image.shape}, expected at least one pixel")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: got {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    require_positive(number=1 if number is None else number, scale=scale)
    if missing := _missing():
        return _stored(image, strategy, scale, missing)[1][:number]
    cv2 = _opencv()
    height, width = image.shape[:2]
    bgr = np.ascontiguousarray(image[..., ::-1])  # OpenCV has blue first
    if scale > 1:
        bgr = cv2.resize(bgr, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(bgr)
    search.switchToSelectiveSearchFast() if strategy == "fast" else search.switchToSelectiveSearchQuality()
    found = np.asarray(search.process(), np.float32).reshape(-1, 4)[:number]  # x, y, width, height
    boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    return torch.from_numpy(boxes / scale)


def timed_search(
    image: UInt8[np.ndarray, "h w 3"], *, strategy: str = "fast", scale: int = 1, times: int = 1
) -> tuple[float, Float[Tensor, "n 4"]]:
    """Seconds of `selective_search`, the best of `times` searches, and its boxes.

    With stored proposals they are estimated: from those that the first step of the search, Felzenszwalb's segmentation,
    takes here, and how many times as long the whole search took where the proposals were stored.
    """
    require_positive(times=times)
    missing = _missing()
    searches = [timed(selective_search, image, strategy=strategy, scale=scale) for _ in range(times)]
    seconds, boxes = [took for took, _ in searches], searches[-1][1]
    if missing:
        factor, _ = _stored(image, strategy, scale, missing)
        seconds = [segmentation_seconds(image, scale) * factor for _ in range(times)]
    return min(seconds), boxes


def segmentation_seconds(
    image: UInt8[np.ndarray, "h w 3"], scale: int = 1, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The seconds of one segmentation of Felzenszwalb and Huttenlocher, by scikit-image, with which a search begins."""
    from skimage.segmentation import felzenszwalb  # a second, and not within the time taken

    larger = image.repeat(scale, axis=0).repeat(scale, axis=1)
    start = clock()
    felzenszwalb(larger, scale=100, sigma=0.8, min_size=100)
    return clock() - start


def _opencv() -> ModuleType:
    """OpenCV; imported only here, so that everything else runs without it."""
    import cv2

    return cv2


def _missing() -> str:
    """What `selective_search` lacks here, or nothing."""
    try:
        cv2 = _opencv()
    except ImportError:
        return "OpenCV is not installed here"
    return "" if hasattr(getattr(cv2, "ximgproc", None), "segmentation") else "OpenCV has no contrib modules here"


def stored_proposals(
    image: UInt8[np.ndarray, "h w 3"], *, strategy: str = "fast", scale: int = 1
) -> Float[Tensor, "n 4"]:
    """What `selective_search` found in an image that the notebooks search, without the wait; else a `ValueError`."""
    try:
        return _stored(image, strategy, scale, "")[1]
    except ImportError:
        expected = "one of the notebooks', as data/README.md lists them"
        raise ValueError(f"image: got one without stored proposals, expected {expected}") from None


def thumbnail(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "16 16"]:
    """The grey means of 16 × 16 cells, by which an image of the notebooks is known again."""
    return np.asarray(Image.fromarray(image).convert("L").resize((16, 16), Image.Resampling.BOX))


def _stored(image: np.ndarray, strategy: str, scale: int, missing: str) -> tuple[float, Tensor]:
    """How many `segmentation_seconds` the search took, and its boxes, as stored; `ImportError` where they are not."""
    store = _store()
    apart = np.abs(store["thumbnails"].astype(int) - thumbnail(image)).max((1, 2))
    same = (apart <= ALIKE) & (store["sizes"] == image.shape[:2]).all(1)
    way = (store["strategies"] == STRATEGIES.index(strategy)) & (store["scales"] == scale)
    (found,) = np.nonzero(same[store["images"]] & way)
    if not len(found):
        mend = "python -m pip install --force-reinstall --no-deps opencv-contrib-python-headless"
        raise ImportError(
            f"selective_search: {missing}, and no proposals are stored for this image; {mend}, and restart"
        )
    if missing:
        _say_once(missing)
    end = store["counts"][: found[0] + 1].sum()
    boxes = store["boxes"][end - store["counts"][found[0]] : end] / np.float32(scale)
    return float(store["factors"][found[0]]), torch.from_numpy(boxes)


@functools.cache
def _store() -> dict[str, np.ndarray]:
    with np.load(runtime.resource_path(STORE), allow_pickle=False) as file:
        store = dict(file)
    # In whole pixels of the searched image, enlarged or not; low and high bytes lie apart, which packs better.
    boxes = np.ascontiguousarray((store.pop("low") + 256.0 * store.pop("high")).T, np.float32)
    return store | {"boxes": boxes}


@functools.cache
def _say_once(missing: str) -> None:
    print(f"{missing}, so Selective Search's proposals are the course's stored ones, and its seconds are estimated.")
