#!/usr/bin/env bash
# opencv-python 4.13.0.92, opencv-python-headless 4.13.0.92, opencv-contrib-python 4.13.0.92: three distributions write
# into one folder, cv2/, and pip lets them. Whichever is installed last wins: with contrib first, pip and
# importlib.metadata still say that contrib is there, while cv2.ximgproc (Selective Search) is empty. Colab's and
# Kaggle's lists name all three, in no order. A requirement on opencv-contrib-python cannot express "and last".
# What the course does: it looks for cv2.ximgproc.segmentation itself, and goes on with stored proposals without it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
for order in "contrib-python python python-headless" "python python-headless contrib-python"; do
  rm -rf "$folder/venv"; python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet numpy==2.2.6
  for flavour in $order; do "$folder/venv/bin/pip" install --quiet --no-deps "opencv-$flavour==4.13.0.92"; done
  # The flavour with windows needs system libraries; only the package's files are looked at.
  "$folder/venv/bin/python" - "$order" <<'PY'
import importlib.metadata, pathlib, sys
files = importlib.metadata.files("opencv-contrib-python")
folder = pathlib.Path(next(f for f in files if f.name == "__init__.py" and f.parent.name == "cv2").locate()).parent
binary = next(folder.glob("cv2*.so")).read_bytes()
has = b"SelectiveSearchSegmentation" in binary
version = importlib.metadata.version("opencv-contrib-python")
print(f"installed in the order {sys.argv[1]}: contrib {version} is listed, Selective Search is there: {has}")
assert has == sys.argv[1].endswith("contrib-python"), "the last one no longer wins"
PY
done
