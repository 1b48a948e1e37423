"""Tasks together and apart: rules that remember resume to the bit, and each task can be trained by itself."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from weft import load_experiment
from weft.cli import run as command
from weft.engine import checkpoint as checkpoints
from weft.engine.apart import only
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training
from weft.errors import Interrupted, WeftError
from weft.report.apart import runs_apart
from weft.report.reading import read_run
from weft.types import Batch

from .conftest import ENCODER


def tiny(output: Path, **changes: Any) -> dict[str, Any]:
    """One modality, three tasks on one vector, two epochs of two steps."""
    return {
        "name": "tiny",
        "data": {
            "format": "scenes",
            "resolution": [48, 48],
            "num_train": 12,
            "num_val": 2,
            "num_test": 2,
            "missing": {"room": 0.4},
            "workers": 0,
        },
        "modalities": {"image": {"encoder": ENCODER}},
        "tasks": {
            "room": {"type": "classification"},
            "heating": {"type": "classification"},
            "num_things": "regression",
        },
        "train": {"epochs": 2, "batch_size": 3, "accumulate": 2, "precision": "fp32", "device": "cpu"}
        | {"output": str(output), "save_every": 1, "conflict_every": 1},
    } | changes


@pytest.mark.parametrize("rule", ["gradnorm", "famo", "pcgrad"])
def test_a_rule_goes_on_after_a_stop_as_if_there_had_been_none(
    tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weft.train(load_experiment(tiny(tmp_path / "whole", balancing=rule)), progress=False)
    original = Training._step

    def stopping(self: Training, batches: list[Batch]) -> None:
        original(self, batches)
        if self.position.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = load_experiment(tiny(tmp_path / "stopped", balancing=rule))
    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", stopping)
        with pytest.raises(Interrupted):
            weft.train(stopped, progress=False)
    resumed = weft.train(stopped, resume="auto", progress=False)
    first, second = (checkpoints.load(run / "checkpoints" / "last") for run in (whole, resumed))
    assert all(torch.equal(second.weights[name], weight) for name, weight in first.weights.items())
    assert second.state["balancing"] == first.state["balancing"]
    rows = [RunFolder(run).read_rows("metrics.csv") for run in (whole, resumed)]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in rows[0]] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in rows[1]
    ]
    assert {"weight/room", "weight/num_things", "cosine/room/num_things"} <= rows[0][0].keys()
    for row in (row for row in rows[0] if row["split"] == "train"):
        cosine, share, looks = (float(row[f"{what}/heating/num_things"]) for what in ("cosine", "conflict", "looks"))
        assert looks == 2  # steps of the epoch, each looked at
        assert share in (0, 0.5, 1)
        assert share > 0 or cosine >= 0
        assert share < 1 or cosine < 0


def test_every_task_is_trained_by_itself_from_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(tiny(tmp_path / "runs")))  # JSON is YAML
    asked = ["train", str(file), "train.epochs=1", "--apart", "--task", "room", "--task", "num_things", "--quiet"]
    assert command(asked) == 0
    runs = [RunFolder(next((tmp_path / "runs" / f"tiny-{task}").iterdir())) for task in ("room", "num_things")]
    assert [list(run.experiment().tasks) for run in runs] == [["room"], ["num_things"]]
    steps = {run.read_json("summary.json")["train"]["steps"] for run in runs}
    assert steps == {2}  # 12 samples in threes, two batches a step: labels or not
    assert command([*asked, "--resume", "auto"]) == 0
    assert len(list((tmp_path / "runs" / "tiny-room").iterdir())) == 1
    assert command([*asked, "--resume", str(runs[0].path)]) == 2


def test_the_report_finds_what_is_trained_apart_and_nothing_else(tmp_path: Path) -> None:
    whole = tiny(tmp_path, balancing="pcgrad")
    whole["train"] |= {"best": "heating/accuracy", "lr_factors": {"tasks.heating": 0.1}}
    joint, longer = load_experiment(whole), load_experiment(whole, ["train.epochs=3", "train.seed=1"])
    made = [joint, only(load_experiment(whole, ["train.seed=1"]), ["room"]), only(longer, ["heating"])]
    runs = [RunFolder.create(one, echo=False) for one in made]
    for run in runs:
        (run.path / "evaluation" / "test").mkdir(parents=True)
        scored = {"split": "test", "samples": 0, "modalities": ["image"], "full": "image", "tasks": {}}
        run.write_json("evaluation/test/evaluation.json", scored)
    read = read_run(runs[0].path)
    apart = runs_apart(read, read.evaluations["test"])
    assert {task: [one.folder for one in found] for task, found in apart.runs.items()} == {"room": [runs[1].path]}
    unlike, how_to = (remark.text for remark in apart.remarks)
    assert unlike == f"{runs[2].path} has other settings, and is left out: train.epochs 3, here 2."
    assert "no run of heating and num_things alone" in how_to


def test_what_is_said_of_other_tasks_goes_with_them(tmp_path: Path) -> None:
    whole = tiny(tmp_path)
    whole["train"] |= {"best": "heating/accuracy", "lr_factors": {"tasks.heating": 0.1, "tasks.room.heads": 0.5}}
    alone = only(load_experiment(whole), ["room"])
    assert (alone.name, list(alone.tasks), alone.train.best) == ("tiny-room", ["room"], None)
    assert dict(alone.train.lr_factors) == {"tasks.room.heads": 0.5}
    with pytest.raises(WeftError, match="there is no task 'rooms'; there are room, heating, num_things"):
        only(load_experiment(whole), ["rooms"])
