"""Convolutions over a spectrogram and a recurrent network over time, as an encoder of a sound."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from weft.encoders.frozen import WholeEncoder
from weft.encoders.recurrent import Cell, build_recurrent, read_sequences
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec

Count = Annotated[int, Range(1)]


@register("encoder", "conv_rnn")
class ConvRnnEncoder(WholeEncoder):
    """A small network for sounds, trained from scratch: convolutions, then a GRU or LSTM.

    Its tokens are the states of the recurrent network over time, its vector is made of the last state of each
    direction. Frames after the end of a row are nothing to it, in training as well: it normalises each place by itself.

    Args:
        channels: of the convolutions; each halves the number of bands.
        stride: frames that one token stands for; the first convolutions shorten time.
        cell: the recurrent unit.
        hidden: width of its state, in each direction.
        layers: how many are stacked.
        bidirectional: hear the sound from both ends.
        dropout: share of the values that are dropped in training before the recurrent network and between its layers.
        freeze: train nothing of it.
        lr_factor: factor on the learning rate of its parameters.

    Reference: Choi et al., ICASSP 2017, arXiv:1609.04243.
    """

    reads: ClassVar[str] = "audio"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        channels: tuple[Count, ...] = (32, 64, 128),
        stride: Literal[1, 2, 4, 8] = 2,
        cell: Cell = "gru",
        hidden: Count = 128,
        layers: Count = 1,
        bidirectional: bool = True,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        freeze: bool = False,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        shortened = stride.bit_length() - 1
        if len(channels) < max(1, shortened):
            raise ValueError(
                f"a stride of {stride} needs {shortened} convolutions and `channels` has {len(channels)}; give more "
                "channels, at least one, or a smaller stride"
            )
        self.lr_factor = lr_factor
        self.time_strides = [2 if place < shortened else 1 for place in range(len(channels))]
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=(2, step), padding=1), LayerNorm2d(after), nn.GELU())
            for before, after, step in zip((1, *channels), channels, self.time_strides, strict=False)
        )
        num_bands = -(-in_channels // 2 ** len(channels))  # ceil, as often as it is halved
        self.dropout = nn.Dropout(dropout)
        self.recurrent = build_recurrent(
            cell,
            channels[-1] * num_bands,
            hidden,
            layers=layers,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.spec = FeatureSpec("sequence", hidden * (2 if bidirectional else 1))
        self.freeze(freeze)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, 1, mels, frames); lengths in frames."""
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[-1], device=inputs.device)
        maps = inputs
        for convolution, step in zip(self.convolutions, self.time_strides, strict=True):
            # what follows a row's end is 0, as it would be if the row were alone
            maps = convolution(torch.where(_inside(lengths, maps.shape[-1])[:, None, None], maps, 0))
            lengths = -(-lengths // step)
        frames = self.dropout(maps.flatten(1, 2).transpose(1, 2))  # (P, N, C * bands)
        tokens, vector = read_sequences(self.recurrent, frames, lengths)
        return Features.of_sequence(tokens, lengths, vector=vector)

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`: each convolution, then the recurrent network."""
        return [*self.convolutions, self.recurrent]


def _inside(lengths: Tensor, size: int) -> Tensor:
    """(P, size) bool: before the end of each row."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
