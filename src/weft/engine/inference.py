"""Predicting at test time: at once, or averaged over flips, scales and windows, over all modalities together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.engine.precision import autocast
from weft.experiment import Inference
from weft.modalities.base import Geometry, Modality
from weft.model import Model, Outputs
from weft.tasks.base import Task
from weft.types import Batch, Features, Prediction


@dataclass(frozen=True)
class Look:
    """One way of looking at a batch.

    Attributes:
        batch: the batch as it is looked at.
        flipped: whether it is mirrored.
        window: (top, left, height, width) of the part that is looked at, or None for the whole.
    """

    batch: Batch
    flipped: bool
    window: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Seen:
    """An encoded look, from which any subset of the modalities can be decoded."""

    look: Look
    features: dict[str, Features]


def encode(
    model: Model,
    batch: Batch,
    modalities: Mapping[str, Modality],
    *,
    inference: Inference,
    multiple: int,
    precision: str,
) -> list[Seen]:
    """Encode a batch once per look."""
    whole_too = any(not is_dense(task) for task in model.tasks.values())
    seen = []
    with autocast(next(model.parameters()).device, precision):
        for look in looks(batch, modalities, inference=inference, multiple=multiple, whole_too=whole_too):
            seen.append(Seen(look, model.encode(look.batch)))
    return seen


def answer(
    model: Model, seen: list[Seen], size: tuple[int, int], *, precision: str, keep: frozenset[str] | None = None
) -> dict[str, Prediction]:
    """{task: Prediction} at `size`, averaged over the looks, from the modalities in `keep` (all by default)."""
    return combine(model, seen, decode(model, seen, precision=precision, keep=keep), size)


def decode(model: Model, seen: list[Seen], *, precision: str, keep: frozenset[str] | None = None) -> list[Outputs]:
    """What the heads say of every look, from the modalities in `keep` (all by default)."""
    outputs = []
    for one in seen:
        features = one.features if keep is None else kept(one.features, keep)
        with autocast(next(model.parameters()).device, precision):
            outputs.append(model.decode(features, one.look.batch.size))
    return outputs


def combine(model: Model, seen: list[Seen], outputs: list[Outputs], size: tuple[int, int]) -> dict[str, Prediction]:
    """{task: Prediction} at `size` from the outputs of every look.

    Dense tasks average all looks, pixel by pixel; the others average the looks at the whole sample.
    """
    answers: dict[str, list[tuple[Look, Prediction]]] = {name: [] for name in model.tasks}
    for one, said in zip(seen, outputs, strict=True):
        for name, prediction in model.answer(said).items():
            answers[name].append((one.look, prediction))
    return {name: _average(task, answers[name], size) for name, task in model.tasks.items()}


def looks(
    batch: Batch, modalities: Mapping[str, Modality], *, inference: Inference, multiple: int, whole_too: bool
) -> Iterator[Look]:
    """All the ways of looking at a batch; the batch itself where nothing is to be averaged."""
    geometries = {name: modality.geometry for name, modality in modalities.items()}
    for scale in inference.scales:
        scaled = _scaled(batch, geometries, scale, multiple)
        for flipped in (False, True) if inference.flip else (False,):
            turned = _flipped(scaled, geometries) if flipped else scaled
            if inference.window is None or whole_too:
                yield Look(turned, flipped, None)
            if inference.window is not None:
                window = tuple(min(-(-side // multiple) * multiple, full) for side, full in _pairs(inference, scaled))
                for top in _starts(scaled.size[0], window[0], inference.overlap):
                    for left in _starts(scaled.size[1], window[1], inference.overlap):
                        part = (top, left, window[0], window[1])
                        yield Look(_cropped(turned, geometries, part), flipped, part)


def is_dense(task: Task) -> bool:
    """Whether a task's answer is a map over the pixels."""
    return task.field.geometry.has_pixels


def kept(features: Mapping[str, Features], keep: frozenset[str]) -> dict[str, Features]:
    """The features with all modalities absent but those in `keep`."""
    return {
        name: feature if name in keep else feature.keep(torch.zeros_like(feature.present))
        for name, feature in features.items()
    }


def _average(task: Task, answers: list[tuple[Look, Prediction]], size: tuple[int, int]) -> Prediction:
    dense = is_dense(task)
    windowed = any(look.window is not None for look, _ in answers)
    used = [(look, p) for look, p in answers if (look.window is not None) == (dense and windowed)]
    if len(used) == 1:
        return used[0][1]
    answered = torch.stack([prediction.answered for _, prediction in used]).any(0)
    if not bool(answered.any()):
        return used[0][1]
    undone = [task.undo(p.value, flipped=look.flipped, size=look.batch.size, original=size) for look, p in used]
    if not dense:
        return Prediction(task.together(undone), answered)
    total: Tensor | None = None
    weight: Tensor | None = None
    for (look, _), value in zip(used, undone, strict=True):
        value, seen = _placed(value, look, size)
        total = value if total is None else total + value
        weight = seen if weight is None else weight + seen
    assert total is not None
    assert weight is not None
    return Prediction(total / weight, answered)


def _placed(value: Tensor, look: Look, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A map put at its window's place and brought to `size`, with how often each pixel was seen."""
    seen = torch.ones((1, 1, *value.shape[-2:]), device=value.device)
    if look.window is not None:
        top, left, height, width = look.window
        full_height, full_width = look.batch.sizes[0]
        if look.flipped:  # the window was cut from the mirrored sample
            left = full_width - left - width
        sides = (left, full_width - left - width, top, full_height - top - height)
        value, seen = F.pad(value, sides), F.pad(seen, sides)
    if value.shape[-2:] != size:
        value = _resized(value, size, mode="bilinear", align_corners=False)
        seen = _resized(seen, size, mode="bilinear", align_corners=False)
    return value, seen


def _pairs(inference: Inference, batch: Batch) -> tuple[tuple[int, int], tuple[int, int]]:
    assert inference.window is not None
    return (inference.window[0], batch.size[0]), (inference.window[1], batch.size[1])


def _starts(full: int, window: int, overlap: float) -> list[int]:
    """Where windows begin so that they cover everything, the last one flush with the end."""
    stride = max(1, int(window * (1 - overlap)))
    return [*range(0, full - window, stride), full - window]


def _resized(maps: Tensor, size: tuple[int, int], **how: Any) -> Tensor:
    """(..., H, W) at another size, each by itself."""
    resized: Tensor = F.interpolate(maps.flatten(1, -3), size, **how).unflatten(1, maps.shape[1:-2])
    return resized


def _scaled(batch: Batch, geometries: Mapping[str, Geometry], scale: float, multiple: int) -> Batch:
    if scale == 1:
        return batch
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in batch.size)
    inputs = dict(batch.inputs)
    for name, geometry in geometries.items():
        if geometry.has_pixels and len(inputs[name]):
            smooth = geometry.kind in ("image", "clip") and geometry.unknown is None
            mode = {"mode": "bilinear", "align_corners": False} if smooth else {"mode": "nearest"}
            resized = _resized(inputs[name].float(), (height, width), **mode)
            grown = (width / batch.size[1], height / batch.size[0])
            inputs[name] = _stretched(resized, *grown) if geometry.vectors else resized
    return replace(batch, inputs=inputs, size=(height, width), sizes=((height, width),) * len(batch))


def _flipped(batch: Batch, geometries: Mapping[str, Geometry]) -> Batch:
    inputs = {name: x.flip(-1) if geometries[name].has_pixels else x for name, x in batch.inputs.items()}
    turned = {name: _stretched(x, -1, 1) if geometries[name].vectors else x for name, x in inputs.items()}
    return replace(batch, inputs=turned)


def _stretched(vectors: Tensor, across: float, down: float) -> Tensor:
    """(..., C, H, W) whose first two channels are displacements (x, y), each times a factor."""
    factors = vectors.new_ones(vectors.shape[-3])
    factors[0], factors[1] = across, down
    return vectors * factors[:, None, None]


def _cropped(batch: Batch, geometries: Mapping[str, Geometry], window: tuple[int, int, int, int]) -> Batch:
    top, left, height, width = window
    inputs = {
        name: x[..., top : top + height, left : left + width] if geometries[name].has_pixels else x
        for name, x in batch.inputs.items()
    }
    # `sizes` keeps the size of what the window was cut from: its answer is put back there
    return replace(batch, inputs=inputs, size=(height, width), sizes=(batch.size,) * len(batch))
