"""Object detection: from one box to Faster R-CNN (slides 14 to 23)."""

from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.fast_rcnn import FastRCNN
from lecture_utils.detection.faster_rcnn import FasterRCNN
from lecture_utils.detection.heads import RegionHead
from lecture_utils.detection.pretrained import PretrainedFasterRCNN, pretrained_faster_rcnn
from lecture_utils.detection.rcnn import RCNN
from lecture_utils.detection.rpn import RPN, ProposalNetwork
from lecture_utils.detection.single_object import FixedSlots, SingleObject
