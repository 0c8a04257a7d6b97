#!/usr/bin/env bash
# opencv-python-headless 4.13.0.92, Pillow 11.3.0, scikit-image 0.25.2, imageio 2.37.0: four usual readers, two answers.
# A JPEG whose EXIF orientation is 6, 40 × 20 pixels as stored, is turned by cv2.imread (20 × 40) and left as it lies by
# PIL.Image.open, skimage.io.imread and imageio.v3.imread. Boxes drawn in a labelling tool, which shows what a browser
# shows, lie elsewhere on the pixels that the latter three give; with orientation 3 even the size looks right.
# What the course does: every photograph is turned as viewers do (datasets/reading.py).
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==4.13.0.92 pillow==11.3.0 scikit-image==0.25.2 \
  imageio==2.37.0 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import cv2, imageio.v3, skimage.io
import numpy as np
from PIL import Image

exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save("turned.jpg", exif=exif)
sizes = {
    "cv2": cv2.imread("turned.jpg").shape[:2],
    "PIL": np.asarray(Image.open("turned.jpg")).shape[:2],
    "skimage": skimage.io.imread("turned.jpg").shape[:2],
    "imageio": imageio.v3.imread("turned.jpg").shape[:2],
}
print("height and width of the same file:", sizes)
assert sizes["cv2"] == (40, 20), "OpenCV no longer turns"
assert {sizes[name] for name in ("PIL", "skimage", "imageio")} == {(20, 40)}, "another reader turns now"
PY
