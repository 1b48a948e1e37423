"""A small experiment on the built-in scenes, and one trained run of it, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from tests.changes import changed
from weft import Experiment, load_experiment

#: A network that trains in seconds.
ENCODER = {"type": "timm", "name": "mobilenetv3_small_050"}


def small(output: Path, **changes: Any) -> dict[str, Any]:
    """A configuration with two modalities and four kinds of task, some cells and labels missing."""
    content: dict[str, Any] = {
        "name": "small",
        "data": {
            "format": "scenes",
            "resolution": [48, 48],
            "num_train": 22,
            "num_val": 8,
            "num_test": 10,
            "missing": {"depth": 0.4, "label": 0.3, "marks": 0.2},
            "augment": {"flip": 0.5, "scale": [0.9, 1.1]},
            "workers": 0,
        },
        "modalities": {
            "image": {"dropout": 0.2, "brightness": 0.2, "encoder": ENCODER},
            "depth": {"dropout": 0.2, "encoder": ENCODER},
        },
        "fusion": "gated",
        "tasks": {
            "label": {"type": "segmentation", "decoder": {"type": "unet", "channels": [16, 16, 16, 16]}},
            "room": {"type": "classification", "dropout": 0.1},
            "marks": {"type": "location"},
            "true_depth": {
                "type": "pixel_regression",
                "loss": "mse",
                "decoder": {"type": "unet", "channels": [16, 16, 16, 16]},
            },
        },
        "balancing": "uncertainty",
        "train": {
            "epochs": 2,
            "batch_size": 6,
            "ema": 0.9,
            "clip": 5.0,
            "precision": "fp32",
            "warmup": 0.5,
            "device": "cpu",
            "output": str(output),
        },
    }
    return changed(content, changes)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The same arithmetic on every machine."""
    torch.set_num_threads(1)


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Experiment]:
    """Makes an experiment with changes, `train__epochs=1`."""

    def make(**changes: Any) -> Experiment:
        return load_experiment(small(tmp_path / "runs", **changes))

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    return weft.train(load_experiment(small(tmp_path_factory.mktemp("runs"))), progress=False)
