"""Words per second of the captioners, greedy and with a beam of 5; the transformer against the library `transformers`.

Its `generate` drives a BART of as many layers, heads and features, and both say 30 words: neither may end early. The
two take turns, on one core.
"""

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from lecture_utils import city_models
from lecture_utils.captioning import beam_search, greedy
from lecture_utils.captioning.vocabulary import END, PAD, START

from .test_ratios import _one_thread, compare, take_turns  # noqa: F401 – a fixture for all tests of a module

IMAGES, WORDS, BEAM = 32, 30, 5
GRID_CAPTIONERS = ("bottleneck_rnn", "show_attend_tell", "caption_transformer")
LIMIT = 1.0  # times as long as `generate`


def tireless(name):
    """An untrained captioner that never ends a sentence."""
    torch.manual_seed(0)
    model = city_models.build(name).eval()
    torch.nn.init.constant_(model.predict.bias[END : END + 1], -1e4)
    return model


def say(model, width):
    z = torch.randn(IMAGES, 256, 16, 16)
    if width == 1:
        return lambda: greedy(model, z, max_length=WORDS)
    return lambda: beam_search(model, z, beam_size=width, max_length=WORDS)


def bart(like):
    """A BART with the sizes of `caption_transformer`: another implementation of the same network."""
    dim, heads, words = like.embed.embedding_dim, like.decoder[0].attend.heads, like.predict.out_features
    inner = like.decoder[0].mlp[0].out_features
    layers = {f"{side}_layers": len(getattr(like, side)) for side in ("encoder", "decoder")}
    heads = {f"{side}_attention_heads": heads for side in ("encoder", "decoder")}
    inner = {f"{side}_ffn_dim": inner for side in ("encoder", "decoder")}
    numbers = {"bos_token_id": START, "pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": START}
    config = BartConfig(
        vocab_size=words, d_model=dim, max_position_embeddings=256, forced_eos_token_id=None,
        activation_function="gelu", **layers, **heads, **inner, **numbers,
    )  # fmt: skip
    return BartForConditionalGeneration(config).eval()


def generate(model, width):
    points = torch.randn(IMAGES, 256, model.config.d_model)
    how = {"num_beams": width, "do_sample": False, "min_new_tokens": WORDS, "max_new_tokens": WORDS}
    return lambda: model.generate(inputs_embeds=points, **how)


@pytest.mark.parametrize("width", [1, BEAM])
def test_the_transformer_against_generate(benchmark, width):
    """Ours also projects the CNN's features, which BART is given."""
    ours = tireless("caption_transformer")
    works = say(ours, width), generate(bart(ours), width)
    assert works[0]().words.shape[1] == WORDS == works[1]().shape[1] - 1
    with torch.inference_mode():
        compare(benchmark, works, LIMIT, rounds=5)


@pytest.mark.parametrize("width", [1, BEAM])
@pytest.mark.parametrize("name", GRID_CAPTIONERS)
def test_words_per_second(benchmark, name, width):
    work = say(tireless(name), width)
    with torch.inference_mode():
        benchmark.pedantic(work, rounds=5, warmup_rounds=1)
    benchmark.extra_info["words per second"] = IMAGES * WORDS / benchmark.stats.stats.median
    print(f"{name}, {width} beams: {benchmark.extra_info['words per second']:,.0f} words per second")
