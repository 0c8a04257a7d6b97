#!/usr/bin/env bash
# torch 2.14.1: FlopCounterMode cannot count a loss that holds the gradient of a network by its input, as R1 of a GAN's
# discriminator or WGAN-GP do. torch.autograd.grad within it raises a RuntimeError ("A leaf node was passed to
# _will_engine_execute_node …"), as soon as the network is a module whose input needs a gradient, though nothing is
# wrong with the loss: alone it runs, and so does the same arithmetic without modules, which is counted in full, the
# second derivative among it. The mode's hooks, which tell modules apart, are in the way; depth=0 leaves them in.
# What the course does: it counts by a TorchDispatchMode of a few lines with the formulas of FlopCounterMode's registry.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.utils.flop_counter import FlopCounterMode

critic = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
first, second = critic[0], critic[2]
functions = lambda x: torch.tanh(x @ first.weight.T + first.bias) @ second.weight.T + second.bias  # the same, no module


def penalty(network):
    x = torch.ones(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return gradient.square().sum()


def counted(network, **how):
    try:
        with FlopCounterMode(display=False, **how) as counter:
            penalty(network).backward()
        return counter.get_total_flops()
    except RuntimeError as error:
        return str(error).split(" but")[0]


torch.testing.assert_close(penalty(critic), penalty(functions))
seen = {"module": counted(critic), "module, depth=0": counted(critic, depth=0), "functions": counted(functions)}
for how, what in seen.items():
    print(f"{how:16} {what}")
refusal = "A leaf node was passed to _will_engine_execute_node"
assert seen["module"] == seen["module, depth=0"] == refusal, "counted now"
assert isinstance(seen["functions"], int) and seen["functions"] > 0
PY
