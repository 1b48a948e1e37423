"""The device a run computes on, and what it has used of it."""

from __future__ import annotations

import resource
import sys

import torch

from weft.errors import ResourceFault


def choose_device(name: str) -> torch.device:
    """The device of a name; auto: a GPU where there is one.

    Raises:
        ResourceFault: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ResourceFault(f"train.device: {name!r} is no device; use auto, cpu or cuda", code="no-device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceFault(f"train.device is {name} and torch sees no GPU; use auto or cpu", code="no-device")
    return device


def describe(device: torch.device) -> str:
    """The device's name for a person."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """The most memory used so far in bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024  # the kernel counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
