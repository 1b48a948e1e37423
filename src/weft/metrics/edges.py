"""Edges found against true ones, with a tolerance in place: precision, recall and F over thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from weft.metrics.confusion import ratio

#: Probabilities from which on a pixel is answered to be an edge.
THRESHOLDS = np.arange(1, 34, dtype=np.float32) * np.float32(0.03)

#: nearest: any number of pixels may match the same one; exact: at most one each.
Matching = Literal["nearest", "exact"]

#: How steep the ridge between two pixels may be and still be level: what rounding leaves of equal numbers.
_LEVEL = 1e-6


@dataclass(frozen=True)
class EdgeCounts:
    """Pixels of one sample, or sums over several; or of n samples, each at one threshold, (n,) in the place of (T,).

    Attributes:
        answered: (T,) answered to be an edge, from each of `THRESHOLDS` on.
        right: (T,) of these, near a true edge.
        found: (T,) true edges near which one is answered.
        actual: () true edges; of n samples (n,).
    """

    answered: np.ndarray
    right: np.ndarray
    found: np.ndarray
    actual: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """(T,), NaN where nothing is answered."""
        return ratio(self.right, self.answered)

    @property
    def recall(self) -> np.ndarray:
        """(T,), NaN without true edges."""
        return ratio(self.found, np.broadcast_to(self.actual, self.found.shape))

    @property
    def f(self) -> np.ndarray:
        """(T,) the harmonic mean; 0 where only one of the two knows of edges, 1 where neither does."""
        precision, recall = np.nan_to_num(self.precision), np.nan_to_num(self.recall)
        f = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
        return np.where((self.actual == 0) & (self.answered == 0), 1.0, f)

    @property
    def average_precision(self) -> float:
        """Σ (R_t − R_t′) P_t over the thresholds from high to low; NaN without true edges."""
        recall = self.recall[::-1]
        gained = np.diff(recall, prepend=0.0)
        return float((gained * np.nan_to_num(self.precision[::-1])).sum())


def thinned(probability: np.ndarray) -> np.ndarray:
    """(H, W) float32: the probabilities on ridges one pixel thin, 0 beside them.

    A pixel stays where, in a slightly smoothed map, no neighbour across the ridge is higher; where a ridge is flat, one
    of its pixels. Across is where the curvature, of a map smoothed more, is strongest downwards.

    Reference: Canny, TPAMI 1986, doi:10.1109/TPAMI.1986.4767851; by curvature as in Dollár and Zitnick, TPAMI 2015,
    arXiv:1406.5549.
    """
    probability = np.ascontiguousarray(probability, np.float32)
    broad = cv2.GaussianBlur(probability, (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE)
    xx, yy, xy = (
        cv2.Sobel(broad, cv2.CV_32F, *order, ksize=3, borderType=cv2.BORDER_REPLICATE)
        for order in ((2, 0), (0, 2), (1, 1))
    )
    # all three kernels have the same gain: of x², y² and xy they make 8, 8 and 4
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    height, width = probability.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    dx, dy = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    fine = cv2.GaussianBlur(probability, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    before, after = (
        cv2.remap(fine, x + sign * dx, y + sign * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for sign in (-1, 1)
    )
    ridge = (fine > before + _LEVEL) & (fine >= after - _LEVEL)
    return np.where(_without_corners(ridge), probability, np.float32(0))


def _without_corners(ridge: np.ndarray) -> np.ndarray:
    """(H, W) bool without the inner pixels of steps, whose two neighbours touch each other already."""
    padded = np.pad(ridge, 1)
    for down, right in ((-1, 1), (1, 1), (1, -1), (-1, -1)):
        there = {
            (dy, dx): np.roll(padded, (-dy, -dx), (0, 1))
            for dy, dx in ((down, 0), (0, right), (-down, 0), (0, -right), (-down, -right))
        }
        joined = there[down, 0] & there[0, right]
        needed = there[-down, 0] | there[0, -right] | there[-down, -right]
        padded = padded & ~(joined & ~needed)
    return padded[1:-1, 1:-1]


def reach_of(size: tuple[int, int], tolerance: float) -> float:
    """Pixels that an edge may lie aside: a share of the diagonal of (H, W)."""
    return tolerance * math.hypot(*size)


def count_edges(
    answer: np.ndarray, truth: np.ndarray, known: np.ndarray, *, reach: float, matching: Matching = "nearest"
) -> EdgeCounts:
    """Match the answer with the truth.

    Answers on pixels that are not known are left out unless they lie within reach of a true edge.

    Args:
        answer: (H, W) float32 thin probabilities, 0 where there is no edge.
        truth: (H, W) bool, thin.
        known: (H, W) bool.
        reach: how far apart two pixels may be and match.
        matching: nearest: an answer is right if any true edge is within reach, and a true edge is found if any answer
            is; quick, and kinder where several answers run beside one edge. exact: as many pairs as can be formed in
            which every pixel is used once.

    Reference: Martin, Fowlkes and Malik, TPAMI 2004, doi:10.1109/TPAMI.2004.1273918.
    """
    near = distance_to(truth) <= reach + _LEVEL
    answer = np.where(known | near, answer, np.float32(0))
    answered = _reaching(answer[answer > 0])
    if matching == "exact":
        right = found = _matched(answer, truth, reach)
    else:
        right = _reaching(answer[near & (answer > 0)])
        strongest = cv2.dilate(answer, _disc(reach), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        found = _reaching(strongest[truth])
    return EdgeCounts(answered, right, found, np.array(np.count_nonzero(truth)))


def distance_to(edges: np.ndarray) -> np.ndarray:
    """(H, W) float32 distance of every pixel to the nearest of some; infinite where there is none."""
    if not edges.any():
        return np.full(edges.shape, np.inf, np.float32)
    return cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _reaching(probabilities: np.ndarray) -> np.ndarray:
    """(T,) how many reach each threshold."""
    places = np.searchsorted(THRESHOLDS, probabilities, side="right")  # so many thresholds are reached
    per_place = np.bincount(places, minlength=len(THRESHOLDS) + 1)
    return per_place[::-1].cumsum()[::-1][1:]


def _disc(reach: float) -> np.ndarray:
    """Pixels within reach of the centre one."""
    size = math.floor(reach + _LEVEL)
    steps = np.arange(-size, size + 1)
    return (np.hypot(steps[:, None], steps) <= reach + _LEVEL).astype(np.uint8)


def _matched(answer: np.ndarray, truth: np.ndarray, reach: float) -> np.ndarray:
    """(T,) the largest number of pairs of an answer that reaches the threshold and a true edge, each used once."""
    rows, columns = np.nonzero(answer)
    order = np.argsort(-answer[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    disc = _disc(reach)
    room = len(disc) // 2  # for steps over the border
    number = np.full((truth.shape[0] + 2 * room, truth.shape[1] + 2 * room), -1)
    number[room : room + truth.shape[0], room : room + truth.shape[1]][truth] = np.arange(np.count_nonzero(truth))
    down, right = np.nonzero(disc)
    partners = number[rows[:, None] + down, columns[:, None] + right]
    first, second = np.nonzero(partners >= 0)
    shape = (len(rows), max(1, np.count_nonzero(truth)))
    graph = csr_matrix((np.ones(len(first), np.uint8), (first, partners[first, second])), shape=shape)
    reaching = _reaching(answer[rows, columns])
    pairs = {int(n): _num_pairs(graph[: int(n)]) for n in np.unique(reaching)}
    return np.array([pairs[int(n)] for n in reaching])


def _num_pairs(graph: csr_matrix) -> int:
    if not graph.nnz:
        return 0
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
