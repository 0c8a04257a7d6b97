"""Image captioning (slides 24 to 30): one grid of features, four captioners, words as numbers, ways to find a sentence.

What every captioner takes and gives is written in `steps`.
"""

from lecture_utils.captioning.attention import ShowAttendTell, UniformAttention, doubly_stochastic
from lecture_utils.captioning.decoding import Captions, beam_search, greedy, sample
from lecture_utils.captioning.rnn import BottleneckRNN
from lecture_utils.captioning.scores import bleu, points_in, rouge_l
from lecture_utils.captioning.steps import caption_loss
from lecture_utils.captioning.transformer import CaptionTransformer, ViTCaptioner
from lecture_utils.captioning.vocabulary import Vocabulary, pad, split_words
