"""Transformers in vision (slides 28 to 35)."""

from lecture_utils.transformers.beit import BEiT, BEiTClassifier, BEiTSegmenter, MaskedImageModel, masked_token_loss
from lecture_utils.transformers.detr import DETR, detections
from lecture_utils.transformers.masking import blockwise_mask
from lecture_utils.transformers.matcher import assign, match, matching_cost
from lecture_utils.transformers.relative_position import RelativePositionBias, relative_position_index
from lecture_utils.transformers.resnet import ResNet
from lecture_utils.transformers.self_attention import (
    Block,
    GridPositions,
    GridSelfAttention,
    MultiHeadAttention,
    attention,
    causal_mask,
)
from lecture_utils.transformers.set_loss import set_loss, set_losses
from lecture_utils.transformers.visual_tokens import VisualTokens
from lecture_utils.transformers.vit import ViT, resize_positions, rollout
