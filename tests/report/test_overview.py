"""What the report says of the model's parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.report.fake_run import make_run
from weft.report.numbers import SPACE
from weft.report.overview import overview
from weft.report.reading import read_run


def boxes(folder: Path, more: Mapping[str, int] | None = None, **changes: Any) -> dict[str, tuple[str, str]]:
    """{detail: (title, parameters)} of what stands between inputs and tasks; `more` are parameters by part."""
    run = make_run(folder / "run", num_samples=4, evaluated=False)
    experiment = yaml.safe_load((run / "experiment.yaml").read_text())
    (run / "experiment.yaml").write_text(yaml.safe_dump({**experiment, **changes}))
    summary = json.loads((run / "summary.json").read_text())
    summary["parameters"] |= {"decisions.rooms": 3, "decisions.scene": 2, **(more or {})}
    (run / "summary.json").write_text(json.dumps(summary))
    return {box.detail: (box.title, box.parameters) for box in overview(read_run(run)).middle}


def test_a_feature_level_fusion_has_no_decision(tmp_path: Path) -> None:
    assert set(boxes(tmp_path)) == {"fusion"}


@pytest.mark.parametrize(
    "changes",
    [
        {"over": ["fused", "image", "depth"]},
        {"fusion": {"type": "none"}},
        {"fusion": "none"},
        {"tasks": {"rooms": {"type": "segmentation", "over": ["fused", "image"]}}},
    ],
    ids=["hybrid", "decision level", "decision level by name", "one task"],
)
def test_a_decision_is_shown_where_a_task_reads_several_views(changes: dict[str, Any], tmp_path: Path) -> None:
    assert boxes(tmp_path, decision={"type": "linear"}, **changes)["decision"] == ("linear", "5")


def test_a_fusion_of_the_users_own_is_taken_to_fuse(tmp_path: Path) -> None:
    assert set(boxes(tmp_path, fusion={"type": "mine"})) == {"fusion"}


def test_what_tasks_share_softly_is_shown_where_it_has_parameters(tmp_path: Path) -> None:
    own = {"sharing.rooms": 1000, "sharing.scene": 200}
    assert boxes(tmp_path, own, sharing={"type": "attention"})["sharing"] == ("attention", f"1.2{SPACE}k")


@pytest.mark.parametrize(("task", "shown"), [(None, "flip 0.5"), ("rooms", "copy_paste task rooms, flip 0.5")])
def test_pasting_is_shown_where_something_is_pasted(task: str | None, shown: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_samples=4, evaluated=False)
    experiment = yaml.safe_load((run / "experiment.yaml").read_text())
    experiment["data"] = {**experiment["data"], "augment": {"flip": 0.5, "copy_paste": {"task": task}}}
    (run / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    assert dict(overview(read_run(run)).settings)["Augmentation"] == shown
