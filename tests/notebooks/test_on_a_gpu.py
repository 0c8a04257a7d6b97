"""Every notebook on a GPU, as far as that can be told without one: see `pretend_gpu` for what is and is not.

The cells run in the full profile, as on a GPU, with the smoke budget: devices do not depend on how long a net learns.
So what the cells assert of results is left out here (nbval runs them whole), and drawn figures are not encoded.
"""

from contextlib import contextmanager
from pathlib import Path

import matplotlib
import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell
from pretend_gpu import PretendGPU
from torch.nn.modules.module import register_module_forward_pre_hook

from lecture_utils import distributed, runtime
from lecture_utils.explorers import explorer
from lecture_utils.figures import style

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
# Cells, counted from 0, whose models are fed on the CPU on purpose: timed on one core, or compared number by number.
ON_THE_CPU = {
    "01": {37},
    "05": {52},
    "06": {63, 65, 66},
    "07": {4, 50, 63},
    "08": {70},
    "09": {54, 63, 70},
    "10": {30},
    "13": {66},
}


@pytest.fixture
def machine_with_gpu(monkeypatch):
    monkeypatch.delenv("LECTURE_DEVICE", raising=False)
    monkeypatch.setenv("LECTURE_PROFILE", "full")
    monkeypatch.setenv("LECTURE_PRECISION", "fp32")
    monkeypatch.setenv("LECTURE_BUDGET", "smoke")
    monkeypatch.setattr(runtime, "detect", lambda: runtime.Machine(gpu="a pretended GPU", capability=(8, 0)))
    monkeypatch.setattr(distributed, "init", lambda device: torch.device(device, 0))
    unencoded = style.Encoded("image/png", b"")
    for module in (style, explorer):
        monkeypatch.setattr(module, "encode", lambda figs, **how: [unencoded] * len(figs))
    matplotlib.use("agg")
    yield
    matplotlib.pyplot.close("all")


@contextmanager
def noting_models_on_the_cpu():
    """A set that gets the name of each kind of model that is fed on the CPU while the context lasts."""
    found = set()

    def note(module, inputs):
        if any(weight.device.type == "cpu" for weight in module.parameters()):
            found.add(type(module).__name__)

    hook = register_module_forward_pre_hook(note)
    try:
        yield found
    finally:
        hook.remove()


def run(cells):
    """Run cells on the pretended GPU; which of them fed a model on the CPU, and the models' kinds."""
    names = {"runtime": runtime, "run": runtime.setup(seed=0, quiet=True)}
    assert names["run"].device == "cuda"
    stayed = {}
    with PretendGPU():
        for number, cell in enumerate(cells):
            if cell.cell_type != "code" or number == 1:  # which installs the course
                continue
            with noting_models_on_the_cpu() as found:
                exec(compile(cell.source, f"cell {number}", "exec", optimize=1), names)  # without assertions
            if found:
                stayed[number] = found
    return stayed


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator is found")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_computed_together_lies_together(path, machine_with_gpu):
    stayed = run(nbformat.read(path, as_version=4).cells)
    assert set(stayed) <= ON_THE_CPU.get(path.stem[:2], set()), f"models fed on the CPU: {stayed}"


def cells_of(*sources):
    return [new_markdown_cell("# Title"), new_code_cell("%pip install"), *map(new_code_cell, sources)]


LOAD = "from lecture_utils import recipes, tasks\nimport torch\npixel = recipes.load('pixel', device=run.device)"
PLANTED = {
    "a model": ("pixel(torch.zeros(1, 3, 8, 8))", RuntimeError),
    "a loss": ("(pixel(torch.zeros(1, 3, 8, 8).to(run.device)) - torch.ones(8)).mean()", RuntimeError),
    "an image": ("plt.imshow(pixel(torch.zeros(1, 3, 8, 8).to(run.device)).argmax(1)[0])", TypeError),
    "an explorer": ("Explorer(draw, title='t', alt='a', x=Slider('x', (1, 2)))", RuntimeError),
}
PLOTS = """import matplotlib.pyplot as plt
from lecture_utils.explorers import Explorer, Slider
def draw(x):
    fig, ax = plt.subplots()
    with torch.no_grad():
        figure = pixel(torch.full((1, 3, 8, 8), x))
    return fig"""


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_tensor_of_the_cpu_is_found(where, machine_with_gpu):
    source, problem = PLANTED[where]
    with pytest.raises(problem, match="cpu"):
        run(cells_of(LOAD, PLOTS, source))


def test_a_model_that_stays_on_the_cpu_is_found(machine_with_gpu):
    left = "recipes.load('pixel')(torch.zeros(1, 3, 8, 8))"
    moved = "pixel(torch.zeros(1, 3, 8, 8).to(run.device))"
    stayed = run(cells_of(LOAD, left, moved))
    assert list(stayed) == [3]
    assert "PixelClassifier" in stayed[3]
