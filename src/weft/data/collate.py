"""Samples become a batch: absent cells and missing labels are left out, images are padded to a common size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from weft.data.timeline import Timeline
from weft.modalities.base import Field, Modality
from weft.types import Batch, Features, Slot


@dataclass(frozen=True)
class Sample:
    """One sample, decoded and moved.

    Attributes:
        id: its id.
        inputs: {modality: array} of those that are present.
        targets: {task: array} of those that are labelled.
        size: (H, W) of its images now; (0, 0) where it has none.
        original_size: (H, W) of its images in their files.
        features: {modality: Features of one row} of those that are present and were not read: their frozen encoder has
            seen them before.
        slots: {modality: Slot} of those whose features will be kept.
        frames: that were taken of its clips, one choice for all; None where it has none.
    """

    id: str
    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    size: tuple[int, int]
    original_size: tuple[int, int]
    features: dict[str, Features] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    frames: Timeline | None = None

    @property
    def num_frames(self) -> int:
        """How many frames were taken; 0 where it has no clips."""
        return 0 if self.frames is None else len(self.frames)

    def has(self, modality: str) -> bool:
        """Whether a modality is present."""
        return modality in self.inputs or modality in self.features


def collate(
    samples: Sequence[Sample],
    modalities: Mapping[str, Modality],
    targets: Mapping[str, Field],
    *,
    multiple: int = 1,
) -> Batch:
    """A batch of some samples.

    Args:
        samples: one or more.
        modalities, targets: the fields of the experiment.
        multiple: height and width are padded up to a multiple of this.

    Returns:
        A batch whose images are padded at the bottom and the right, and whose sequences, boxes and clips at the end,
        with their fields' fill values. All clips of a batch have as many frames, those of its targets too.
    """
    size = _common_size([sample.size for sample in samples], multiple)
    num_frames = max(sample.num_frames for sample in samples)
    inputs: dict[str, Tensor] = {}
    lengths: dict[str, Tensor] = {}
    for name, modality in modalities.items():
        values = [sample.inputs[name] for sample in samples if name in sample.inputs]
        inputs[name] = _stack(values, modality, size, num_frames) if values else _nothing(modality, size, num_frames)
        if modality.geometry.kind == "sequence" or modality.geometry.has_frames:
            lengths[name] = torch.tensor([len(value) for value in values], dtype=torch.int64)
    labels: dict[str, Tensor] = {}
    for name, target in targets.items():
        values = [sample.targets[name] for sample in samples if name in sample.targets]
        labels[name] = _stack(values, target, size, num_frames) if values else torch.zeros(0)
    batch = Batch(
        inputs=inputs,
        targets=labels,
        present={name: torch.tensor([sample.has(name) for sample in samples]) for name in modalities},
        labelled={name: torch.tensor([name in sample.targets for sample in samples]) for name in targets},
        ids=tuple(sample.id for sample in samples),
        lengths=lengths,
        size=size,
        sizes=tuple(sample.size for sample in samples),
        frames=tuple(() if s.frames is None else tuple(s.frames.numbers.tolist()) for s in samples),
        features={
            name: Features.join([sample.features[name] for sample in samples if name in sample.features]).packed()
            for name in modalities
            if any(name in sample.features for sample in samples)
        },
        slots={
            name: tuple(sample.slots[name] for sample in samples if name in sample.slots)
            for name in modalities
            if any(name in sample.slots for sample in samples)
        },
    )
    return replace(batch, targets={name: target.beside(name, batch, modalities) for name, target in targets.items()})


def _common_size(sizes: Sequence[tuple[int, int]], multiple: int) -> tuple[int, int]:
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _nothing(modality: Modality, size: tuple[int, int], num_frames: int) -> Tensor:
    """(0, ...) of a modality that no sample has."""
    if not modality.geometry.has_pixels:
        return torch.zeros(0)
    before = (num_frames,) if modality.geometry.has_frames else ()
    return torch.zeros(0, *before, modality.num_channels, *size)


def _stack(values: Sequence[np.ndarray], field: Field, size: tuple[int, int], num_frames: int) -> Tensor:
    """(P, ...) of P values; images and maps are padded to `size`, with channels last in memory where they have any,
    and clips of them to so many frames.
    """
    if field.geometry.has_frames:
        return _stack_frames(values, field, size, num_frames)
    if field.geometry.kind in ("sequence", "boxes"):
        rows = [field.to_tensor(value) for value in values]
        return pad_sequence(rows, batch_first=True, padding_value=field.geometry.fill)
    if not field.geometry.has_pixels:
        return torch.stack([field.to_tensor(value) for value in values])
    # filled by NumPy: torch would start threads of its own for these copies, beside those of the training step
    pixels = [field.to_tensor(value).numpy() for value in values]
    channels = pixels[0].shape[:-2]
    stacked = np.empty((len(pixels), *size, *channels), pixels[0].dtype)
    if channels:
        stacked = np.moveaxis(stacked, -1, 1)
    for place, row, value in zip(stacked, pixels, values, strict=True):
        height, width = row.shape[-2:]
        place[..., :height, :width] = row
        if (height, width) != size:
            fill = field.to_tensor(np.full_like(value[:1, :1], field.geometry.fill)).numpy()
            place[..., height:, :] = fill
            place[..., :height, width:] = fill
    return torch.from_numpy(stacked)


def _stack_frames(values: Sequence[np.ndarray], field: Field, size: tuple[int, int], num_frames: int) -> Tensor:
    """(P, num_frames, ...) of P values of (T, ...), with the fill value wherever a clip has nothing."""
    rows = [field.to_tensor(value).numpy() for value in values]
    pixels = field.geometry.has_pixels
    channels = rows[0].shape[1:-2] if pixels else ()
    stacked = np.empty((len(rows), num_frames, *(size if pixels else rows[0].shape[1:]), *channels), rows[0].dtype)
    if channels:
        stacked = np.moveaxis(stacked, -1, 2)
    for place, row, value in zip(stacked, rows, values, strict=True):
        if row.shape != place.shape:
            one = value[:1, :1, :1] if pixels else value[:1]
            place[...] = field.to_tensor(np.full_like(one, field.geometry.fill)).numpy()
        if pixels:
            place[: len(row), ..., : row.shape[-2], : row.shape[-1]] = row
        else:
            place[: len(row)] = row
    return torch.from_numpy(stacked)
