"""One step of the optimiser, from one batch or from several whose gradients are accumulated exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from weft.engine.precision import autocast
from weft.model import Model
from weft.types import Batch


@dataclass(frozen=True)
class Taken:
    """What a step found.

    Attributes:
        totals: {task: sum of its losses} of the tasks that have a label.
        counts: {task: what the sum is divided by}.
        finite: whether all losses and gradients were; if not, the weights are as before.
    """

    totals: dict[str, float]
    counts: dict[str, float]
    finite: bool

    @property
    def means(self) -> dict[str, float]:
        """{task: mean loss}."""
        return {task: total / self.counts[task] for task, total in self.totals.items()}


def take_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    *,
    weigh: Callable[[list[str]], Mapping[str, float]],
    precision: str,
    clip: float | None,
) -> Taken:
    """Change the weights by the gradient of the weighted mean losses over all the batches.

    Args:
        model: the network, in training mode.
        optimizer: of its weights.
        batches: one or more.
        weigh: {task: factor on its mean loss} of the tasks that have a label in the step.
        precision: fp32 or bf16.
        clip: largest norm of the gradient, or None.
    """

    def losses_of(batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        with autocast(batch.device, precision):
            outputs = model(batch)
        return model.losses(outputs, batch)

    first, *others = batches
    first_losses = losses_of(first)
    counts = _sum_counts(model, batches) if others else _counts_of(first_losses)
    counts = {task: count for task, count in counts.items() if count > 0}
    weights = weigh(list(counts))
    totals = dict.fromkeys(counts, 0.0)
    for losses in chain([first_losses], map(losses_of, others)):
        objective = torch.zeros((), device=first.device)
        for task, count in counts.items():
            total, _ = losses[task]
            objective = objective + (weights[task] / count) * total
            totals[task] += float(total.detach())
        if objective.requires_grad:  # it does not where no task has a label in this batch
            objective.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    finite = all(map(math.isfinite, totals.values())) and math.isfinite(float(norm))
    if finite and counts:
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        optimizer.step()
    return Taken(totals, counts, finite)


def _counts_of(losses: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    return {task: float(count) for task, (_, count) in losses.items()}


def _sum_counts(model: Model, batches: Sequence[Batch]) -> dict[str, float]:
    counts = [model.counts(batch) for batch in batches]
    return {task: sum(float(count[task]) for count in counts) for task in model.tasks}
