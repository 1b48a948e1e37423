"""Soft sharing by attention: each task takes of the shared features what its own masks let through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.registry import Range, register
from weft.sharing.base import Sharing
from weft.types import Features, FeatureSpec

#: Log odds of a mask at the start: at sigmoid(2) = 0.88 a task begins near the shared features.
_OPEN = 2.0

#: Least inner width of a mask: normalised over one or two channels, nothing would be left.
_LEAST = 8


@register("sharing", "attention")
class AttentionSharing(Sharing):
    """Masks of each task over the shared features, channel by channel and place by place, at every level of their maps.

    At level j a task reads a_j · p_j, the shared features p_j times a mask in (0, 1): a_j = σ(h([p_j; f(a_{j-1} ·
    p_{j-1})])), where f brings the task's features of the finer level down, by a 3x3 convolution and max-pooling, and h
    is two layers place by place. At the finest level, for tokens without maps, and for a summary beside the tokens, the
    mask follows from the shared features alone. Other than in the article, f belongs to each task, the features of a
    level are one map instead of two from the same block, there are no masks within decoders, and layers are normalised
    over the channels of a place instead of over the batch, so that rows stay independent of each other.

    Args:
        reduction: the inner width of a mask is the width of its level divided by this, but 8 at least; 1 is the
            article's.

    Reference: Liu, Johns and Davison, CVPR 2019, arXiv:1803.10704, eqs. 1 and 2.
    """

    def __init__(self, views: Mapping[str, FeatureSpec], *, reduction: Annotated[int, Range(1)] = 4) -> None:
        super().__init__()
        self.masks = nn.ModuleDict({view: ViewMasks(spec, reduction=reduction) for view, spec in views.items()})

    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """See `Sharing.forward`."""
        return {view: self.masks[view](shared) for view, shared in features.items()}


class ViewMasks(nn.Module):
    """The masks of one task over one view.

    Args:
        spec: of the view.
        reduction: see `AttentionSharing`.
    """

    def __init__(self, spec: FeatureSpec, *, reduction: int) -> None:
        super().__init__()
        channels = spec.channels or (spec.dim,)
        # by name, so that a run with other tasks, which reads other levels, can take over those that it shares
        names = [f"stride{stride}" for stride in spec.strides] or ["tokens"]
        finer = (0, *channels)
        self.levels = nn.ModuleDict(
            {
                name: Mask(width, finer=below, inner=max(_LEAST, width // reduction))
                for name, width, below in zip(names, channels, finer, strict=False)
            }
        )

    def forward(self, shared: Features) -> Features:
        """The task's features of the view."""
        real = shared.mask & shared.present[:, None]
        shared = replace(shared, tokens=torch.where(real[:, :, None], shared.tokens, 0))  # 0 x NaN is NaN
        *_, deepest = (cast(Mask, mask) for mask in self.levels.values())
        vector = None
        if shared.vector is not None:
            summary = torch.where(shared.present[:, None], shared.vector, 0)
            vector = deepest(summary[:, None, None], None)[:, 0, 0]
        if shared.grid is None:
            return replace(shared, tokens=deepest(shared.tokens[:, None], None)[:, 0], vector=vector)
        *maps, tokens = self._levels(shared)
        num_rows, num_frames = len(real), shared.grid[0]
        return replace(
            shared,
            tokens=tokens.reshape(shared.tokens.shape),
            maps=tuple(level.movedim(-1, 1).unflatten(0, (num_rows, num_frames)) for level in maps),
            vector=vector,
        )

    def _levels(self, shared: Features) -> list[Tensor]:
        """The task's maps, fine to coarse, (B * T, h_l, w_l, C_l)."""
        assert shared.grid is not None
        frames = shared.frames.flatten()[:, None, None, None]
        levels: list[Tensor] = []
        for mask, level in zip(self.levels.values(), shared.pyramid, strict=True):
            own = mask(torch.where(frames, level, 0).movedim(1, -1), levels[-1] if levels else None)
            levels.append(own)
        return levels


class Mask(nn.Module):
    """A mask over the channels of every place of a level, from the level and the task's features of the finer one.

    Args:
        width: channels of the level.
        finer: channels of the finer level; 0: there is none.
        inner: width in between.
    """

    def __init__(self, width: int, *, finer: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(finer, inner, 3, padding=1) if finer else None
        self.down_norm = nn.LayerNorm(inner) if finer else None
        self.hidden = nn.Linear(width + inner * bool(finer), inner)
        self.norm = nn.LayerNorm(inner)
        self.mask = nn.Linear(inner, width)
        nn.init.constant_(self.mask.bias, _OPEN)

    def forward(self, shared: Tensor, finer: Tensor | None) -> Tensor:
        """The shared features times their mask, (R, h, w, C).

        Args:
            shared: (R, h, w, C).
            finer: (R, H, W, C') the task's features of the finer level; None: it says nothing here.
        """
        read = shared
        if self.down is not None and self.down_norm is not None:
            below = shared.new_zeros(*shared.shape[:-1], self.down.out_channels)
            if finer is not None:
                pooled = F.adaptive_max_pool2d(self.down(finer.movedim(-1, 1)), shared.shape[1:3])
                below = F.relu(self.down_norm(pooled.movedim(1, -1))).to(shared.dtype)
            read = torch.cat([shared, below], dim=-1)
        mask = torch.sigmoid(self.mask(F.relu(self.norm(self.hidden(read)))))
        return shared * mask.to(shared.dtype)
