"""Clips frame by frame: any encoder of rasters, and over its frames a recurrent network and a pooling."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, cast

import torch
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.encoders.pooling import Pooling, build_pool
from weft.encoders.recurrent import Cell, build_recurrent, read_sequences, read_token
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Part, Range, register
from weft.types import Features, FeatureSpec, Memory

Count = Annotated[int, Range(1)]

#: An encoder of rasters: its options, or another modality's, `{share: name}`.
Backbone = Annotated[Part, "encoder", "shared"]


class FrameEncoder(Encoder):
    """What sees every frame of a clip by itself, as a still.

    Frames that only fill up a batch never reach the backbone: nothing is computed of them, and no BatchNorm sees them.

    Args:
        backbone: an encoder of rasters, or the part that makes one.
        in_channels, initialise: for it.
    """

    reads: ClassVar[str] = "video"

    def __init__(self, backbone: Part | Encoder, in_channels: int, initialise: bool) -> None:
        super().__init__()
        built: Encoder = backbone if isinstance(backbone, Encoder) else backbone(in_channels, initialise)
        if built.reads != "raster":
            raise ValueError(
                f"a backbone sees frames, and {type(built).__name__} reads {built.reads}; give an encoder of pictures"
            )
        self.backbone = built
        self.input_spec = built.input_spec
        self.notes = built.notes

    def seen(self, inputs: Tensor, lengths: Tensor | None) -> tuple[Features, Tensor]:
        """What the backbone gives for the n real frames of clips, and (P, T) bool which these are.

        Args:
            inputs: (P, T, C, H, W).
            lengths: (P,) real frames of each; None: all.
        """
        real = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        if lengths is not None:
            real = torch.arange(inputs.shape[1], device=inputs.device) < lengths.to(inputs.device)[:, None]
        return self.backbone.extract(inputs.flatten(0, 1) if bool(real.all()) else inputs[real]), real

    @property
    def extract_frozen(self) -> bool:
        """See `Encoder.extract_frozen`: where the backbone's is."""
        return self.backbone.extract_frozen

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`: the backbone's stages."""
        return self.backbone.layers()


@register("encoder", "frame_maps")
class FrameMapsEncoder(FrameEncoder):
    """The maps of every frame of a clip, for tasks that answer for every pixel of every frame.

    Args:
        backbone: an encoder of pictures that gives maps, such as `timm`, or `{share: image}` to use that of another
            modality.
    """

    gives_maps: ClassVar[bool] = True

    def __init__(
        self, in_channels: int, initialise: bool = True, facts: Facts = NO_FACTS, *, backbone: Backbone
    ) -> None:
        super().__init__(backbone, in_channels, initialise)
        if not self.backbone.spec.has_maps:
            raise ValueError("the backbone gives a vector and no maps; leave out its `vector`, or choose frames")
        self.spec = replace(self.backbone.spec, layout="clip")

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, T, C, H, W), lengths in frames."""
        return Features.of_frames(*self.seen(inputs, lengths))

    @property
    def cannot_stream(self) -> None:
        """See `Encoder.cannot_stream`: a frame knows nothing of the others."""
        return None

    def step(self, inputs: Tensor, memory: Memory | None) -> tuple[Features, Memory]:
        """See `Encoder.step`."""
        return self(inputs), {}


@register("encoder", "frames")
class FramesEncoder(FrameEncoder):
    """A token for every frame of a clip, and one vector of them all.

    Each frame is seen by itself and averaged over its pixels; a GRU or LSTM may then go over the frames; the vector is
    pooled from them. With a frozen backbone the averages are kept, and only what comes after runs again.

    Args:
        backbone: an encoder of pictures, such as `timm`, or `{share: image}` to use that of another modality.
        cell: the unit of the recurrent network over the frames; by default there is none.
        hidden: width of its state, in each direction.
        layers: how many are stacked.
        causal: it goes forwards only, so that each frame knows those before it and none after; only then can it follow
            a stream. Otherwise it goes over the clip from both ends.
        dropout: share of the values that are dropped in training before the recurrent network and between its layers.
        pooling: how the frames become one vector: their mean, the largest number of each channel, or a mean weighted by
            a learned attention.

    Reference: Donahue et al., CVPR 2015, arXiv:1411.4389 (a recurrent network over the frames); Ng et al., CVPR 2015,
    arXiv:1503.08909 (pooling).
    """

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        backbone: Backbone,
        cell: Cell | None = None,
        hidden: Count = 128,
        layers: Count = 1,
        causal: bool = False,
        dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__(backbone, in_channels, initialise)
        width = self.backbone.spec.dim
        self.dropout = nn.Dropout(dropout)
        self.recurrent: nn.GRU | nn.LSTM | None = None
        if cell is not None:
            self.recurrent = build_recurrent(
                cell, width, hidden, layers=layers, bidirectional=not causal, dropout=dropout
            )
            width = hidden * (1 if causal else 2)
        self.pool = build_pool(pooling, width)
        self.spec = FeatureSpec("sequence", width)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, T, C, H, W), lengths in frames. The averages of the frames, as tokens."""
        stills, real = self.seen(inputs, lengths)
        return Features.of_frames(Features.of_vector(stills.pooled), real)

    def finish(self, features: Features) -> Features:
        """See `Encoder.finish`: the recurrent network and the pooling."""
        features = self.backbone.finish(features)
        tokens = self.dropout(features.tokens)
        if self.recurrent is not None:
            tokens, _ = read_sequences(self.recurrent, tokens, features.mask.sum(1))
        return replace(features, tokens=tokens, vector=self.pool(tokens, features.mask))

    @property
    def cannot_stream(self) -> str | None:
        """See `Encoder.cannot_stream`."""
        if self.recurrent is None or not self.recurrent.bidirectional:
            return None
        return "its recurrent network goes over a clip from both ends; train it with `causal: true`"

    def step(self, inputs: Tensor, memory: Memory | None) -> tuple[Features, Memory]:
        """See `Encoder.step`: the memory is the state of the recurrent network, and what the pooling has summed up."""
        if self.cannot_stream is not None:
            raise ValueError(self.cannot_stream)
        features = self.backbone.finish(self.extract(inputs))
        token, state = features.tokens, cast(Memory, {})
        if self.recurrent is not None:
            token, state = read_token(self.recurrent, token, memory)
        vector, pooled = self.pool.step(token, memory)
        return replace(features, tokens=token, vector=vector), {**state, **pooled}
