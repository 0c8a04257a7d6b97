#!/usr/bin/env bash
# pycocotools 2.0.11: an annotation whose id is 0 can never be found. COCOeval keeps for each detection the id of the
# annotation that it matched and takes 0 for "none", so a perfect detection of it counts as a false positive: average
# precision 0 where it should be 1. Many exporters number annotations from 0. No error, no warning.
# What the course does: it numbers annotations itself before it scores.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pycocotools==2.0.11 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import contextlib, io
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

def score(first_id: int) -> float:
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40]}
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1, "width": 100, "height": 100}], "categories": [{"id": 1, "name": "car"}],
        "annotations": [box | {"id": first_id, "area": 1600, "iscrowd": 0}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([box | {"score": 0.9}]), "bbox")
        evaluation.evaluate(); evaluation.accumulate(); evaluation.summarize()
    return float(evaluation.stats[0])

scores = {first: score(first) for first in (0, 1)}
print("average precision of a perfect detection, by the id of the annotation:", scores)
assert scores[1] > 0.999
assert scores[0] < 0.001, "id 0 is matched now"
PY
