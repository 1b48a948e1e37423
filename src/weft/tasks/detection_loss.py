"""What a detection head learns: which places answer for which object, and the three losses of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from weft.boxes import BOTTOM, CLASS, COUNTED, IGNORED, NUM_CORNERS, RIGHT
from weft.tasks.detection_head import boxes_of, places_of

#: A level of stride s answers for objects whose farthest side is 4 s to 8 s from the place, the finest and the coarsest
#: for those beyond as well.
_NEAREST, _FARTHEST = 4.0, 8.0


@dataclass(frozen=True)
class Assignment:
    """Which places answer for which objects.

    Attributes:
        object: (P, A) int64 row of the target that a place answers for; -1: there is none.
        silent: (P, A, K) bool: classes that a place learns nothing of, since it lies in an object of theirs that is
            ignored, and answers for none that counts.
    """

    object: Tensor
    silent: Tensor

    @property
    def count(self) -> Tensor:
        """() float32: the places with an object, of each sample at least one, so that background counts as well."""
        return (self.object >= 0).sum(1).clamp(min=1).sum().float()


def assign(places: Tensor, target: Tensor, num_classes: int, *, radius: float) -> Assignment:
    """Each place answers for the smallest object that it lies in, is near the centre of, and has the right size for.

    Args:
        places: (A, 3) x, y and stride.
        target: (P, n, 7).
        num_classes: K.
        radius: how near, in strides along each axis.

    Reference: Tian et al., IEEE TPAMI 44, 2022, arXiv:2006.09214, section 3; the same as torchvision's FCOS.
    """
    found = [_assign_one(places, rows, num_classes, radius) for rows in target]
    if not found:
        none = places.new_zeros(0, len(places))
        return Assignment(none.long(), none[..., None].bool())
    objects, silent = zip(*found, strict=True)
    return Assignment(torch.stack(objects), torch.stack(silent))


def _assign_one(places: Tensor, rows: Tensor, num_classes: int, radius: float) -> tuple[Tensor, Tensor]:
    """(A,) object and (A, K) silent of one sample: places times objects of all at once would be too many."""
    rows = rows[: int((rows[:, CLASS] >= 0).sum())]  # what fills up comes last
    if not len(rows):
        return places.new_full((len(places),), -1).long(), places.new_zeros(len(places), num_classes).bool()
    counted = rows[:, IGNORED] == COUNTED
    corners = rows[:, :NUM_CORNERS]
    at, stride = places[:, None, :2], places[:, 2]
    reach = torch.cat([at - corners[:, :2], corners[:, 2:] - at], -1)  # (A, n, 4)
    inside = reach.amin(-1) > 0
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    near = (at - centres).abs().amax(-1) < radius * stride[:, None]
    nearest = torch.where(stride == stride.min(), 0, _NEAREST * stride)
    farthest = torch.where(stride == stride.max(), math.inf, _FARTHEST * stride)
    farthest_side = reach.amax(-1)
    fits = (farthest_side > nearest[:, None]) & (farthest_side < farthest[:, None])
    area = (corners[:, 2:] - corners[:, :2]).prod(-1)
    smallest, which = torch.where(inside & near & fits & counted, area, math.inf).min(1)
    object_ = torch.where(smallest < math.inf, which, -1)
    kinds = F.one_hot(rows[:, CLASS].long(), num_classes)
    unsure = (inside & ~counted).float() @ kinds.float() > 0
    learned = (kinds[which] > 0) & (object_ >= 0)[:, None]
    return object_, unsure & ~learned


def count_of(target: Tensor, strides: Sequence[int], *, radius: float) -> Tensor:
    """() float32 `Assignment.count` from the target alone: places beyond the last box answer for nothing.

    Args:
        target: (P, n, 7).
        strides: of the levels.
        radius: as of `assign`.
    """
    right, bottom = (max(0.0, float(target[..., side].max())) if target.numel() else 0.0 for side in (RIGHT, BOTTOM))
    shapes = [(math.ceil(bottom / stride), math.ceil(right / stride)) for stride in strides]
    places = places_of(strides, shapes, device=target.device)
    # which classes there are does not change how many places have an object
    num_classes = 1 + max(0, int(target[..., CLASS].max())) if target.numel() else 1
    return assign(places, target, num_classes, radius=radius).count


def detection_loss(logits: Tensor, target: Tensor, num_classes: int, *, radius: float) -> tuple[Tensor, Tensor]:
    """(sum, count): the focal loss of the classes at all places, and where there is an object the generalised IoU loss
    of its box and the cross-entropy of the place's centre-ness.

    Args:
        logits: (P, A, K + 8).
        target: (P, n, 7).
        num_classes: K.
        radius: as of `assign`.

    References: Lin et al., ICCV 2017, arXiv:1708.02002, eq. 5; Rezatofighi et al., CVPR 2019, arXiv:1902.09630; Tian et
        al., ICCV 2019, arXiv:1904.01355, eq. 2 and 3.
    """
    logits = logits.float()
    if not len(logits):
        return logits.sum(), logits.new_zeros(())
    scores, centre, reach, places = logits.split((num_classes, 1, 4, 3), -1)
    places = places[0].detach()
    assigned = assign(places, target, num_classes, radius=radius)
    there = assigned.object >= 0
    sample, _ = there.nonzero(as_tuple=True)
    rows = target[sample, assigned.object[there]]
    wanted = torch.zeros_like(scores)
    wanted[there] = F.one_hot(rows[:, CLASS].long(), num_classes).to(wanted.dtype)
    total = torch.where(assigned.silent, 0, sigmoid_focal_loss(scores, wanted)).sum()
    at = places.expand(len(logits), -1, -1)[there]
    boxes = rows[:, :NUM_CORNERS]
    total = total + generalized_box_iou_loss(boxes_of(reach[there], at), boxes, reduction="sum")
    total = total + F.binary_cross_entropy_with_logits(centre[there][:, 0], _centredness(at, boxes), reduction="sum")
    return total, assigned.count


def _centredness(places: Tensor, boxes: Tensor) -> Tensor:
    """(m,) 1 at the centre of a box, 0 at its border. Tian et al., eq. 3."""
    before, behind = places[:, :2] - boxes[:, :2], boxes[:, 2:] - places[:, :2]
    return (torch.minimum(before, behind) / torch.maximum(before, behind)).prod(-1).sqrt()
