"""Checkpoints: written whole or not at all, refused where a byte differs, never unpickled.

A checkpoint is a folder: `model.safetensors` (the weights), `training.safetensors` (optimiser, average) and
`state.json` (where training stands, and the SHA-256 of the other two and of itself). Weights alone are enough to
evaluate and predict.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from weft.errors import ResourceFault, WeftError

FORMAT = 1
_WEIGHTS, _TRAINING, _STATE = "model.safetensors", "training.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        weights: the network's state dict.
        training: tensors of the optimiser and of the average, by name; empty in a checkpoint only to be used.
        state: step, epoch and everything else that is not a tensor, JSON-able.
    """

    weights: Mapping[str, Tensor]
    training: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint to a temporary name, sync it, verify it, then put it in the place of the previous one.

    At every moment one whole checkpoint is there: `find` looks where an interrupted replacement may have left it.

    Raises:
        ResourceFault: the disk is full; the previous checkpoint stands.
    """
    new, old = _beside(folder, ".new"), _beside(folder, ".old")
    _check_space(checkpoint, folder)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        save_file(_independent(checkpoint.weights), new / _WEIGHTS)
        save_file(_independent(checkpoint.training), new / _TRAINING)
        state = {"format": FORMAT, "files": {name: _digest(new / name) for name in (_WEIGHTS, _TRAINING)}}
        state["state"] = dict(checkpoint.state)
        state["digest"] = _digest_of(state)
        (new / _STATE).write_text(json.dumps(state, indent=1))
        for name in (_WEIGHTS, _TRAINING, _STATE):
            _sync(new / name)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise ResourceFault(
            f"could not write {folder}: {error}; the previous checkpoint stands. Free some space and resume",
            code="disk-full",
        ) from error
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def find(folder: Path) -> Path | None:
    """The folder that holds the checkpoint, also after a kill in the middle of `save`; None where there is none."""
    for candidate in (folder, _beside(folder, ".new"), _beside(folder, ".old")):
        if (candidate / _STATE).is_file():
            try:
                load(candidate)
            except WeftError:
                if candidate == folder:
                    raise
                continue
            return candidate
    return None


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint and verify it.

    Raises:
        WeftError: it is missing, of another format, or differs from what was written.
    """
    try:
        written = json.loads((folder / _STATE).read_text())
    except FileNotFoundError as error:
        raise WeftError(f"there is no checkpoint at {folder}; train first", code="no-checkpoint") from error
    except ValueError as error:
        raise _damaged(folder / _STATE) from error
    if not isinstance(written, dict) or _digest_of(written) != written.get("digest"):
        raise _damaged(folder / _STATE)
    if written["format"] != FORMAT:
        raise WeftError(
            f"{folder} has checkpoint format {written['format']} and this weft reads {FORMAT}; "
            "use the weft that wrote it (see summary.json of the run)",
            code="checkpoint-version",
        )
    for name, digest in written["files"].items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise _damaged(folder / name)
    return Checkpoint(load_file(folder / _WEIGHTS), load_file(folder / _TRAINING), written["state"])


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Load a whole state dict.

    Raises:
        WeftError: keys or shapes differ; the message says which parts.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    shapes = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if missing or unexpected or shapes:
        lines = [f"{source} does not fit this network:"]
        for what, keys in (("not in it", missing), ("unknown here", unexpected), ("of another shape", shapes)):
            parts = sorted({".".join(key.split(".")[:2]) for key in keys})
            if keys:
                lines.append(f"  {len(keys)} tensors {what}: {', '.join(parts)}")
        lines.append("use the experiment.yaml of that run, or `train.start_from` to take over what fits")
        raise WeftError("\n".join(lines), code="checkpoint-mismatch")
    module.load_state_dict(dict(weights))


def flatten_optimizer(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The per-parameter state of a torch optimiser as named tensors, and what of it is no tensor."""
    tensors, others = {}, {}
    for index, entries in state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                others[f"{index}.{key}"] = value
    return tensors, others


def restore_optimizer(tensors: Mapping[str, Tensor], others: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The inverse of `flatten_optimizer`."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **others}.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return state


def _independent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, as those of a shared encoder do
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _check_space(checkpoint: Checkpoint, folder: Path) -> None:
    tensors = [*checkpoint.weights.values(), *checkpoint.training.values()]
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed * 1.05:  # a little over: names and directories take space too
        raise ResourceFault(
            f"{folder} needs {needed / 1e6:.1f} MB and {free / 1e6:.1f} MB are free; the previous checkpoint stands. "
            "Free some space and resume",
            code="disk-full",
        )


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of(state: Mapping[str, Any]) -> str:
    content = {key: value for key, value in state.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(file: Path) -> WeftError:
    return WeftError(
        f"{file} is not what was written (its SHA-256 differs); it is damaged or was changed. "
        "Use another checkpoint of the run",
        code="checkpoint-damaged",
    )
