#!/usr/bin/env bash
# Pillow 11.1.0 and 11.2.1: ImageDraw.polygon covers other pixels from one release to the next, for the same corners,
# while ellipses and lines stay. So a generated data set (ours: 42 of 60 scenes, labels in 9) is with "any Pillow"
# not the same data, and scores of shipped weights are not reproduced to the last digit.
# What the course does: pyproject.toml asks for pillow>=11.2, and a test pins checksums of scenes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
for version in 11.1.0 11.2.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "pillow==$version"
  "$folder/$version/bin/python" - > "$folder/$version.txt" <<'PY'
import random, zlib
from PIL import Image, ImageDraw

for seed in range(200):
    dice = random.Random(seed)
    image = Image.new("L", (96, 96))
    draw = ImageDraw.Draw(image)
    kind = ("polygon", "ellipse", "rounded_rectangle", "line")[seed % 4]
    points = [(dice.uniform(0, 95), dice.uniform(0, 95)) for _ in range(5)]
    (x0, y0), (x1, y1) = points[:2]
    box = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
    if kind == "polygon":
        draw.polygon(points, fill=255)
    elif kind == "line":
        draw.line(points[:2], fill=255, width=dice.randint(1, 6))
    elif kind == "ellipse":
        draw.ellipse(box, fill=255)
    else:
        draw.rounded_rectangle(box, radius=dice.uniform(1, 9), fill=255)
    print(kind, seed, zlib.crc32(image.tobytes()))
PY
done
python3 - "$folder/11.1.0.txt" "$folder/11.2.1.txt" <<'PY'
import collections, sys
old, new = ([line.split() for line in open(name)] for name in sys.argv[1:])
changed = collections.Counter(a[0] for a, b in zip(old, new) if a != b)
print("drawings of 50 each that changed from 11.1.0 to 11.2.1:", dict(changed))
assert changed, "they draw alike"
PY
