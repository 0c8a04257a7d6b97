"""The four captioners, small and in double precision, on a grid that is not square; one without memory; one made up."""

import torch
from torch import Tensor, nn

from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, ShowAttendTell, ViTCaptioner

WORDS, FEATURES, GRID = 11, 6, (3, 5)
SIZES = {"vocab_size": WORDS, "features": FEATURES, "grid": GRID}

BUILDERS = {
    "bottleneck": lambda: BottleneckRNN(**SIZES, dim=8, hidden=12, width=12, squeeze=3),
    "soft": lambda: ShowAttendTell(**SIZES, dim=8, hidden=12, attention_dim=5),
    "transformer": lambda: CaptionTransformer(**SIZES, dim=8, heads=2, max_length=20),
    "only transformers": lambda: ViTCaptioner(WORDS, (6, 10), patch_size=2, dim=8, heads=2, max_length=20),
}
ATTENDING = [name for name in BUILDERS if name != "bottleneck"]


def captioner(name: str, seed: int = 0, *, sharpness: float = 3.0) -> nn.Module:
    """In evaluation mode, with larger weights than a new one has, so that what it says depends on what it sees."""
    torch.manual_seed(seed)
    model = BUILDERS[name]().double().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= sharpness
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return model


def picture(name: str, batch: int, seed: int = 0) -> Tensor:
    """What the captioner of this name looks at."""
    shape = (3, 6, 10) if name == "only transformers" else (FEATURES, *GRID)
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sentences(batch: int, length: int, seed: int = 0) -> Tensor:
    """<start> and words, none of them special."""
    words = torch.randint(4, WORDS, (batch, length), generator=torch.Generator().manual_seed(seed))
    words[:, 0] = 1
    return words


class Tree(nn.Module):
    """A captioner with made-up logits for every beginning of a caption; its attention names the beginning, too.

    z (b, 1) numbers the tree; the state is the beginning so far, read as a number of base `words`.
    """

    def __init__(self, words: int, trees: int = 1, depth: int = 6, seed: int = 0, spread: float = 2.0):
        super().__init__()
        dice = torch.Generator().manual_seed(seed)
        self.words, self.depth = words, depth
        count = sum(words**place for place in range(depth + 1))
        self.logits = torch.randn(trees, count, words, generator=dice, dtype=torch.float64) * spread
        self.maps = torch.rand(trees, count, 2, 1, 2, 3, generator=dice, dtype=torch.float64)

    def start(self, z):
        tree = z[:, 0].long()
        return tree, torch.full_like(tree, -1)

    def step(self, state, words, *, need_weights=False):
        tree, node = state
        # <start> is the root, 0; the children of node n are words · n + 1 … words · n + words.
        node = torch.where(node < 0, 0, node * self.words + 1 + words)
        return self.logits[tree, node], self.maps[tree, node], (tree, node)


class Rereading(nn.Module):
    """A captioner that reads the whole caption anew for each word, and keeps nothing but the words."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def start(self, z):
        return z, torch.zeros(len(z), 0, dtype=torch.int64)

    def step(self, state, words, *, need_weights=False):
        z, before = state
        captions = torch.cat([before, words[:, None]], dim=1)
        logits, attention = self.model(z, captions, need_weights=need_weights)
        return logits[:, -1], attention[:, :, :, -1] if need_weights else None, (z, captions)
