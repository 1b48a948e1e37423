"""The frames of clips one by one: what tasks that answer every frame stand on."""

from __future__ import annotations

from torch import Tensor

from weft.errors import DataFault
from weft.types import Features


def stills_of(features: Features) -> Features:
    """The n real frames of P clips as stills, by clip and then by time; nothing is computed on the others."""
    folded = Features.of_pyramid(features.pyramid)
    real = features.frames.flatten()
    return folded if bool(real.all()) else folded.select(real)


def by_clip(values: Tensor, real: Tensor) -> Tensor:
    """(P, T, ...) from (n, ...): what was said of the real frames at their places, 0 elsewhere.

    Args:
        values: of `stills_of`'s rows, (n, ...).
        real: (P, T) bool, of which n are True.
    """
    if len(values) < real.numel():
        nothing = values.new_zeros(real.numel(), *values.shape[1:])
        values = nothing.index_copy(0, real.flatten().nonzero().squeeze(1), values)
    return values.unflatten(0, real.shape)


def frames_in_both(said: Tensor, known: Tensor) -> int:
    """How many frames both an answer and its target have. The target is filled up to the longest clip of its batch.

    Args:
        said: (P, S, ...), by frame.
        known: (P, T) bool, the frames of the target that have a label.

    Raises:
        DataFault: a frame has a label and no answer, or there are more answers than frames in the longest clip: what
            is answered and what is labelled are not the same frames.
    """
    num_said, num_frames = said.shape[1], known.shape[1]
    if num_said > num_frames:
        raise DataFault(
            f"what the task reads has {num_said} tokens in the place of {num_frames} frames; let it read, by `over`, a "
            "view of the clip alone",
            code="other-frames",
        )
    if num_frames > num_said and bool(known[:, num_said:].any()):
        raise DataFault(
            f"frame {num_said + 1} of a clip has a label, and what the task reads has {num_said} frames; let it read, "
            "by `over`, a view of the clip whose frames are labelled",
            code="other-frames",
        )
    return min(num_said, num_frames)
