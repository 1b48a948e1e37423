"""From a training in progress to a checkpoint, and back to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from weft.engine import checkpoint as checkpoints
from weft.engine.checkpoint import Checkpoint
from weft.engine.position import Position
from weft.model import Model


@dataclass(frozen=True)
class Setting:
    """What a run had around it that its result depends on, if only in the last bits.

    Attributes:
        threads: of torch, in each process.
        processes: that trained together.
    """

    threads: int
    processes: int


def averaged(model: Model, average: AveragedModel | None) -> Model:
    """The network that is evaluated: the average of the weights where there is one."""
    return model if average is None else cast(Model, average.module)


def to_use(model: Model, average: AveragedModel | None, position: Position) -> Checkpoint:
    """A checkpoint that holds what is evaluated, and nothing to go on training with."""
    return Checkpoint(averaged(model, average).state_dict(), {}, asdict(position))


def to_go_on(
    model: Model,
    average: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    position: Position,
    *,
    setting: Setting,
) -> Checkpoint:
    """A checkpoint from which training goes on as if it had not stopped."""
    tensors, others = checkpoints.flatten_optimizer(optimizer.state_dict()["state"])
    training = {f"optimizer.{name}": tensor for name, tensor in tensors.items()}
    if average is not None:
        training.update({f"average.{name}": tensor for name, tensor in average.state_dict().items()})
    state = {**asdict(position), "optimizer": others, **asdict(setting)}
    return Checkpoint(model.state_dict(), training, state)


def restore(
    checkpoint: Checkpoint,
    model: Model,
    average: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    *,
    source: str,
) -> tuple[Position, Setting]:
    """Bring a training to where a checkpoint of `to_go_on` was.

    Returns:
        the position, and the setting that the run had.

    Raises:
        WeftError: the checkpoint does not fit.
    """
    state = dict(checkpoint.state)
    others = state.pop("optimizer")
    setting = Setting(int(state.pop("threads")), int(state.pop("processes", 1)))  # 1: of a weft that knew only one
    checkpoints.load_weights(model, checkpoint.weights, source=source)
    entries = checkpoints.restore_optimizer(_below("optimizer.", checkpoint.training), others)
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        checkpoints.load_weights(average, _below("average.", checkpoint.training), source=source)
    return Position(**state), setting


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
