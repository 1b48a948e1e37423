"""Which arithmetic is faster here: measured, not guessed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch

from weft.model import Model
from weft.types import Batch


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context in which the network runs at a precision; losses are taken in float32 outside it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def choose_precision(
    asked: str, model: Model, batches: Callable[[], Iterator[Batch]], device: torch.device
) -> tuple[str, list[str]]:
    """The precision to train in, and what is worth saying of it.

    Args:
        asked: fp32, bf16, or auto: the faster one.
        model: the network, on its device.
        batches: gives batches to measure with.
        device: of the network.
    """
    if asked != "auto":
        return asked, []
    if device.type == "cuda":
        return ("bf16" if torch.cuda.is_bf16_supported() else "fp32"), []
    choice, seconds = fastest_precision(model, next(batches()).to(device))
    measured = ", ".join(f"{precision} {time * 1000:.0f} ms" for precision, time in seconds.items())
    return choice, [f"precision: {choice} (a step takes {measured})"]


def fastest_precision(model: Model, batch: Batch, *, repeats: int = 3) -> tuple[str, dict[str, float]]:
    """bf16 where a training step with it is faster than in fp32 by more than the noise, else fp32.

    The steps are taken on a copy of the network, in turns, after one of each to warm up.

    Returns:
        the choice, and the seconds of the fastest step of each.
    """
    trial = copy.deepcopy(model)
    trial.train()
    device = next(trial.parameters()).device
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(repeats + 1):
        for precision, times in seconds.items():
            start = time.perf_counter()
            with autocast(device, precision):
                outputs = trial(batch)
            losses = trial.losses(outputs, batch)
            total = torch.stack([loss / count.clamp(min=1) for loss, count in losses.values()]).sum()
            if total.requires_grad:
                total.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
            trial.zero_grad()
    best = {precision: min(times[1:]) for precision, times in seconds.items()}
    # 3 %: a smaller difference is noise, and then the exact arithmetic is the better choice
    return ("bf16" if best["bf16"] < 0.97 * best["fp32"] else "fp32"), best
