"""One step of the optimiser, of one batch or several in one process or several: exact, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from weft.engine.batch_norm import statistics
from weft.engine.distributed import ALONE, Gathering
from weft.engine.passes import Balance, Passes, Taken, forward
from weft.model import Model
from weft.types import Batch

__all__ = ["Balance", "Taken", "losses_again", "take_step"]


def take_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    *,
    balance: Balance,
    precision: str,
    clip: float | None,
    gathering: Gathering = ALONE,
) -> Taken:
    """Change the weights by the gradient of the weighted mean losses over all the batches of all processes.

    Args:
        model: the network, in training mode.
        optimizer: of its weights.
        batches: one or more; in one of several processes perhaps none.
        balance: the weights of the tasks that have a label in the step.
        precision: fp32 or bf16.
        clip: largest norm of the gradient, or None.
        gathering: the processes that take the step.
    """
    several = gathering.largest(len(batches)) > 1
    passes = Passes(model, batches, balance=balance, precision=precision, several=several, gathering=gathering)
    taken = passes.take_apart() if _apart(model, balance, several=several) else passes.take_together()
    gathering.average(statistics(model))
    if not taken.finite:
        return taken
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not math.isfinite(float(norm)):
        return replace(taken, finite=False)
    if taken.counts:
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        optimizer.step()
    return taken


@torch.no_grad()
def losses_again(
    model: Model, batches: Sequence[Batch], *, precision: str, gathering: Gathering = ALONE
) -> dict[str, float]:
    """{task: mean loss} of the same batches with the weights as they are now; the network's statistics stay."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    totals, counts = dict.fromkeys(model.tasks, 0.0), dict.fromkeys(model.tasks, 0.0)
    for batch in batches:
        for task, (total, count) in forward(model, batch, precision).items():
            totals[task] += float(total)
            counts[task] += float(count)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    totals, counts = gathering.add(totals), gathering.add(counts)
    return {task: total / counts[task] for task, total in totals.items() if counts[task] > 0}


def _apart(model: Model, balance: Balance, *, several: bool) -> bool:
    """Whether the tasks' gradients are needed one by one."""
    rule = balance.rule
    if len(model.tasks) < 2:
        return False
    return (
        rule.reads == "gradients"
        or rule.measures
        or balance.look
        or (rule.reads == "losses" and several)  # the weights are known when the last batch has been seen
    )
