"""What most of the views say."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.decision.base import Decision, sum_of
from weft.registry import register

#: A view says yes to a label from this probability on.
YES = 0.5


@register("decision", "vote")
class VoteDecision(Decision):
    """The class that most views hold for the likeliest; a tie goes to the class of the higher mean probability.

    The answer is the mean of the probabilities of the views that voted for it, so that a view alone is the answer, and
    an answer still says how sure it is. Labels are voted on one by one, yes from a probability of 0.5 on; of numbers
    the answer is the median, of two the mean.

    Reference: Kittler et al., On Combining Classifiers, IEEE TPAMI 20(3), 1998, section 3.
    """

    def combine(self, predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """See `Decision.combine`."""
        if self.answer == "values":
            return _median(predictions, present)
        total = sum_of(predictions)
        if self.answer == "classes":
            said = {view: prediction.argmax(1, keepdim=True) for view, prediction in predictions.items()}
            winner = _winner(said, present, total)
        else:
            said = {view: prediction >= YES for view, prediction in predictions.items()}
            winner = _majority(said, present, total)
        agreed = {view: present[view] & (said[view] == winner) for view in predictions}
        voters = sum_of({view: votes.to(total.dtype) for view, votes in agreed.items()})
        theirs = sum_of({view: torch.where(agreed[view], predictions[view], 0) for view in predictions})
        return theirs / voters.clamp(min=1)  # clamp: no view is present


def _winner(said: dict[str, Tensor], present: dict[str, Tensor], total: Tensor) -> Tensor:
    """(B, 1, ...) the class of the most votes, of the highest summed probability among those, of the lowest number."""
    votes = torch.zeros_like(total)
    for view, best in said.items():
        votes.scatter_add_(1, best, present[view].to(votes.dtype).expand_as(best))
    first = votes == votes.amax(1, keepdim=True)
    return torch.where(first, total, -1).argmax(1, keepdim=True)


def _majority(said: dict[str, Tensor], present: dict[str, Tensor], total: Tensor) -> Tensor:
    """(B, ...) bool: what most say of each label, the mean probability where as many say yes as no."""
    number = sum_of({view: there.to(total.dtype) for view, there in present.items()})
    yes = sum_of({view: (said[view] & present[view]).to(total.dtype) for view in said})
    return torch.where(2 * yes == number, total >= YES * number, 2 * yes > number)


def _median(predictions: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """(B, ...) the median of those present: the one in the middle, or the mean of the two there."""
    highest = torch.finfo(next(iter(predictions.values())).dtype).max
    ordered = torch.stack([torch.where(present[view], values, highest) for view, values in predictions.items()])
    ordered = ordered.sort(0).values  # those that are absent come last
    number = torch.stack(list(present.values())).sum(0, keepdim=True)
    last = (number - 1).clamp(min=0)  # clamp: no view is present
    lower, upper = (ordered.gather(0, place.expand(1, *ordered.shape[1:])) for place in (last // 2, (last + 1) // 2))
    return torch.where(number > 0, lower / 2 + upper / 2, 0).squeeze(0)
