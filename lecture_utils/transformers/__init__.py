"""Transformers in vision (slides 28 to 35)."""

from lecture_utils.transformers.self_attention import (
    Block,
    GridPositions,
    GridSelfAttention,
    MultiHeadAttention,
    attention,
    causal_mask,
)

__all__ = ["Block", "GridPositions", "GridSelfAttention", "MultiHeadAttention", "attention", "causal_mask"]
