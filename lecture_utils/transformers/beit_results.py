"""The two tables of slide 35, as the slide has them (from Bao et al., "BEiT", ICLR 2022).

One name is a misprint: the slide calls the model of 307 million parameters at 224² "BEiT-T". The paper's tables know
BEiT-B and BEiT-L only, 307 million is the size of L, and the row below is the same model at 384²; `CORRECTED` has it.
"""

from typing import NamedTuple

FROM_SCRATCH = "Training from scratch (random initialisation)"
SUPERVISED = "Supervised pre-training on ImageNet-22K (with labels)"
SELF_SUPERVISED = "Self-supervised pre-training on ImageNet-1K (without labels)"
INTERMEDIATE = "Self-supervised pre-training, intermediate fine-tuning on ImageNet-22K"
IN_HOUSE = "Self-supervised pre-training, intermediate fine-tuning on In-House-70M"


class Classified(NamedTuple):
    """A row of the first table: top-1 accuracy on ImageNet-1K in percent."""

    training: str
    model: str
    millions: int  # of parameters
    side: int  # of the image, in pixels
    top1: float


class Segmented(NamedTuple):
    """A row of the second table: mean IoU on ADE20K in percent, at one scale and at several."""

    training: str
    model: str
    miou: float
    multi_scale: float


IMAGENET = (
    Classified(FROM_SCRATCH, "ViT-B", 86, 384, 77.9),
    Classified(FROM_SCRATCH, "ViT-L", 307, 384, 76.5),
    Classified(FROM_SCRATCH, "DeiT-B", 86, 224, 81.8),
    Classified(FROM_SCRATCH, "DeiT-B", 86, 384, 83.1),
    Classified(SUPERVISED, "ViT-B", 86, 384, 84.0),
    Classified(SUPERVISED, "ViT-L", 307, 384, 85.2),
    Classified(SELF_SUPERVISED, "iGPT-1.36B", 1360, 224, 66.5),
    Classified(SELF_SUPERVISED, "ViT-B-JFT300M", 86, 384, 79.9),
    Classified(SELF_SUPERVISED, "MoCo v3-B", 86, 224, 83.2),
    Classified(SELF_SUPERVISED, "MoCo v3-L", 307, 224, 84.1),
    Classified(SELF_SUPERVISED, "DINO-B", 86, 224, 82.8),
    Classified(SELF_SUPERVISED, "BEiT-B", 86, 224, 83.2),
    Classified(SELF_SUPERVISED, "BEiT-B", 86, 384, 84.6),
    Classified(SELF_SUPERVISED, "BEiT-T", 307, 224, 85.2),  # as printed
    Classified(SELF_SUPERVISED, "BEiT-L", 307, 384, 86.3),
)
ADE20K = (
    Segmented(SUPERVISED, "Swin-B", 50.0, 51.7),
    Segmented(SUPERVISED, "Swin-L", 52.1, 53.5),
    Segmented(INTERMEDIATE, "BEiT-B+", 53.6, 54.2),
    Segmented(INTERMEDIATE, "BEiT-L+", 56.7, 57.0),
    Segmented(IN_HOUSE, "BEiT-L+", 57.9, 58.4),
)
CORRECTED = {"BEiT-T": "BEiT-L"}


def imagenet(model: str, side: int) -> Classified:
    """The row of a model by its right name, not one pre-trained with labels; ValueError where there is none."""
    rows = [
        row
        for row in IMAGENET
        if CORRECTED.get(row.model, row.model) == model and row.side == side and row.training != SUPERVISED
    ]
    if not rows:
        raise ValueError(f"model: got {model!r} at {side}, expected one of slide 35, as 'BEiT-B' at 224")
    return rows[0]
