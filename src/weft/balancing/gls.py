"""The geometric mean of the losses."""

from __future__ import annotations

import math
from typing import ClassVar

from weft.balancing.base import Balancing, Reads, Seen, State
from weft.registry import register

#: Losses below this count as this: the logarithm of 0 has no value.
SMALLEST = 1e-8


@register("balancing", "gls")
class GeometricLoss(Balancing):
    """Minimise K (Π L)^(1/K), whose gradient weighs every task by the geometric mean over its own loss.

    So every task's loss falls at the same relative rate, and scales of losses do not matter. K times the published
    loss, so that equal losses count 1 each.

    Reference: Chennupati et al., CVPR Workshops 2019, arXiv:1904.08492, eq. 2.
    """

    reads: ClassVar[Reads] = "losses"

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """d/dL of the loss: (Π L)^(1/K) / L."""
        logs = {task: math.log(max(seen.losses[task], SMALLEST)) for task in seen.tasks}
        mean = sum(logs.values()) / max(1, len(logs))
        return {task: math.exp(mean - value) for task, value in logs.items()}
