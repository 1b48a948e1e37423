"""Where a token stands, as numbers: sinusoids, which go on for any length and any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Wavelengths go from 2 pi to about 2 pi times this.
_LONGEST = 10000.0


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """(N, dim) float32 for (N,) positions: sines of dim / 2 wavelengths, then their cosines; `dim` is even.

    Reference: Vaswani et al., NeurIPS 2017, arXiv:1706.03762, section 3.5.
    """
    steps = torch.arange(dim // 2, device=positions.device, dtype=torch.float32)
    angles = positions.float()[:, None] * torch.exp(steps * (-2 * math.log(_LONGEST) / dim))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sequence_positions(num_tokens: int, dim: int, *, device: torch.device) -> Tensor:
    """(N, dim) for the N tokens of a sequence."""
    return sinusoids(torch.arange(num_tokens, device=device), dim)


def grid_positions(
    grid: tuple[int, int, int], dim: int, *, step: float = 1.0, in_time: bool = False, device: torch.device
) -> Tensor:
    """(T * h * w, dim) for the tokens of a map: the row in the first half, the column in the second.

    Args:
        grid: (T, h, w).
        dim: a multiple of 4.
        step: distance of neighbours. Maps of one picture with different strides have it in proportion, so that the
            same place has about the same numbers in each.
        in_time: add the sinusoids of a frame's number, also where there is one frame alone; of a still there are none.
        device: where to.

    Reference: as for images in Carion et al., ECCV 2020, arXiv:2005.12872, appendix A.4.
    """
    num_frames, height, width = grid
    # the middle of a token, counted from the middle of a first token of step 1
    rows, columns = ((torch.arange(side, device=device) + 0.5) * step - 0.5 for side in (height, width))
    down = sinusoids(rows, dim // 2)[:, None].expand(-1, width, -1)
    across = sinusoids(columns, dim // 2)[None].expand(height, -1, -1)
    places = torch.cat([down, across], dim=2).flatten(0, 1)
    if not in_time:
        return places.repeat(num_frames, 1)
    frames = sinusoids(torch.arange(num_frames, device=device), dim)
    return (frames[:, None] + places[None]).flatten(0, 1)
