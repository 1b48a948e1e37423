"""Checking an experiment before it is trained: build it, run one batch, and say what each part is and takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from weft.config import load_experiment
from weft.data.pipeline import build_data
from weft.engine.build import build_model, num_parameters, size_multiple
from weft.engine.device import choose_device, move_to, peak_memory
from weft.engine.parameters import parameter_groups
from weft.experiment import Experiment
from weft.types import Features


@dataclass(frozen=True)
class Row:
    """A line of the table: a part, what comes out of it, how many parameters it has, and its share of the time."""

    module: str
    output: str
    parameters: int
    milliseconds: float | None


def check(experiment: Experiment | str | Path, overrides: Sequence[str] = ()) -> list[Row]:
    """Build an experiment and run one training batch through it, forwards and backwards.

    Args:
        experiment: an `Experiment`, or a YAML file.
        overrides: `key=value` over the file.

    Returns:
        a row per encoder, the fusion, each task's heads with what they read, and the whole step with its peak memory.

    Raises:
        ConfigError: something cannot work together.
        DataFault: the data cannot be used.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides)
    data = build_data(experiment)
    device = choose_device(experiment.train.device)
    model = build_model(experiment, data)
    move_to(model, device)
    parameter_groups(model, lr_factors=experiment.train.lr_factors, layer_decay=experiment.train.layer_decay)
    multiple = size_multiple(model)
    batch = next(iter(data.batches("train", training=True, multiple=multiple))).to(device)
    counts = num_parameters(model)
    rows = []
    features: dict[str, Features] = {}
    for name in model.encoders:
        start = time.perf_counter()
        features[name] = model.encode_one(name, batch)
        rows.append(Row(f"encoders.{name}", _shapes(features[name]), counts.get(f"encoders.{name}", 0), _since(start)))
    start = time.perf_counter()
    fused = model.fusion(features)
    shapes = "; ".join(f"{view}: {_shapes(view_features)}" for view, view_features in fused.items())
    rows.append(Row("fusion", shapes, counts.get("fusion", 0), _since(start)))
    views = model.views(features, batch.size)
    for name, task in model.tasks.items():
        start = time.perf_counter()
        read = model.read_by(name, views)
        sizes = [f"{view}: {tuple(task(one, view=view, size=batch.size).shape)}" for view, one in read.items()]
        own = counts.get(f"sharing.{name}", 0) + counts.get(f"tasks.{name}", 0)
        rows.append(Row(f"tasks.{name}", "; ".join(sizes), own, _since(start)))
    start = time.perf_counter()
    losses = model.losses(model(batch), batch)
    total = torch.stack([loss / count.clamp(min=1) for loss, count in losses.values()]).sum()
    if total.requires_grad:
        total.backward()
    said = ", ".join(
        f"{name} {float((loss / count.clamp(min=1)).detach()):.4g}" for name, (loss, count) in losses.items()
    )
    memory = f"peak memory {peak_memory(device) / 2**20:.0f} MiB"
    rows.append(Row("training step", f"losses {said}; {memory}", counts["total"], _since(start)))
    return rows


def _shapes(features: Features) -> str:
    tokens = f"tokens {tuple(features.tokens.shape)}"
    levels = " ".join("x".join(map(str, level.shape[2:])) for level in features.maps)
    return f"{tokens}, levels {levels}" if levels else tokens


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
