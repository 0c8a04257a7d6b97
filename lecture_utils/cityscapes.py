"""The label space of Cityscapes: names, train ids and colours (Cordts et al., CVPR 2016), in numpy only.

The toy city draws these classes, the readers recover them from colour masks, the figures paint with them.
A train id is an index into `CLASSES` and `PALETTE`; `IGNORE_INDEX` marks pixels that no loss and no score counts.
"""

import numpy as np

IGNORE_INDEX = 255
IGNORE_COLOUR = (0, 0, 0)

_OFFICIAL = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
# The benchmark's other labels, which are neither trained nor scored: train id 255 (license plate -1). Source: the table
# of cityscapesScripts, helpers/labels.py. In a colour mask two of them cannot be told from a class and stay that class:
# polegroup has the colour of pole, license plate that of car.
_VOID = {
    "unlabeled": (0, 0, 0),
    "ego vehicle": (0, 0, 0),
    "rectification border": (0, 0, 0),
    "out of roi": (0, 0, 0),
    "static": (0, 0, 0),
    "dynamic": (111, 74, 0),
    "ground": (81, 0, 81),
    "parking": (250, 170, 160),
    "rail track": (230, 150, 140),
    "guard rail": (180, 165, 180),
    "bridge": (150, 100, 100),
    "tunnel": (150, 120, 90),
    "polegroup": (153, 153, 153),
    "caravan": (0, 0, 90),
    "trailer": (0, 0, 110),
    "license plate": (0, 0, 142),
}
CLASSES = tuple(_OFFICIAL)
PALETTE = np.array(list(_OFFICIAL.values()), dtype=np.uint8)
# The colours, each once, that mean `IGNORE_INDEX`: black first, then the nine that no class has.
VOID_PALETTE = np.array([c for c in dict.fromkeys(_VOID.values()) if c not in _OFFICIAL.values()], dtype=np.uint8)
TRAIN_ID = {name: index for index, name in enumerate(CLASSES)}

# The classes whose parts are a few pixels wide: what a network without skip connections loses (slide 12).
THIN_CLASSES = ("pole", "traffic light", "traffic sign", "person")

_COLOUR_OF_BYTE = np.zeros((256, 3), dtype=np.uint8)
_COLOUR_OF_BYTE[: len(CLASSES)] = PALETTE
_COLOUR_OF_BYTE[IGNORE_INDEX] = IGNORE_COLOUR


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """Paint a label map (H, W) of train ids in the official colours: (H, W, 3) uint8, ignored pixels black."""
    labels = np.asarray(labels)
    known = (labels >= 0) & ((labels < len(CLASSES)) | (labels == IGNORE_INDEX))
    if not known.all():
        stranger = labels[~known].flat[0]
        raise ValueError(f"labels: got {stranger}, expected train ids 0 to {len(CLASSES) - 1} or {IGNORE_INDEX}")
    return _COLOUR_OF_BYTE[labels]
