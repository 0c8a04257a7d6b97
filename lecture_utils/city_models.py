"""The course's models in the sizes that the toy city needs, untrained: one builder for each checkpoint, by its name."""

from collections.abc import Callable, Sequence

from torch import nn

from lecture_utils import toycity
from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, ShowAttendTell, ViTCaptioner
from lecture_utils.captioning.vocabulary import Vocabulary
from lecture_utils.cityscapes import CLASSES
from lecture_utils.datasets import (
    CLASSIFICATION_SIZE,
    CROP_SIZE,
    DETECTION_SIZE,
    FULL_CROP_SIZE,
    QUICK_SIZE,
    LabelledObjects,
)
from lecture_utils.detection import RCNN, RPN, Backbone, FasterRCNN, FastRCNN, ProposalNetwork, RegionHead
from lecture_utils.detection.single_object import FixedSlots, SingleObject, city_backbone
from lecture_utils.generative import GAN, VAE, AutoEncoder, Diffusion
from lecture_utils.segmentation import FCN, DeconvNet, PixelClassifier, UNet
from lecture_utils.segmentation.sliding_window import PatchClassifier, fully_convolutional
from lecture_utils.toycity.export import CATEGORIES
from lecture_utils.transformers.beit import BEiT, BEiTSegmenter, MaskedImageModel
from lecture_utils.transformers.detr import DETR
from lecture_utils.transformers.resnet import ResNet
from lecture_utils.transformers.visual_tokens import VisualTokens
from lecture_utils.transformers.vit import ViT

LABELS = len(CLASSES)  # of pixels
CLASSES_AND_BACKGROUND = 1 + len(CATEGORIES)  # of objects
CITY_WORDS = Vocabulary(toycity.WORDS)

# The paper's anchors, a sixteenth as large: the city's images are small, and so are its objects.
ANCHOR_SIZES, ANCHOR_RATIOS = (8, 16, 32), (0.5, 1, 2)

# Captioners attend to 16 × 16 points: the features of the city's own backbone, or patches of 8 × 8 pixels.
GRID = {"vocab_size": len(CITY_WORDS), "features": 256, "grid": (16, 16)}
FINE_GRID = GRID | {"grid": (32, 32)}  # of images twice as large


def build(name: str, profile: str = "quick") -> nn.Module:
    """An untrained model, of the kind and the sizes of the checkpoint `name`; "full" is wider where that is planned."""
    return (FULL_BUILDERS if profile == "full" and name in FULL_BUILDERS else BUILDERS)[name]()


# Eight channels at full resolution: a step takes a tenth of a second on two cores, so a student can watch it learn. A
# GPU takes as long for WIDE channels, at 256 × 256 pixels.
WIDE = 32
LARGE_CROPS = (48, 96, 192, 192)  # channels at 32, 16, 8 and 4 pixels a side of a crop of 64


def unet(base_channels: int = 8, *, skips: bool = True) -> UNet:
    return UNet(3, LABELS, base_channels=base_channels, depth=4, norm="batch", skips=skips)


def fcn(stride: int = 32, base_channels: int = 8) -> FCN:
    """FCN on the U-Net's own encoder, all five blocks of it, so that the two differ in the way up alone."""
    return FCN(3, LABELS, base_channels=base_channels, depth=5, stride=stride, norm="batch")


def patch(side: int, *, depth: int) -> nn.Module:
    """The sliding window: a classifier of patches, for all of them in one pass over the image."""
    return fully_convolutional(PatchClassifier(3, LABELS, patch=side, depth=depth, base_channels=8, norm="batch"))


def backbone(base_channels: int = 24, out_channels: int = 64) -> Backbone:
    return Backbone(base_channels=base_channels, out_channels=out_channels)


def rpn(sizes: Sequence[float] = ANCHOR_SIZES, ratios: Sequence[float] = ANCHOR_RATIOS) -> RPN:
    """Anchors at every eighth pixel; as many candidates and sampled anchors as the small map calls for."""
    numbers = {"pre_nms_top_n": 1000, "batch_size_per_image": 128}
    return RPN(64, stride=Backbone.stride, conv_stride=2, sizes=sizes, ratios=ratios, **numbers)


def head() -> RegionHead:
    return RegionHead(64, CLASSES_AND_BACKGROUND, hidden=192, batch_size_per_image=64)


def wide_backbone() -> Backbone:
    """The widths of a ResNet-18 from its second stage on, and the 256 features that torchvision's detectors have."""
    return backbone(64, out_channels=256)


def wide_rpn() -> RPN:
    """The paper's numbers, and anchors for images twice as large."""
    sizes = [2 * size for size in ANCHOR_SIZES]
    return RPN(256, stride=Backbone.stride, conv_stride=2, sizes=sizes, ratios=ANCHOR_RATIOS)


def wide_head() -> RegionHead:
    """As wide as torchvision's; 128 regions of each image, as in the paper."""
    return RegionHead(256, CLASSES_AND_BACKGROUND, hidden=1024, batch_size_per_image=128)


def proposals(sizes: Sequence[float], ratios: Sequence[float]) -> ProposalNetwork:
    """Proposals alone are the easier task: a thinner backbone will do."""
    return ProposalNetwork(backbone(16), rpn(sizes, ratios))


def resnet() -> ResNet:
    return ResNet(num_classes=len(LabelledObjects.classes), widths=(12, 24, 48), depth=2)


def vit() -> ViT:
    """64 patches of 6 × 6 pixels, in three layers."""
    sizes = {"patch_size": 6, "dim": 64, "depth": 3, "heads": 4, "mlp_dim": 128}
    return ViT(num_classes=len(LabelledObjects.classes), image_size=CLASSIFICATION_SIZE, **sizes)


def detr() -> DETR:
    """Twenty queries for at most eight objects, on standardised features: a CNN's differ in scale a hundredfold."""
    sizes = {"queries": 20, "dim": 112, "heads": 4, "mlp_dim": 224, "encoder_layers": 1, "decoder_layers": 3}
    standardise = nn.BatchNorm2d(256, affine=False)
    return DETR(256, CLASSES_AND_BACKGROUND, backbone=standardise, **sizes, dropout=0.0)


def beit() -> BEiT:
    """144 patches of 8 × 8 pixels; small enough that a study of two dozen trainings takes half an hour."""
    return BEiT(QUICK_SIZE, patch_size=8, dim=80, depth=4, heads=4, mlp_dim=160)


def beit_segmenter() -> BEiTSegmenter:
    return BEiTSegmenter(beit(), LABELS, width=24)


def eight_slots() -> FixedSlots:
    return FixedSlots(city_backbone(), 4096, CLASSES_AND_BACKGROUND, slots=8)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "unet_without_skips": lambda: unet(skips=False),
    "fcn": fcn,
    "fcn16s": lambda: fcn(16),
    "fcn8s": lambda: fcn(8),
    # Published, all 7 × 7 places end in one vector; here each of the 3 × 3 keeps its own, and the net learns faster.
    "deconvnet": lambda: DeconvNet(3, LABELS, base_channels=8, bottleneck=1),
    "pixel": lambda: PixelClassifier(3, LABELS),
    "patch": lambda: patch(29, depth=3),
    "patch13": lambda: patch(13, depth=2),
    "patch5": lambda: patch(5, depth=1),
    "single_object": lambda: SingleObject(city_backbone(), 4096, CLASSES_AND_BACKGROUND),
    "eight_slots": eight_slots,
    "slots_matched": eight_slots,
    "faster_rcnn": lambda: FasterRCNN(backbone(), rpn(), head()),
    "fast_rcnn": lambda: FastRCNN(backbone(), head()),
    "rcnn": lambda: RCNN(backbone(), head()),
    "rpn1": lambda: proposals([16], [1]),  # one, three and nine anchors at every point
    "rpn3": lambda: proposals(ANCHOR_SIZES, [1]),
    "rpn9": lambda: proposals(ANCHOR_SIZES, ANCHOR_RATIOS),
    "bottleneck_rnn": lambda: BottleneckRNN(**GRID),
    "show_attend_tell": lambda: ShowAttendTell(**GRID),
    "caption_transformer": lambda: CaptionTransformer(**GRID),
    "only_transformers": lambda: ViTCaptioner(len(CITY_WORDS), DETECTION_SIZE, patch_size=8, encoder_layers=3),
    "vit": vit,
    "resnet": resnet,
    "detr": detr,
    "beit": lambda: MaskedImageModel(beit(), VisualTokens(256, 8)),
    "beit_segmentation": beit_segmenter,
    "beit_from_scratch": beit_segmenter,
    "autoencoder": lambda: AutoEncoder(latent=32, size=CROP_SIZE, widths=(8, 16, 32)),
    "vae": lambda: VAE(latent=32, size=CROP_SIZE, widths=(12, 24, 48)),
    "gan": lambda: GAN(latent=64, size=CROP_SIZE, discriminator_widths=(24, 48, 96)),
    "diffusion": lambda: Diffusion(size=CROP_SIZE),
}
FULL_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: unet(WIDE),
    "unet_without_skips": lambda: unet(WIDE, skips=False),
    "fcn": lambda: fcn(base_channels=WIDE),
    "deconvnet": lambda: DeconvNet(3, LABELS, base_channels=WIDE, bottleneck=1),
    "faster_rcnn": lambda: FasterRCNN(wide_backbone(), wide_rpn(), wide_head()),
    "fast_rcnn": lambda: FastRCNN(wide_backbone(), wide_head()),
    "show_attend_tell": lambda: ShowAttendTell(**FINE_GRID, dim=256, hidden=1024, attention_dim=256),
    "caption_transformer": lambda: CaptionTransformer(
        **FINE_GRID, dim=256, heads=8, encoder_layers=2, decoder_layers=4
    ),
    "vae": lambda: VAE(latent=64, size=FULL_CROP_SIZE, widths=LARGE_CROPS),
    "gan": lambda: GAN(latent=128, size=FULL_CROP_SIZE, widths=LARGE_CROPS, discriminator_widths=LARGE_CROPS),
    "diffusion": lambda: Diffusion(size=FULL_CROP_SIZE, base_channels=32),
}
