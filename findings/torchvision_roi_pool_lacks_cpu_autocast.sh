#!/usr/bin/env bash
# torchvision 0.29.1 with torch 2.14.1: within torch.autocast("cpu", torch.bfloat16), roi_align takes the bfloat16 features
# of a backbone beside float32 boxes and gives bfloat16 back; roi_pool, ps_roi_align and ps_roi_pool raise a RuntimeError
# ("input should have the same type as rois") at the same call. So a detector that changes RoI align for RoI pooling, as
# one does to compare the two, trains in float32 and stops in mixed precision on a CPU.
# What the course does: it pools features in float32.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torchvision import ops

features, boxes = torch.randn(1, 4, 8, 8), [torch.tensor([[0.0, 0, 7, 7]])]
backbone, seen = torch.nn.Conv2d(4, 4, 1), {}
for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"):
    with torch.autocast("cpu", torch.bfloat16):
        try:
            seen[name] = str(getattr(ops, name)(backbone(features), boxes, 2).dtype)
        except RuntimeError as error:
            seen[name] = str(error).split(", ")[-1]
for name, what in seen.items():
    print(f"{name:13} {what}")
assert seen["roi_align"] == "torch.bfloat16"
refusal = "input should have the same type as rois"
assert {what for name, what in seen.items() if name != "roi_align"} == {refusal}, "autocast sees to them now"
PY
