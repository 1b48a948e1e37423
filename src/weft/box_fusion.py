"""Boxes that say the same become one: the surest of those that overlap, or their weighted mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from weft.boxes import ANSWERED_CLASS, NUM_ANSWER_COLUMNS, NUM_CORNERS, SCORE

#: Answers of one class whose intersection over union is larger are taken for the same object, as in FCOS.
OVERLAP = 0.6


def surest(boxes: Tensor, *, most: int, overlap: float = OVERLAP) -> Tensor:
    """Of boxes of one class that overlap the one with the highest score: non-maximum suppression.

    Args:
        boxes: (n, 6) answers; those of score 0 are none.
        most: rows of the result.
        overlap: intersection over union from which on boxes are taken for the same object.

    Returns:
        (most, 6), from the highest score to the lowest, filled up with zeros.
    """
    boxes = boxes[boxes[:, SCORE] > 0]
    kept = batched_nms(boxes[:, :NUM_CORNERS], boxes[:, SCORE], boxes[:, ANSWERED_CLASS], overlap)
    return _filled(boxes[kept], most)


def fused(said: list[Tensor], *, most: int, overlap: float = OVERLAP) -> Tensor:
    """Boxes of several views of one sample, those of one class that overlap averaged.

    A box joins the surest one that it overlaps most. A group becomes one box: corners are their mean weighted by the
    scores, and the score is their sum over the number of views, so that what one view alone has seen is less sure.

    Args:
        said: (n, 6) answers of each view; those of score 0 are none.
        most: rows of the result.
        overlap: intersection over union from which on boxes are taken for the same object.

    Returns:
        (most, 6), from the highest score to the lowest, filled up with zeros.

    Reference: Solovyev et al., Weighted Boxes Fusion, Image and Vision Computing 107, 2021, arXiv:1910.13302, section
        3; here groups are formed once, around the boxes that non-maximum suppression leaves.
    """
    boxes = torch.cat(said)
    boxes = boxes[boxes[:, SCORE] > 0]
    corners, scores, classes = boxes[:, :NUM_CORNERS], boxes[:, SCORE], boxes[:, ANSWERED_CLASS]
    kept = batched_nms(corners, scores, classes, overlap)
    if not len(kept):
        return _filled(boxes, most)
    overlaps = box_iou(corners, corners[kept]).where(classes[:, None] == classes[kept], -1)
    group = overlaps.argmax(1)
    total = scores.new_zeros(len(kept)).index_add(0, group, scores)
    places = corners.new_zeros(len(kept), NUM_CORNERS).index_add(0, group, corners * scores[:, None]) / total[:, None]
    # a view may have seen an object twice: a mean is still no more than the largest
    mean = torch.minimum(total / len(said), scores[kept])
    result = torch.column_stack([places, mean, classes[kept]])
    return _filled(result[mean.argsort(descending=True, stable=True)], most)


def _filled(boxes: Tensor, most: int) -> Tensor:
    """(most, 6): the first, then zeros."""
    rows = boxes.new_zeros(most, NUM_ANSWER_COLUMNS)
    number = min(len(boxes), most)
    rows[:number] = boxes[:number]
    return rows
