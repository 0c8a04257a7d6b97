"""Forty photographs of a phone, 2400 × 1800, read for a detector at 128 pixels a side: the memory and the search."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from lecture_utils.datasets import CocoInstances
from lecture_utils.detection.selective_search import selective_search
from lecture_utils.tasks import detection
from lecture_utils.toycity.export import CATEGORIES

NUMBER, WIDTH, HEIGHT, SIZE = 40, 2400, 1800, 128
MOST_MEGABYTES = 200
READ_AND_SEARCH = """
import re, sys
from pathlib import Path
from lecture_utils import tasks
from lecture_utils.detection.selective_search import _opencv
_opencv()
memory = lambda kind: int(re.search(kind + r":\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1]) / 1024
photographs = tasks.proposal_data("train", sys.argv[1], size=int(sys.argv[2]))
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory("VmRSS")
photographs.preload()
assert len(photographs.proposals) == len(photographs)
print(memory("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Pieces of scikit-image's photographs, enlarged, with noise as a sensor's, in the layout of COCO."""
    root, dice = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    sources = [Image.fromarray(source()) for source in (data.astronaut, data.chelsea, data.coffee, data.rocket)]
    for folder in ("train2017", "annotations"):
        (root / folder).mkdir()
    names = [f"{number}.jpg" for number in range(NUMBER)]
    for number, name in enumerate(names):
        source = sources[number % len(sources)]
        left, top = (int(dice.integers(side // 4)) for side in source.size)
        piece = source.crop((left, top, left + 3 * source.width // 4, top + 3 * source.height // 4))
        pixels = np.asarray(piece.resize((WIDTH, HEIGHT))) + dice.normal(0, 6, (HEIGHT, WIDTH, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "train2017" / name, quality=90)
    images = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)]
    box = {"category_id": 1, "bbox": [300, 200, 900, 700], "area": 630_000, "iscrowd": 0}
    content = {"images": images, "annotations": [{"id": i + 1, "image_id": i, **box} for i in range(NUMBER)]}
    content["categories"] = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)]
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    return root


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells of the peak between two moments")
def test_large_photographs_are_read_and_searched_in_bounded_memory(benchmark, photographs):
    command = [sys.executable, "-c", READ_AND_SEARCH, str(photographs), str(SIZE)]
    how = {"capture_output": True, "text": True, "check": True}
    done = benchmark.pedantic(lambda: subprocess.run(command, **how), rounds=1)
    growth = benchmark.extra_info["megabytes"] = float(done.stdout.split()[-1])
    print(f"{NUMBER} photographs read and searched: {growth:.0f} MB more at most")
    assert growth <= MOST_MEGABYTES


def test_a_large_photograph_is_searched_as_fast_as_a_small_one_at_twice_its_size(benchmark, photographs):
    read = CocoInstances(
        photographs / "train2017", photographs / "annotations/instances_train2017.json", masks=False, size=SIZE
    )

    def seconds(work, *inputs, **how):
        start = time.perf_counter()
        work(*inputs, **how)
        return time.perf_counter() - start

    def compare():
        ratios = []
        for image, _ in (read[index] for index in range(12)):
            small = image.permute(1, 2, 0).numpy()
            twice = min(seconds(selective_search, small, scale=2) for _ in range(2))
            ratios.append(min(seconds(detection.search, image) for _ in range(2)) / twice)
        return ratios

    ratios = benchmark.pedantic(compare, rounds=1)
    benchmark.extra_info |= {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    print(f"search: {statistics.median(ratios):.2f} times as long, {min(ratios):.2f} to {max(ratios):.2f}")
    assert statistics.median(ratios) <= 1.1
