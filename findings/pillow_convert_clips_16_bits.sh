#!/usr/bin/env bash
# Pillow 11.3.0: Image.convert("RGB") clips 16-bit grey at 255 and does not scale it, so that nearly every pixel of a
# 16-bit PNG (microscopes, depth cameras) comes out white; floating-point TIFF with values from 0 to 1 comes out black.
# No error, no warning. Here: a ramp through all 65,536 values has a mean of 254.5 instead of 127.5.
# What the course does: datasets/reading.py scales by the range of the type, or refuses the kind by name.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==11.3.0 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import numpy as np
from PIL import Image

Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256)).save("ramp.png")
ramp = Image.open("ramp.png")
Image.fromarray(np.linspace(0, 1, 65536, dtype=np.float32).reshape(256, 256)).save("ramp.tiff")
real = Image.open("ramp.tiff")
means = {image.mode: float(np.asarray(image.convert("RGB")).mean()) for image in (ramp, real)}
print("mean of a ramp from black to white, after convert('RGB'), by mode:", means)
assert means["I;16"] > 254, "16-bit grey is no longer clipped"
assert means["F"] < 1, "floating point is no longer cut to 0"
PY
