"""Two processes are one: the same gradients, weights, figures and ends, whatever each of them lacks."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import weft
from weft import Experiment, cli, load_experiment, registry
from weft.data.feature_store import FeatureStore
from weft.data.shard import Shard
from weft.engine.batch_norm import check_shares, statistics, synchronise
from weft.engine.distributed import ALONE, Gathering, together
from weft.engine.evaluate import read_records
from weft.engine.resume import check_setting
from weft.engine.run_folder import RunFolder
from weft.engine.saving import Setting
from weft.engine.step import Balance, Taken, losses_again, take_step
from weft.engine.train import Training
from weft.errors import ConfigError, DataFault, Interrupted, WeftError
from weft.model import Model
from weft.types import Batch, Features, Slot

from .test_step import FACTORS, assert_close, joined, made, unlabelled

Found = tuple[dict[str, Tensor], Taken, dict[str, float]]


def in_two(do: Callable[[Gathering], Any], folder: Path) -> list[Any]:
    """What each of two processes gives, or the code and words that it ends with; None of one that was killed.

    They are forked, so that nothing is imported again.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def run(rank: int) -> None:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}})
        torch.set_num_threads(1)
        try:
            with together() as gathering:
                result = do(gathering)
        except WeftError as error:
            result = (error.exit_code, str(error))
        torch.save(result, folder / f"result-{rank}.pt")

    processes = [multiprocessing.get_context("fork").Process(target=run, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        if process.is_alive():
            process.kill()
    files = [folder / f"result-{rank}.pt" for rank in range(2)]
    results = [torch.load(file, weights_only=False) if file.exists() else None for file in files]
    for file in files:
        file.unlink(missing_ok=True)
    return results


# --- one step --------------------------------------------------------------------------------------------------------


def stepped(model: Model, batches: list[Batch], rule: str, gathering: Gathering, **options: Any) -> Found:
    """The gradients of a step that does not move, what it found, and the losses that a second look gives."""
    look = options.pop("look", False)
    model.zero_grad(set_to_none=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    balance = Balance(registry.Part("balancing", rule, options)(), {}, FACTORS, look)
    torch.manual_seed(7 + gathering.rank)  # what rules draw must not depend on the process
    taken = take_step(model, optimizer, batches, balance=balance, precision="fp32", clip=None, gathering=gathering)
    again = losses_again(model, batches, precision="fp32", gathering=gathering) if balance.rule.looks_again else {}
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, taken, again


def cases(first: Batch, second: Batch) -> dict[str, tuple[list[Batch], list[list[Batch]], str, dict[str, Any]]]:
    """{name: (what one process sees, what each of two sees, rule, options)}: every way through a step."""
    whole, halves = [joined(first, second)], [[first], [second]]
    poor, bare = unlabelled(second, "heating"), unlabelled(first, *FACTORS)
    rules = ("fixed", "uncertainty", "rlw", "famo", "gradnorm", "pcgrad", "cagrad")
    lacking = {f"{rule} where a process lacks a task": rule for rule in ("uncertainty", "cagrad")}
    accumulated = {f"{rule} accumulated": rule for rule in ("fixed", "pcgrad", "famo")}
    return {
        **{rule: (whole, halves, rule, {}) for rule in rules},
        "pcgrad at parameters": (whole, halves, "pcgrad", {"at": "parameters"}),
        "a look at conflict": (whole, halves, "fixed", {"look": True}),
        **{name: ([joined(first, poor)], [[first], [poor]], rule, {}) for name, rule in lacking.items()},
        **{name: ([first, second, first], [[first, second], [first]], rule, {}) for name, rule in accumulated.items()},
        "with an idle process": ([first], [[first], []], "gls", {}),
        "without any label": ([bare], [[bare], []], "gls", {}),
    }


def learned(model: Model, batch: Batch, gathering: Gathering) -> list[Tensor]:
    """What BatchNorm has learned after a step, in a copy of the network where it learns."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        module.training = True
    stepped(copied, [batch], "fixed", gathering)
    return statistics(copied)


def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    model, (first, second) = made(tmp_path, missing={"depth": 0.4, "heating": 0.5})
    chosen = cases(first, second)

    def both(gathering: Gathering) -> tuple[dict[str, Found], list[Tensor]]:
        steps = {
            name: stepped(model, parts[gathering.rank], rule, gathering, **options)
            for name, (_, parts, rule, options) in chosen.items()
        }
        return steps, learned(model, (first, second)[gathering.rank], gathering)

    results = in_two(both, tmp_path)
    means = zip(learned(model, first, ALONE), learned(model, second, ALONE), strict=True)
    for one, other, (by_first, by_second) in zip(*(averaged for _, averaged in results), means, strict=True):
        assert torch.equal(one, other)
        assert torch.allclose(one, (by_first + by_second) / 2)
    found = [steps for steps, _ in results]
    for name, (whole, _, rule, options) in chosen.items():
        gradients, taken, again = stepped(model, whole, rule, ALONE, **options)
        for parts, by_two, again_by_two in (one[name] for one in found):
            assert by_two.counts == taken.counts, name
            assert by_two.means == pytest.approx(taken.means, rel=1e-5), name
            assert by_two.weights == pytest.approx(taken.weights, rel=1e-3), name
            assert again_by_two == pytest.approx(again, rel=1e-5), name
            assert_close(parts, gradients, rtol=2e-3)
            if taken.conflict is not None and by_two.conflict is not None:
                assert by_two.conflict.cosines() == pytest.approx(taken.conflict.cosines(), abs=1e-3)
        for parameter, gradient in found[0][name][0].items():
            assert torch.equal(gradient, found[1][name][0][parameter]), (name, parameter)


def test_a_short_batch_leaves_no_process_with_a_single_sample() -> None:
    def shares(number: int, length: int, batch_size: int) -> list[int]:
        rows = np.arange(length)
        parts = [Shard(index, number).of_batch(rows, batch_size) for index in range(number)]
        assert np.concatenate(parts).tolist() == rows.tolist()
        return [len(part) for part in parts]

    assert shares(2, 7, 8) == [4, 3]
    assert shares(2, 3, 8) == [3, 0]
    assert shares(4, 5, 8) == [3, 2, 0, 0]
    assert shares(2, 1, 8) == [1, 0]
    assert shares(4, 4, 4) == [1, 1, 1, 1]


# --- whole runs ------------------------------------------------------------------------------------------------------

ENCODER = {"type": "timm", "name": "test_efficientnet", "freeze_bn": True}


def tiny(output: Path, **train: Any) -> dict[str, Any]:
    """Nothing that one process would draw or count otherwise; of 9 samples in batches of 6 the last leaves one idle."""
    return {
        "name": "tiny",
        "data": {
            "format": "scenes",
            "resolution": [48, 48],
            "num_train": 9,
            "num_val": 8,
            "num_test": 8,
            "missing": {"depth": 0.4, "heating": 0.5},
            "augment": {"flip": 0.5},
            "workers": 0,
        },
        "modalities": {"image": {"dropout": 0.2, "encoder": ENCODER}, "depth": {"encoder": ENCODER}},
        "fusion": "concat",
        "tasks": {
            "room": {"type": "classification", "dropout": 0.0},
            "heating": {"type": "classification", "dropout": 0.0},
        },
        "balancing": "uncertainty",
        "train": {
            "epochs": 2,
            "batch_size": 6,
            "ema": 0.9,
            "clip": 5.0,
            "precision": "fp32",
            "conflict_every": 2,
            "optimizer": {"type": "sgd", "lr": 0.05},
            "device": "cpu",
            "output": str(output),
            **train,
        },
    }


def of_two(output: Path, **train: Any) -> Experiment:
    return load_experiment(tiny(output, **train))


def weights(run: Path, name: str = "last") -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / name / "model.safetensors")


@pytest.fixture(scope="module")
def run_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weft.train(of_two(tmp_path_factory.mktemp("one")), progress=False)


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained and evaluated by two processes."""
    folder = tmp_path_factory.mktemp("two")

    def whole(gathering: Gathering) -> Path:
        run = weft.train(of_two(folder), progress=False)
        weft.evaluate(run, num_pictures=1, progress=False)
        return run

    first, second = in_two(whole, folder)
    assert first == second, (first, second)
    return Path(first)


def test_two_processes_end_with_the_weights_of_one(run_of_one: Path, run_of_two: Path) -> None:
    for name in ("last", "best"):
        one, two = weights(run_of_one, name), weights(run_of_two, name)
        for key, value in one.items():
            assert torch.allclose(two[key], value, rtol=1e-3, atol=2e-5), (name, key)
    rows = [RunFolder(run).read_rows("metrics.csv") for run in (run_of_one, run_of_two)]
    for row, by_two in zip(*rows, strict=True):
        assert row.keys() == by_two.keys()
        for key in row.keys() - {"seconds", "split"}:
            assert float(by_two[key]) == pytest.approx(float(row[key]), rel=1e-2, abs=1e-3), key


def test_only_the_first_process_writes(run_of_two: Path) -> None:
    assert [path.name for path in run_of_two.parent.iterdir()] == [run_of_two.name]
    assert len(list(run_of_two.glob("events.*"))) == 1
    lines = (run_of_two / "log.txt").read_text().splitlines()
    assert sum("epoch 1/2 train" in line for line in lines) == 1
    summary = RunFolder(run_of_two).read_json("summary.json")
    assert summary["processes"] == 2
    assert summary["train"]["steps"] == 4


def test_every_sample_is_scored_once_and_as_by_one(run_of_two: Path, tmp_path: Path) -> None:
    by_two = RunFolder(run_of_two).read_json("evaluation/test/evaluation.json")
    kept = {path.name: read_records(path) for path in (run_of_two / "evaluation/test/records").iterdir()}
    by_one = weft.evaluate(run_of_two, num_pictures=1, progress=False)
    timing = {"seconds", "images_per_second"}
    plain = json.loads(json.dumps(RunFolder(run_of_two).read_json("evaluation/test/evaluation.json")))
    assert {k: v for k, v in by_two.items() if k not in timing} == {k: v for k, v in plain.items() if k not in timing}
    assert by_one["samples"] == by_two["samples"] == 8
    for name, records in kept.items():
        again = read_records(run_of_two / "evaluation/test/records" / name)
        assert records.ids == again.ids
        assert all(np.array_equal(values, again.rows[key]) for key, values in records.rows.items())


def test_interrupted_in_one_process_both_save_once_and_go_on_to_the_bit(run_of_two: Path, tmp_path: Path) -> None:
    """A signal to the second alone, in the middle of the first epoch; then on to the end."""

    def interrupted(gathering: Gathering) -> Any:
        original = Training._step

        def stopping(self: Training, batches: Sequence[Batch]) -> None:
            original(self, batches)
            if self.position.step == 1 and gathering.rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)  # launchers send it twice

        Training._step = stopping  # type: ignore[method-assign]  # in this process alone
        with pytest.raises(WeftError) as stopped:
            weft.train(of_two(tmp_path), progress=False)
        assert stopped.value.exit_code == Interrupted("", signal_number=signal.SIGTERM).exit_code
        Training._step = original  # type: ignore[method-assign]
        return str(stopped.value), weft.train(of_two(tmp_path), resume="auto", progress=False)

    (said, run), (other, _) = in_two(interrupted, tmp_path)
    assert said.startswith("stopped by a signal; saved.")
    assert other.startswith("rank 1 of 2 processes stops, as rank 0 did: stopped by a signal")
    assert "resumed at epoch 1, step 1" in (run / "log.txt").read_text()
    for key, value in weights(run_of_two).items():
        assert torch.equal(weights(run)[key], value), key


def test_another_number_of_processes_is_refused_where_it_changes_what_a_layer_sees() -> None:
    learns, other = torch.nn.BatchNorm1d(2), torch.nn.LayerNorm(2)
    with pytest.raises(ConfigError, match="the run had 2 processes and 4 are here; the network has BatchNorm"):
        check_setting(Setting(1, 2), Setting(1, 4), learns, source="run")  # type: ignore[arg-type]
    assert check_setting(Setting(1, 2), Setting(1, 2), learns, source="run") == []  # type: ignore[arg-type]
    assert check_setting(Setting(1, 2), Setting(8, 4), other, source="run") == [  # type: ignore[arg-type]
        "this run had 1 threads and has 8 now: it goes on, but not to the last bit as it would have",
        "this run had 2 processes and has 4 now: it goes on, but not to the last bit as it would have",
    ]


def test_processes_share_the_room_for_features(tmp_path: Path) -> None:
    stores = [FeatureStore(tmp_path, limit=4000, writers=2) for _ in range(2)]
    folders = [store.folder("recipe") for store in stores]
    row = Features.of_vector(torch.zeros(1, 100))
    written = [stores[index % 2].write(folders[index % 2], Slot(f"entry-{index}"), row) for index in range(20)]
    assert 2 <= sum(written) < 20
    assert sum(file.stat().st_size for file in folders[0].iterdir()) <= 4000


def test_what_ends_one_process_ends_the_other_with_its_words(tmp_path: Path) -> None:
    def broken(gathering: Gathering) -> None:
        if gathering.rank == 1:
            raise DataFault("a picture is broken")
        gathering.wait()

    def unwritable(gathering: Gathering) -> None:
        def write() -> None:
            raise DataFault("the disk is full")

        gathering.first(write)

    first, second = in_two(broken, tmp_path)
    assert second == (3, "a picture is broken")
    assert first == (3, "rank 0 of 2 processes stops, as rank 1 did: a picture is broken")
    first, second = in_two(unwritable, tmp_path)
    assert first == (3, "the disk is full")
    assert second == (3, "rank 1 of 2 processes stops, as rank 0 did: the disk is full")


def test_a_process_that_is_killed_ends_the_other_with_words(tmp_path: Path) -> None:
    def killed(gathering: Gathering) -> None:
        if gathering.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        gathering.sum(torch.zeros(3))

    first, second = in_two(killed, tmp_path)
    assert second is None
    assert first[0] == 5
    assert first[1].startswith(
        "rank 0 of 2 processes stops, as another has ended without a word; it may have been killed"
    )


def test_what_is_not_finite_in_one_process_stops_both_and_names_its_samples(tmp_path: Path) -> None:
    def spoiled(gathering: Gathering) -> None:
        original = Training._step

        def step(self: Training, batches: Sequence[Batch]) -> None:
            if gathering.rank == 1:
                batches[0].inputs["image"] = torch.full_like(batches[0].inputs["image"].float(), float("nan"))
            original(self, batches)

        Training._step = step  # type: ignore[method-assign]  # in this process alone
        weft.train(of_two(tmp_path), progress=False)

    first, second = in_two(spoiled, tmp_path)
    assert first[0] == second[0] == 4
    assert first[1].startswith("step 0: a loss or gradient is not finite: task 'room', samples ")
    kept = json.loads(next(tmp_path.glob("tiny/*/failures/step-0.json")).read_text())
    assert kept["tasks"]["room"]
    assert set(kept["tasks"]["room"]) <= set(kept["ids"][1])
    assert len(list(tmp_path.glob("tiny/*/failures/*.safetensors"))) == 2


class Four(Gathering):
    """One of four processes, with nobody there."""

    size = 4


def test_synchronised_batch_norm_is_refused_where_it_would_wait_and_else_keeps_the_network(tmp_path: Path) -> None:
    model, _ = made(tmp_path, {"label": {"type": "segmentation"}})
    experiment = of_two(tmp_path)
    data: Any = SimpleNamespace(
        counts={"train": {"samples": 9, "modalities": {"image": 9, "depth": 5}}}, shares_all=lambda split: False
    )
    with pytest.raises(ConfigError, match="all processes must come to all layers") as refused:
        synchronise(model, experiment, data, torch.device("cpu"), Four())
    said = str(refused.value)
    for words in ("GPUs alone", "image is missing, or dropped", "depth is missing", "the last batch of an epoch"):
        assert words in said
    for modality in experiment.modalities:
        data.counts["train"]["modalities"][modality] = 9
    data.shares_all = lambda split: True
    whole = load_experiment({**experiment.resolved, "modalities": {"image": {"encoder": ENCODER}}})
    converted = copy.deepcopy(model)
    synchronise(converted, whole, data, torch.device("cuda"), Four())
    norms = [m for m in converted.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    assert converted.state_dict().keys() == model.state_dict().keys()
    assert statistics(converted.train()) == []
    picture = torch.randn(1, 3, 48, 48)
    tokens = [network.eval().encoders["image"](picture).tokens for network in (model, converted)]
    assert torch.allclose(tokens[0], tokens[1], atol=1e-5)


def test_a_batch_too_small_for_the_processes_is_refused() -> None:
    check_shares(torch.nn.LayerNorm(2), 4, Four())
    check_shares(torch.nn.BatchNorm1d(2), 8, Four())
    with pytest.raises(ConfigError, match=r"train\.batch_size: 3 was given, and 4 processes .* give 4 at least"):
        check_shares(torch.nn.LayerNorm(2), 3, Four())
    with pytest.raises(
        ConfigError, match="give 8 at least \\(two samples for each, as BatchNorm cannot learn from one"
    ):
        check_shares(torch.nn.BatchNorm1d(2), 7, Four())


def test_commands_that_would_be_done_twice_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.run(["crossvalidate", "my.yaml"]) == 2
    assert "weft crossvalidate runs in one process, and torchrun has started 2" in capsys.readouterr().err
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(WeftError, match="WORLD_SIZE is 2, so there are several processes, and RANK"), together():
        pass


def test_the_command_line_under_torchrun(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(tiny(tmp_path / "runs", epochs=1)))  # JSON is YAML
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", "weft", "train", str(config)], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1 train") == done.stdout.count("Next: weft evaluate") == 1
    (run,) = (tmp_path / "runs" / "tiny").iterdir()
    assert RunFolder(run).read_json("summary.json")["train"]["epochs_done"] == 1
