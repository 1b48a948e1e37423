"""Any timm network over a spectrogram, as an encoder of a sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.encoders.base import Encoder
from weft.encoders.stem import Stem
from weft.encoders.timm import TimmEncoder
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec


@register("encoder", "spectrogram")
class SpectrogramEncoder(Encoder):
    """A backbone of the timm library that sees the spectrogram of a sound as a grey picture.

    The spectrogram is cut into segments of one length, each seen by itself, as networks of pictures expect; the last
    one is filled up with the mean. So a sound's features depend on nothing else in its batch, whatever the backbone
    does inside. The deepest map is averaged over the frequencies: its columns are the tokens, over time.

    Args:
        name: timm's name, such as `resnet18`.
        pretrained: start from timm's published weights. They are downloaded, unless they are in the cache.
        weights: start from a local file instead, .safetensors or .pth, in timm's layout for this network.
        padding: same: pad convolutions as TensorFlow does. Some converted weights need it.
        segment: frames of the spectrogram that are seen at once.
        output_stride: frames, and bands, that one token stands for: 8 or 16 dilate the last stages instead of
            striding. Not every network can.
        stem: what becomes of pretrained filters over red, green and blue. extend and sum: their sum; repeat: those of
            red, three times as strong; fresh: random.
        freeze: train nothing of it.
        freeze_stages: train nothing of the first so many stages.
        freeze_bn: keep statistics and factors of its BatchNorm layers as they are.
        drop_path: probability of skipping a residual branch in training, rising with depth; 0 leaves it out.
        lr_factor: factor on the learning rate of its parameters.
        vector: give one vector of this width instead of tokens: their average, projected anew.
    """

    reads: ClassVar[str] = "audio"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        name: str,
        pretrained: bool = False,
        weights: str | None = None,
        padding: Literal["default", "same"] = "default",
        segment: Annotated[int, Range(32)] = 128,
        output_stride: Literal[8, 16, 32] = 32,
        stem: Stem = "extend",
        freeze: bool = False,
        freeze_stages: Annotated[int, Range(0)] = 0,
        freeze_bn: bool = False,
        drop_path: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        lr_factor: Annotated[float, Range(0)] = 1.0,
        vector: Annotated[int, Range(1)] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = TimmEncoder(
            1,
            initialise,
            name=name,
            pretrained=pretrained,
            weights=weights,
            padding=padding,
            output_stride=output_stride,
            stem=stem,
            freeze=freeze,
            freeze_stages=freeze_stages,
            freeze_bn=freeze_bn,
            drop_path=drop_path,
        )
        self.segment = segment
        self.lr_factor = lr_factor
        dim = self.backbone.spec.dim
        self.spec = FeatureSpec("sequence", dim) if vector is None else FeatureSpec("vector", vector)
        self.project = None if vector is None else nn.Linear(dim, vector)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, 1, mels, frames); lengths in frames. With `vector`, (P, 1, C) averages."""
        num_rows, _, _, num_frames = inputs.shape
        if lengths is None:
            lengths = torch.full((num_rows,), num_frames, device=inputs.device)
        inside = torch.arange(num_frames, device=inputs.device) < lengths[:, None]  # (P, frames)
        real = torch.where(inside[:, None, None], inputs, 0)
        segments = F.pad(real, (0, -num_frames % self.segment)).unflatten(3, (-1, self.segment))
        segments = segments.permute(0, 3, 1, 2, 4)  # (P, n, 1, mels, segment)
        begins = torch.arange(segments.shape[1], device=inputs.device) * self.segment
        used = begins < lengths[:, None]  # (P, n): a segment beyond the end of its row is not encoded
        columns = self.backbone.extract(segments[used]).pyramid[-1].mean(2).transpose(1, 2)  # (used, w, C)
        tokens = columns.new_zeros(*used.shape, *columns.shape[1:])
        tokens[used] = columns
        stride = self.backbone.spec.strides[-1]
        num_tokens = lengths // self.segment * columns.shape[1] + -(-(lengths % self.segment) // stride)
        features = Features.of_sequence(tokens.flatten(1, 2), num_tokens)
        return features if self.project is None else Features.of_vector(features.pooled)

    def finish(self, features: Features) -> Features:
        """See `Encoder.finish`: the projection of `vector`."""
        if self.project is None:
            return features
        return replace(features, tokens=self.project(features.tokens))

    @property
    def extract_frozen(self) -> bool:
        """See `Encoder.extract_frozen`: with `freeze`, or all stages frozen."""
        return self.backbone.extract_frozen

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`: the backbone's stages."""
        return self.backbone.layers()
