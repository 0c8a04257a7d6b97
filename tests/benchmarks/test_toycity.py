"""How fast the city is drawn, on one core."""

from itertools import count

import pytest

from lecture_utils.toycity import render, sample_scene


@pytest.mark.parametrize("size", [64, 96, 128, 256, 512])
def test_a_scene(benchmark, size):
    seeds = count()
    benchmark(lambda: render(sample_scene(next(seeds)), size))
    benchmark.extra_info["scenes a second"] = round(1 / benchmark.stats["mean"])
