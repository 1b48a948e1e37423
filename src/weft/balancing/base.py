"""What every balancing rule is: from the tasks' losses, their gradients and its own state to weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar, Literal

import torch
from torch import Tensor

#: A rule's memory: {quantity: {task: value}}.
State = dict[str, dict[str, float]]

#: What a rule's weights depend on besides its state.
Reads = Literal["state", "losses", "gradients"]

#: Where the gradients of the tasks are taken: at the views that their heads read, or at every shared parameter.
At = Literal["features", "parameters"]


@dataclass(frozen=True)
class Gramian:
    """The inner products of the tasks' gradients: all that conflict between tasks depends on.

    Attributes:
        tasks: K names.
        values: (K, K) float64 on the processor; row and column i are of task i.
    """

    tasks: tuple[str, ...]
    values: Tensor

    @property
    def finite(self) -> bool:
        """Whether all gradients were."""
        return bool(torch.isfinite(self.values).all())

    def only(self, tasks: Sequence[str]) -> Gramian:
        """That of some of the tasks, in their order."""
        index = [self.tasks.index(task) for task in tasks]
        return Gramian(tuple(tasks), self.values[index][:, index])

    def norms(self) -> dict[str, float]:
        """{task: length of its gradient}."""
        return dict(zip(self.tasks, self.values.diagonal().clamp(min=0).sqrt().tolist(), strict=True))

    def cosines(self) -> dict[tuple[str, str], float]:
        """{two tasks: cosine between their gradients}, in [-1, 1]; not of a task whose gradient is zero."""
        norms = self.norms()
        moved = [task for task in self.tasks if norms[task] > 0]
        products = self.only(moved).values
        return {
            (moved[i], moved[j]): float(products[i, j]) / (norms[moved[i]] * norms[moved[j]])
            for i, j in combinations(range(len(moved)), 2)
        }


@dataclass(frozen=True)
class Seen:
    """What a rule may know of a step.

    Attributes:
        tasks: those that have labels in the step.
        losses: their mean losses over the whole step; empty where weights must be known before the first of them.
        gramian: of the gradients of `weight` · mean loss of each; None where nobody asked, or no two tasks are there.
    """

    tasks: tuple[str, ...]
    losses: Mapping[str, float] = field(default_factory=dict)
    gramian: Gramian | None = None


class Balancing(ABC):
    """How several task losses become one step. Constructors take keyword-only options.

    A rule keeps nothing on itself: its memory is `state`, an argument and a result, and is saved with the checkpoint.
    It sees only the tasks that have labels somewhere in the step, by name. Where a rule leaves the length of the step
    open, the weights of K tasks add up to K, so that rules can change places at one learning rate.

    Attributes:
        reads: what its weights depend on besides `state`. Those that come from `gradients` weigh what tasks share, and
            leave each head to its own loss; all others weigh the whole loss.
        measures: whether `update` needs the gradients.
        looks_again: whether `update` needs the losses of the same samples after the step.
        at: where gradients are taken.
    """

    reads: ClassVar[Reads] = "state"
    measures: ClassVar[bool] = False
    looks_again: ClassVar[bool] = False
    at: At = "features"

    @abstractmethod
    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """{task: factor on its mean loss} for this step."""

    def update(self, seen: Seen, state: State, *, after: Mapping[str, float]) -> State:
        """The state after a step.

        Args:
            seen: all that was seen of it.
            state: before it.
            after: the mean losses of the same samples with the new weights; empty unless `looks_again`.
        """
        return state

    def end_epoch(self, losses: Mapping[str, float], state: State) -> State:
        """The state after an epoch whose mean losses were `losses`, of the tasks that had labels in it."""
        return state


class GradientRule(Balancing):
    """A rule whose weights follow from the gradients of the tasks alone, whatever their common length.

    Args:
        at: where gradients are taken: at the features that the heads read, which costs no further backward pass
            through encoders and fusion, or at all their parameters, which costs one for every task.
    """

    reads: ClassVar[Reads] = "gradients"

    def __init__(self, *, at: At = "features") -> None:
        self.at = at

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """By `combine`; 1 for a task that is alone, or whose gradient is zero."""
        weights = dict.fromkeys(seen.tasks, 1.0)
        if len(seen.tasks) < 2:
            return weights
        assert seen.gramian is not None
        norms = seen.gramian.norms()
        # sorted: what is drawn or broken off at random must not depend on the order in which tasks stand in a file
        moved = sorted(task for task in seen.tasks if norms.get(task, 0.0) > 0)
        if len(moved) > 1:
            products = seen.gramian.only(moved).values
            found = self.combine(products / products.diagonal().mean())
            weights.update(zip(moved, found.tolist(), strict=True))
        return weights

    @abstractmethod
    def combine(self, gramian: Tensor) -> Tensor:
        """(K,) weights from the inner products (K, K) of two gradients or more, scaled to squares of mean 1."""


def adding_up(values: Mapping[str, float], total: float) -> dict[str, float]:
    """The same shares, scaled so that they add up to `total`."""
    factor = total / sum(values.values())
    return {task: factor * value for task, value in values.items()}


def softmax(logits: Mapping[str, float]) -> dict[str, float]:
    """{task: exp(logit)}, adding up to 1."""
    largest = max(logits.values(), default=0.0)
    return adding_up({task: math.exp(logit - largest) for task, logit in logits.items()}, 1.0)


def of(quantity: str, tasks: Iterable[str], state: State, *, start: float) -> dict[str, float]:
    """{task: value} of a quantity in the state, `start` for a task that was never seen."""
    known = state.get(quantity, {})
    return {task: known.get(task, start) for task in tasks}


def with_values(state: State, **quantities: Mapping[str, float]) -> State:
    """The state with some values changed; those of other tasks stay."""
    return {**state, **{name: {**state.get(name, {}), **values} for name, values in quantities.items()}}


def positive_definite_floor(gramian: Tensor) -> Tensor:
    """A Gramian with a little on its diagonal, so that gradients that cancel exactly leave something to solve for."""
    # 1e-9 of a mean square: far below what float32 gradients can tell, far above float64's rounding
    return gramian + 1e-9 * torch.eye(len(gramian), dtype=gramian.dtype)
