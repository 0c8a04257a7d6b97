"""Weights that torchvision's authors trained: fetched once where there is a network, found where somebody put them."""

from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision.models import WeightsEnum


def downloaded_file(weights: WeightsEnum) -> Path:
    """Where torch keeps, and looks for, the file of these weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name


def load_downloaded(network: nn.Module, weights: WeightsEnum, *, progress: bool = True) -> None:
    """Load torchvision's trained weights into a network; torch downloads them at the first call and keeps them.

    FileNotFoundError without a network: it names the file and its place, where one fetched elsewhere is found, too.
    ValueError for a damaged file or one that does not fit.
    """
    file = downloaded_file(weights)
    try:
        # weights_only: a pickle could run code, and nobody has checked a file that was put there by hand.
        network.load_state_dict(weights.get_state_dict(progress=progress, check_hash=True, weights_only=True))
    except Exception as problem:  # unpickling what is no pickle raises whatever its bytes happen to spell
        reason = " ".join(str(problem).split()[:24]) or type(problem).__name__
        if file.exists():
            raise ValueError(
                f"{file}: holds no weights for this network ({reason}). Delete it, and it is fetched anew; "
                "or leave out the settings that change the network"
            ) from problem
        raise FileNotFoundError(
            f"{file}: is not there, and {weights.url} cannot be reached ({reason}). "
            "Fetch it where there is a network, and put it there"
        ) from problem
