"""What every task that answers per pixel is: a decoder, a convolution, and the way up to the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft import registry
from weft.decoders.base import Decoder
from weft.decoders.blocks import resized
from weft.metrics.calibration import NUM_BINS
from weft.modalities.base import Field
from weft.registry import Part
from weft.tasks.base import Task
from weft.tasks.dense_stages import Attention, Auxiliary, AuxiliaryHeads, Refine, Refinement, SelfAttention
from weft.types import Features, FeatureSpec, Need, Records

#: The decoder of a dense task whose configuration names none.
DECODER = Part("decoder", "deeplabv3plus")


@dataclass(frozen=True)
class DenseDesign:
    """What the heads of a dense task are made of: its options that are the same for all of them.

    Attributes:
        decoder: not yet built.
        dropout: probability of hiding a channel of the decoder's map in training.
        attention, refine, auxiliary: what is added to the decoder, or None.
    """

    decoder: Part
    dropout: float
    attention: Attention | None = None
    refine: Refine | None = None
    auxiliary: Auxiliary | None = None

    def build(self, spec: FeatureSpec, num_channels: int) -> DenseHead:
        """A head for one view, of `num_channels` numbers per pixel."""
        return DenseHead(spec, num_channels, self)

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the loss of every stage, in the order of `DenseHead.stages`."""
        coarse = () if self.refine is None else (self.refine.weight,)
        heads = () if self.auxiliary is None else (self.auxiliary.weight,) * len(self.auxiliary.strides)
        return (1.0, *coarse, *heads)


class DenseHead(nn.Module):
    """Features with maps in, K numbers per pixel out; in training those of every stage that has a loss of its own.

    Args:
        spec: of the features.
        num_channels: K.
        design: what it is made of.
    """

    def __init__(self, spec: FeatureSpec, num_channels: int, design: DenseDesign) -> None:
        super().__init__()
        self.attention = None if design.attention is None else SelfAttention(spec.dim, design.attention)
        self.decoder = design.decoder(spec)
        self.dropout = nn.Dropout2d(design.dropout)
        self.project = nn.Conv2d(self.decoder.out_channels, num_channels, kernel_size=1)
        self.refine = None if design.refine is None else Refinement(spec, num_channels, design.refine)
        self.auxiliary = None if design.auxiliary is None else AuxiliaryHeads(spec, num_channels, design.auxiliary)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, S · K, H, W) float32 at `size` (H, W): of the S `stages` in training, of the answer in evaluation."""
        return to_pixels(self.stages(features) if self.training else self.answer(features), size)

    def answer(self, features: Features) -> Tensor:
        """(P, K, h, w) at the stride of the last stage."""
        return self._answer_and_coarse(features.pyramid)[0]

    def stages(self, features: Features) -> Tensor:
        """(P, S · K, h, w), of one size: the answer, the coarse one that `refine` read, those of auxiliary heads."""
        pyramid = features.pyramid
        answer, coarse = self._answer_and_coarse(pyramid)
        said = [answer] if self.refine is None else [answer, coarse]
        if self.auxiliary is not None:
            said += self.auxiliary(pyramid)
        return torch.cat([resized(one, said[0].shape[-2:]) for one in said], dim=1) if len(said) > 1 else said[0]

    def _answer_and_coarse(self, pyramid: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The last stage's answer and the first's: one tensor where there is no second stage."""
        read = pyramid if self.attention is None else (*pyramid[:-1], self.attention(pyramid[-1]))
        coarse: Tensor = self.project(self.dropout(self.decoder(read)))
        return (coarse if self.refine is None else self.refine(coarse, pyramid)), coarse


class DenseTask(Task):
    """A task with a number, or several, for every pixel at the size of the input.

    Its options `decoder`, `dropout`, `attention`, `refine` and `auxiliary` are those of a `DenseDesign`.
    """

    need: ClassVar[Need] = "maps"
    additive: ClassVar[bool] = True

    def __init__(
        self, views: Mapping[str, FeatureSpec], field: Field, *, design: DenseDesign, num_channels: int
    ) -> None:
        self._design, self._num_channels = design, num_channels
        super().__init__(views, field)

    @classmethod
    def strides_read(cls, options: Mapping[str, Any]) -> tuple[int, ...] | None:
        """See `Task.strides_read`: those of the decoder and of the stages beside it."""
        part: Part = registry.as_part("decoder", options.get("decoder", DECODER))
        decoder: type[Decoder] = registry.get("decoder", part.type)  # type: ignore[assignment]  # all are classes
        read = decoder.strides_read(part.options)
        if read is None:
            return None
        auxiliary = registry.as_group(Auxiliary, options.get("auxiliary"))
        refine = registry.as_group(Refine, options.get("refine"))
        beside = (*(auxiliary.strides if auxiliary else ()), *((refine.stride,) if refine else ()))
        return tuple(sorted({*read, *beside}))

    def build_head(self, spec: FeatureSpec) -> nn.Module:
        """A decoder and a 1×1 convolution to the K numbers of a pixel."""
        return self._design.build(spec, self._num_channels)

    def answer_of(self, logits: Tensor) -> Tensor:
        """(P, K, h, w) of what a head says: in training the other stages stand after the answer."""
        return logits[:, : self._num_channels]

    def stages_of(self, logits: Tensor) -> list[tuple[float, Tensor]]:
        """(weight of its loss, (P, K, h, w)) of every stage in what a head says: in evaluation of the answer alone.

        Args:
            logits: (P, S · K, h, w) in training, (P, K, h, w) in evaluation.
        """
        return list(zip(self._design.weights, logits.split(self._num_channels, dim=1), strict=False))


def at_one_size(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """{view: (P, K, h, w)} with all maps at the size of the finest."""
    height = max(view_logits.shape[-2] for view_logits in logits.values())
    width = max(view_logits.shape[-1] for view_logits in logits.values())
    return {view: to_pixels(view_logits, (height, width)) for view, view_logits in logits.items()}


def to_pixels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(P, K, H, W) float32 from (P, K, h, w), bilinearly, with the classes innermost in memory.

    Args:
        logits: a map over the whole of the image.
        size: (H, W) of the image.
    """
    # float32: neighbours in bf16 are too close to interpolate between. Channels last: what follows runs over the
    # classes of a pixel (softmax, maximum), which is several times faster on a processor where they lie side by side.
    logits = logits.float().contiguous(memory_format=torch.channels_last)
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def confusion_records(prediction: Tensor, target: Tensor, ids: list[str], *, ignore: int) -> Records:
    """Per sample: pixels of each class, right (`tp`), `predicted` and `actual`, and of each bin; and the confusion.

    Args:
        prediction: (P, K, H, W) probabilities.
        target: (P, H, W) class numbers.
        ids: the P sample ids.
        ignore: number of pixels without a label.
    """
    num_rows, num_classes = prediction.shape[:2]
    largest, best = prediction.max(1)  # as argmax, and faster
    # pixels without a label are counted as one class more, which is then cut off: cheaper than picking the others
    truth = torch.where(target == ignore, num_classes, target.long())
    row = torch.arange(num_rows, device=target.device).view(-1, 1, 1)
    place = (row * (num_classes + 1) + truth) * num_classes + best
    counts = torch.bincount(place.flatten(), minlength=num_rows * (num_classes + 1) * num_classes)
    confusion = counts.view(num_rows, num_classes + 1, num_classes)[:, :num_classes].cpu().numpy()
    return Records(
        ids=list(ids),
        rows={
            "tp": np.diagonal(confusion, axis1=1, axis2=2).copy(),
            "predicted": confusion.sum(1),
            "actual": confusion.sum(2),
            **calibration_bins(largest, best == target, target != ignore),
        },
        totals={"confusion": confusion.sum(0)},
    )


def calibration_bins(confidence: Tensor, right: Tensor, known: Tensor) -> dict[str, np.ndarray]:
    """What `Reliability` sums, per sample: `bin_count`, `bin_confidence` and `bin_true`, each (P, 15).

    Args:
        confidence: (P, H, W) probabilities of what is answered.
        right: (P, H, W) bool.
        known: (P, H, W) bool, the pixels that have a label.
    """
    num_rows = len(confidence)
    row = torch.arange(num_rows, device=confidence.device).view(-1, 1, 1)
    places = (confidence * NUM_BINS).ceil().long().sub(1).clamp(0, NUM_BINS - 1)
    places = ((row * NUM_BINS + places) * 2 + right).where(known, num_rows * NUM_BINS * 2)  # one more for the others
    shape, size = (num_rows, NUM_BINS, 2), num_rows * NUM_BINS * 2
    counts = torch.bincount(places.flatten(), minlength=size + 1)[:size].view(shape).cpu().numpy()
    sums = torch.bincount(places.flatten(), confidence.double().flatten(), minlength=size + 1)[:size].view(shape)
    return {"bin_count": counts.sum(2), "bin_confidence": sums.sum(2).cpu().numpy(), "bin_true": counts[..., 1]}
