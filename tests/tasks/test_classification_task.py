"""Data, loss and scores of one label an image."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lecture_utils import runtime, tasks, toycity
from lecture_utils.datasets import LabelledObjects

RUN = runtime.Runtime("laptop", "cpu", "fp32", "quick", 0, "")
NAMES = LabelledObjects.classes


class Generated(nn.Module):
    """Says for each image, whose first pixel is its number, what is on a list."""

    def __init__(self, said):
        super().__init__()
        self.said = torch.tensor([NAMES.index(name) for name in said])

    def forward(self, images):
        return F.one_hot(self.said[images[:, 0, 0, 0].long()], len(NAMES)).float()


@pytest.mark.slide("32")
def test_accuracy_is_told_apart_by_kind_and_colour():
    shown = ["a red car", "a blue car", "a red sign", "a person in a red coat"]
    said = ["a red car", "a red car", "a red traffic light", "a green sign"]
    data = [(torch.full((3, 2, 2), i), NAMES.index(name)) for i, name in enumerate(shown)]
    scores = tasks.classification.score_classification(Generated(said), data, RUN)
    assert scores["accuracy"] == pytest.approx(1 / 4)
    assert scores["kind_accuracy"] == pytest.approx(2 / 4)
    assert scores["colour_accuracy"] == pytest.approx(2 / 4)
    assert scores["recall"]["a red car"] == 1
    assert scores["recall"]["a blue car"] == scores["recall"]["a red sign"] == 0
    assert scores["recall"]["a white car"] != scores["recall"]["a white car"]  # nan: none was shown


def test_scores_from_counts_are_those_of_sklearn():
    from sklearn.metrics import accuracy_score, recall_score

    dice = torch.Generator().manual_seed(0)
    true, said = torch.randint(0, 20, (2, 500), generator=dice)
    counts = torch.zeros(20, 20, dtype=torch.int64)
    for a, b in zip(true, said, strict=True):
        counts[a, b] += 1
    scores = tasks.classification.classification_scores(counts)
    kinds, colours = (torch.tensor([sorted(set(part)).index(word) for word in part]) for part in
                      zip(*toycity.PHRASES, strict=True))  # fmt: skip
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, said))
    assert scores["kind_accuracy"] == pytest.approx(accuracy_score(kinds[true], kinds[said]))
    assert scores["colour_accuracy"] == pytest.approx(accuracy_score(colours[true], colours[said]))
    assert list(scores["recall"].values()) == pytest.approx(recall_score(true, said, average=None).tolist())


def test_the_loss_is_cross_entropy():
    model, images, labels = nn.Sequential(nn.Flatten(), nn.Linear(12, 20)), torch.randn(5, 3, 2, 2), torch.arange(5)
    expected = -model(images).log_softmax(1)[range(5), labels].mean()
    torch.testing.assert_close(tasks.classification_loss(None)(model, (images, labels)), expected)


def test_named_data_is_painted_for_each_split(monkeypatch):
    monkeypatch.setattr(tasks.classification, "CLASSIFICATION_SCENES", {"train": 4, "val": 3, "test": 2})
    data = tasks.classification_data("val")
    assert isinstance(data, LabelledObjects)
    assert data[0][0].dtype == torch.float32
    assert data[0][0].shape == (3, 48, 48)
    assert tasks.classification_data("test", size=64)[0][0].shape == (3, 64, 64)
    with pytest.raises(ValueError, match="root: got x, expected none"):
        tasks.classification_data("val", "x")
    with pytest.raises(ValueError, match="split: got 'dev', expected one of train, val, test"):
        tasks.classification_data("dev")


def test_training_pictures_are_flipped_every_other_time(monkeypatch):
    monkeypatch.setattr(tasks.classification, "CLASSIFICATION_SCENES", {"train": 3, "val": 3, "test": 3})
    data = tasks.classification_data("train")
    plain = LabelledObjects("train", 3, transforms=tasks.photo_transforms())[0][0]
    seen = []
    for seed in range(12):
        torch.manual_seed(seed)
        image, _ = data[0]
        seen.append(torch.equal(image, plain))
        assert seen[-1] or torch.equal(image, plain.flip(2))
    assert 2 <= sum(seen) <= 10
