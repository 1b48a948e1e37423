"""Random weights, drawn anew for every step."""

from __future__ import annotations

import torch

from weft.balancing.base import Balancing, Seen, State, adding_up, softmax
from weft.registry import register


@register("balancing", "rlw")
class RandomLossWeighting(Balancing):
    """K softmax(z), z standard normal: what a rule must be better than to be worth its trouble.

    The draws come from the random stream of the step, as dropout does: they are a function of seed and step.

    Reference: Lin et al., TMLR 2022, arXiv:2111.10603, section 3.
    """

    def weights(self, seen: Seen, state: State) -> dict[str, float]:
        """Adding up to the number of tasks."""
        names = sorted(seen.tasks)  # the order of a file must not matter
        drawn = softmax(dict(zip(names, torch.randn(len(names), dtype=torch.float64).tolist(), strict=True)))
        return adding_up({task: drawn[task] for task in seen.tasks}, len(seen.tasks))
