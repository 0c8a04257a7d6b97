"""Where the course runs and with what: computer, device, precision, profile, seeds and folders.

One rule for the whole course: a model and what it is fed live on `run.device`. Data sets give tensors on the CPU, and
what is fed moves by `.to(run.device)`; figures, scores and claims take tensors from any device and move them to the
CPU themselves.
"""

import operator
import os
import random
import re
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from lecture_utils.files import require_folder

DEVICES = ("cpu", "cuda", "mps")
PROFILES = ("quick", "full")
PRECISIONS = ("fp32", "bf16", "fp16")
BUDGETS = ("whole", "smoke")  # "smoke" only shows that everything runs: three steps a training, eight items a score
SMOKE_STEPS, SMOKE_BATCH, SMOKE_ITEMS, SMOKE_SCENES = 3, 4, 8, 48
KAGGLE = Path("/kaggle")  # input (read-only), working (saved with the notebook) and temp (neither)
OLDEST_CAPABILITY = (7, 5)  # the Turing generation (T4): today's PyTorch is no longer built for older GPUs

_PLATFORMS = {"laptop": "This computer", "colab": "Colab", "kaggle": "Kaggle"}
_DEVICE_NAMES = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}
_BUDGET = {"quick": "small images, short training", "full": "larger images, longer training"}
_SLOW = ("cpu", "full")
_CLICK = {
    "colab": "For a GPU: Runtime → Change runtime type → T4 GPU.",
    "kaggle": "For a GPU: verify your phone number in your account, then Settings → Accelerator → GPU T4 x2.",
}


@dataclass(frozen=True)
class Machine:
    """The facts `choose` decides upon: apart from it, so that each kind of machine can be tested on any other."""

    platform: str = "laptop"
    gpu: str | None = None  # the name of the first CUDA device
    capability: tuple[int, int] = (0, 0)
    gpu_works: bool = True  # whether a first operation on it came back
    mps: bool = False
    cpu_bf16: bool = False  # in hardware; emulated bf16 is slower than fp32


@dataclass(frozen=True)
class Runtime:
    """What a notebook runs with.

    `platform` is "laptop", "colab" or "kaggle"; `device` "cpu", "cuda" or "mps"; `precision` "fp32", "bf16" or "fp16";
    `profile` "quick" or "full"; `reason` is the one sentence that `setup` prints. `budget` is "whole", or "smoke" where
    only errors are looked for.
    """

    platform: str
    device: str
    precision: str
    profile: str
    seed: int
    reason: str
    budget: str = "whole"


def setup(seed: int = 0, *, profile: str | None = None, device: str | None = None, quiet: bool = False) -> Runtime:
    """Look at the machine, seed every random generator, print one line and return what was chosen.

    What is asked for here comes first, then the environment (`LECTURE_DEVICE`, `LECTURE_PROFILE`, `LECTURE_PRECISION`),
    then the machine; `LECTURE_BUDGET=smoke` is for tests. Raises `ValueError` for a device, profile, precision or
    budget that does not exist or cannot run here.
    """
    asked = {
        "device": _asked("device", device, DEVICES),
        "profile": _asked("profile", profile, PROFILES),
        "precision": _asked("precision", None, PRECISIONS),
    }
    # LECTURE_DEVICE=cpu hides the GPU, so that a notebook prints there what it prints on a laptop without one.
    hidden = device is None and asked["device"] == "cpu"
    machine = Machine(platform=platform(), cpu_bf16=_cpu_has_bf16()) if hidden else detect()
    run = choose(machine, seed=seed, **asked)
    if is_smoke():
        warning = " LECTURE_BUDGET=smoke: everything ends after a few steps, and no result means anything."
        run = replace(run, budget="smoke", reason=run.reason + warning)
    seed_everything(run.seed)
    if not quiet:
        print(run.reason)
        if run.platform != "laptop":  # there nothing is upgraded, so what is too old stays
            from lecture_utils import doctor

            print(*doctor.unmet(), sep="", end="")
    return run


def is_smoke() -> bool:
    """Whether `LECTURE_BUDGET=smoke` asks for a run that only looks for errors."""
    return _asked("budget", None, BUDGETS) == "smoke"


def choose(
    machine: Machine,
    *,
    seed: int = 0,
    profile: str | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Runtime:
    """Decide device, precision and profile from the facts alone. Raises `ValueError` for what cannot run there."""
    refusal = _why_not_the_gpu(machine)
    able = {"cuda": machine.gpu is not None and not refusal, "mps": machine.mps, "cpu": True}
    best = next(name for name in able if able[name])
    chosen = device or best
    if not able[chosen]:
        why = refusal if chosen == "cuda" and refusal else f"no {_DEVICE_NAMES[chosen]} was found here"
        raise ValueError(f'device="{chosen}" cannot run: {why}; "{best}" can')

    native = _native_precision(machine, chosen)
    precision = precision or native
    if precision not in {"fp32", native}:
        runs = " or ".join(sorted({"fp32", native}))
        raise ValueError(f'precision "{precision}" is not native to this {_DEVICE_NAMES[chosen]}; expected {runs}')

    profile = profile or ("quick" if chosen == "cpu" else "full")
    why = {"cuda": machine.gpu, "mps": "found on this Mac"}.get(chosen) or refusal or "no GPU to use"
    if chosen == "cpu" != best:
        why = "the CPU was asked for"
    # The line of a laptop must read the same on every laptop (notebooks are compared with their stored outputs), so it
    # tells no core counts, no versions, and the precision only on a GPU.
    device_name = _DEVICE_NAMES[chosen] + (f" in {precision}" if chosen == "cuda" else "")
    slow = " On a CPU this is slow: notebook 04 alone takes more than an hour." if (chosen, profile) == _SLOW else ""
    click = f" {_CLICK[machine.platform]}" if chosen == best == "cpu" and machine.platform in _CLICK else ""
    budget = f"the {profile} profile, {_BUDGET[profile]}"
    reason = f"{_PLATFORMS[machine.platform]}, {device_name} ({why}): {budget}.{slow}{click}"
    return Runtime(machine.platform, chosen, precision, profile, _seed(seed), reason)


def _why_not_the_gpu(machine: Machine) -> str:
    if machine.gpu is None:
        return ""
    if machine.capability < OLDEST_CAPABILITY:
        has, needs = (".".join(map(str, c)) for c in (machine.capability, OLDEST_CAPABILITY))
        return f"the {machine.gpu} has compute capability {has}, and PyTorch needs {needs} or newer"
    return "" if machine.gpu_works else f"the {machine.gpu} failed at its first operation"


def _native_precision(machine: Machine, device: str) -> str:
    if device == "cuda":
        return "bf16" if machine.capability >= (8, 0) else "fp16"
    return "bf16" if device == "cpu" and machine.cpu_bf16 else "fp32"


def detect() -> Machine:
    """Gather the facts about this machine. Never raises and never warns, whatever its drivers are like."""
    import torch  # here, because data_root() and resource_path() also serve the parts of the course that know no torch

    machine = Machine(platform=platform(), mps=torch.backends.mps.is_available(), cpu_bf16=_cpu_has_bf16())
    with (
        warnings.catch_warnings()
    ):  # PyTorch warns at length of old drivers and old GPUs; `choose` says it in a sentence
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            return machine
        try:
            name, capability = torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
        except RuntimeError:
            return machine
        works = capability >= OLDEST_CAPABILITY
        if works:
            try:
                works = (torch.ones(2, device="cuda") + 1).sum().item() == 4
            except RuntimeError:
                works = False
    return replace(machine, gpu=name, capability=capability, gpu_works=works)


def _cpu_has_bf16() -> bool:
    import torch

    # Absent from older releases of PyTorch, where fp32 is only slower.
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def platform() -> str:
    """Say where this runs: "kaggle", "colab" or "laptop"."""
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):  # first: Kaggle's image is built upon Colab's and carries its marks
        return "kaggle"
    return "colab" if os.environ.get("COLAB_RELEASE_TAG") else "laptop"


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch with an integer from 0 to 2³² − 1."""
    import numpy
    import torch

    seed = _seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 – scikit-learn and others draw from this generator unless told otherwise
    torch.manual_seed(seed)


def data_root() -> Path:
    """Give the folder for generated data; it need not exist yet.

    `LECTURE_DATA` if set, else, on Kaggle, a temporary folder (what is written to `/kaggle/working` becomes the
    notebook's output, which a few thousand images would fill), else the checkout's `data`, else `data` where we are.
    Raises `ValueError` where `LECTURE_DATA` names what can be no folder.
    """
    if (named := _named_folder("LECTURE_DATA")) is not None:
        return named
    if platform() == "kaggle":
        temp = KAGGLE / "temp"
        writable = os.access(temp if temp.exists() else KAGGLE, os.W_OK)
        return (temp if writable else Path(tempfile.gettempdir())) / "lecture-data"
    return checkout() / "data" if checkout() is not None else Path("data").absolute()


def resource_path(name: str) -> Path:
    """Find a file or folder that comes with the course, such as "sample" or "checkpoints/unet.safetensors".

    It lies in `data/` of a checkout and inside the package when that was installed from a wheel. Raises
    `FileNotFoundError` that names the file and the command that makes it.
    """
    relative = Path(name)
    if not name or relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f'name: expected a path inside data/, such as "sample", got {name!r}')
    homes = [checkout() / "data"] if checkout() is not None else []
    for home in [*homes, Path(__file__).parent / "_data"]:
        if (home / relative).exists():
            return home / relative
    mend = "make it with: make checkpoints" if relative.parts[0] == "checkpoints" else "install the course again"
    raise FileNotFoundError(f"data/{relative.as_posix()} is missing; {mend}")


def checkout() -> Path | None:
    """Give the root of the repository this module runs from, or None when it was installed as a wheel."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "handouts").is_dir() else None


def kaggle_folder(slug: str, root: str | os.PathLike | None = None) -> Path | None:
    """Find the data set `slug` among Kaggle's inputs, or None.

    Kaggle mounts it as `<root>/<slug>` or, newer, as `<root>/datasets/<owner>/<slug>`. `root` is `/kaggle/input`
    unless given here or in `LECTURE_KAGGLE_INPUT`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", slug):
        raise ValueError(f'slug: expected the last part of a data set\'s address, such as "flickr8k", got {slug!r}')
    named = None if root else _named_folder("LECTURE_KAGGLE_INPUT")
    if named and not named.is_dir():
        raise ValueError(f"LECTURE_KAGGLE_INPUT: expected a folder, got {named}, which is not there")
    root = Path(root or named or KAGGLE / "input")
    owners = sorted((root / "datasets").iterdir()) if (root / "datasets").is_dir() else []
    return next((home / slug for home in [root, *owners] if (home / slug).is_dir()), None)


def _named_folder(variable: str) -> Path | None:
    """The folder that an environment variable names, None where it is unset or empty."""
    value = os.environ.get(variable, "")
    if not value.strip():
        return None
    try:
        folder = Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f'{variable}: got "{value}", and no such user has a home here; name a folder') from None
    return require_folder(variable, folder)


def _asked(name: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    source = name
    if value is None:
        source = f"LECTURE_{name.upper()}"
        value = os.environ.get(source) or None
    if value is not None and value not in allowed:
        raise ValueError(f"{source}: expected one of {', '.join(allowed)}, got {value!r}")
    return value


def _seed(seed: int) -> int:
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value < 2**32:
        raise ValueError(f"seed: expected an integer from 0 to 4294967295, got {seed!r}")
    return value
