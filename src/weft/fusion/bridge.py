"""The way from what was fused at depth, or what a sentence says, into the finer maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.positions import grid_positions


class Bridge(nn.Module):
    """Carries fused tokens into the finer levels of a pyramid; as it starts, it hands them on unchanged.

    The places of a level of at least half the deepest stride attend to all fused tokens, so that each can look for the
    words that are about it. Finer levels, where that would cost too much, are scaled and shifted channel by channel, by
    what the deepest fused map says at that place.

    Args:
        channels: of the finer levels, fine to coarse.
        strides: their strides.
        deepest_stride: that of the deepest map.
        dim: width of the fused tokens, which are the deepest map.
        heads: of the attention.

    Reference: the scaling and shifting is FiLM, Perez et al., AAAI 2018, arXiv:1709.07871, at every place.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, deepest_stride: int, dim: int, heads: int
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleDict(
            {
                f"stride{stride}": Attending(width, dim=dim, heads=heads)
                if 2 * stride >= deepest_stride
                else Modulation(width, dim=dim)
                for width, stride in zip(channels, strides, strict=True)
            }
        )

    def forward(self, levels: Sequence[Tensor], deepest: Tensor, tokens: Tensor, mask: Tensor) -> list[Tensor]:
        """The finer levels, changed.

        Args:
            levels: each (R, C_l, h_l, w_l), R samples or frames.
            deepest: (R, D, h, w), the fused deepest map.
            tokens: (R, N, D), all fused tokens.
            mask: (R, N) bool, those that are real; at least one in every row.
        """
        return [
            change(level, deepest, tokens, mask) for change, level in zip(self.levels.values(), levels, strict=True)
        ]


class Attending(nn.Module):
    """Every place of a map attends to tokens."""

    def __init__(self, width: int, *, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, width)
        _silence(self.project)

    def forward(self, level: Tensor, deepest: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(R, C, h, w) from a map of that shape; see `Bridge.forward`."""
        height, width = level.shape[-2:]
        places = self.query(self.norm(level.flatten(2).transpose(1, 2)))
        positions = grid_positions((1, height, width), places.shape[-1], device=places.device)
        query = self._heads(places + positions.to(places.dtype))
        key, value = (self._heads(part) for part in self.key_value(tokens).chunk(2, dim=-1))
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        changed: Tensor = self.project(answer.transpose(1, 2).flatten(2))
        return level + changed.transpose(1, 2).unflatten(2, (height, width)).to(level.dtype)

    def _heads(self, tokens: Tensor) -> Tensor:
        """(R, heads, N, d) from (R, N, heads * d)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Modulation(nn.Module):
    """A map is scaled and shifted by channel, by what a coarser map says at each place."""

    def __init__(self, width: int, *, dim: int) -> None:
        super().__init__()
        self.factors = nn.Conv2d(dim, 2 * width, 1)
        _silence(self.factors)

    def forward(self, level: Tensor, deepest: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(R, C, h, w) from a map of that shape; see `Bridge.forward`."""
        factors = F.interpolate(self.factors(deepest), level.shape[-2:], mode="bilinear", align_corners=False)
        scale, shift = factors.to(level.dtype).chunk(2, dim=1)
        return level + level * scale + shift


def _silence(last: nn.Module) -> None:
    """Let the last layer of a path start at zero, so that the path adds nothing."""
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
