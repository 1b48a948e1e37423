"""Joint networks against single tasks: Δm is what its papers define, paired, and told where it is not known."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.report.fake_run import MAIN, TASKS, make_run
from tests.report.test_report import parsed, text_of
from weft.report import write_comparison
from weft.report.bootstrap import Scored
from weft.report.rare import RareClasses
from weft.report.reading import read_evaluation
from weft.report.run import Evaluation
from weft.report.together import Together, sentences, together


def load(_: Path) -> Mapping[str, Scored]:
    return TASKS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A joint network that is worse at masks and better at corners, and each task alone, masks from two seeds."""
    folder = tmp_path_factory.mktemp("together")
    made: dict[str, tuple[tuple[str, ...], float]] = {
        "A": (("rooms", "corners"), 0.1),
        "B": (("rooms",), 0.25),
        "C": (("rooms",), 0.2),
        "D": (("corners",), -0.15),
    }
    return {
        letter: make_run(folder / letter, tasks=tasks, num_samples=40, skill=skill, name=letter)
        for letter, (tasks, skill) in made.items()
    }


def evaluated(runs: Mapping[str, Path], letters: str) -> dict[str, Evaluation]:
    return {letter: read_evaluation(runs[letter] / "evaluation/test") for letter in letters}


def found(runs: Mapping[str, Path], letters: str) -> tuple[Together, ...]:
    return together(evaluated(runs, letters), dict.fromkeys(letters, TASKS))


def main_figure(runs: Mapping[str, Path], letter: str, task: str) -> float:
    evaluation = evaluated(runs, letter)[letter]
    return TASKS[task].figures(evaluation.records(task, evaluation.full))[MAIN[task]]


def test_delta_m_is_the_mean_of_the_relative_gains_turned_so_that_plus_is_better(runs: dict[str, Path]) -> None:
    (joint,) = found(runs, "ABD")
    rooms, corners = (
        {letter: main_figure(runs, letter, task) for letter in "A" + own}
        for task, own in (("rooms", "B"), ("corners", "D"))
    )
    higher = (rooms["A"] - rooms["B"]) / rooms["B"]
    lower = -(corners["A"] - corners["D"]) / corners["D"]
    assert higher < 0 < lower
    assert joint.gains["rooms"].relative.value == pytest.approx(higher)
    assert joint.gains["corners"].relative.value == pytest.approx(lower)
    assert joint.delta.value == pytest.approx((higher + lower) / 2)
    assert joint.delta.low < joint.delta.value < joint.delta.high
    assert {task: gain.conclusion for task, gain in joint.gains.items()} == {"rooms": "worse", "corners": "better"}


def test_several_runs_of_one_task_count_as_their_mean(runs: dict[str, Path]) -> None:
    (joint,) = found(runs, "ABCD")
    mean = (main_figure(runs, "B", "rooms") + main_figure(runs, "C", "rooms")) / 2
    assert joint.gains["rooms"].alone == pytest.approx(mean)
    assert joint.gains["rooms"].relative.value == pytest.approx(main_figure(runs, "A", "rooms") / mean - 1)


def test_the_same_answers_gain_exactly_nothing(tmp_path: Path) -> None:
    runs = {
        letter: make_run(tmp_path / letter, tasks=tasks, num_samples=20, name=letter)
        for letter, tasks in {"A": ("rooms", "corners"), "B": ("rooms",), "C": ("corners",)}.items()
    }
    (joint,) = found(runs, "ABC")
    assert (joint.delta.value, joint.delta.low, joint.delta.high) == (0, 0, 0)


def test_one_single_task_beside_a_joint_run_is_another_kind_of_comparison(runs: dict[str, Path]) -> None:
    assert found(runs, "AB") == ()
    assert found(runs, "BD") == ()


def test_without_all_tasks_alone_delta_m_is_not_known(tmp_path: Path) -> None:
    runs = {
        letter: make_run(tmp_path / letter, tasks=tasks, num_samples=20, name=letter)
        for letter, tasks in {"A": ("rooms", "scene", "corners"), "B": ("rooms",), "C": ("scene",)}.items()
    }
    (joint,) = found(runs, "ABC")
    assert joint.lacking == ("corners",)
    assert not joint.delta.known
    assert sentences([joint], {"A": "all"}) == [
        "all has no run of corners alone to be measured against, so its Δm is not known."
    ]


def test_the_page_the_terminal_and_a_table_tell_it(runs: dict[str, Path], tmp_path: Path) -> None:
    written = write_comparison(list(runs.values()), tmp_path / "compared.html", load_tasks=load)
    page = written.page.read_text(encoding="utf-8")
    assert parsed(page).open == []
    assert "Tasks together" in text_of(page)
    (said,) = (line for line in written.text.splitlines() if line.startswith("Joining the tasks, A"))
    assert "corners better and rooms worse beyond noise" in said
    table = next(path for path in written.tables if path.name == "compared-together.csv")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == ["rooms", "corners", "Δm"]
    assert float(rows[2]["relative_gain"]) == pytest.approx(
        (float(rows[0]["relative_gain"]) + float(rows[1]["relative_gain"])) / 2
    )


def test_every_class_has_its_change_and_the_rare_ones_their_mean(runs: dict[str, Path]) -> None:
    scored = dict.fromkeys("ABD", TASKS)
    rare = {"rooms": RareClasses(("lamp", "bathtub"), "by hand")}
    (joint,) = together(evaluated(runs, "ABD"), scored, rare=rare)
    changes = joint.gains["rooms"].classes
    assert changes is not None
    one, other = (
        TASKS["rooms"].figures(evaluated(runs, letter)[letter].records("rooms", "image+depth")) for letter in "AB"
    )
    expected = {name: one[name] - other[name] for name in one if name.startswith("IoU/")}
    found = {row.figure: row.changes["joined"] for row in changes.rows}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].difference.value == pytest.approx(value, nan_ok=True)
    wall = found["IoU/wall"].difference.interval
    assert wall.low < wall.value < wall.high
    ranked = sorted((value, name) for name, value in expected.items() if value == value)
    assert [row.figure for row in changes.losing] == [name for _, name in ranked[:6]]  # worse by far: all lose
    assert changes.gaining == ()
    assert [row.item for row in changes.rare] == ["rarest third, mean", "lamp", "bathtub"]
    mean, lamp, bathtub = (row.changes["joined"].difference.value for row in changes.rare)
    assert mean == pytest.approx((lamp + bathtub) / 2)


def test_where_less_is_better_a_class_gains_by_what_it_loses(runs: dict[str, Path]) -> None:
    (joint,) = found(runs, "ABD")
    changes = joint.gains["corners"].classes
    assert changes is not None
    assert {row.item for row in changes.gaining} == {"nearest corner", "vanishing point"}
    assert all(row.changes["joined"].difference.value < 0 < row.changes["joined"].gain for row in changes.gaining)
    assert changes.rare == ()  # nothing is known of how frequent points are
