"""From what a configuration says of a task's loss to the loss: one, or a weighted sum of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from weft import registry
from weft.losses.base import Loss, TargetFacts
from weft.registry import Part

#: One loss, or several that are added up, as a task has them among its options.
Losses = Annotated[Part, "loss"] | list[Annotated[Part, "loss"]]

#: The option of a loss in a list that says how much it counts there: of the list, not of the loss.
_WEIGHT = "weight"


class WeightedSum(Loss):
    """The weighted sum of several losses of the same prediction, all divided by the known entries.

    Class weights then change how much a loss counts beside the others, unless an entry weighs 1 on average, as those
    that follow from counts do.

    Args:
        target: the facts of it.
        losses: by name.
        weights: {name: factor}.
    """

    def __init__(self, target: TargetFacts, losses: Mapping[str, Loss], weights: Mapping[str, float]) -> None:
        super().__init__(target)
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count)."""
        sums = [self.weights[name] * loss(prediction, target)[0] for name, loss in self.losses.items()]
        return torch.stack(sums).sum(), self.count(target)


def build_loss(chosen: Part | Sequence[Part], target: TargetFacts) -> Loss:
    """The loss of a task.

    Args:
        chosen: one loss, or several, each with its `weight` among its options.
        target: what the losses are told of it.

    Raises:
        ValueError: a loss that is not for such a target, or options that do not fit it.
    """
    if isinstance(chosen, Part):
        loss, weight = _one(chosen, target)
        if weight != 1:
            raise ValueError(f"{chosen.type} has a weight and no loss beside it; give the task a `weight` instead")
        return loss
    if not chosen:
        raise ValueError("an empty list of losses was given; give one at least")
    losses: dict[str, Loss] = {}
    weights: dict[str, float] = {}
    for part in chosen:
        if part.type in losses:
            raise ValueError(f"the loss {part.type!r} is given twice in the sum; give it once, with its weight")
        losses[part.type], weights[part.type] = _one(part, target)
    return WeightedSum(target, losses, weights)


def wants_counts(chosen: Any) -> bool:
    """Whether one of a task's losses, as its options give them, needs the classes of the training split counted."""
    parts = registry.as_part("loss", chosen)
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, Part):
            loss: type[Loss] = registry.get("loss", part.type)  # type: ignore[assignment]  # every loss is a class
            if loss.wants_counts(part.options):
                return True
    return False


def needs_positive(loss: Loss) -> bool:
    """Whether a loss, or one of a sum, takes predictions above zero only."""
    return any(isinstance(one, Loss) and one.needs_positive for one in loss.modules())


def _one(part: Part, target: TargetFacts) -> tuple[Loss, float]:
    """A loss and its weight."""
    kind: type[Loss] = registry.get("loss", part.type)  # type: ignore[assignment]  # every loss is a class
    if target.answer not in kind.takes or (kind.needs_maps and not target.maps):
        what = {"classes": "exclusive classes", "labels": "independent labels", "values": "values"}[target.answer]
        fit = ", ".join(name for name in registry.names("loss") if _fits(name, target))
        raise ValueError(
            f"the loss {part.type!r} is not for {what}{' per pixel' if target.maps else ' of whole samples'}; losses "
            f"that are: {fit}"
        )
    options = {name: value for name, value in part.options.items() if name != _WEIGHT}
    return Part("loss", part.type, options)(target), float(part.options.get(_WEIGHT, 1.0))


def _fits(name: str, target: TargetFacts) -> bool:
    kind: type[Loss] = registry.get("loss", name)  # type: ignore[assignment]  # every loss is a class
    return target.answer in kind.takes and (target.maps or not kind.needs_maps)
