"""Semantic segmentation: a class for every pixel (slides 3 to 12)."""

from lecture_utils.segmentation.fcn import FCN
from lecture_utils.segmentation.pixel import PixelClassifier
from lecture_utils.segmentation.scores import segmentation_scores
from lecture_utils.segmentation.shapes import tensor_shapes
from lecture_utils.segmentation.unet import UNet, kaggle_unet

__all__ = ["FCN", "PixelClassifier", "UNet", "kaggle_unet", "segmentation_scores", "tensor_shapes"]
