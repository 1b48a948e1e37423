"""One weight per view, fixed or learned, shared out among the views that are present."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from weft.decision.base import sum_of

#: A learned logarithm is so many times its parameter. Adam moves a parameter by about the learning rate a step: at
#: 1e-4, good for a pretrained encoder, a logarithm would hardly have left its start after a thousand steps.
RATE = 10.0


class ViewWeights(nn.Module):
    """A positive weight for every view; the shares of those present in a row sum to one.

    A learned weight also depends on which other views are absent in the row: a fused view that lacks a modality may be
    worth less than the view of the modality that is left. What each absence changes begins at nothing and is learned
    from the rows that have it; so without such rows the weights are only shared out anew.

    Args:
        views: their names.
        fixed: {view: weight}, for each of `views` at least; None: learned, beginning with equal ones. A single view
            has nothing to learn.
    """

    def __init__(self, views: tuple[str, ...], fixed: Mapping[str, float] | None = None) -> None:
        super().__init__()
        missing = [view for view in views if fixed is not None and view not in fixed]
        if missing:
            raise ValueError(
                f"weights are given for {', '.join(fixed or ()) or 'no view'}, and not for {', '.join(missing)}; give "
                f"one for each of {', '.join(views)}"
            )
        self.views = views
        self._fixed = (
            {view: math.log(fixed[view]) for view in views} if fixed is not None else dict.fromkeys(views, 0.0)
        )
        learned = views if fixed is None and len(views) > 1 else ()
        self.scores = nn.ParameterDict({view: nn.Parameter(torch.zeros(())) for view in learned})
        #: {absent view: {view: what its absence adds to the logarithm}}
        self.absences = nn.ModuleDict(
            {
                absent: nn.ParameterDict({view: nn.Parameter(torch.zeros(())) for view in learned if view != absent})
                for absent in learned
            }
        )

    def forward(self, present: dict[str, Tensor]) -> dict[str, Tensor]:
        """{view: (B, 1, ...)} shares from {view: (B, 1, ...) bool}; zero where absent."""
        lowest = torch.finfo(torch.float32).min
        # each less the largest of the row: whatever they are, the exponentials neither overflow nor all vanish
        logs = {view: torch.where(there, self._log(view, present), lowest) for view, there in present.items()}
        largest = torch.stack(list(logs.values())).detach().amax(0)
        powers = {view: torch.where(present[view], (log - largest).exp(), 0) for view, log in logs.items()}
        total = sum_of(powers).clamp(min=1)  # clamp: nothing is present
        return {view: power / total for view, power in powers.items()}

    def shares(self) -> dict[str, float]:
        """{view: its share where all are present}; empty for a single view, which shares with nobody."""
        if len(self.views) == 1:
            return {}
        with torch.no_grad():
            everywhere = {view: torch.ones((), dtype=torch.bool, device=self._device) for view in self.views}
            return {view: float(share) for view, share in self(everywhere).items()}

    def _log(self, view: str, present: Mapping[str, Tensor]) -> Tensor | float:
        if view not in self.scores:
            return self._fixed[view]
        total: Tensor = self.scores[view]
        for absent, additions in self.absences.items():
            if absent != view:
                addition = cast(nn.ParameterDict, additions)[view]
                total = total + (torch.where(present[absent], 0, addition) if absent in present else addition)
        return RATE * total

    @property
    def _device(self) -> torch.device:
        return next((score.device for score in self.scores.values()), torch.device("cpu"))
