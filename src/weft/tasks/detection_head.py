"""The head of detection: a feature pyramid, and at every place of it what is there and how far its box reaches."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.ops import FeaturePyramidNetwork

from weft.types import Features, FeatureSpec

#: Behind the logits of the classes, what a head says of a place: the logit of centre-ness; how far the box reaches to
#: the left, top, right and bottom, in strides; then the place itself: x and y in pixels, and the stride.
NUM_BESIDE_CLASSES = 1 + 4 + 3

#: Groups of a normalisation layer, as in torchvision's head, where the width is a multiple of it.
_GROUPS = 32


class PyramidHead(nn.Module):
    """Features with maps in, an answer for every place of every level out.

    The levels of the view pass a top-down feature pyramid; a stride that the view has no level of is made of the level
    before it. Two towers of convolutions, the same at all levels, give classes, and distances with centre-ness.

    Args:
        spec: of the features.
        num_classes: K.
        strides: of the levels, fine to coarse.
        width: channels of the pyramid.
        depth: convolutions of each tower.

    References: Lin et al., CVPR 2017, arXiv:1612.03144; Tian et al., ICCV 2019, arXiv:1904.01355, figure 2.
    """

    def __init__(self, spec: FeatureSpec, num_classes: int, *, strides: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.levels = _levels(spec, self.strides)
        self.pyramid = FeaturePyramidNetwork([spec.channels[level] for level in self.levels.values()], width)
        made = [stride for stride in self.strides if stride not in self.levels]
        self.made = nn.ModuleDict({str(s): nn.Conv2d(width, width, kernel_size=3, stride=2, padding=1) for s in made})
        norm = partial(nn.GroupNorm, math.gcd(_GROUPS, width))
        self.classes = FCOSClassificationHead(width, 1, num_classes, depth, norm_layer=norm)
        self.reach = FCOSRegressionHead(width, 1, depth, norm_layer=norm)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """(P, A, K + 8) float32 for A places: see `NUM_BESIDE_CLASSES`.

        Outside of training, boxes end at the border of the batch's images, `size` (H, W).
        """
        own = features.pyramid
        fused = self.pyramid(OrderedDict((str(s), own[level]) for s, level in self.levels.items()))
        maps: list[Tensor] = []
        for stride in self.strides:
            maps.append(fused[str(stride)] if stride in self.levels else self.made[str(stride)](torch.relu(maps[-1])))
        logits = self.classes(maps).float()
        reach, centre = (part.float() for part in self.reach(maps))
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps]
        places = places_of(self.strides, shapes, device=logits.device)
        if not self.training:
            reach = reach.minimum(_to_border(places, size))
        return torch.cat([logits, centre, reach, places.expand(len(logits), -1, -1)], -1)


def places_of(strides: Sequence[int], shapes: Sequence[tuple[int, int]], *, device: torch.device) -> Tensor:
    """(A, 3) x and y in pixels of the centres of all cells, and the stride: level by level, each row by row.

    Args:
        strides: of the levels.
        shapes: (h, w) of each level.
        device: where to.
    """
    places = []
    for stride, (height, width) in zip(strides, shapes, strict=True):
        rows = (torch.arange(height, device=device) + 0.5) * stride
        columns = (torch.arange(width, device=device) + 0.5) * stride
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        places.append(torch.stack([x.flatten(), y.flatten(), torch.full_like(x.flatten(), stride)], -1))
    return torch.cat(places)


def boxes_of(reach: Tensor, places: Tensor) -> Tensor:
    """(..., 4) x1, y1, x2, y2 in pixels of distances (..., 4) in strides from places (..., 3)."""
    pixels = reach * places[..., 2:]
    return torch.cat([places[..., :2] - pixels[..., :2], places[..., :2] + pixels[..., 2:]], -1)


def _to_border(places: Tensor, size: tuple[int, int]) -> Tensor:
    """(A, 4) how far it is to the left, top, right and bottom of images of `size`, in strides."""
    extent = places.new_tensor([size[1], size[0]])
    far = torch.cat([places[:, :2], extent - places[:, :2]], -1)
    return far.clamp(min=0) / places[:, 2:]


def _levels(spec: FeatureSpec, strides: tuple[int, ...]) -> dict[int, int]:
    """{stride: its level in the spec} of the strides that the view has.

    Raises:
        ValueError: the first is none of the view's, or one that is lacking is not twice the one before.
    """
    there = {stride: level for level, stride in enumerate(spec.strides) if stride in strides}
    has = ", ".join(map(str, spec.strides))
    if list(strides) != sorted(set(strides)) or not strides:
        raise ValueError(f"strides {list(strides)} were given; give them from fine to coarse, each once")
    if strides[0] not in there:
        raise ValueError(
            f"the finest stride is {strides[0]}, and the view has maps of stride {has}; begin `strides` with one of "
            "them"
        )
    for before, stride in pairwise(strides):
        if stride not in there and stride != 2 * before:
            raise ValueError(
                f"stride {stride} is none of the view's ({has}), and is not twice {before}, so that it cannot be made; "
                f"give {2 * before}"
            )
    return there
