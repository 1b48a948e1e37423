"""One step of the optimiser, from one batch or from several whose gradients are accumulated exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from weft.balancing.base import Balancing, Gramian, Seen, State
from weft.engine.passage import Passage, gramian_of
from weft.engine.precision import autocast
from weft.model import Model
from weft.types import Batch

#: {task: (sum, count)} of one batch.
Losses = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Taken:
    """What a step found.

    Attributes:
        totals: {task: sum of its losses} of the tasks that have a label.
        counts: {task: what the sum is divided by}.
        finite: whether all losses and gradients were; if not, the weights are as before.
        weights: {task: the rule's factor on its mean loss}; empty where what they follow from was not finite.
        gramian: of the gradients of `factor` · mean loss of each task, where the rule needs them.
        conflict: the same of the gradients of all shared parameters, where they were looked at.
    """

    totals: dict[str, float]
    counts: dict[str, float]
    finite: bool
    weights: dict[str, float] = field(default_factory=dict)
    gramian: Gramian | None = None
    conflict: Gramian | None = None

    @property
    def means(self) -> dict[str, float]:
        """{task: mean loss}."""
        return {task: total / self.counts[task] for task, total in self.totals.items()}

    @property
    def seen(self) -> Seen:
        """What the balancing rule learns from."""
        return Seen(tuple(self.counts), self.means, self.gramian)


@dataclass(frozen=True)
class Balance:
    """How tasks are weighed in a step.

    Attributes:
        rule: the balancing rule.
        state: its memory.
        factors: {task: its `weight` in the configuration}.
        look: whether to look at how far the tasks' gradients point apart, whatever the rule needs.
    """

    rule: Balancing
    state: State
    factors: Mapping[str, float]
    look: bool = False

    def weights(self, seen: Seen) -> dict[str, float]:
        """The rule's factors."""
        return self.rule.weights(seen, self.state)


def take_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    *,
    balance: Balance,
    precision: str,
    clip: float | None,
) -> Taken:
    """Change the weights by the gradient of the weighted mean losses over all the batches.

    Args:
        model: the network, in training mode.
        optimizer: of its weights.
        batches: one or more.
        balance: the weights of the tasks that have a label in the step.
        precision: fp32 or bf16.
        clip: largest norm of the gradient, or None.
    """
    step = _Step(model, batches, balance=balance, precision=precision)
    taken = step.take_apart() if _apart(model, batches, balance) else step.take_together()
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
def losses_again(model: Model, batches: Sequence[Batch], *, precision: str) -> dict[str, float]:
    """{task: mean loss} of the same batches with the weights as they are now; the network's statistics stay."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    totals: dict[str, float] = {}
    counts: dict[str, float] = {}
    for batch in batches:
        for task, (total, count) in _forward(model, batch, precision).items():
            totals[task] = totals.get(task, 0.0) + float(total)
            counts[task] = counts.get(task, 0.0) + float(count)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return {task: total / counts[task] for task, total in totals.items() if counts[task] > 0}


def _apart(model: Model, batches: Sequence[Batch], balance: Balance) -> bool:
    """Whether the tasks' gradients are needed one by one."""
    rule = balance.rule
    if len(model.tasks) < 2:
        return False
    return (
        rule.reads == "gradients"
        or rule.measures
        or balance.look
        or (rule.reads == "losses" and len(batches) > 1)  # the weights are known when the last batch has been seen
    )


class _Step:
    """The backward passes of one step.

    Args:
        model: the network.
        batches: of the step.
        balance: how tasks are weighed.
        precision: fp32 or bf16.
    """

    def __init__(self, model: Model, batches: Sequence[Batch], *, balance: Balance, precision: str) -> None:
        self.model, self.batches, self.balance, self.precision = model, batches, balance, precision
        self.totals: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def take_together(self) -> Taken:
        """One backward pass for every batch, through heads, fusion and encoders at once."""
        weights: dict[str, float] = {}
        for number, batch in enumerate(self.batches):
            losses = _forward(self.model, batch, self.precision)
            self._note(losses, first=number == 0)
            if number == 0:
                if not (self._finite and self.counts):
                    return self._taken(finite=self._finite)
                weights = self.balance.weights(self._seen())
            objective = torch.zeros((), device=batch.device)
            for one in self._objectives(losses, weights).values():
                objective = objective + one
            if objective.requires_grad:  # it does not where no task has a label in this batch
                objective.backward()
        return replace(self._taken(finite=self._finite), weights=weights)

    def take_apart(self) -> Taken:
        """Every task by itself through its head, and together through fusion and encoders where that is exact.

        Where the weights are known only after the last batch, or gradients are taken at the parameters, each task
        goes by itself all the way, and its gradient is kept until then.
        """
        rule = self.balance.rule
        at_parameters = rule.at == "parameters" and (rule.reads == "gradients" or rule.measures)
        late = rule.reads != "state" and len(self.batches) > 1
        kept = _Kept(self.model) if at_parameters or late or self.balance.look else None
        weights: dict[str, float] = {}
        gramian: Gramian | None = None
        for number, batch in enumerate(self.batches):
            passage = Passage(self.model, batch, precision=self.precision)
            self._note(passage.losses, first=number == 0)
            if not self.counts:
                return self._taken(finite=True)
            products = passage.through_heads(self._objectives(passage.losses))
            gramian = Gramian(tuple(self.counts), products if gramian is None else gramian.values + products)
            if not (self._finite and gramian.finite):
                return self._taken(finite=False)
            if kept is not None:
                kept.add(passage.back_apart(kept.parameters))
            else:
                weights = weights or self.balance.weights(self._seen(gramian))
                passage.back(weights)
        conflict = None if kept is None else gramian_of(kept.gradients)
        if kept is not None and conflict is not None:
            if not conflict.finite:
                return self._taken(finite=False)
            gramian = conflict if at_parameters else gramian
            weights = self.balance.weights(self._seen(gramian))
            kept.put(weights)
        if rule.reads != "gradients":
            self._weigh_heads(weights)
        return replace(self._taken(finite=True), weights=weights, gramian=gramian, conflict=conflict)

    def _note(self, losses: Losses, *, first: bool) -> None:
        """Add up what the losses of a batch say; the counts are those of the whole step from the first batch on."""
        if first:
            counts = (
                {task: float(count) for task, (_, count) in losses.items()}
                if len(self.batches) == 1
                else _sum_counts(self.model, self.batches)
            )
            self.counts = {task: count for task, count in counts.items() if count > 0}
            self.totals = dict.fromkeys(self.counts, 0.0)
        for task in self.counts:
            self.totals[task] += float(losses[task][0].detach())

    def _objectives(self, losses: Losses, weights: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """{task: what the batch adds to `factor` · mean loss over the step, times its weight}."""
        factors = self.balance.factors
        weighed = {task: factors[task] * (weights[task] if weights else 1.0) for task in self.counts}
        return {task: (weighed[task] / count) * losses[task][0] for task, count in self.counts.items()}

    def _seen(self, gramian: Gramian | None = None) -> Seen:
        """What is known of the step; its losses only where they are all known, or no rule could be exact."""
        means = {task: total / self.counts[task] for task, total in self.totals.items()}
        return Seen(tuple(self.counts), means if self.balance.rule.reads != "state" else {}, gramian)

    def _weigh_heads(self, weights: Mapping[str, float]) -> None:
        """What belongs to one task has its gradient alone, which is weighed as a whole."""
        for task, weight in weights.items():
            for module in self.model.own_modules(task):
                for parameter in module.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(weight)

    @property
    def _finite(self) -> bool:
        return all(map(math.isfinite, self.totals.values()))

    def _taken(self, *, finite: bool) -> Taken:
        return Taken(self.totals, self.counts, finite)


class _Kept:
    """Each task's gradient of the shared parameters, summed over the batches of a step until the weights are known.

    Args:
        model: the network; shared are the parameters of preprocessors, encoders and fusion.
    """

    def __init__(self, model: Model) -> None:
        own = {id(p) for task in model.tasks for module in model.own_modules(task) for p in module.parameters()}
        self.parameters: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
        self.gradients: dict[str, list[Tensor | None]] = {}

    def add(self, gradients: Mapping[str, Sequence[Tensor | None]]) -> None:
        """Add those of one batch."""
        for task, more in gradients.items():
            before = self.gradients.get(task, [None] * len(self.parameters))
            self.gradients[task] = [
                b if a is None else a if b is None else a + b for a, b in zip(before, more, strict=True)
            ]

    def put(self, weights: Mapping[str, float]) -> None:
        """Their weighted sum becomes each parameter's `grad`."""
        for place, parameter in enumerate(self.parameters):
            for task, gradients in self.gradients.items():
                gradient = gradients[place]
                if gradient is not None:
                    part = weights[task] * gradient
                    parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)


def _forward(model: Model, batch: Batch, precision: str) -> dict[str, tuple[Tensor, Tensor]]:
    with autocast(batch.device, precision):
        outputs = model(batch)
    return model.losses(outputs, batch)


def _sum_counts(model: Model, batches: Sequence[Batch]) -> dict[str, float]:
    counts = [model.counts(batch) for batch in batches]
    return {task: sum(float(count[task]) for count in counts) for task in model.tasks}
