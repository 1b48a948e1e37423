"""Checkpoints are whole, verified, and refused where they were touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from weft.engine import checkpoint as checkpoints
from weft.engine.checkpoint import Checkpoint
from weft.errors import ResourceFault, WeftError


def example(value: float = 1.0) -> Checkpoint:
    return Checkpoint(
        weights={"layer.weight": torch.full((2, 3), value)},
        training={"optimizer.0.exp_avg": torch.full((2, 3), value / 2)},
        state={"step": int(value), "precision": "fp32"},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoints.save(example(), tmp_path / "last")
    loaded = checkpoints.load(tmp_path / "last")
    assert torch.equal(loaded.weights["layer.weight"], torch.ones(2, 3))
    assert torch.equal(loaded.training["optimizer.0.exp_avg"], torch.full((2, 3), 0.5))
    assert loaded.state == {"step": 1, "precision": "fp32"}


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json"])
def test_one_flipped_byte_is_refused(tmp_path: Path, name: str) -> None:
    checkpoints.save(example(), tmp_path / "last")
    file = tmp_path / "last" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeftError, match="not what was written"):
        checkpoints.load(tmp_path / "last")


def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file operation of a save is made the last one in turn."""

    class Killed(BaseException):
        pass

    operations = [(Path, "mkdir"), (Path, "write_text"), (Path, "rename"), (os, "fsync"), (shutil, "rmtree")]
    for kill_at in range(1, 30):
        folder = tmp_path / str(kill_at)
        checkpoints.save(example(1), folder / "last")
        count = 0

        def counting(original, kill_at: int = kill_at):  # type: ignore[no-untyped-def]
            def call(*args, **kwargs):  # type: ignore[no-untyped-def]
                nonlocal count
                count += 1
                if count == kill_at:
                    raise Killed
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            for owner, name in operations:
                patched.setattr(owner, name, counting(getattr(owner, name)))
            try:
                checkpoints.save(example(2), folder / "last")
                finished = True
            except Killed:
                finished = False
        place = checkpoints.find(folder / "last")
        assert place is not None, f"nothing left after a kill at operation {kill_at}"
        assert checkpoints.load(place).state["step"] in (1, 2)
        checkpoints.save(example(3), folder / "last")  # and the next save works
        assert checkpoints.load(folder / "last").state["step"] == 3
        if finished:
            break
    assert finished
    assert kill_at > 8  # the save has at least so many moments


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(example(1), tmp_path / "last")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(ResourceFault, match="MB are free; the previous checkpoint stands"):
        checkpoints.save(example(2), tmp_path / "last")
    assert checkpoints.load(tmp_path / "last").state["step"] == 1


def test_another_architecture_is_refused_by_part() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    with pytest.raises(WeftError, match=r"1 tensors not in it: 0\.bias\n.*1 tensors of another shape: 0\.weight"):
        checkpoints.load_weights(model, {"0.weight": torch.zeros(4, 2)}, source="last")


def test_a_pickle_in_the_place_of_weights_is_not_run(tmp_path: Path) -> None:
    checkpoints.save(example(), tmp_path / "last")
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (os.system, (f"touch {marker}",))

    torch.save({"layer.weight": Evil()}, tmp_path / "last" / "model.safetensors")
    with pytest.raises(WeftError, match="not what was written"):
        checkpoints.load(tmp_path / "last")
    assert not marker.exists()


def test_optimizer_state_survives_flattening() -> None:
    state = {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}, 4: {"momentum_buffer": None}}
    tensors, others = checkpoints.flatten_optimizer(state)
    assert sorted(tensors) == ["0.exp_avg", "0.step"]
    assert checkpoints.restore_optimizer(tensors, others) == state


def test_a_checkpoint_of_another_format_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "FORMAT", 7)
        checkpoints.save(example(), tmp_path / "last")
    with pytest.raises(WeftError, match="has checkpoint format 7 and this weft reads 1"):
        checkpoints.load(tmp_path / "last")
