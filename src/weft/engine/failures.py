"""A loss or gradient that is not finite: which task, which samples, and the batch kept for a look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from weft.engine.distributed import ALONE, Gathering
from weft.model import Model, Outputs
from weft.types import Batch


def explain(
    model: Model, batches: Sequence[Batch], folder: Path, *, step: int, precision: str, gathering: Gathering = ALONE
) -> str:
    """Which tasks and samples made a step fail, in words; the batches are kept for a look.

    Args:
        model: the network, with the weights of before the step.
        batches: of the step, in this process.
        folder: to keep them in.
        step: its number.
        precision: fp32 or bf16.
        gathering: the processes.
    """
    found: dict[str, list[str]] = {}
    for one in gathering.all(culprits(model, batches, precision=precision)):
        for task, ids in one.items():
            found.setdefault(task, []).extend(ids)
    path = keep(batches, folder, step=step, found=found, gathering=gathering)
    named = "; ".join(f"task {task!r}, samples {', '.join(ids)}" for task, ids in found.items())
    return f"step {step}: a loss or gradient is not finite: {named or 'not found again'}. The batch is kept in {path}."


def culprits(model: Model, batches: Sequence[Batch], *, precision: str) -> dict[str, list[str]]:
    """{task: sample ids} whose loss, or whose gradient of the network's parameters, is not finite.

    Runs the network again on the batches, task by task and, for the tasks at fault, row by row.
    """
    found: dict[str, list[str]] = {}
    for batch in batches:
        with torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(batch)
        for task, (total, _) in model.losses(outputs, batch).items():
            if bool(torch.isfinite(total)) and _finite_gradient(model, total):
                continue
            ids = _bad_rows(model, outputs, batch, task)
            found.setdefault(task, []).extend(ids or list(batch.ids))
    return found


def _finite_gradient(model: Model, loss: Tensor) -> bool:
    if not loss.requires_grad:
        return True
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None)


def _bad_rows(model: Model, outputs: Outputs, batch: Batch, task: str) -> list[str]:
    bad = []
    for row, sample in enumerate(batch.ids):
        for view, logits in outputs.logits[task].items():
            present, labelled = outputs.present[view], batch.labelled[task]
            if not (bool(present[row]) and bool(labelled[row])):
                continue
            place, answer = int(labelled[:row].sum()), int(present[:row].sum())
            total, _ = model.tasks[task].loss(logits[answer : answer + 1], batch.targets[task][place : place + 1])
            if not bool(torch.isfinite(total)):
                bad.append(sample)
                break
    return bad


def keep(
    batches: Sequence[Batch], folder: Path, *, step: int, found: dict[str, list[str]], gathering: Gathering = ALONE
) -> Path:
    """Write the batches of a failed step and what was found to `folder`; returns the JSON file.

    Of several processes each writes its batches, numbered on from those of the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = gathering.all([list(batch.ids) for batch in batches])
    for index, batch in enumerate(batches, sum(map(len, ids[: gathering.rank]))):
        tensors = {
            **{f"inputs.{name}": tensor for name, tensor in batch.inputs.items()},
            **{f"targets.{name}": tensor for name, tensor in batch.targets.items()},
            **{f"present.{name}": tensor for name, tensor in batch.present.items()},
            **{f"labelled.{name}": tensor for name, tensor in batch.labelled.items()},
            **{f"features.{name}": features.tokens for name, features in batch.features.items()},
        }
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(tensors, folder / f"step-{step}-{index}.safetensors")
    path = folder / f"step-{step}.json"
    if gathering.leads:
        path.write_text(
            json.dumps({"step": step, "tasks": found, "ids": [one for its in ids for one in its]}, indent=1)
        )
    return path
