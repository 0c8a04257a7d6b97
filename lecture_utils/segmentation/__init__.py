"""Semantic segmentation: a class for every pixel (slides 3 to 12)."""

from lecture_utils.segmentation.convolution_matrix import convolution_matrix
from lecture_utils.segmentation.deconvnet import DeconvNet
from lecture_utils.segmentation.fcn import FCN
from lecture_utils.segmentation.pixel import PixelClassifier
from lecture_utils.segmentation.scores import segmentation_scores
from lecture_utils.segmentation.shapes import tensor_shapes
from lecture_utils.segmentation.sliding_window import (
    PatchClassifier,
    fully_convolutional,
    linear_everywhere,
    patch_around,
    slide,
)
from lecture_utils.segmentation.transposed import coverage, transposed_convolution
from lecture_utils.segmentation.unet import UNet, kaggle_unet
from lecture_utils.segmentation.unpooling import bed_of_nails, max_pool, max_unpool, nearest_unpool, unpooled_size
from lecture_utils.segmentation.vgg16 import VGG16FCN
