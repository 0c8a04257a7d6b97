#!/usr/bin/env bash
# torchvision 0.29.1, timm 1.0.31 and transformers 5.24.0 (torch 2.14.1): a ViT's position embeddings of 14 × 14 patches,
# resized for 24 × 24 or 7 × 7, are three different tensors. All three interpolate bicubically; torchvision's
# `interpolate_embeddings` aligns the corners, timm's `resample_abs_pos_embed` does not and smooths (antialias), and
# transformers' `interpolate_pos_encoding` does neither. Embeddings of deviation 1 come out up to 1.2 (larger) or 2.7
# (smaller) apart, so a checkpoint carried from one library to another gives other features at another size of image, at
# the same size the same. Nothing warns.
# What the course does: as torchvision, whose weights it loads.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 timm==1.0.31 transformers==5.24.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import torch
from timm.layers import resample_abs_pos_embed
from torch.nn.functional import interpolate
from torchvision.models.vision_transformer import interpolate_embeddings
from transformers import ViTConfig, ViTModel

torch.manual_seed(0)
dim, patch = 8, 16
positions = torch.randn(1, 1 + 14 * 14, dim)  # the class token first
sizes = {"hidden_size": dim, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
vit = ViTModel(ViTConfig(**sizes, image_size=14 * patch, patch_size=patch)).eval()
vit.embeddings.position_embeddings.data.copy_(positions)


def by_hand(side, **how):
    grid = positions[:, 1:].reshape(1, 14, 14, dim).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(side, side), mode="bicubic", **how)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


for side in (24, 7, 14):
    pixels = side * patch
    state = {"encoder.pos_embedding": positions.clone()}
    with torch.no_grad():
        found = {
            "torchvision": interpolate_embeddings(pixels, patch, state)["encoder.pos_embedding"],
            "timm": resample_abs_pos_embed(positions, (side, side), num_prefix_tokens=1),
            "transformers": vit.embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + side * side, dim), pixels, pixels),
        }
    ours = {
        "torchvision": by_hand(side, align_corners=True),
        "timm": by_hand(side, antialias=True),
        "transformers": by_hand(side),
    }
    for name, tensor in found.items():
        assert torch.allclose(tensor, ours[name], atol=1e-5), f"{name} resizes in another way now"
    pairs = [("torchvision", "timm"), ("torchvision", "transformers"), ("timm", "transformers")]
    apart = {pair: (found[pair[0]] - found[pair[1]]).abs().max().item() for pair in pairs}
    print(f"14 × 14 → {side} × {side}:", ", ".join(f"{a} and {b} {value:.2f} apart" for (a, b), value in apart.items()))
    assert all((value < 1e-5) == (side == 14) for value in apart.values())
PY
