"""The types that cross module borders: batches, features, their specs, predictions and records.

Shape legend of the package: B batch, C channels, H W size, N tokens, D width, L text length, T frames, K classes,
M modalities. P is the number of rows of a batch in which one modality is present, or one label given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log2
from typing import Literal

import numpy as np
import torch
from torch import Tensor

#: What a part carries from one step of a stream to the next: tensors by name, whose sizes do not grow with the stream.
Memory = Mapping[str, Tensor]

Layout = Literal["vector", "sequence", "grid", "clip"]
Need = Literal["vector", "tokens", "frames", "maps"]

#: What a task answers: one of several classes (probabilities over axis 1), independent labels (probabilities), numbers,
#: or boxes: (N, 6) rows of x1, y1, x2, y2, score, class, from the highest score to the lowest, filled up with score 0.
Answer = Literal["classes", "labels", "values", "boxes"]


@dataclass(frozen=True)
class Slot:
    """Where the features of one cell are kept once they are known.

    Attributes:
        name: of the entry; it follows from everything that decides what the features are.
        original_size: (H, W) of the cell's image, (0, 0) where it is none.
        damaged: an entry was there, and is not what was written.
    """

    name: str
    original_size: tuple[int, int] = (0, 0)
    damaged: bool = False


@dataclass(frozen=True)
class Batch:
    """Some samples, collated, without their absent cells and missing labels: `present` and `labelled` say which rows.

    Attributes:
        inputs: per modality, (P, ...) the rows of the samples that have it, in sample order; raw (uint8 stays uint8).
        targets: per task, (P, ...) the rows of the samples that are labelled for it, in sample order.
        present: per modality, (B,) bool on the same device as the inputs.
        labelled: per task, (B,) bool.
        ids: the B sample ids.
        size: (H, W) in pixels of every image-like tensor of this batch, (0, 0) where there is none.
        sizes: per sample, the (H, W) that was not added by padding at the bottom and the right.
        lengths: per modality of sequences, (P,) int64, how many entries of each row are real; the rest is padding.
        features: per modality whose frozen encoder has seen all P rows before, what it gave: it does not run again.
        slots: per modality whose features will be kept, where those of the P rows go.
        frames: per sample the numbers of the frames that were taken of its clips; empty where it has none.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    present: dict[str, Tensor]
    labelled: dict[str, Tensor]
    ids: tuple[str, ...]
    size: tuple[int, int] = (0, 0)
    sizes: tuple[tuple[int, int], ...] = ()
    lengths: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Features] = field(default_factory=dict)
    slots: dict[str, tuple[Slot, ...]] = field(default_factory=dict)
    frames: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(iter(self.present.values())).device

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; copies overlap with computation where the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by the data loader)."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same change of every tensor."""

        def each(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: change(tensor) for name, tensor in tensors.items()}

        return replace(
            self,
            inputs=each(self.inputs),
            targets=each(self.targets),
            present=each(self.present),
            labelled=each(self.labelled),
            lengths=each(self.lengths),
            features={name: features.map(change) for name, features in self.features.items()},
        )

    def without(self, modalities: Iterable[str]) -> Batch:
        """The same samples with some modalities absent everywhere."""
        gone = set(modalities)
        return replace(
            self,
            inputs={m: x[:0] if m in gone else x for m, x in self.inputs.items()},
            present={m: torch.zeros_like(p) if m in gone else p for m, p in self.present.items()},
            lengths={m: n[:0] if m in gone else n for m, n in self.lengths.items()},
            features={m: f for m, f in self.features.items() if m not in gone},
            slots={m: s for m, s in self.slots.items() if m not in gone},
        )


@dataclass(frozen=True)
class FeatureSpec:
    """What a `Features` will hold, known before any data is seen.

    Attributes:
        layout: vector (one token), sequence, grid (a map) or clip (a map per frame).
        dim: width D of the tokens.
        channels: channels of the pyramid levels, fine to coarse; the last is `dim`. Empty without a grid.
        strides: their strides in pixels, fine to coarse. A level of stride s is (ceil(H / s), ceil(W / s)) large.
    """

    layout: Layout
    dim: int
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.strides):
            raise ValueError(
                f"{len(self.channels)} channels but {len(self.strides)} strides; give one of each per level"
            )
        if self.has_maps != bool(self.channels) or (self.channels and self.channels[-1] != self.dim):
            raise ValueError(f"a {self.layout} of width {self.dim} cannot have the levels {self.channels}")

    @property
    def has_maps(self) -> bool:
        """Whether the tokens are a map, with finer levels below."""
        return self.layout in ("grid", "clip")

    @property
    def provides(self) -> frozenset[Need]:
        """What a task can ask of these features."""
        needs: set[Need] = {"vector", "tokens"}
        if self.layout != "vector":
            needs.add("frames")
        if self.has_maps:
            needs.add("maps")
        return frozenset(needs)

    def levels_for(self, strides: Sequence[int] | None) -> tuple[int, ...]:
        """The pyramid levels that are needed where maps near `strides` are read, and the deepest; None: all."""
        if not self.has_maps or strides is None:
            return tuple(range(len(self.strides)))
        nearest = {min(range(len(self.strides)), key=lambda i: abs(log2(self.strides[i] / s))) for s in strides}
        return tuple(sorted(nearest | {len(self.strides) - 1}))

    def only(self, levels: Sequence[int]) -> FeatureSpec:
        """The spec of `Features.only` of the same levels."""
        return replace(
            self, channels=tuple(self.channels[i] for i in levels), strides=tuple(self.strides[i] for i in levels)
        )

    def level_size(self, level: int, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of one pyramid level for inputs of `size` (H, W)."""
        stride = self.strides[level]
        return -(-size[0] // stride), -(-size[1] // stride)

    def empty(self, num_rows: int, size: tuple[int, int], *, like: Tensor) -> Features:
        """Features of `num_rows` absent rows: zeros of the right shape, on the device and with the type of `like`."""
        maps: tuple[Tensor, ...] = ()
        grid = None
        num_tokens = 1
        if self.has_maps:
            # one pixel at least: a batch without any picture has no size, and still is fused; of a clip one frame
            sides = (max(1, size[0]), max(1, size[1]))
            shapes = [self.level_size(level, sides) for level in range(len(self.strides))]
            grid = (1, *shapes[-1])
            num_tokens = shapes[-1][0] * shapes[-1][1]
            maps = tuple(
                like.new_zeros(num_rows, 1, c, *shape) for c, shape in zip(self.channels[:-1], shapes[:-1], strict=True)
            )
        return Features(
            tokens=like.new_zeros(num_rows, num_tokens, self.dim),
            mask=torch.zeros(num_rows, num_tokens, dtype=torch.bool, device=like.device),
            present=torch.zeros(num_rows, dtype=torch.bool, device=like.device),
            grid=grid,
            maps=maps,
        )


@dataclass(frozen=True)
class Features:
    """One modality or one view of a batch, encoded.

    Attributes:
        tokens: (B, N, D). Of image-like input they are its deepest map, flattened: by frame, then in row order.
        mask: (B, N) bool, the tokens that are real; False everywhere in an absent row, and in the frames that fill up a
            clip to the longest of its batch.
        present: (B,) bool.
        grid: (T, h, w) with T * h * w = N where the tokens are a map, else None. T = 1 for stills.
        maps: the finer pyramid levels, fine to coarse, each (B, T, C_l, H / s_l, W / s_l).
        vector: (B, D) a summary of the whole row (a class token, a last state), where there is one.
    """

    tokens: Tensor
    mask: Tensor
    present: Tensor
    grid: tuple[int, int, int] | None = None
    maps: tuple[Tensor, ...] = ()
    vector: Tensor | None = None

    @classmethod
    def of_vector(cls, vector: Tensor) -> Features:
        """Features of P rows, all present, of one token each: (P, D)."""
        present = torch.ones(len(vector), dtype=torch.bool, device=vector.device)
        return cls(tokens=vector.unsqueeze(1), mask=present.unsqueeze(1), present=present)

    @classmethod
    def of_sequence(cls, tokens: Tensor, lengths: Tensor, *, vector: Tensor | None = None) -> Features:
        """Features of P rows, all present: tokens (P, N, D), of which the first `lengths` (P,) are real."""
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        present = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        return cls(tokens=tokens, mask=mask, present=present, vector=vector)

    @classmethod
    def of_pyramid(cls, pyramid: Sequence[Tensor], present: Tensor | None = None) -> Features:
        """Features of a still from its levels (B, C_l, h_l, w_l), fine to coarse."""
        deepest = pyramid[-1]
        num_rows, _, height, width = deepest.shape
        if present is None:
            present = torch.ones(num_rows, dtype=torch.bool, device=deepest.device)
        return cls(
            tokens=deepest.flatten(2).transpose(1, 2),
            mask=present[:, None].expand(num_rows, height * width),
            present=present,
            grid=(1, height, width),
            maps=tuple(level.unsqueeze(1) for level in pyramid[:-1]),
        )

    @classmethod
    def of_frames(cls, stills: Features, real: Tensor) -> Features:
        """Features of P clips, all present, from those of their real frames: zero in the frames that are not real.

        Args:
            stills: n rows, by clip and then by time, all maps or all vectors.
            real: (P, T) bool, of which n are True, at least one in every clip.

        Returns:
            Clips of maps, or sequences of one token a frame.
        """

        def placed(values: Tensor) -> Tensor:
            """(P, T, ...) from (n, ...)."""
            if len(values) < real.numel():
                nothing = values.new_zeros(real.numel(), *values.shape[1:])
                values = nothing.index_copy(0, real.flatten().nonzero().squeeze(1), values)
            return values.unflatten(0, real.shape)

        return cls(
            tokens=placed(stills.tokens).flatten(1, 2),
            mask=real.repeat_interleave(stills.tokens.shape[1], 1),
            present=torch.ones(len(real), dtype=torch.bool, device=real.device),
            grid=None if stills.grid is None else (real.shape[1], *stills.grid[1:]),
            maps=tuple(placed(level.squeeze(1)) for level in stills.maps),
        )

    @property
    def frames(self) -> Tensor:
        """(B, T) bool: the frames that are real."""
        if self.grid is None:
            raise ValueError("these features have no frames: they are a vector or a sequence")
        real = self.mask & self.present[:, None]
        return real.unflatten(1, (self.grid[0], -1)).any(2)

    @property
    def pyramid(self) -> tuple[Tensor, ...]:
        """All levels fine to coarse with the frames folded into the rows: (B * T, C_l, h_l, w_l)."""
        if self.grid is None:
            raise ValueError("these features have no maps: they are a vector or a sequence")
        num_frames, height, width = self.grid
        num_rows, _, dim = self.tokens.shape
        deepest = self.tokens.reshape(num_rows * num_frames, height * width, dim).transpose(1, 2)
        return (*(level.flatten(0, 1) for level in self.maps), deepest.unflatten(2, (height, width)))

    @property
    def pooled(self) -> Tensor:
        """(B, D) in float32: the summary, or else the mean of the real tokens; zero for an absent row."""
        if self.vector is not None:
            return torch.where(self.present[:, None], self.vector, 0).float()
        weight = self.mask.unsqueeze(-1)
        tokens = torch.where(weight, self.tokens, 0).float()  # where, not *: 0 x NaN is NaN
        return tokens.sum(1) / weight.sum(1).clamp(min=1)  # clamp: an absent row has no tokens

    def trimmed(self) -> Features:
        """The same without tokens at the end, or frames of a clip, that are real in no row."""
        if self.grid is None:
            longest = _longest(self.mask)
            return replace(self, tokens=self.tokens[:, :longest], mask=self.mask[:, :longest])
        _, height, width = self.grid
        num_frames = _longest(self.frames)
        num_tokens = num_frames * height * width
        return replace(
            self,
            tokens=self.tokens[:, :num_tokens],
            mask=self.mask[:, :num_tokens],
            grid=(num_frames, height, width),
            maps=tuple(level[:, :num_frames] for level in self.maps),
        )

    def packed(self) -> Features:
        """The same in one layout of memory, channels innermost: results do not depend on where they come from."""
        maps = tuple(level.movedim(2, -1).contiguous().movedim(-1, 2) for level in self.maps)
        return replace(self, tokens=self.tokens.contiguous(), maps=maps)

    def rows(self) -> Iterator[Features]:
        """Each row by itself."""
        for row in range(len(self.present)):
            yield self.map(lambda tensor, place=row: tensor[place : place + 1])  # type: ignore[misc]

    def select(self, rows: Tensor) -> Features:
        """Only some rows: `rows` is (B,) bool or a tensor of indices."""
        return self.map(lambda tensor: tensor[rows])

    def only(self, levels: Sequence[int]) -> Features:
        """Only some levels of the pyramid, the deepest among them, by their place in the spec."""
        if len(levels) > len(self.maps):
            return self
        return replace(self, maps=tuple(self.maps[i] for i in levels[:-1]))

    def scatter(self, present: Tensor) -> Features:
        """These P rows put at the P places of a batch of B where `present` (B,) is True; the others become absent."""
        if bool(present.all()):
            return self
        index = present.nonzero().squeeze(1)
        return self.map(lambda rows: rows.new_zeros(len(present), *rows.shape[1:]).index_copy(0, index, rows))

    def keep(self, rows: Tensor) -> Features:
        """The same features, absent in the rows where `rows` (B,) is False: whatever they held there is gone."""

        def blank(tensor: Tensor) -> Tensor:
            return torch.where(rows.view(-1, *[1] * (tensor.dim() - 1)), tensor, torch.zeros_like(tensor))

        return self.map(blank)

    @staticmethod
    def join(parts: Sequence[Features]) -> Features:
        """The rows of several, in order; shorter sequences and clips are filled up with what is not real."""

        def joined(tensors: Sequence[Tensor]) -> Tensor:
            longest = max(tensor.shape[1] for tensor in tensors)
            return torch.cat([_filled(tensor, longest) for tensor in tensors])

        grids = [part.grid for part in parts if part.grid is not None]
        vectors = [part.vector for part in parts if part.vector is not None]
        return Features(
            tokens=joined([part.tokens for part in parts]),
            mask=joined([part.mask for part in parts]),
            present=torch.cat([part.present for part in parts]),
            grid=max(grids, default=None),  # they differ in their numbers of frames alone
            maps=tuple(joined(levels) for levels in zip(*(part.maps for part in parts), strict=True)),
            vector=torch.cat(vectors) if vectors else None,
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """The same change of every tensor."""
        return Features(
            tokens=change(self.tokens),
            mask=change(self.mask),
            present=change(self.present),
            grid=self.grid,
            maps=tuple(change(level) for level in self.maps),
            vector=None if self.vector is None else change(self.vector),
        )


def _filled(tensor: Tensor, size: int) -> Tensor:
    """(B, size, ...) from (B, N, ...), with zeros at the end."""
    if tensor.shape[1] == size:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(len(tensor), size - tensor.shape[1], *tensor.shape[2:])], 1)


def _longest(real: Tensor) -> int:
    """How many of N places of (B, N) bool there are to the last that is real in any row; N where none is."""
    anywhere = real.any(0)
    return len(anywhere) - int(anywhere.flip(0).int().argmax())


@dataclass(frozen=True)
class InputSpec:
    """What an encoder wants of its input.

    Attributes:
        mean, std: per channel, in the units of the modality's values after `Modality.to_float`; None: fitted ones.
        multiple: height and width are padded up to a multiple of this many pixels.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    multiple: int = 1


@dataclass(frozen=True)
class Prediction:
    """A task's answer for a batch.

    Attributes:
        value: (B, ...) probabilities or values, as the task defines.
        answered: (B,) bool; False: nothing that the task reads is present, and `value` means nothing there.
    """

    value: Tensor
    answered: Tensor


@dataclass
class Records:
    """What a metric needs to know of some samples: mergeable, and resampled by row for intervals.

    Attributes:
        ids: the n sample ids.
        rows: named arrays whose first axis is the sample, (n, ...).
        totals: named arrays already summed over the samples, for what is too large to keep per sample.
    """

    ids: list[str] = field(default_factory=list)
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    totals: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def merge(parts: Sequence[Records]) -> Records:
        """All the samples of all the parts, in order."""
        parts = [part for part in parts if len(part)] or list(parts[:1])
        if not parts:
            return Records()
        return Records(
            ids=[sample for part in parts for sample in part.ids],
            rows={name: np.concatenate([part.rows[name] for part in parts]) for name in parts[0].rows},
            totals={name: np.sum([part.totals[name] for part in parts], axis=0) for name in parts[0].totals},
        )

    def take(self, index: np.ndarray) -> Records:
        """The samples at `index` (repeats allowed). Totals are dropped: they cannot be resampled."""
        return Records(
            ids=[self.ids[i] for i in index], rows={name: values[index] for name, values in self.rows.items()}
        )
