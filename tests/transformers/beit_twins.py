"""The `transformers` library's BEiT, and how its weights go into ours."""

import torch
from torch import Tensor, nn
from transformers import BeitConfig

# Ours ← theirs, in a block and outside of the blocks.
BLOCK = {
    "norm_self": "layernorm_before",
    "norm_mlp": "layernorm_after",
    "attend.query": "attention.q_proj",
    "attend.key": "attention.k_proj",
    "attend.value": "attention.v_proj",
    "attend.out": "attention.o_proj",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
    "scales.0": "lambda_1",
    "scales.1": "lambda_2",
}
REST = {
    "patch_embed": "embeddings.patch_embeddings.projection",
    "class_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
}


def config(size=(12, 12), patch=4, dim=16, layers=3, heads=2, hidden=40, **more) -> BeitConfig:
    """A small model of the library as BEiT was published: relative positions, a table a layer, none added."""
    return BeitConfig(
        image_size=size,
        patch_size=patch,
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=hidden,
        layer_norm_eps=1e-6,
        use_relative_position_bias=True,
        use_mask_token=True,
        drop_path_rate=0.0,
        **more,
    )


def shuffled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random numbers in every parameter, also in those that begin as 0 or 1."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=dice) * 0.2)
    return model.eval()


def backbone_weights(theirs: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights of their `BeitModel`, under the names and in the shapes of our `BEiT`."""
    names = dict(REST)
    for layer in range(layers):
        names |= {f"blocks.{layer}.{ours}": f"layers.{layer}.{other}" for ours, other in BLOCK.items()}
        names[f"biases.{layer}.table"] = f"layers.{layer}.relative_position_bias.relative_position_bias_table"
    found = {}
    for ours, other in names.items():
        for key, value in theirs.items():
            if key == other or key in (f"{other}.weight", f"{other}.bias"):
                found[ours + key.removeprefix(other)] = value.flatten() if ours.endswith("_token") else value
    return found
