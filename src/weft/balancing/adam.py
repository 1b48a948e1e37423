"""Adam on a few numbers by name, for rules that learn weights beside the network."""

from __future__ import annotations

import math
from collections.abc import Mapping

from weft.balancing.base import State, of, with_values

BETAS, EPSILON = (0.9, 0.999), 1e-8


def adam_step(quantity: str, gradients: Mapping[str, float], state: State, *, start: float, lr: float) -> State:
    """The state after one step of Adam on a quantity of the tasks in `gradients`; others are not touched.

    Args:
        quantity: its name in the state; its moments are kept beside it.
        gradients: {task: derivative}.
        state: before the step.
        start: value of a task that was never seen.
        lr: step size.

    Reference: Kingma and Ba, ICLR 2015, arXiv:1412.6980, algorithm 1.
    """
    tasks = tuple(gradients)
    values = of(quantity, tasks, state, start=start)
    steps = {task: count + 1 for task, count in of(f"{quantity}_steps", tasks, state, start=0.0).items()}
    first, second = (of(f"{quantity}_moment{order}", tasks, state, start=0.0) for order in (1, 2))
    for task, gradient in gradients.items():
        first[task] += (1 - BETAS[0]) * (gradient - first[task])
        second[task] += (1 - BETAS[1]) * (gradient**2 - second[task])
        mean = first[task] / (1 - BETAS[0] ** steps[task])
        spread = math.sqrt(second[task] / (1 - BETAS[1] ** steps[task]))
        values[task] -= lr * mean / (spread + EPSILON)
    kept = {quantity: values, f"{quantity}_steps": steps}
    return with_values(state, **kept, **{f"{quantity}_moment1": first, f"{quantity}_moment2": second})
