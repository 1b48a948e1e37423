"""What every decision rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from weft.types import Answer


class Decision(nn.Module, ABC):
    """Combine one task's predictions of several views into one.

    A constructor takes `views: tuple[str, ...]`, the views that the task reads, `answer: Answer`, what its predictions
    are, and keyword-only options. It raises a `ValueError` where it has no meaning for such answers. Classes are on
    axis 1, and whatever follows (pixels) is decided place by place; labels and values are decided number by number.
    Boxes are sets: which of two views' boxes belong together is for the rule to say.

    Attributes:
        combines: the kinds of answers that it has a meaning for.
    """

    combines: ClassVar[tuple[Answer, ...]] = ("classes", "labels", "values")

    def __init__(self, views: tuple[str, ...], answer: Answer) -> None:
        super().__init__()
        if len(views) > 1 and answer not in self.combines:
            raise ValueError(
                f"{type(self).__name__} has no meaning for {answer}; it combines {', '.join(self.combines)}"
            )
        self.views = tuple(views)
        self.answer = answer

    def forward(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """(B, ...) from {view: (B, ...)} and {view: (B,) bool}; weights renormalise over the views present in a row.

        Some of `views` may be lacking. What an absent view holds changes nothing, to the bit; a row in which no view is
        present holds something finite that means nothing.
        """
        here = [view for view in self.views if view in predictions]  # in this order whatever the dictionary's
        rows = {view: present[view].view(-1, *[1] * (predictions[view].dim() - 1)) for view in here}
        return self.combine({view: torch.where(rows[view], predictions[view], 0) for view in here}, rows)

    @abstractmethod
    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """(B, ...) from {view: (B, ...)}, zero in absent rows, and {view: (B, 1, ...) bool}, both in the views' order.

        A row in which a view is absent must come out as if there were no such view, to the bit; a row in which none is
        present must come out finite. Nothing may be computed across rows.
        """

    @property
    def learns(self) -> bool:
        """Whether it has something to learn: then the combined answer of every labelled row has a loss of its own."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def explain(self) -> dict[str, float]:
        """{view: its share where all views are present}; empty where a rule gives the views no weights of their own."""
        return {}


def sum_of(terms: dict[str, Tensor]) -> Tensor:
    """The sum of all, one after another: an absent view adds an exact zero."""
    first, *others = terms.values()
    for term in others:
        first = first + term
    return first
