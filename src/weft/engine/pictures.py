"""Pictures of samples for the report: what went in, the truth, the answer and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from weft.data.collate import Sample
from weft.engine import inference as looking
from weft.engine.loading import LoadedRun
from weft.types import Prediction


def draw_samples(
    loaded: LoadedRun,
    split: str,
    folder: Path,
    *,
    worst: Mapping[str, Sequence[str]],
    number: int,
    keep: Sequence[str],
) -> list[dict[str, Any]]:
    """Draw `number` samples spread evenly over a split, and each task's worst, below `folder/pictures`.

    Args:
        loaded: the run.
        split: of its data.
        folder: of the evaluation.
        worst: {task: sample ids}.
        number: of samples besides the worst.
        keep: modalities the answers may use.

    Returns:
        one entry per sample, as `evaluation.json` holds them; paths are relative to `folder`.
    """
    (folder / "pictures").mkdir(exist_ok=True)
    ids = loaded.data.ids(split)
    spread = [ids[index] for index in np.unique(np.linspace(0, len(ids) - 1, min(number, len(ids))).astype(int))]
    wanted = list(dict.fromkeys([*spread, *(sample for samples in worst.values() for sample in samples)]))
    entries = []
    for place, sample in enumerate(loaded.data.select(split, wanted)):
        entry = _draw_sample(loaded, sample, folder, f"{place:02d}", keep)
        entry["worst_of"] = [task for task, samples in worst.items() if sample.id in samples]
        entries.append(entry)
    return entries


@torch.inference_mode()
def answer_sample(loaded: LoadedRun, sample: Sample, keep: Sequence[str] | None = None) -> dict[str, Prediction]:
    """{task: Prediction} of one row for one sample, from the modalities in `keep` (all by default)."""
    device = next(loaded.model.parameters()).device
    batch = loaded.data.collate([sample], multiple=loaded.multiple).to(device)
    seen = looking.encode(
        loaded.model,
        batch,
        loaded.data.modalities,
        inference=loaded.experiment.inference,
        multiple=loaded.multiple,
        precision=loaded.precision,
    )
    kept = None if keep is None else frozenset(keep)
    return looking.answer(loaded.model, seen, batch.size, precision=loaded.precision, keep=kept)


def row_of(loaded: LoadedRun, task: str, prediction: Prediction, sample: Sample) -> np.ndarray:
    """The only row of a prediction as an array, with the padding of dense ones cut off."""
    value = prediction.value[0].float().cpu().numpy()
    if looking.is_dense(loaded.model.tasks[task]):
        height, width = sample.size
        value = value[..., :height, :width]
    return value


def _draw_sample(loaded: LoadedRun, sample: Sample, folder: Path, name: str, keep: Sequence[str]) -> dict[str, Any]:
    inputs = {m: loaded.data.modalities[m].draw(value) for m, value in sample.inputs.items()}
    entry: dict[str, Any] = {"id": sample.id, "inputs": {}, "tasks": {}}
    for modality, picture in inputs.items():
        entry["inputs"][modality] = _save(picture, folder, f"{name}-in-{modality}")
    background = next(iter(inputs.values())).convert("RGB")
    answers = answer_sample(loaded, sample, keep)
    for task_name, task in loaded.model.tasks.items():
        drawn: dict[str, str | None] = {"truth": None, "prediction": None, "error": None}
        target = sample.targets.get(task_name)
        if target is not None:
            drawn["truth"] = _save(task.draw_truth(target, background), folder, f"{name}-{task_name}-truth")
        if bool(answers[task_name].answered[0]):
            row = row_of(loaded, task_name, answers[task_name], sample)
            drawn["prediction"] = _save(task.draw(row, background), folder, f"{name}-{task_name}-answer")
            error = None if target is None else task.draw_error(row, target, background)
            if error is not None:
                drawn["error"] = _save(error, folder, f"{name}-{task_name}-error")
        entry["tasks"][task_name] = drawn
    return entry


def _save(picture: Image.Image, folder: Path, name: str) -> str:
    path = f"pictures/{name}.png"
    picture.save(folder / path)
    return path
