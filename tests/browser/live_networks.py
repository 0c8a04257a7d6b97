"""The networks of the experiments, asked in a page and in PyTorch."""

import numpy as np
import torch
from live import networks

# A function of a page: [name, given] → the network's outputs.
ANSWER = """async ([name, given]) => {
    const inputs = {};
    for (const [key, { values, dims }] of Object.entries(given))
        inputs[key] = { data: Float32Array.from(values), dims };
    const { outputs } = await LIVE.run(name, inputs);
    return Object.fromEntries(Object.entries(outputs).map(([key, { data }]) => [key, Array.from(data)]));
}"""


def examples(name):
    """A network's example inputs."""
    return networks.NETWORKS[name].inputs(torch.Generator().manual_seed(7))


def given(inputs):
    """A network's inputs as they go to the page."""
    return {key: {"values": value.flatten().tolist(), "dims": list(value.shape)} for key, value in inputs.items()}


def difference(name, inputs, got):
    """The largest difference of a page's answer from PyTorch's, in any number of any output."""
    network = networks.NETWORKS[name]
    with torch.no_grad():
        expected = network.module()(*inputs.values())
    both = zip(network.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True)
    return max(np.abs(np.array(got[key]) - value.flatten().numpy()).max() for key, value in both)
