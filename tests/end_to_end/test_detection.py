"""Detection from training to boxes on a page: labels that lack, empty rooms, a head per modality."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import weft
from weft import Experiment

Make = Callable[..., Experiment]

DETECTION: dict[str, Any] = {
    "tasks": {
        "things": {"type": "detection", "target": "boxes", "width": 16, "depth": 1, "max_boxes": 10},
        "room": {"type": "classification", "dropout": 0.0},
    },
    "data__present": 0.4,  # many cells are empty, and some rooms
    "data__missing": {"boxes": 0.3, "depth": 0.3},
    "train__epochs": 1,
}


def test_boxes_of_two_views_are_learned_scored_shown_and_written(experiment: Make) -> None:
    run = weft.train(experiment(**DETECTION, fusion="none", decision="mean", inference={"flip": True}), progress=False)
    result = weft.evaluate(run, num_pictures=2, progress=False)
    things = result["tasks"]["things"]
    assert things["main_figure"] == "AP"
    assert set(things["subsets"]) == {"image+depth", "image", "depth"}
    assert [curves["x_label"] for curves in things["curves"]] == ["recall, %", "recall, %", "overlap"]
    drawn = [picture["tasks"]["things"] for picture in result["pictures"] if picture["tasks"]["things"]["truth"]]
    assert all((run / "evaluation/test" / one["prediction"]).is_file() for one in drawn)
    assert "count error" in weft.write_report(run).read_text(encoding="utf-8")
    folder = weft.predict(run, split="test", progress=False)
    entries = json.loads((folder / "things/detections.json").read_text())
    names = {one["id"]: one["sample"] for one in json.loads((folder / "things/images.json").read_text())}
    assert len(names) == result["samples"]
    assert {entry["image_id"] for entry in entries} <= set(names)
    answer = weft.Predictor(run)(image=np.full((48, 48, 3), 128, np.uint8))["things"]
    assert answer is not None
    assert answer.shape == (10, 6)


def test_accumulation_is_exact_where_pictures_have_different_numbers_of_objects(experiment: Make) -> None:
    encoder = {"encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}}
    quiet: dict[str, Any] = {
        **DETECTION,
        "modalities__image": encoder,
        "modalities__depth": encoder,
        "train__optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
        "train__clip": None,
        "train__ema": None,
        "train__warmup": 0.0,
        "data__num_train": 8,
    }
    whole, halves = (
        load_file(weft.train(experiment(**quiet, **steps), progress=False) / "checkpoints/last/model.safetensors")
        for steps in ({"train__batch_size": 8}, {"train__batch_size": 4, "train__accumulate": 2, "name": "halves"})
    )
    for name, value in whole.items():
        assert torch.allclose(value, halves[name], atol=2e-5), name
