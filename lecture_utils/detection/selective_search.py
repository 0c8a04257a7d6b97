"""Selective Search: regions that look like things, from colour and texture alone (slide 17).

Uijlings, van de Sande, Gevers and Smeulders, "Selective Search for object recognition", IJCV 2013. The implementation
is OpenCV's (contrib, `ximgproc.segmentation`); there is none in this package.
"""

from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lecture_utils.arguments import require_positive

STRATEGIES = ("fast", "quality")


def selective_search(
    image: UInt8[np.ndarray, "h w 3"], *, strategy: str = "fast", number: int | None = None, enlarge: int = 1
) -> Float[Tensor, "n 4"]:
    """Propose boxes (x0, y0, x1, y1) in pixels of an RGB image, in OpenCV's order; the first `number` of them, or all.

    "fast" groups the picture 12 times (2 colour spaces, 3 first segmentations, 2 ways to measure likeness), "quality"
    100 times (5, 5 and 4): more boxes, more seconds. No box comes twice. Which boxes come is the same at every call;
    their order is not, since OpenCV draws it by lot: a box's rank is its level of grouping times a random number, and
    low levels, small boxes, tend to come first (in the paper, section 3.3, it is the other way round).
    A first segment has about a hundred pixels or more, so in a small picture small things are overlooked; `enlarge`
    searches in a picture that many times as wide and high. Raises `ImportError` that says what to install where OpenCV
    or its contrib modules are missing.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image: got {got}, expected a uint8 array of shape (height, width, 3)")
    if 0 in image.shape:
        raise ValueError(f"image: got shape {image.shape}, expected at least one pixel")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: got {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    require_positive(number=1 if number is None else number, enlarge=enlarge)
    cv2 = _opencv()
    height, width = image.shape[:2]
    picture = np.ascontiguousarray(image[..., ::-1])  # OpenCV has blue first
    if enlarge > 1:
        picture = cv2.resize(picture, (width * enlarge, height * enlarge), interpolation=cv2.INTER_CUBIC)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(picture)
    search.switchToSelectiveSearchFast() if strategy == "fast" else search.switchToSelectiveSearchQuality()
    found = np.asarray(search.process(), np.float32).reshape(-1, 4)[:number]  # x, y, width, height
    boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    return torch.from_numpy(boxes / enlarge)


def _opencv() -> ModuleType:
    """OpenCV with its contrib modules; imported only here, so that everything else runs without it."""
    mend = 'pip install "lecture_utils[proposals]" (or opencv-contrib-python-headless), then restart Python'
    try:
        import cv2
    except ImportError as problem:
        raise ImportError(f"selective_search needs OpenCV, which is not installed: {mend}") from problem
    if not hasattr(getattr(cv2, "ximgproc", None), "segmentation"):
        raise ImportError(f"selective_search needs OpenCV's contrib modules, which this OpenCV lacks: {mend}")
    return cv2
