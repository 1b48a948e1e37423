"""A batch's way through the network cut where the tasks part: each task's gradient there, and what leads to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from weft.balancing.base import Gramian
from weft.engine.precision import autocast
from weft.model import Model
from weft.types import Batch, Features


class Passage:
    """The forward pass of one batch, whose graph ends at the views and begins anew for the heads.

    So one backward pass through each head gives its task's gradient at the views, and one through encoders and fusion
    carries back whatever is made of them: together as much work as the gradient of a sum.

    Args:
        model: the network.
        batch: what goes in.
        precision: fp32 or bf16.

    Attributes:
        losses: {task: (sum, count)}, as `Model.losses` gives them.
    """

    def __init__(self, model: Model, batch: Batch, *, precision: str) -> None:
        self._ends: list[Tensor] = []  # of the graph that leads here
        self._leaves: list[Tensor] = []  # the same numbers, where the graphs of the heads begin
        self._gradients: dict[str, list[Tensor | None]] = {}
        with autocast(batch.device, precision):
            views = model.views(model.encode(batch), batch.size)
            cut = {name: self._cut(features) for name, features in views.features.items()}
            outputs = model.heads(replace(views, features=cut))
        self.losses = model.losses(outputs, batch)

    def _cut(self, features: Features) -> Features:
        def begin_anew(tensor: Tensor) -> Tensor:
            if not tensor.requires_grad:
                return tensor
            self._ends.append(tensor)
            self._leaves.append(tensor.detach().requires_grad_())
            return self._leaves[-1]

        return features.map(begin_anew)

    def through_heads(self, objectives: Mapping[str, Tensor]) -> Tensor:
        """Each task's way back to the views; the heads' own gradients are added to their `grad`.

        Args:
            objectives: {task: scalar}.

        Returns:
            (K, K) float64 on the processor: the products of the tasks' gradients at the views, in the order given.
        """
        for task, objective in objectives.items():
            if objective.requires_grad:  # it does not where the task has no label in this batch
                objective.backward()
            self._gradients[task] = [leaf.grad for leaf in self._leaves]
            for leaf in self._leaves:
                leaf.grad = None
        products = torch.zeros(len(objectives), len(objectives), dtype=torch.float64)
        for place in range(len(self._leaves)):
            given = [i for i, task in enumerate(objectives) if self._gradients[task][place] is not None]
            rows = [_in_memory_order(self._gradients[task][place]) for task in objectives]
            if given:
                matrix = torch.stack([row for row in rows if row is not None]).float()
                products[torch.tensor(given)[:, None], torch.tensor(given)] += (matrix @ matrix.T).double().cpu()
        return products

    def back(self, weights: Mapping[str, float]) -> None:
        """The way back from the views, of the weighted sum of the tasks' gradients: added to every `grad`."""
        sums = [self._weighted(place, weights) for place in range(len(self._leaves))]
        reached = [(end, total) for end, total in zip(self._ends, sums, strict=True) if total is not None]
        if reached:
            ends, totals = zip(*reached, strict=True)
            torch.autograd.backward(ends, totals)

    def back_apart(self, parameters: Sequence[nn.Parameter]) -> dict[str, list[Tensor | None]]:
        """The way back from the views of each task by itself.

        Returns:
            {task: its gradient of each of the parameters, None where it has none}.
        """
        tasks = list(self._gradients)
        return {task: self._back_of(task, parameters, last=task == tasks[-1]) for task in tasks}

    def _back_of(self, task: str, parameters: Sequence[nn.Parameter], *, last: bool) -> list[Tensor | None]:
        given = [(e, g) for e, g in zip(self._ends, self._gradients[task], strict=True) if g is not None]
        if not given:
            return [None] * len(parameters)
        ends, gradients = zip(*given, strict=True)
        found = torch.autograd.grad(ends, parameters, gradients, retain_graph=not last, allow_unused=True)
        return list(found)

    def _weighted(self, place: int, weights: Mapping[str, float]) -> Tensor | None:
        total: Tensor | None = None
        for task, gradients in self._gradients.items():
            gradient = gradients[place]
            if gradient is not None:
                part = weights[task] * gradient.float()
                total = part if total is None else total.add_(part)
        return None if total is None else total.to(self._ends[place].dtype)


def gramian_of(gradients: Mapping[str, Sequence[Tensor | None]]) -> Gramian:
    """The products of the tasks' gradients of parameters: {task: one of each, None where it has none}."""
    products = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for one in zip(*gradients.values(), strict=True):
        given = [i for i, gradient in enumerate(one) if gradient is not None]
        if given:
            matrix = torch.stack([gradient.reshape(-1) for gradient in one if gradient is not None]).float()
            products[torch.tensor(given)[:, None], torch.tensor(given)] += (matrix @ matrix.T).double().cpu()
    return Gramian(tuple(gradients), products)


def _in_memory_order(gradient: Tensor | None) -> Tensor | None:
    """A gradient as one row, in the order in which it lies in memory: no copy, and the same for all of one leaf."""
    if gradient is None:
        return None
    strides = gradient.stride()
    order = sorted(range(gradient.dim()), key=lambda axis: -strides[axis])
    return gradient.permute(order).reshape(-1)
