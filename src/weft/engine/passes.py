"""The backward passes of one step: the gradient of all batches of all processes, however the tasks are weighed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from weft.balancing.base import Balancing, Gramian, Seen, State
from weft.engine.distributed import Gathering
from weft.engine.passage import Passage, gramian_of
from weft.engine.precision import autocast
from weft.model import Model
from weft.types import Batch

#: {task: (sum, count)} of one batch.
Losses = Mapping[str, tuple[Tensor, Tensor]]


class _Looked(Protocol):
    """A batch as the network saw it."""

    @property
    def losses(self) -> Losses: ...


Look = TypeVar("Look", bound=_Looked)


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


@dataclass(frozen=True)
class _Whole:
    """A batch seen in one go."""

    losses: Losses


class Passes:
    """The backward passes of one step.

    What decides how it goes on is the same in all processes; a process without a batch, or whose batches lack a task,
    takes part in every exchange.

    Args:
        model: the network.
        batches: of the step, in this process.
        balance: how tasks are weighed.
        precision: fp32 or bf16.
        several: whether any process has more than one batch.
        gathering: the processes.
    """

    def __init__(
        self,
        model: Model,
        batches: Sequence[Batch],
        *,
        balance: Balance,
        precision: str,
        several: bool,
        gathering: Gathering,
    ) -> None:
        self.model, self.batches, self.balance, self.precision = model, batches, balance, precision
        self.several, self.gathering = several, gathering
        self.totals: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def take_together(self) -> Taken:
        """One backward pass for every batch, through heads, fusion and encoders at once."""
        looks = self._begin(lambda batch: _Whole(forward(self.model, batch, self.precision)))
        if not (self.counts and (self.several or self._finite)):
            return self._taken(finite=self._finite)
        weights = self._weights()
        for batch, look in zip(self.batches, looks, strict=True):
            objective = torch.zeros((), device=batch.device)
            for one in self._objectives(look.losses, weights).values():
                objective = objective + one
            if objective.requires_grad:  # it does not where no task has a label in this batch
                objective.backward()
        self._end()
        self._sum_gradients([p for p in self.model.parameters() if p.requires_grad])
        return replace(self._taken(finite=self._finite), weights=weights)

    def take_apart(self) -> Taken:
        """Every task by itself through its head, and together through fusion and encoders where that is exact.

        Where the weights are known only after the last batch, or gradients are taken at the parameters, each task
        goes by itself all the way, and its gradient is kept until then. The products at the features are sums over
        samples, so those of all processes add up; those at the parameters are taken of the gradients of all processes.
        """
        rule = self.balance.rule
        at_parameters = rule.at == "parameters" and (rule.reads == "gradients" or rule.measures)
        late = rule.reads != "state" and self.several
        looks = self._begin(lambda batch: Passage(self.model, batch, precision=self.precision))
        if not self.counts:
            return self._taken(finite=True)
        if at_parameters or late or self.balance.look:
            taken = self._take_kept(looks, at_parameters=at_parameters)
        else:
            taken = self._take_at_features(looks)
        if taken.finite and rule.reads != "gradients":
            self._weigh_heads(taken.weights)
        return taken

    def _take_at_features(self, looks: Iterator[Passage]) -> Taken:
        """The tasks' gradients are weighed at the features, and go on together."""
        weights = self._weights() if self.balance.rule.reads == "state" else {}
        products, waiting = self._no_products(), []
        for passage in looks:
            products += passage.through_heads(self._objectives(passage.losses))
            if weights:
                passage.back(weights)
            else:
                waiting.append(passage)  # the only one: the products of all processes say how it goes on
        self._end()
        gramian = Gramian(tuple(self.counts), self.gathering.sum(products))
        if not (self._finite and gramian.finite):
            return self._taken(finite=False)
        weights = weights or self._weights(gramian)
        for passage in waiting:
            passage.back(weights)
        self._sum_gradients([p for p in self.model.parameters() if p.requires_grad])
        return replace(self._taken(finite=True), weights=weights, gramian=gramian)

    def _take_kept(self, looks: Iterator[Passage], *, at_parameters: bool) -> Taken:
        """The tasks' gradients go each by itself to the shared parameters, and are weighed there."""
        kept = _Kept(self.model, self.counts)
        products = self._no_products()
        for passage in looks:
            products += passage.through_heads(self._objectives(passage.losses))
            kept.add(passage.back_apart(kept.parameters))
        self._end()
        gramian = Gramian(tuple(self.counts), self.gathering.sum(products))
        if not (self._finite and gramian.finite):
            return self._taken(finite=False)
        kept.gather(self.gathering)
        conflict = gramian_of(kept.gradients)
        if not conflict.finite:
            return self._taken(finite=False)
        gramian = conflict if at_parameters else gramian
        weights = self._weights(gramian)
        shared = {id(parameter) for parameter in kept.parameters}
        self._sum_gradients([p for p in self.model.parameters() if p.requires_grad and id(p) not in shared])
        kept.put(weights)
        return replace(self._taken(finite=True), weights=weights, gramian=gramian, conflict=conflict)

    def _begin(self, see: Callable[[Batch], Look]) -> Iterator[Look]:
        """Look at the first batch, and count the labels of the whole step in all processes.

        Where no process has more than one batch, the losses of these say all that there is to know.

        Returns:
            the batches as they were looked at: the others when they are reached.
        """
        ahead = [see(batch) for batch in self.batches[:1]]
        losses = ahead[0].losses if ahead else {}
        totals = {task: float(losses[task][0].detach()) if losses else 0.0 for task in self.model.tasks}
        counts = (
            _sum_counts(self.model, self.batches)
            if self.several
            else {task: float(losses[task][1]) if losses else 0.0 for task in self.model.tasks}
        )
        found = torch.tensor([[totals[task], counts[task]] for task in self.model.tasks], dtype=torch.float64)
        of_all = dict(zip(self.model.tasks, self.gathering.sum(found).tolist(), strict=True))
        self.counts = {task: count for task, (_, count) in of_all.items() if count > 0}
        self.totals = {task: totals[task] if self.several else of_all[task][0] for task in self.counts}
        return self._looks(ahead, see)

    def _looks(self, ahead: list[Look], see: Callable[[Batch], Look]) -> Iterator[Look]:
        while ahead:
            yield ahead.pop()
        for batch in self.batches[1:]:
            look = see(batch)
            self._note(look.losses)
            yield look

    def _end(self) -> None:
        """After the last batch the losses of the whole step are known."""
        if self.several:
            self.totals = self.gathering.add(self.totals)

    def _no_products(self) -> Tensor:
        return torch.zeros(len(self.counts), len(self.counts), dtype=torch.float64)

    def _weights(self, gramian: Gramian | None = None) -> dict[str, float]:
        """What the rule says: asked in one process, since it may draw at random; the others add nothing."""
        said = self.balance.weights(self._seen(gramian)) if self.gathering.leads else dict.fromkeys(self.counts, 0.0)
        return self.gathering.add({task: said[task] for task in self.counts})

    def _sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Each parameter's gradient becomes that of all processes."""
        sums = self.gathering.sum_gradients([parameter.grad for parameter in parameters], parameters)
        for parameter, gradient in zip(parameters, sums, strict=True):
            parameter.grad = gradient

    def _note(self, losses: Losses) -> None:
        """Add up what the losses of a batch say."""
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
        tasks: those that have a label in the step.
    """

    def __init__(self, model: Model, tasks: Iterable[str]) -> None:
        own = {id(p) for task in model.tasks for module in model.own_modules(task) for p in module.parameters()}
        self.parameters: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
        self.gradients: dict[str, list[Tensor | None]] = {task: [None] * len(self.parameters) for task in tasks}

    def add(self, gradients: Mapping[str, Sequence[Tensor | None]]) -> None:
        """Add those of one batch."""
        for task, more in gradients.items():
            self.gradients[task] = [
                b if a is None else a if b is None else a + b for a, b in zip(self.gradients[task], more, strict=True)
            ]

    def gather(self, gathering: Gathering) -> None:
        """Make them those of all processes."""
        for task, gradients in self.gradients.items():
            self.gradients[task] = gathering.sum_gradients(gradients, self.parameters)

    def put(self, weights: Mapping[str, float]) -> None:
        """Their weighted sum becomes each parameter's `grad`."""
        for place, parameter in enumerate(self.parameters):
            for task, gradients in self.gradients.items():
                gradient = gradients[place]
                if gradient is not None:
                    part = weights[task] * gradient
                    parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)


def forward(model: Model, batch: Batch, precision: str) -> dict[str, tuple[Tensor, Tensor]]:
    """{task: (sum, count)} of a batch."""
    with autocast(batch.device, precision):
        outputs = model(batch)
    return model.losses(outputs, batch)


def _sum_counts(model: Model, batches: Sequence[Batch]) -> dict[str, float]:
    counts = [model.counts(batch) for batch in batches]
    return {task: sum(float(count[task]) for count in counts) for task in model.tasks}
