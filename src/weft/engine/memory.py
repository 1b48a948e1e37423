"""Memory: on a processor what a step frees is kept for the next one; and what to say where it does not suffice."""

from __future__ import annotations

import ctypes
import math
import sys

from weft.errors import ResourceFault
from weft.experiment import TrainConfig

#: Options of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

#: Larger blocks still come from the system and go back to it, so that odd giants do not stay.
_LARGEST_KEPT = 2**28

#: Free memory that the process holds on to.
_KEPT = 2**31 - 1


def keep_freed_memory() -> None:
    """Have the C library keep the memory of freed tensors instead of giving it back to the system each time.

    By itself glibc maps every block above 32 MB anew, and the system clears its pages when they are first touched: that
    took a fifth of a training step and a quarter of an evaluation. The process holds on to the most that it has used.
    It changes no result; with other C libraries it does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def out_of_memory(config: TrainConfig) -> ResourceFault:
    """What to say where a step did not fit."""
    half = max(1, config.batch_size // 2)
    return ResourceFault(
        f"out of memory at batch_size {config.batch_size}; try train.batch_size={half} "
        f"train.accumulate={config.accumulate * math.ceil(config.batch_size / half)}, which keeps the effective batch",
        code="out-of-memory",
    )
