"""The device a run computes on, and what it has used of it."""

from __future__ import annotations

import resource
import sys

import torch
from torch import nn

from weft.engine.distributed import ALONE, Gathering
from weft.errors import ResourceFault


def choose_device(name: str, gathering: Gathering = ALONE) -> torch.device:
    """The device of a name; auto: a GPU where there is one.

    Args:
        name: auto, cpu, or as torch names it.
        gathering: the processes; each takes a GPU of its own.

    Raises:
        ResourceFault: the device is not there, or not there for each process.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ResourceFault(f"train.device: {name!r} is no device; use auto, cpu or cuda", code="no-device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceFault(f"train.device is {name} and torch sees no GPU; use auto or cpu", code="no-device")
    return _own(device, gathering) if gathering.size > 1 and device.type == "cuda" else device


def _own(device: torch.device, gathering: Gathering) -> torch.device:
    """This process' GPU, which is from now on its current one."""
    number = torch.cuda.device_count()
    if device.index is not None:
        raise ResourceFault(
            f"train.device is {device} and there are {gathering.size} processes, each with a GPU of its own; use cuda "
            "or auto, and choose among the GPUs with CUDA_VISIBLE_DEVICES",
            code="no-device",
        )
    if gathering.local_size > number:
        raise ResourceFault(
            f"{gathering.local_size} processes were started on this machine, and torch sees {number} GPUs; start as "
            "many with --nproc-per-node, or set train.device=cpu",
            code="no-device",
        )
    torch.cuda.set_device(gathering.local_rank)
    return torch.device("cuda", gathering.local_rank)


def move_to(network: nn.Module, device: torch.device) -> None:
    """Move a network to a device, the weights of its convolutions over pictures with the channels last.

    That is faster on every device. Weights over pictures and time, which have five axes, stay as they are.
    """
    network.to(device)
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)


def describe(device: torch.device) -> str:
    """The device's name for a person."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """The most memory used so far in bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024  # the kernel counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
