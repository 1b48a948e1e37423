"""Words and runs of words by their sum: the strong simple encoder of short texts and small data."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec

#: An odd number that spreads what it multiplies over 64 bits (2^64 over the golden ratio, as a signed number).
_SPREAD = -7046029254386353131


@register("encoder", "text_bag")
class TextBag(Encoder):
    """The sum of the vectors of a text's words and runs of neighbouring words, over the square root of their number.

    Runs have no table: a hash sends each to one of `buckets` vectors, and some share one. With `split: characters` the
    runs are of letters, and catch endings, misspellings and hashtags. Order beyond the runs is lost.

    Reference: Joulin et al., EACL 2017, arXiv:1607.01759; over letters, Bojanowski et al., TACL 2017, arXiv:1607.04606.

    Args:
        dim: width of the vectors.
        longest: runs of 2 up to so many words; 1: words alone.
        buckets: vectors for the runs.
        dropout: share of words and runs that are left out in training.
        lr_factor: factor on the learning rate of its parameters.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        dim: Annotated[int, Range(1)] = 64,
        longest: Annotated[int, Range(1, 8)] = 2,
        buckets: Annotated[int, Range(1)] = 20000,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.3,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        self._num_words, self._longest = in_channels, longest
        self._num_buckets = buckets if longest > 1 else 0
        self.embedding = nn.Embedding(in_channels + self._num_buckets, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.dropout = dropout
        self.lr_factor = lr_factor
        self.spec = FeatureSpec("vector", dim)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, L) int64."""
        if lengths is None:
            lengths = inputs.new_full((len(inputs),), inputs.shape[1])
        runs, real = self._runs(inputs, lengths)
        weights = real.to(self.embedding.weight.dtype)
        if self.training:
            weights = weights * (torch.rand_like(weights) >= self.dropout)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1).sqrt()  # clamp: all may have been left out
        return Features.of_vector(F.embedding_bag(runs, self.embedding.weight, mode="sum", per_sample_weights=weights))

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`."""
        return [self.embedding]

    def _runs(self, words: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(P, R) places in the table of all words and runs, and (P, R) bool: those that lie within the text."""
        number = torch.arange(words.shape[1], device=words.device)
        places, real = [words], [number < lengths[:, None]]
        code = words
        for size in range(2, min(self._longest, words.shape[1]) + 1):
            # a run's code follows from the code of the run without its last word, and that word
            code = code[:, :-1] * _SPREAD + words[:, size - 1 :] + 1
            mixed = (code ^ (code >> 29)) * _SPREAD
            places.append(self._num_words + (mixed >> 32).remainder(self._num_buckets))
            real.append(number[: code.shape[1]] + size <= lengths[:, None])
        return torch.cat(places, dim=1), torch.cat(real, dim=1)
