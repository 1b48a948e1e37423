"""Two functions timed in turns, and a task of the size the benchmarks need."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from weft import load_experiment
from weft.experiment import Experiment


def in_turns(
    functions: Mapping[str, Callable[[], object]],
    *,
    turns: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every call, the functions called one after the other, again and again."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + warmup):
        for name, function in functions.items():
            start = clock()
            function()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def report(title: str, seconds: Mapping[str, list[float]], *, over: str) -> None:
    """Print each one's median, and the ratios of neighbouring turns to `over`."""
    print(title)
    for name, times in seconds.items():
        line = f"  {name:24} median {statistics.median(times) * 1000:9.2f} ms"
        if name != over:
            ratios = sorted(a / b for a, b in zip(times, seconds[over], strict=True))
            middle = statistics.median(ratios)
            line += f"   ratio to {over}: {middle:.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]"
            gap = statistics.median(a - b for a, b in zip(times, seconds[over], strict=True))
            line += f"   {gap * 1000:+.2f} ms"
        print(line, flush=True)


def write_pictures(folder: Path, number: int, size: int) -> None:
    """JPEG pictures and label maps of 8 classes, in the layout of `format: folder`."""
    generator = np.random.default_rng(0)
    for name in ("image", "label"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        coarse = generator.integers(0, 255, (size // 16, size // 16, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(folder / "image" / f"{index:04}.jpg", quality=92)
        labels = generator.integers(0, 8, (size // 32, size // 32), dtype=np.uint8)
        Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST).save(
            folder / "label" / f"{index:04}.png"
        )


def segmentation(root: Path, *, size: int, **changes: Any) -> Experiment:
    """ResNet-18, DeepLabV3+, 8 classes, batches of 8."""
    content: dict[str, Any] = {
        "name": "benchmark",
        "data": {
            "format": "folder",
            "root": str(root),
            "columns": {"image": "image", "label": "label"},
            "size": [size, size],
            "augment": {"flip": 0.5},
            "cache": {"where": "none"},
        },
        "modalities": {"image": {"encoder": {"type": "timm", "name": "resnet18", "output_stride": 16}}},
        "tasks": {"label": {"type": "segmentation", "num_classes": 8, "decoder": "deeplabv3plus"}},
        "train": {
            "epochs": 1,
            "batch_size": 8,
            "precision": "bf16",
            "output": tempfile.mkdtemp(),
            "optimizer": {"type": "adamw", "lr": 1e-4},
        },
    }
    for path, value in changes.items():
        place = content
        *above, last = path.split("__")
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return load_experiment(content)
