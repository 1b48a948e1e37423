"""What every balancing rule is: from the tasks' losses and its own state to weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

State = dict[str, float]


class Balancing(ABC):
    """How several task losses become one step. Constructors take keyword-only options.

    A rule keeps nothing on itself: its memory is `state`, an argument and a result, and is saved with the checkpoint.
    It sees only the tasks that have labels somewhere in the step.
    """

    @abstractmethod
    def weights(self, tasks: Iterable[str], state: State) -> dict[str, float]:
        """{task: weight} for the coming step."""

    def update(self, losses: Mapping[str, float], state: State) -> State:
        """The state after a step whose mean losses were `losses`."""
        return state
