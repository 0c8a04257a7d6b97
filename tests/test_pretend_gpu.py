"""The GPU to test with: it finds what a real one refuses, and nothing else."""

import copy

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pretend_gpu import PretendGPU, on_gpu
from torch import nn
from torchvision.ops import nms, roi_align


@pytest.fixture
def pretended():
    with PretendGPU():
        yield


def here(*shape):
    return torch.rand(*shape)


def there(*shape):
    return torch.rand(*shape).to("cuda")


def into(target, index, value):
    target[index] = value


def add_in_place(target, value):
    target += value


ROW = torch.arange(3)
DICE = torch.Generator()

MIXED = {
    "add": lambda: here(3) + there(3),
    "add, the other way round": lambda: there(3) + here(3),
    "a number of the GPU to a tensor of the CPU": lambda: here(3) + there(3).sum(),
    "matmul": lambda: there(2, 3) @ here(3, 2),
    "einsum": lambda: torch.einsum("ij,jk->ik", there(2, 3), here(3, 2)),
    "conv": lambda: F.conv2d(there(1, 1, 4, 4), here(1, 1, 3, 3)),
    "a layer": lambda: nn.Linear(3, 2)(there(1, 3)),
    "a layer on the GPU": lambda: nn.Linear(3, 2).to("cuda")(here(1, 3)),
    "an LSTM": lambda: nn.LSTMCell(3, 2)(there(1, 3)),
    "an embedding": lambda: nn.Embedding(5, 2).to("cuda")(ROW),
    "normalisation": lambda: nn.BatchNorm2d(2).to("cuda").eval()(here(1, 2, 3, 3)),
    "cat": lambda: torch.cat([here(3), there(3)]),
    "stack of single numbers": lambda: torch.stack([here(3).sum(), there(3).sum()]),
    "where": lambda: torch.where(there(3) > 0.5, here(3), there(3)),
    "comparison": lambda: torch.allclose(there(3), here(3)),
    "cross-entropy": lambda: F.cross_entropy(there(3, 4), ROW),
    "its weights": lambda: F.cross_entropy(there(3, 4), ROW.to("cuda"), weight=here(4)),
    "squared error": lambda: F.mse_loss(there(3), here(3)),
    "gather": lambda: there(2, 3).gather(1, torch.zeros(2, 1, dtype=torch.int64)),
    "indices of the GPU into the CPU": lambda: here(3)[ROW.to("cuda")],
    "a mask of the GPU into the CPU": lambda: here(3)[there(3) > 0.5],
    "writing at indices of the GPU": lambda: into(here(3), ROW.to("cuda"), 1.0),
    "writing the CPU's at indices": lambda: into(there(3), ROW.to("cuda"), here(3)),
    "adding in place": lambda: add_in_place(here(3), there(3)),
    "counting in place": lambda: add_in_place(here(3).sum(), there(3).sum()),
    "operations of torchvision": lambda: nms(there(3, 4), here(3), 0.5),
    "more of them": lambda: roi_align(there(1, 1, 8, 8), [here(2, 4)], 2),
    "dice": lambda: torch.randn(3, device="cuda", generator=DICE),
    "dice for words": lambda: torch.multinomial(there(3), 1, generator=DICE),
    "dice in place": lambda: there(3).normal_(generator=DICE),
}
NO_NUMPY = {
    "numpy": lambda: there(3).numpy(),
    "asarray": lambda: np.asarray(there(3)),
    "a list": lambda: np.asarray([there(3).sum(), there(3).sum()]),
    "a function of NumPy": lambda: np.histogram(there(3)),
    "an image": lambda: plt.imshow(there(3, 3)),
    "a line": lambda: plt.plot(there(3)),
}
NO_FLOAT64 = {
    "moved there": lambda: here(3).double().to("cuda"),
    "made there": lambda: torch.zeros(3, dtype=torch.float64, device="cuda"),
    "converted there": lambda: there(3).double(),
}
FINE = {
    "a number of the CPU": lambda: there(3) * torch.tensor(2.0),
    "a number of Python": lambda: there(3) * 2,
    "where, with a number": lambda: torch.where(there(3) > 0.5, there(3), torch.tensor(0.0)),
    "indices of the CPU": lambda: there(3)[ROW],
    "a mask of the CPU": lambda: there(3)[ROW > 1],
    "one index of the GPU": lambda: here(3)[ROW.to("cuda")[1]],
    "an index of a list": lambda: ["a", "b", "c"][ROW.to("cuda")[1]],
    "writing from the CPU to a slice": lambda: into(there(3), slice(0, 2), here(2)),
    "writing a number": lambda: into(there(3), ROW > 1, torch.tensor(1.0)),
    "copying": lambda: here(3).copy_(there(3)),
    "copying back": lambda: there(3).copy_(here(3)),
    "a list": lambda: [*there(3).tolist(), there(3).sum().item(), float(there(1)), f"{there(3).mean():.2f}"],
    "a tensor of numbers": lambda: torch.tensor([there(3).sum(), there(3).sum()]) + here(2),
    "NumPy after `cpu`": lambda: there(3).cpu().numpy() + np.asarray(there(3).cpu()),
    "a size": lambda: torch.zeros(len(there(3))) + here(3),
    "made alike": lambda: torch.zeros_like(there(3)) + there(3).new_ones(3),
    "as another's": lambda: here(3).to(there(1)) + there(3),
    "dice of the CPU, then moved": lambda: torch.randn(3, generator=DICE).to("cuda") + there(3),
    "shapes alone": lambda: F.conv2d(torch.empty(1, 1, 4, 4, device="meta"), there(1, 1, 3, 3).to("meta")),
    "weights from the CPU": lambda: nn.Linear(3, 2).to("cuda").load_state_dict(nn.Linear(3, 2).state_dict()),
}


@pytest.mark.parametrize("case", MIXED)
def test_mixing_is_found(case, pretended):
    with pytest.raises(RuntimeError, match=r"same device|type for generator"):
        MIXED[case]()


@pytest.mark.parametrize("case", NO_NUMPY)
def test_numpy_of_the_gpus_is_found(case, pretended):
    with pytest.raises(TypeError, match="cuda:0 device type tensor to numpy"):
        NO_NUMPY[case]()


@pytest.mark.parametrize("case", NO_FLOAT64)
def test_numbers_that_apples_gpus_lack_are_found(case, pretended):
    with pytest.raises(TypeError, match="float64"):
        NO_FLOAT64[case]()


@pytest.mark.parametrize("case", FINE)
def test_no_false_alarm(case, pretended):
    FINE[case]()


def test_results_lie_where_they_were_computed(pretended):
    x = there(2, 3)
    views = [x[0], x.T, x.detach(), x.view(-1), *x, *x.unbind(1), *x.split(1), nn.Parameter(x), x.data]
    made = [
        x + 1,
        x.sum(),
        x.argmax(1),
        torch.cat([x, x]),
        x.max(1).values,
        F.softmax(x, 1),
        x > 0,
        x.half(),
        x.clone(),
    ]
    for tensor in views + made:
        assert on_gpu(tensor)
        assert tensor.is_cuda
        assert tensor.device == torch.device("cuda", 0)
    for tensor in (x.cpu(), x.to("cpu"), here(2), torch.tensor(x.tolist()), here(2).to("cpu")):
        assert not tensor.is_cuda
        assert tensor.device.type == "cpu"


def test_moving_copies(pretended):
    here_first = here(3)
    moved = here_first.to("cuda")
    moved.zero_()
    assert here_first.all()
    assert not here_first.is_cuda
    assert moved.to("cuda") is moved  # as torch does where nothing changes


def test_a_network_learns_there(pretended):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).to("cuda")
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    x, y, losses = there(8, 1, 4, 4), torch.arange(8).to("cuda") % 2, []
    for _ in range(20):
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad.is_cuda for weight in net.parameters())
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for network in (net, copy.deepcopy(net)):
        assert all(tensor.is_cuda for tensor in network.state_dict().values())
    assert not any(tensor.is_cuda for tensor in net.cpu().state_dict().values())


def test_the_mark_goes_with_the_memory(pretended):
    for _ in range(100):  # as soon as memory is freed, other tensors get its place
        there(1000)
        assert not here(1000).is_cuda
