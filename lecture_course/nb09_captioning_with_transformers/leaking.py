"""Two small captioners, one of which may see the words that it is to predict (slide 29)."""

import random
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lecture_utils.captioning import CaptionTransformer, caption_loss, greedy, pad
from lecture_utils.captioning.vocabulary import PAD
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.toycity.facts import facts

LONGEST = 20  # words of a caption that is decoded


def train(
    data: CaptionDataset, z: Float[Tensor, "n features h w"], *, is_causal: bool, seed: int = 0, steps: int = 200
) -> tuple[CaptionTransformer, list[float]]:
    """A transformer of one layer each, trained on the captions of the first n streets by teacher forcing; its losses.

    Without `is_causal` no mask hides the words that come later, in training and ever after.
    """
    torch.manual_seed(seed)
    chance, losses, words = random.Random(seed), [], data.vocabulary
    sentences = [[words.encode(one) for one in data.dataset.captions(index)] for index in range(len(z))]
    sizes = {"dim": 64, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0}
    model = CaptionTransformer(len(words), z.shape[1], tuple(z.shape[2:]), **sizes).to(z.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.is_causal = is_causal
    for _ in range(steps):
        chosen = chance.sample(range(len(z)), 32)
        captions = pad([chance.choice(sentences[index]) for index in chosen]).to(z.device)
        loss = caption_loss(model(z[chosen], captions[:, :-1])[0], captions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


def speak(model: CaptionTransformer, z: Float[Tensor, "n features h w"], data: CaptionDataset) -> list[str]:
    """What a model says of each image by itself, word by word the likeliest."""
    return [data.vocabulary.decode(words) for words in greedy(model, z, max_length=LONGEST).words]


@torch.no_grad()
def next_words(
    model: CaptionTransformer, z: Float[Tensor, "n features h w"], data: CaptionDataset
) -> tuple[float, float]:
    """The loss with the right words given (teacher forcing), and how many next words are the likeliest then."""
    pairs = [(index, data.vocabulary.encode(one)) for index in range(len(z)) for one in data.dataset.captions(index)]
    captions = pad([words for _, words in pairs]).to(z.device)
    logits, following = model(z[[index for index, _ in pairs]], captions[:, :-1])[0], captions[:, 1:]
    right = (logits.argmax(-1) == following)[following != PAD].float().mean()
    return caption_loss(logits, captions).item(), right.item()


def true_statements(sentences: Sequence[str], data: CaptionDataset, *, ahead: int = 0) -> tuple[int, int]:
    """How many statements of sentences about the first streets hold, and how many there are.

    A sentence that states nothing counts as one that does not hold. With `ahead`, each is checked against the street so
    many further on.
    """
    places = [(index + ahead) % len(sentences) for index in range(len(sentences))]
    told = [fact.holds for index, one in zip(places, sentences, strict=True) for fact in facts(one, *data.truth(index))]
    return sum(told), len(told)
