"""By which figure a checkpoint is chosen, and what a task without a label in the validation part does to it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from weft.engine.score import Scored
from weft.engine.validation import figure_to_choose_by
from weft.errors import ConfigError
from weft.types import Records

TASKS: Any = SimpleNamespace(
    tasks={
        "masks": SimpleNamespace(main_figure="mIoU", higher_is_better={"mIoU": True, "IoU": True}),
        "metres": SimpleNamespace(main_figure="RMSE", higher_is_better={"RMSE": False}),
    }
)
BOTH = {"masks": {"mIoU": 0.5, "IoU/car": 0.25}, "metres": {"RMSE": 2.0}}


def test_the_mean_of_the_main_figures_chooses_or_the_one_that_is_named() -> None:
    assert figure_to_choose_by(TASKS, BOTH, None) == (0.5 - 2.0) / 2
    assert figure_to_choose_by(TASKS, BOTH, "masks/IoU/car") == 0.25
    assert figure_to_choose_by(TASKS, BOTH, "metres/RMSE") == -2.0
    assert figure_to_choose_by(TASKS, BOTH | {"metres": {"RMSE": math.nan}}, None) == -math.inf


def test_a_task_of_which_nothing_could_be_scored_has_no_figures_and_no_say() -> None:
    scored = Scored("val", records={"metres": {"image": Records()}}, full="image")
    task: Any = TASKS.tasks["metres"]
    nothing = scored.figures("metres", task)
    assert nothing == {}
    assert figure_to_choose_by(TASKS, BOTH | {"metres": nothing}, None) == 0.5
    assert figure_to_choose_by(TASKS, {"masks": {}, "metres": {}}, None) == -math.inf
    assert figure_to_choose_by(TASKS, BOTH | {"metres": nothing}, "metres/RMSE") == -math.inf


def test_a_figure_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no figure 'IoU/cra'; there are mIoU, IoU/car; did you mean 'IoU/car'"):
        figure_to_choose_by(TASKS, BOTH, "masks/IoU/cra")
