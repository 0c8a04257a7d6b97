#!/usr/bin/env bash
# Pillow 12.0.0: a JPEG of noise (the start of a diffusion, an untrained generator's sample) with full colour resolution
# cannot be saved with optimize=True or progressive=True: OSError "broken data stream when writing image file", at quality
# 75 as at 95, here with 256 × 256 pixels. The buffer is reckoned from width × height (twice that from quality 95 on), and
# noise in three full planes needs more. The same call without the option, or with the usual subsampling at quality
# 75, works.
# What the course does: figures/style.py saves JPEG with subsampling=0 and without optimize.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.0.0 numpy==2.2.6
cd "$folder"
venv/bin/python - 2>/dev/null <<'PY'
import io

import numpy as np
from PIL import Image

noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))


def outcome(**how):
    try:
        noise.save(io.BytesIO(), "jpeg", **how)
    except OSError as problem:
        return str(problem)
    return "saved"


for quality in (75, 95):
    for how in ({}, {"optimize": True}, {"progressive": True}):
        said = outcome(quality=quality, subsampling=0, **how)
        print(f"quality {quality}, subsampling 0, {how}: {said}")
        assert said == ("broken data stream when writing image file" if how else "saved"), "changed"
assert outcome(quality=75, optimize=True) == "saved", "the usual subsampling does not help any more"
PY
