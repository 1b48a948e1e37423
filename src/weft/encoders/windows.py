"""Clips of any length for networks that see windows of one length and one size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from weft.types import Features


@dataclass(frozen=True)
class Windows:
    """The windows of P clips, each seen by itself; the last of a clip is filled up with its last frame.

    So a clip's features depend on nothing else in its batch.

    Attributes:
        frames: (n, size, C, H, W) of the windows that have a real frame, by clip and then by time.
        num_real: (P, W) real frames of every window of every clip, 0 beyond the end of its clip; n are above 0.
    """

    frames: Tensor
    num_real: Tensor

    @classmethod
    def of(cls, clips: Tensor, lengths: Tensor | None, size: int) -> Windows:
        """Cut clips (P, T, C, H, W), of which the first `lengths` (P,) frames are real, None: all."""
        num_rows, num_frames = clips.shape[:2]
        real = torch.full((num_rows,), num_frames) if lengths is None else lengths
        real = real.to(clips.device)
        begins = torch.arange(0, num_frames, size, device=clips.device)
        places = (begins[:, None] + torch.arange(size, device=clips.device)).expand(num_rows, -1, -1)
        places = places.minimum(real[:, None, None] - 1)  # (P, W, size): the last real frame again at the end
        num_real = (real[:, None] - begins).clamp(0, size)
        used = num_real > 0
        rows = torch.arange(num_rows, device=clips.device)[:, None, None].expand_as(places)
        return cls(clips[rows[used], places[used]], num_real)

    def features(self, steps: Tensor, summaries: Tensor | None = None) -> Features:
        """What a network said of each window, as sequences of P rows.

        Args:
            steps: (n, t, D), t steps in time of every window; those after the last real frame are not real.
            summaries: (n, D) a vector of every window; a row's is their mean, weighed by real frames. None: none.
        """
        used, (size, per_window) = self.num_real > 0, (self.frames.shape[1], steps.shape[1])
        tokens = steps.new_zeros(*used.shape, *steps.shape[1:])
        tokens[used] = steps
        lengths = -(-(self.num_real * per_window) // size)
        vector = None
        if summaries is not None:
            weights = self.num_real / self.num_real.sum(1, keepdim=True)
            whole = summaries.new_zeros(*used.shape, summaries.shape[1])
            whole[used] = summaries
            vector = (whole * weights[..., None].to(whole.dtype)).sum(1)
        return Features.of_sequence(tokens.flatten(1, 2), lengths.sum(1), vector=vector)


def at_size(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, T, C, h, w): frames (n, T, C, H, W) brought to one size, whatever their shape, as pictures are resized."""
    if frames.shape[-2:] == size:
        return frames
    small = interpolate(frames.flatten(0, 1), size=size, mode="bilinear", antialias=True)
    return small.unflatten(0, frames.shape[:2])
