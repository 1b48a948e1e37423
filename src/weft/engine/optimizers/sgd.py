"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Annotated, Any

import torch

from weft.registry import Range, register


@register("optimizer", "sgd")
def sgd(
    parameter_groups: list[dict[str, Any]],
    *,
    lr: Annotated[float, Range(0, open_low=True)] = 0.01,
    momentum: Annotated[float, Range(0, 1, open_high=True)] = 0.9,
    nesterov: bool = True,
    weight_decay: Annotated[float, Range(0)] = 1e-4,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with (Nesterov) momentum.

    Args:
        lr: learning rate.
        momentum: share of the last step that is kept.
        nesterov: look ahead along the momentum; needs momentum.
        weight_decay: L2 penalty.
    """
    nesterov = nesterov and momentum > 0
    return torch.optim.SGD(parameter_groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
