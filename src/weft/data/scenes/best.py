"""The best that a rule can do that sees only which group a thing falls in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

#: Rounds of the search for the best mIoU; it settles to four digits well before.
ROUNDS = 150


def best_accuracy(counts: np.ndarray) -> float:
    """Share that is right when every group (row) is given its most common class (column)."""
    return float(counts.max(1).sum() / counts.sum())


def best_miou(counts: np.ndarray) -> float:
    """The largest mean IoU over the classes that occur, when a group may also be divided among classes.

    The mean of ratios rewards a guess at a class that would otherwise never be named, so the most common class is not
    always the best answer. With q the share of group g that is called k, every IoU is a ratio of linear functions of q;
    their mean is climbed from several starts by moving all groups towards the answers that its gradient prefers
    (Frank and Wolfe, Naval Research Logistics Quarterly 3, 1956), as far as is best.

    Args:
        counts: (G, K) pixels of each true class in each group.
    """
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    sizes, truth = counts.sum(1), counts.sum(0)
    share = counts / sizes[:, None]
    identity = np.eye(counts.shape[1])
    starts = [identity[share.argmax(1)], share, identity[(share / (truth / truth.sum())).argmax(1)]]
    return max(_climb(counts, sizes, truth, start) for start in starts)


def best_f1(positives: np.ndarray, sizes: np.ndarray) -> float:
    """The largest F1 of a yes or no per group: a threshold on the share of positives.

    Args:
        positives, sizes: (G,) positives in each group, and its size.
    """
    occupied = sizes > 0
    positives, sizes = positives[occupied], sizes[occupied]
    order = np.argsort(-positives / sizes)
    hits, said = positives[order].cumsum(), sizes[order].cumsum()
    return float((2 * hits / (said + positives.sum())).max())


def weighted_median(atoms: Sequence[tuple[float, float]], weight: float, low: float, high: float) -> float:
    """Median of a mixture of atoms and one uniform distribution: the answer of least expected distance.

    Args:
        atoms: (place, weight).
        weight: of the uniform distribution between `low` and `high`.
    """
    half = (weight + sum(share for _, share in atoms)) / 2

    def below(place: float) -> float:
        uniform = weight * min(max((place - low) / (high - low), 0.0), 1.0)
        return uniform + sum(share for at, share in atoms if at <= place)

    places = sorted([low, high, *(place for place, _ in atoms)])
    for left, right in pairwise(places):
        before = below(left)
        if before >= half:
            return left
        if weight and low <= left and right <= high:
            place = left + (half - before) / weight * (high - low)
            if place < right:
                return place
    return places[-1]


def _climb(counts: np.ndarray, sizes: np.ndarray, truth: np.ndarray, shares: np.ndarray) -> float:
    """The mean IoU that one start leads to; `shares` is (G, K), rows summing to one."""
    steps = np.geomspace(1e-5, 1, 40)[:, None]
    hit, said = (shares * counts).sum(0), sizes @ shares
    for _ in range(ROUNDS):
        union = truth + said - hit
        gradient = (counts * union - hit * (sizes[:, None] - counts)) / union**2
        answer = gradient.argmax(1)
        target_hit = np.bincount(answer, counts[np.arange(len(counts)), answer], len(truth))
        target_said = np.bincount(answer, sizes, len(truth))
        hits, saids = hit + steps * (target_hit - hit), said + steps * (target_said - said)
        values = (hits / (truth + saids - hits)).mean(1)
        best = values.argmax()
        if values[best] <= (hit / union).mean() + 1e-9:
            break
        hit, said = hits[best], saids[best]
    return float((hit / (truth + said - hit)).mean())
