"""From a training in progress to a checkpoint, and back to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from weft.engine import checkpoint as checkpoints
from weft.engine.checkpoint import Checkpoint
from weft.engine.position import Position
from weft.model import Model


def averaged(model: Model, average: AveragedModel | None) -> Model:
    """The network that is evaluated: the average of the weights where there is one."""
    return model if average is None else cast(Model, average.module)


def to_use(model: Model, average: AveragedModel | None, position: Position) -> Checkpoint:
    """A checkpoint that holds what is evaluated, and nothing to go on training with."""
    return Checkpoint(averaged(model, average).state_dict(), {}, asdict(position))


def to_go_on(
    model: Model, average: AveragedModel | None, optimizer: torch.optim.Optimizer, position: Position
) -> Checkpoint:
    """A checkpoint from which training goes on as if it had not stopped."""
    tensors, others = checkpoints.flatten_optimizer(optimizer.state_dict()["state"])
    training = {f"optimizer.{name}": tensor for name, tensor in tensors.items()}
    if average is not None:
        training.update({f"average.{name}": tensor for name, tensor in average.state_dict().items()})
    state = {**asdict(position), "optimizer": others, "threads": torch.get_num_threads()}
    return Checkpoint(model.state_dict(), training, state)


def restore(
    checkpoint: Checkpoint,
    model: Model,
    average: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    *,
    source: str,
) -> tuple[Position, int]:
    """Bring a training to where a checkpoint of `to_go_on` was.

    Returns:
        the position, and the number of threads that the run had.

    Raises:
        WeftError: the checkpoint does not fit.
    """
    state = dict(checkpoint.state)
    others, threads = state.pop("optimizer"), state.pop("threads")
    checkpoints.load_weights(model, checkpoint.weights, source=source)
    entries = checkpoints.restore_optimizer(_below("optimizer.", checkpoint.training), others)
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        checkpoints.load_weights(average, _below("average.", checkpoint.training), source=source)
    return Position(**state), int(threads)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
