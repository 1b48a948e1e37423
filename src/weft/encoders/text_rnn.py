"""Words by a recurrent network: an embedding, and LSTM or GRU over it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.data.text.vectors import read_vectors, width_of
from weft.data.text.vocabulary import SPECIAL
from weft.encoders.base import Encoder
from weft.encoders.recurrent import build_recurrent, read_sequences
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec

Count = Annotated[int, Range(1)]


@register("encoder", "text_rnn")
class TextRNN(Encoder):
    """An embedding of words and a recurrent network over it; its last states are the summary of the text.

    Padding is packed away: a text gives the same beside any other.

    Reference: Hochreiter and Schmidhuber, Neural Computation 9(8), 1997 (LSTM); Cho et al., EMNLP 2014,
    arXiv:1406.1078 (GRU).

    Args:
        embedding: width of the word vectors that are learned; with `vectors` it is that of the file.
        vectors: a text file of word2vec or GloVe to start from. Words that it lacks start at random; how many it has is
            logged.
        freeze_vectors: leave the vectors of the file as they are; only those of other words are learned.
        cell: the recurrent unit.
        hidden: width of its state, in each direction.
        layers: how many are stacked.
        bidirectional: read the text from both ends.
        dropout: share of the numbers that are hidden in training, of the word vectors and between layers.
        lr_factor: factor on the learning rate of its parameters.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        embedding: Count = 128,
        vectors: str | None = None,
        freeze_vectors: bool = False,
        cell: Literal["lstm", "gru"] = "lstm",
        hidden: Count = 128,
        layers: Count = 1,
        bidirectional: bool = True,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        if freeze_vectors and vectors is None:
            raise ValueError("freeze_vectors needs `vectors: FILE`: there is nothing to leave as it is")
        super().__init__()
        width = embedding if vectors is None else facts["vector_width"]
        self.embedding = WordEmbedding(in_channels, width, fixed=freeze_vectors)
        if initialise and vectors is not None:
            self.notes = (self.embedding.start_from(Path(vectors).expanduser(), facts["vocabulary"]),)
        self.dropout = nn.Dropout(dropout)
        self.rnn = build_recurrent(cell, width, hidden, layers=layers, bidirectional=bidirectional, dropout=dropout)
        self.spec = FeatureSpec("sequence", hidden * (2 if bidirectional else 1))
        self.lr_factor = lr_factor

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """The width of the word vectors, which a run must know when their file is gone."""
        vectors = options.get("vectors")
        return {} if vectors is None else {"vector_width": width_of(Path(vectors).expanduser())}

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, L) int64."""
        if lengths is None:
            lengths = inputs.new_full((len(inputs),), inputs.shape[1])
        tokens, last = read_sequences(self.rnn, self.dropout(self.embedding(inputs)), lengths)
        return Features.of_sequence(tokens, lengths, vector=last)

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`."""
        return [self.embedding, self.rnn]


class WordEmbedding(nn.Module):
    """A vector for every word, learned or left as a file has it.

    Args:
        size: of the vocabulary.
        width: of a vector.
        fixed: keep what `start_from` reads apart, where training does not change it.
    """

    found: Tensor
    vectors: Tensor

    def __init__(self, size: int, width: int, *, fixed: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, width))
        self.fixed = fixed
        if fixed:
            self.register_buffer("found", torch.zeros(size, dtype=torch.bool))
            self.register_buffer("vectors", torch.zeros(size, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """(P, L, D) vectors of (P, L) words."""
        learned = F.embedding(numbers, self.weight)
        if not self.fixed:
            return learned
        return torch.where(self.found[numbers][..., None], self.vectors[numbers], learned)

    @torch.no_grad()
    def start_from(self, path: Path, vocabulary: list[str]) -> str:
        """Take the vectors of a file; what was found of the vocabulary, in words.

        Random vectors get the file's mean and deviation, so that new words are of the size of the others.
        """
        vectors = read_vectors(path, vocabulary)
        rows = torch.tensor([len(SPECIAL) + place for place, word in enumerate(vocabulary) if word in vectors])
        if len(rows):
            values = torch.tensor([vectors[word].tolist() for word in vocabulary if word in vectors])
            self.weight.mul_(values.std(correction=0)).add_(values.mean(0))
            if self.fixed:
                self.found[rows], self.vectors[rows] = True, values
            else:
                self.weight[rows] = values
        share = 100 * len(vectors) / max(len(vocabulary), 1)
        return f"{path.name} has vectors of {len(vectors)} of the {len(vocabulary)} words ({share:.1f} %)"
