"""Adam and AdamW."""

from __future__ import annotations

from typing import Annotated, Any

import torch

from weft.registry import Range, register

Beta = Annotated[float, Range(0, 1, open_high=True)]


@register("optimizer", "adam")
def adam(
    parameter_groups: list[dict[str, Any]],
    *,
    lr: Annotated[float, Range(0, open_low=True)] = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    weight_decay: Annotated[float, Range(0)] = 0.0,
) -> torch.optim.Optimizer:
    """Adam.

    Reference: Kingma and Ba, ICLR 2015, arXiv:1412.6980.

    Args:
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: L2 penalty.
    """
    return torch.optim.Adam(parameter_groups, lr=lr, betas=betas, weight_decay=weight_decay)


@register("optimizer", "adamw")
def adamw(
    parameter_groups: list[dict[str, Any]],
    *,
    lr: Annotated[float, Range(0, open_low=True)] = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    weight_decay: Annotated[float, Range(0)] = 0.01,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay.

    Reference: Loshchilov and Hutter, ICLR 2019, arXiv:1711.05101.

    Args:
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: share of a weight, times the learning rate, that a step takes away.
    """
    return torch.optim.AdamW(parameter_groups, lr=lr, betas=betas, weight_decay=weight_decay)
