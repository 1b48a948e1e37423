"""Masks over the frames of a clip: how well region and boundary fit, how that goes on, and how steady they are.

Reference: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016,
section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

#: How far a boundary may lie from the true one and still be found, as a share of the picture's diagonal.
TOLERANCE = 0.008

#: A frame is recalled where its measure is above this.
_RECALLED = 0.5

#: A clip is cut into so many parts; decay is what the first one has more than the last.
_PARTS = 4


@dataclass(frozen=True)
class OverTime:
    """A measure of every labelled frame, as three numbers of the clip.

    Attributes:
        mean: over the frames.
        recall: share of the frames above 0.5.
        decay: mean over the first quarter of the frames less that over the last; below 0 where it grows.
    """

    mean: float
    recall: float
    decay: float

    @classmethod
    def of(cls, values: np.ndarray) -> OverTime:
        """From the measure (T,) of one frame or more, in order.

        The quarters are those of DAVIS' tools: of T frames counted from 0 they meet at the frames round(i (T − 1) / 4),
        which belong to both.
        """
        borders = np.floor(np.arange(_PARTS + 1) * (len(values) - 1) / _PARTS + 0.5).astype(int)
        first, last = values[: borders[1] + 1], values[borders[-2] :]
        return cls(float(values.mean()), float((values > _RECALLED).mean()), float(first.mean() - last.mean()))


def region(said: np.ndarray, truth: np.ndarray) -> float:
    """J of one frame: intersection over union of two masks (H, W) bool; 1 where both are empty."""
    union = np.count_nonzero(said | truth)
    return np.count_nonzero(said & truth) / union if union else 1.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right, lower or lower right neighbour is on the other side of a mask (H, W) bool."""
    beside = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    across: np.ndarray = (mask != beside[:-1, 1:]) | (mask != beside[1:, :-1])
    across[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return across


def boundary_f(said: np.ndarray, truth: np.ndarray, *, tolerance: float = TOLERANCE) -> float:
    """F of one frame: the harmonic mean of how much of the said boundary is near the true one, and the other way round.

    A boundary pixel is near where the other boundary, widened by a disc, covers it. Where only one of the two masks has
    a boundary F is 0, where neither has it is 1.

    Args:
        said, truth: masks (H, W) bool.
        tolerance: radius of the disc as a share of the picture's diagonal, rounded up to whole pixels.
    """
    ours, theirs = boundary(said), boundary(truth)
    num_ours, num_theirs = np.count_nonzero(ours), np.count_nonzero(theirs)
    if not num_ours or not num_theirs:
        return float(num_ours == num_theirs)
    disc = _disc(int(np.ceil(tolerance * np.hypot(*truth.shape))))
    precision = np.count_nonzero(ours & _widened(theirs, disc)) / num_ours
    recall = np.count_nonzero(theirs & _widened(ours, disc)) / num_theirs
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _widened(mask: np.ndarray, disc: np.ndarray) -> np.ndarray:
    widened: np.ndarray = cv2.dilate(mask.astype(np.uint8), disc).astype(bool)
    return widened


def _disc(radius: int) -> np.ndarray:
    """(2r + 1, 2r + 1) uint8: 1 up to `radius` from the middle."""
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
