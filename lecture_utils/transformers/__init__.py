"""Transformers in vision (slides 28 to 35)."""

from lecture_utils.transformers.beit import BEiT, BEiTClassifier, BEiTSegmenter, MaskedImageModel, masked_token_loss
from lecture_utils.transformers.detr import DETR, postprocess
from lecture_utils.transformers.masking import blockwise_mask
from lecture_utils.transformers.matcher import hungarian, hungarian_match, matching_cost
from lecture_utils.transformers.relative_position import RelativePositionBias, bias_by_step, relative_position_index
from lecture_utils.transformers.resnet import ResNet
from lecture_utils.transformers.self_attention import (
    Block,
    GridPositions,
    GridSelfAttention,
    MultiHeadAttention,
    attention,
    attention_from,
    causal_mask,
)
from lecture_utils.transformers.set_criterion import hungarian_loss, set_criterion
from lecture_utils.transformers.visual_tokens import VisualTokens
from lecture_utils.transformers.vit import ViT, class_token_attention, position_similarity, resize_pos_embed, rollout
