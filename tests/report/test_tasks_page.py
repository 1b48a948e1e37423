"""The report's page on the tasks: it finds the runs of single tasks beside a run, and tells what training noted."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.report.fake_run import MAIN, TASKS, make_run
from tests.report.test_report import parsed, text_of
from weft.errors import WeftError
from weft.report import write_comparison, write_report
from weft.report.apart import runs_apart
from weft.report.bootstrap import Scored
from weft.report.conflict import Struggle, struggle
from weft.report.rare import rare_classes
from weft.report.reading import read_run

BOTH = ("rooms", "corners")


def load(_: Path) -> Mapping[str, Scored]:
    return TASKS


def settle(folder: Path, **changes: object) -> Path:
    """Change settings of a run; a dot parts a section from its key."""
    file = folder / "experiment.yaml"
    settings = yaml.safe_load(file.read_text())
    for place, value in changes.items():
        section, key = place.split("__")
        settings[section][key] = value
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def joint_run(output: Path) -> Path:
    return make_run(output / "both" / "1", tasks=BOTH, num_samples=20, pictures=0, name="both")


def alone(output: Path, task: str, time: str = "1", *, evaluated: bool = True, seed: int = 0) -> Path:
    folder = output / f"both-{task}" / time
    options = {"evaluated": evaluated, "seed": seed, "skill": 0.1, "name": f"both-{task}"}
    return make_run(folder, tasks=(task,), num_samples=20, pictures=0, **options)  # type: ignore[arg-type]


def found(run: Path) -> tuple[dict[str, list[str]], list[str]]:
    """{task: the times of its runs}, and the remarks."""
    read = read_run(run)
    apart = runs_apart(read, read.evaluations["test"])
    return {task: [one.folder.name for one in runs] for task, runs in apart.runs.items()}, [
        remark.text for remark in apart.remarks
    ]


def test_runs_of_single_tasks_beside_a_run_are_found_with_all_their_seeds(tmp_path: Path) -> None:
    run = joint_run(tmp_path)
    alone(tmp_path, "rooms", "1")
    alone(tmp_path, "rooms", "2", seed=1)
    settle(alone(tmp_path, "corners"), balancing__type="fixed", train__output="elsewhere")
    make_run(tmp_path / "both-scene" / "1", tasks=("scene",), num_samples=20, name="both-scene")  # no task of this run
    assert found(run) == ({"rooms": ["1", "2"], "corners": ["1"]}, [])


def test_runs_with_other_settings_or_without_scores_are_left_out_by_name(tmp_path: Path) -> None:
    run = joint_run(tmp_path)
    longer = settle(alone(tmp_path, "rooms"), train__epochs=60, data__size=[480, 640])
    unscored = alone(tmp_path, "corners", evaluated=False)
    runs, remarks = found(run)
    assert runs == {}
    assert remarks[0] == (
        f"{longer} has other settings, and is left out: "
        "data.size 480 × 640, here 240 × 320 and train.epochs 60, here 30."
    )
    assert remarks[1] == f"{unscored} has not scored test:"
    assert remarks[2].startswith("There is no run of rooms and corners alone to measure this one against.")


def test_the_report_measures_the_run_against_them(tmp_path: Path) -> None:
    run = joint_run(tmp_path)
    for task in BOTH:
        alone(tmp_path, task)
    page = write_report(run, tasks=TASKS, load_tasks=load).read_text(encoding="utf-8")
    assert parsed(page).open == []
    text = text_of(page)
    read = read_run(run)
    relative = []
    for task, sign in (("rooms", 1), ("corners", -1)):
        single = read_run(tmp_path / f"both-{task}" / "1")
        here, there = (
            TASKS[task].figures(one.evaluations["test"].records(task, "image+depth"))[MAIN[task]]
            for one in (read, single)
        )
        relative.append(100 * sign * (here / there - 1))
    delta = sum(relative) / 2
    assert delta < 0  # those alone are better by construction
    assert f"Joining the tasks, this network loses on average −{-delta:.1f} % (" in text
    assert f"Δm mean over the tasks −{-delta:.1f} %" in text
    assert "rooms, one by one IoU, points; joined less alone" in text
    assert "Rare classes by the truth of test" in text
    assert "There is no run of" not in text


def test_without_them_the_report_says_how_to_make_them(tmp_path: Path) -> None:
    run = joint_run(tmp_path)
    alone(tmp_path, "rooms")
    text = text_of(write_report(run, tasks=TASKS, load_tasks=load).read_text(encoding="utf-8"))
    assert f"weft train {run}/experiment.yaml --apart --task corners" in text
    assert "Joining the tasks" not in text  # of one task alone nothing follows for all
    assert "Against single tasks" in text


def test_a_run_that_cannot_be_loaded_is_named_and_the_report_written(tmp_path: Path) -> None:
    run = joint_run(tmp_path)
    broken = alone(tmp_path, "rooms")

    def refuse(_: Path) -> Mapping[str, Scored]:
        raise WeftError("it has no checkpoint", code="no-checkpoint")

    text = text_of(write_report(run, tasks=TASKS, load_tasks=refuse).read_text(encoding="utf-8"))
    assert f"{broken} cannot be loaded, and is left out: it has no checkpoint" in text


def test_classes_that_are_counted_are_rare_by_their_number(tmp_path: Path) -> None:
    read = read_run(make_run(tmp_path / "run", tasks=("corners",), num_samples=4, pictures=0))
    evaluation = read.evaluations["test"]
    counted = replace(evaluation.tasks["corners"], counts={"cone": (9, 1), "ball": (2, 50), "box": (4, 0)})
    found = rare_classes("corners", {"": read}, {"": replace(evaluation, tasks={"corners": counted})})
    assert found.names == ("ball",)  # by how many there are, not by how many are answered
    assert found.basis.startswith("by the truth of test")


def test_one_task_has_no_page_of_tasks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("rooms",), num_samples=4, pictures=0)
    assert "Tasks together" not in text_of(write_report(run).read_text(encoding="utf-8"))


# ---- what training noted

#: In every epoch of the fake.
STILL = [{"weight/rooms": 1.0, "weight/corners": 0.5}] * 30


def noting(run: Path, *columns: Mapping[str, float]) -> Path:
    """The run, whose training also noted this in its first epochs."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = dict.fromkeys([*rows[0], *(name for row in columns for name in row)])
    for row, more in zip((row for row in rows if row["split"] == "train"), columns, strict=False):
        row.update({name: str(value) for name, value in more.items()})
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return run


def noted(folder: Path, *columns: Mapping[str, float]) -> Struggle:
    """Of a run of two tasks whose training noted this in its first epochs."""
    run = make_run(folder / "run", tasks=BOTH, num_samples=4, evaluated=False)
    return struggle(read_run(noting(run, *columns)))


def test_conflict_is_counted_over_all_looks_whatever_epoch_they_fell_in(tmp_path: Path) -> None:
    seen = noted(
        tmp_path,
        {"cosine/rooms/corners": -0.4, "conflict/rooms/corners": 1.0, "looks/rooms/corners": 1},
        {"cosine/rooms/corners": 0.2, "conflict/rooms/corners": 0.25, "looks/rooms/corners": 4},
    )
    (pair,) = seen.pairs
    assert (pair.name, pair.first, pair.last, pair.looks) == ("rooms and corners", "−0.40", "+0.20", "5")
    assert pair.cosine == "+0.08"  # (-0.4 + 4 * 0.2) / 5
    assert pair.conflict == "40\u00a0%"  # 2 of 5
    assert seen.sentence == (
        "On average over training, the gradients of no two tasks point against each other. "
        "Most often rooms and corners are in conflict: in 40\u00a0% of the steps that were looked at."
    )
    assert "Cosine between the gradients of rooms and corners by epoch" in pair.chart


def test_those_who_conflict_most_come_first_also_of_runs_that_did_not_count(tmp_path: Path) -> None:
    seen = noted(tmp_path, {"cosine/rooms/corners": 0.1, "cosine/rooms/scene": -0.25})
    assert [pair.name for pair in seen.pairs] == ["rooms and scene", "rooms and corners"]
    assert {(pair.conflict, pair.looks) for pair in seen.pairs} == {("–", "–")}
    assert seen.sentence == "Most at odds are rooms and scene: mean cosine −0.25."


def test_where_nobody_looked_the_page_says_what_to_set(tmp_path: Path) -> None:
    seen = noted(tmp_path)
    assert seen.pairs == ()
    assert "train.conflict_every" in seen.sentence


def test_weights_are_drawn_where_they_move_and_tabulated_in_any_case(tmp_path: Path) -> None:
    moving = noted(tmp_path / "moving")
    rooms, corners = moving.weights
    assert (rooms.configured, rooms.most) == ("1.00", rooms.first)  # the fake's fall by 0.3 over training
    assert (corners.last, corners.most) == ("1.80", "1.80")
    assert moving.weights_chart is not None
    assert [name for name, _, _ in moving.weights_chart.legend] == list(BOTH)
    assert noted(tmp_path / "still", *STILL).weights_chart is None


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_a_pair_that_was_never_measured_is_no_pair(tmp_path: Path, value: float) -> None:
    seen = noted(tmp_path, {"cosine/rooms/corners": value})
    assert len(seen.pairs) == (0 if math.isnan(value) else 1)


def test_a_comparison_draws_weights_that_moved_and_tells_what_became_of_each_class(tmp_path: Path) -> None:
    runs = [joint_run(tmp_path), *(alone(tmp_path, task) for task in BOTH)]
    written = write_comparison(runs, tmp_path / "compared.html", load_tasks=load)
    page = written.page.read_text(encoding="utf-8")
    assert parsed(page).open == []
    assert "weight of corners by epoch, a line per run" in page
    assert "What joining did to each class" in text_of(page)
    still = [noting(joint_run(tmp_path / name), *STILL) for name in ("one", "other")]
    assert "weight of" not in write_comparison(still, tmp_path / "still.html", load_tasks=load).page.read_text()
