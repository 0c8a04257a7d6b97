"""How many times as long a network of the handouts' experiments takes in a browser as in PyTorch, on one thread.

The two take turns; compared are their medians.
"""

import statistics
import time

import pytest
import torch
from browser.conftest import browser, build, chromium, page  # noqa: F401 – fixtures; tests/ is on the path
from browser.test_experiments_run import given, shown, site  # noqa: F401
from live import networks

from .test_ratios import _one_thread  # noqa: F401 – a fixture for all tests of a module

LIMIT, ROUNDS, CALLS = 3.0, 9, 5
RUN = """async ([name, given, calls]) => {
    const inputs = {};
    for (const [key, { values, dims }] of Object.entries(given))
        inputs[key] = { data: Float32Array.from(values), dims };
    let ms = 0;
    for (let k = 0; k < calls; k += 1) ms += (await LIVE.run(name, inputs)).ms;
    return ms / calls;
}"""


def in_pytorch(module, inputs):
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(CALLS):
            module(*inputs.values())
    return 1000 * (time.perf_counter() - start) / CALLS


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_an_answer(benchmark, shown, name):  # noqa: F811
    network = networks.NETWORKS[name]
    module, inputs = network.module(), network.inputs(torch.Generator().manual_seed(0))
    sent = given(inputs)

    def rounds():
        taken = [(shown.evaluate(RUN, [name, sent, CALLS]), in_pytorch(module, inputs)) for _ in range(ROUNDS)]
        return zip(*taken[1:], strict=True)  # the first was to warm up

    page_ms, torch_ms = map(statistics.median, benchmark.pedantic(rounds, rounds=1))
    benchmark.extra_info |= {"browser": page_ms, "PyTorch": torch_ms}
    print(f"{name}: {page_ms:.1f} ms in the browser, {torch_ms:.1f} ms in PyTorch, {page_ms / torch_ms:.1f} times")
    assert page_ms <= LIMIT * torch_ms
