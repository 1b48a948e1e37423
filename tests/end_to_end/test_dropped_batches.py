"""Batches that drops have emptied shift nothing when training is resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import weft
from weft import Experiment, load_experiment
from weft.engine.train import Training
from weft.errors import Interrupted
from weft.types import Batch

NUM_SAMPLES = 12


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Pairs of pictures, two of which are broken: their partners are alone in a batch, which is left out."""
    random = np.random.default_rng(0)
    for index in range(NUM_SAMPLES):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    for index in (3, 7):
        (tmp_path / f"{index}.png").write_bytes(b"broken")
    rows = [f"{index},train,{index}.png,{index % 2}" for index in range(NUM_SAMPLES)]
    (tmp_path / "table.csv").write_text("\n".join(["id,split,image,kind", *rows]))
    return load_experiment(
        {
            "name": "pairs",
            "data": {
                "format": "table",
                "root": str(tmp_path),
                "file": "table.csv",
                "on_bad": "drop",
                "max_bad": 0.5,
                "workers": 0,
                "validation": {"fraction": 0.1},
            },
            "modalities": {"image": {"encoder": {"type": "timm", "name": "mobilenetv3_small_050"}}},
            "tasks": {"kind": {"type": "classification", "classes": ["0", "1"]}},
            "train": {
                "epochs": 2,
                "batch_size": 2,
                "precision": "fp32",
                "save_every": 1,
                "device": "cpu",
                "output": str(tmp_path / "runs"),
            },
        }
    )


@pytest.mark.parametrize("stop_at", [1, 2, 3, 5])
def test_a_resumed_run_sees_what_the_uninterrupted_one_sees(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    original = Training._step
    seen: list[tuple[str, ...]] = []

    def stopping(self: Training, batches: list[Batch]) -> None:
        if len(seen) == stop_at and not stopped:
            stopped.append(True)
            raise Interrupted("stop", signal_number=15)
        seen.append(batches[0].ids)
        original(self, batches)

    stopped: list[bool] = [True]
    monkeypatch.setattr(Training, "_step", stopping)
    whole = weft.train(experiment, progress=False)
    expected, seen[:], stopped[:] = list(seen), [], []
    with pytest.raises(Interrupted):
        weft.train(experiment, progress=False)
    resumed = weft.train(experiment, resume="auto", progress=False)
    assert len(expected) < 2 * NUM_SAMPLES // 2 - 2  # some batches are left out
    assert seen == expected
    one, other = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in (whole, resumed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
