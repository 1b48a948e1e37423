"""Which answered boxes found an object: by the rules of COCO and of Pascal VOC, for many samples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weft.boxes import ANSWERED_CLASS, AREA, CLASS, COUNTED, CROWD, IGNORED, NUM_CORNERS, SCORE

#: Intersections over union that an answer must reach, as COCO has them: 0.5, 0.55, …, 0.95.
THRESHOLDS = np.linspace(0.5, 0.95, 10)

#: {name: (low, high)} in square pixels: which objects are counted; low and high belong to it.
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}

#: What became of an answer. Ignored: it found what does not count, or is of a size that does not.
WRONG, RIGHT, LEFT_OUT = 0, 1, 2


@dataclass(frozen=True)
class Matched:
    """What became of every answer.

    Attributes:
        coco: (P, N, 4, 10) uint8 for every range of `AREAS` and every one of `THRESHOLDS`.
        voc: (P, N) uint8 by the rule of Pascal VOC at 0.5.
        object: (P, N) int64 the object that each answer took, of COCO's rule over all areas at 0.5; -1: none.
        actual: (P, K, 4) int32 objects that count, of every class and range.
    """

    coco: np.ndarray
    voc: np.ndarray
    object: np.ndarray
    actual: np.ndarray


def match(answers: np.ndarray, truth: np.ndarray, num_classes: int) -> Matched:
    """Match answers to objects.

    COCO: answers from the highest score to the lowest each take the object of their class that they overlap most, among
    those not yet taken; what is ignored is taken only where nothing that counts can be, and a crowd by any number of
    answers. VOC: an answer looks at the one object that it overlaps most, and is wrong where that is taken.

    Args:
        answers: (P, N, 6), each row of samples from the highest score to the lowest.
        truth: (P, n, 7).
        num_classes: K.

    References: Lin et al., ECCV 2014, arXiv:1405.0312; Everingham et al., IJCV 88, 2010, section 4.2.
    """
    overlap = _overlaps(answers, truth)
    sizes = truth[..., AREA]
    low, high = (np.array([span[end] for span in AREAS.values()])[:, None, None] for end in (0, 1))
    outside = (sizes[None] < low) | (sizes[None] > high)
    ignored = (truth[..., IGNORED] > COUNTED)[None] | outside  # (4, P, n)
    actual = np.zeros((len(truth), num_classes, len(AREAS)), np.int32)
    area, sample, place = np.nonzero(~ignored & (truth[..., CLASS] >= 0)[None])
    np.add.at(actual, (sample, truth[sample, place, CLASS].astype(int), area), 1)
    corners = answers[..., :NUM_CORNERS]
    own = (corners[..., 2:] - corners[..., :2]).clip(min=0).prod(-1)
    own_outside = ((own[None] < low) | (own[None] > high)).transpose(1, 2, 0)  # (P, N, 4)
    there = answers[..., SCORE] > 0
    coco, took = _by_coco(overlap, ignored.transpose(1, 0, 2), truth[..., IGNORED] == CROWD, own_outside)
    voc = _by_voc(overlap, truth[..., IGNORED] > COUNTED)
    return Matched(np.where(there[..., None, None], coco, LEFT_OUT).astype(np.uint8), voc, took, actual)


def _overlaps(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(P, N, n) intersection over union, of a crowd over the answer's own area; -1 between different classes."""
    first, second = answers[:, :, None, :NUM_CORNERS], truth[:, None, :, :NUM_CORNERS]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    both = (high - low).clip(min=0).prod(-1)
    own = (first[..., 2:] - first[..., :2]).clip(min=0).prod(-1)
    theirs = (second[..., 2:] - second[..., :2]).clip(min=0).prod(-1)
    crowd = (truth[..., IGNORED] == CROWD)[:, None]
    whole = np.where(crowd, own, own + theirs - both)
    overlap = both / np.where(whole > 0, whole, 1)
    alike = (answers[..., ANSWERED_CLASS, None] == truth[:, None, :, CLASS]) & (answers[..., SCORE, None] > 0)
    return np.where(alike, overlap, -1.0)


def _by_coco(
    overlap: np.ndarray, ignored: np.ndarray, crowd: np.ndarray, own_outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, N, 4, 10) what became of every answer, and (P, N) the object that it took over all areas at 0.5.

    Only answers that reach the lowest threshold somewhere can take anything, and each reaches few objects: the others
    are not looked at.

    Args:
        overlap: (P, N, n).
        ignored: (P, 4, n) bool.
        crowd: (P, n) bool.
        own_outside: (P, N, 4) bool, answers of a size that does not count.
    """
    became = np.where(own_outside[..., None], LEFT_OUT, WRONG).astype(np.uint8).repeat(len(THRESHOLDS), -1)
    took = np.full(overlap.shape[:2], -1)
    near = overlap >= THRESHOLDS[0]
    sample, answer = np.nonzero(near.any(-1))
    if not len(sample):
        return became, took
    reached = near[sample, answer]  # (E, n)
    # the objects that each may take, in their order; the rest of its row is of an overlap that is never enough
    candidates = np.argsort(~reached, 1, kind="stable")[:, : reached.sum(1).max()]
    values = np.where(
        np.take_along_axis(reached, candidates, 1), np.take_along_axis(overlap[sample, answer], candidates, 1), -1.0
    )
    turn = np.arange(len(sample)) - np.searchsorted(sample, sample)  # which of its sample's answers it is
    lanes = (len(AREAS), len(THRESHOLDS))
    free = np.ones((*overlap.shape[::2], *lanes), bool)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    for entries in np.split(np.argsort(turn, kind="stable"), np.cumsum(np.bincount(turn))[:-1]):
        rows, objects = sample[entries, None], candidates[entries]  # (e, 1), (e, C)
        open_ = free[rows, objects] | crowd[rows, objects][..., None, None]
        here = values[entries][..., None, None]
        # what counts comes before all that does not: overlaps are at most 1
        bonus = np.where(ignored[rows, :, objects], 0.0, 2.0)[..., None]
        wanted = np.where(open_ & (here >= least), here + bonus, -1.0)  # (e, C, 4, 10)
        best = wanted.shape[1] - 1 - wanted[:, ::-1].argmax(1)  # the last of equals, as in pycocotools
        value = wanted.max(1)
        found = value >= 0
        chosen = np.take_along_axis(objects[..., None, None], best[:, None], 1)[:, 0]  # (e, 4, 10)
        own = became[sample[entries], answer[entries]]
        became[sample[entries], answer[entries]] = np.where(found, np.where(value >= 2, RIGHT, LEFT_OUT), own)
        entry, area, level = np.nonzero(found)
        free[rows[entry, 0], chosen[found], area, level] = False
        took[sample[entries], answer[entries]] = np.where(found[:, 0, 0], chosen[:, 0, 0], -1)
    return became, took


def _by_voc(overlap: np.ndarray, difficult: np.ndarray) -> np.ndarray:
    """(P, N) uint8 what became of every answer: the first that overlaps an object most has it."""
    became = np.full(overlap.shape[:2], WRONG, np.uint8)
    if not overlap.shape[2]:
        return became
    best = overlap.argmax(-1)
    sample, answer = np.nonzero(overlap.max(-1) >= THRESHOLDS[0])
    object_ = best[sample, answer]
    _, firsts = np.unique(sample * overlap.shape[2] + object_, return_index=True)
    became[sample[firsts], answer[firsts]] = RIGHT
    hard = difficult[sample, object_]
    became[sample[hard], answer[hard]] = LEFT_OUT
    return became
