"""A hybrid run, from training to an answer from one modality alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import weft
from weft import Experiment
from weft.engine.run_folder import RunFolder

Make = Callable[..., Experiment]

HYBRID: dict[str, Any] = {
    "over": ["fused", "image", "depth"],
    "decision": "linear",
    "tasks": {
        "label": {"type": "segmentation", "decoder": {"type": "unet", "channels": [16, 16, 16, 16]}, "over": ["fused"]},
        "room": {"type": "classification"},
        "contents": {"type": "classification", "multi_label": True},
        "marks": {"type": "location", "over": ["image", "depth"]},
    },
}


def test_a_hybrid_run_learns_whom_to_trust_and_answers_from_what_is_there(experiment: Make) -> None:
    run = weft.train(experiment(**HYBRID, train__optimizer={"type": "adamw", "lr": 0.01}), progress=False)
    last = RunFolder(run).read_rows("metrics.csv")[-2]
    for task, views in {"room": HYBRID["over"], "marks": ["image", "depth"]}.items():
        shares = {view: float(last[f"decision/{task}/{view}"]) for view in views}
        assert sum(shares.values()) == pytest.approx(1)
        assert max(shares.values()) > 1.02 / len(views)  # they have left the mean
    assert not any(column.startswith("decision/label") for column in last)  # one view has nothing to share
    result = weft.evaluate(run, quick=True, progress=False)
    for task in result["tasks"].values():
        assert all(subset["count"] > 0 for subset in task["subsets"].values())
    picture = np.full((48, 48, 3), 128, np.uint8)
    answer = weft.Predictor(run)(image=picture)["room"]
    assert answer is not None
    assert answer.sum() == pytest.approx(1)


def test_accumulation_is_exact_where_the_answer_counts_too(experiment: Make) -> None:
    """As in test_training: nothing random, and uneven labels and cells make the counts of the halves differ."""
    quiet: dict[str, Any] = {
        **HYBRID,
        "modalities__image": {"encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}},
        "modalities__depth": {"encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}},
        "tasks": {"room": {"type": "classification", "dropout": 0.0}},
        "train__optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
        "train__clip": None,
        "train__ema": None,
        "train__epochs": 1,
        "train__warmup": 0.0,
        "data__num_train": 8,
        "data__missing": {"depth": 0.5, "room": 0.3},
    }
    whole, halves = (
        load_file(weft.train(experiment(**quiet, **steps), progress=False) / "checkpoints/last/model.safetensors")
        for steps in ({"train__batch_size": 8}, {"train__batch_size": 4, "train__accumulate": 2, "name": "halves"})
    )
    assert any(name.startswith("decisions.room") and bool(value != 0) for name, value in whole.items())
    for name, value in whole.items():
        assert torch.allclose(value, halves[name], atol=2e-5), name
