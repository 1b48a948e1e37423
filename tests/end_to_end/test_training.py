"""Training keeps its promises: resumed to the bit, accumulated exactly, stopped with words."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import weft
from weft import ConfigError, Experiment
from weft.engine import checkpoint as checkpoints
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training
from weft.errors import Interrupted, NumericFault
from weft.types import Batch

from .conftest import small

Make = Callable[..., Experiment]


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / name / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_run_writes_what_it_was_and_what_it_measured(trained: Path) -> None:
    run = RunFolder(trained)
    summary = run.read_json("summary.json")
    assert summary["train"]["epochs_done"] == 2
    assert summary["parameters"]["total"] == sum(n for part, n in summary["parameters"].items() if part != "total")
    assert summary["data"]["counts"]["train"]["samples"] == 22
    assert summary["data"]["counts"]["train"]["modalities"]["depth"] < 22
    rows = run.read_rows("metrics.csv")
    assert [(row["epoch"], row["split"]) for row in rows] == [
        ("1", "train"),
        ("1", "val"),
        ("2", "train"),
        ("2", "val"),
    ]
    assert {"loss/label", "weight/label", "lr"} <= rows[0].keys()
    assert {"label/mIoU", "room/accuracy", "marks/MAE", "true_depth/RMSE"} <= rows[1].keys()
    assert run.experiment().resolved == yaml.safe_load((trained / "experiment.yaml").read_text())
    assert any("tfevents" in path.name for path in trained.iterdir())


def test_the_same_seed_gives_the_same_weights(experiment: Make, trained: Path) -> None:
    assert_same_weights(weft.train(experiment(), progress=False), trained)


def test_another_seed_gives_other_weights(experiment: Make, trained: Path) -> None:
    other = weights(weft.train(experiment(train__seed=1, train__epochs=1), progress=False))
    assert any(not torch.equal(other[name], value) for name, value in weights(trained).items() if value.dim() == 4)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 6])
def test_resumed_at_any_step_equals_uninterrupted(
    experiment: Make, trained: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """22 samples in batches of 6 are 4 steps an epoch: within and between epochs."""
    original = Training._step

    def stopping(self: Training, batches: list[Batch]) -> None:
        original(self, batches)
        if self.position.step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    changes = {"train__save_every": 1}
    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", stopping)
        with pytest.raises(Interrupted) as stopped:
            weft.train(experiment(**changes), progress=False)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    resumed = weft.train(experiment(**changes), resume="auto", progress=False)
    assert_same_weights(resumed, trained)
    before = checkpoints.load(trained / "checkpoints" / "last")
    after = checkpoints.load(resumed / "checkpoints" / "last")
    assert all(torch.equal(after.training[name], value) for name, value in before.training.items())
    assert {k: v for k, v in after.state.items() if k != "seconds"} == {
        k: v for k, v in before.state.items() if k != "seconds"
    }
    assert without_times(RunFolder(resumed).read_rows("metrics.csv")) == without_times(
        RunFolder(trained).read_rows("metrics.csv")
    )


def test_killed_at_random_moments_the_run_ends_with_the_same_weights(tmp_path: Path, trained: Path) -> None:
    """SIGKILL to a process of its own, again and again, until it gets through."""
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps(small(tmp_path / "runs", train__save_every=1)))  # JSON is YAML
    script = "import torch, weft, sys; torch.set_num_threads(1); weft.train(sys.argv[1], resume='auto', progress=False)"
    kills = 0
    for attempt in range(12):
        process = subprocess.Popen([sys.executable, "-c", script, str(config)], stderr=subprocess.PIPE)
        patience = None if kills == 3 else 0.3 * attempt
        started = next((tmp_path / "runs").glob("small/*/checkpoints"), None)
        if patience is not None and started is None:  # the first kills come once a checkpoint is there
            deadline = time.monotonic() + 120
            while not list((tmp_path / "runs").glob("small/*/checkpoints/last*")) and time.monotonic() < deadline:
                if process.poll() is not None:
                    break
                time.sleep(0.02)
        try:
            process.wait(timeout=patience)
            assert process.returncode == 0, process.stderr.read().decode()  # type: ignore[union-attr]
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills > 0
    (run,) = (tmp_path / "runs" / "small").iterdir()
    assert_same_weights(run, trained)


def test_accumulation_gives_the_gradient_of_one_large_batch(experiment: Make) -> None:
    """With BatchNorm kept as it is and nothing random; uneven labels make the counts of the two halves differ."""
    quiet = {
        "modalities__image": {"encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}},
        "modalities__depth": {"encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze_bn": True}},
        "tasks": {"room": {"type": "classification"}, "marks": {"type": "location"}},
        "train__optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
        "train__clip": None,
        "train__ema": None,
        "train__epochs": 1,
        "train__warmup": 0.0,
        "data__num_train": 8,
    }
    whole = weights(weft.train(experiment(**quiet, train__batch_size=8), progress=False))
    halves = weights(
        weft.train(experiment(**quiet, train__batch_size=4, train__accumulate=2, name="halves"), progress=False)
    )
    for name, value in whole.items():
        assert torch.allclose(value, halves[name], atol=2e-5), name


def test_changes_that_would_change_the_result_are_refused_on_resume(experiment: Make, trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch_size: the run has 6 and 4 was given"):
        weft.train(experiment(train__batch_size=4), resume=trained, progress=False)


def test_another_number_of_threads_is_told_on_resume(
    experiment: Make, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    made = RunFolder(run).experiment()
    weft.train(made, resume=run, progress=False)
    assert "this run had 1 threads and has 64 now" in (run / "log.txt").read_text()


def test_the_learning_rate_is_that_of_the_schedule(trained: Path) -> None:
    """Poly over 2 epochs of 4 steps: the last step of the first epoch stands at 3 / 4 of it, warm-up is over."""
    rows = RunFolder(trained).read_rows("metrics.csv")
    assert float(rows[0]["lr"]) == pytest.approx(1e-3 * (1 - 0.75 / 2) ** 0.9)


def poison(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Make the target of one training sample `value`: its square is beyond float32."""
    original = Training._step

    def poisoned(self: Training, batches: list[Batch]) -> None:
        if self.position.step == 2:
            batches[0].targets["true_depth"][0] = value
        original(self, batches)

    monkeypatch.setattr(Training, "_step", poisoned)


def test_a_loss_that_is_not_finite_stops_with_task_and_samples(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1e30)
    made = experiment(train__save_every=1)
    with pytest.raises(NumericFault, match=r"step 2: .*task 'true_depth', samples .*train-") as failed:
        weft.train(made, progress=False)
    assert failed.value.exit_code == 4
    (run,) = Path(made.train.output, "small").iterdir()
    kept = json.loads((run / "failures" / "step-2.json").read_text())
    assert "true_depth" in kept["tasks"]
    assert (run / "failures" / "step-2-0.safetensors").is_file()
    assert checkpoints.load(run / "checkpoints" / "last").state["step"] == 2


def test_a_step_that_is_not_finite_can_be_left_out_and_is_counted(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1e30)
    run = weft.train(experiment(train__on_nonfinite="skip", train__epochs=1), progress=False)
    assert RunFolder(run).read_json("summary.json")["train"]["skipped_steps"] == 1
    assert all(bool(torch.isfinite(value).all()) for name, value in weights(run).items() if "running" not in name)


def test_a_run_can_start_from_another_with_other_tasks(experiment: Make, trained: Path) -> None:
    made = experiment(
        tasks={"room": {"type": "classification", "dropout": 0.1}, "parity": {"type": "classification"}},
        train__start_from=str(trained),
        train__epochs=1,
        train__optimizer={"type": "sgd", "lr": 1e-12},
        train__ema=None,
    )
    run = weft.train(made, progress=False)
    taken = RunFolder(run).read_json("summary.json")["taken_over"]
    assert {"encoders.image", "encoders.depth", "tasks.room"} <= taken["taken"].keys()
    assert list(taken["new"]) == ["tasks.parity"]
    assert "tasks.label" in taken["unused"]
    before, after = weights(trained, "best"), weights(run)
    stem = next(name for name in before if name.startswith("encoders.image") and before[name].dim() == 4)
    assert torch.allclose(before[stem], after[stem], atol=1e-6)


def test_early_stopping_stops(experiment: Make) -> None:
    made = experiment(train__epochs=6, train__early_stopping=1, train__optimizer={"type": "sgd", "lr": 1e-12})
    summary = RunFolder(weft.train(made, progress=False)).read_json("summary.json")
    assert summary["train"]["stopped_early"]
    assert summary["train"]["epochs_done"] < 6


@pytest.mark.parametrize(("prefix", "expected"), [("encoders.imag", "no parameter's name begins so"), ("", "no")])
def test_an_lr_factor_for_nothing_is_refused(experiment: Make, prefix: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        weft.train(experiment(train__lr_factors={prefix: 0.1}), progress=False)


def test_learning_rates_follow_prefix_and_depth(experiment: Make) -> None:
    made: Any = experiment(train__lr_factors={"encoders": 0.5, "encoders.depth": 0.1}, train__layer_decay=0.5)
    training = Training(made, RunFolder.create(made, echo=False))
    rates = {id(p): group["lr_factor"] for group in training.optimizer.param_groups for p in group["params"]}
    stages = training.model.encoders["image"].layers()
    last = next(stages[-1].parameters())
    assert rates[id(last)] == pytest.approx(0.5)
    before = next(p for p in stages[-2].parameters())
    assert rates[id(before)] == pytest.approx(0.25)
    depth_last = next(training.model.encoders["depth"].layers()[-1].parameters())
    assert rates[id(depth_last)] == pytest.approx(0.1)
    assert rates[id(next(training.model.tasks["room"].parameters()))] == 1.0
