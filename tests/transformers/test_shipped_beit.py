"""The shipped BEiT predicts more hidden words than any simple guess, and what its study says of few labels."""

from statistics import mean

import pytest
import torch
from shipped import check_card, shipped_scores

from lecture_utils import recipes, studies, tasks
from lecture_utils.tasks.masked_images import GRID

# A word that is nearly as likely as another may fall the other way on another processor.
TOLERANCE = 0.005
GUESSES = ("accuracy_majority", "accuracy_place", "accuracy_neighbour")


@pytest.mark.slide("34")
def test_hidden_words_are_foretold_better_than_guessed():
    scores = shipped_scores("beit")
    check_card("beit", scores, tolerance=TOLERANCE)
    assert scores["accuracy"] > 1.2 * max(scores[guess] for guess in GUESSES)


@pytest.mark.slide("34")
def test_the_vocabulary_shows_streets_in_words_that_are_all_in_use():
    tokens, data = recipes.load("beit").tokens, tasks.masked_data("val")
    images = torch.stack([data[i][0] for i in range(len(data))])
    words = tokens(images)
    painted = tokens.decode(words, GRID)
    flat = images.unflatten(2, (12, 8)).unflatten(4, (12, 8)).mean((3, 5), keepdim=True).expand(-1, -1, -1, 8, -1, 8)
    in_words, in_means = ((shown - images).square().mean() for shown in (painted, flat.reshape(images.shape)))
    assert in_words < 0.85 * in_means  # a word tells more than the mean colour of its patch
    assert (words.flatten().bincount(minlength=256) > 0).all()


@pytest.mark.slide("34")
def test_fine_tuning_began_with_the_shipped_transformer():
    """After a few hundred steps it still lies nearer to where it began than the net from a random start."""
    start, tuned, scratch = (recipes.load(name) for name in ("beit", "beit_segmentation", "beit_from_scratch"))
    away = [
        sum(
            ((a - b) ** 2).sum().item()
            for a, b in zip(start.backbone.parameters(), net.backbone.parameters(), strict=True)
        )
        for net in (tuned, scratch)
    ]
    assert away[0] < 0.5 * away[1]


@pytest.mark.slide("34")
def test_pre_training_saves_labels():
    """Better with any number of labels, and with a twentieth of them as good as from scratch with all."""
    rows = studies.load("label_efficiency")["rows"]
    miou = {}
    for row in rows:
        miou.setdefault((row["model"], row["fraction"]), []).append(row["miou"])
    for share in studies.STUDIES["label_efficiency"].fractions:
        assert min(miou["beit_segmentation", share]) > max(miou["beit_from_scratch", share]), share
    assert mean(miou["beit_segmentation", 0.05]) > mean(miou["beit_from_scratch", 1.0])
