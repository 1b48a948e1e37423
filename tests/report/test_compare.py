"""Comparing runs: the differences are right, only what differs is listed, and spreadsheets are safe."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.report.fake_run import EVIL, FORMULA, TASKS, AccuracyScores, make_run
from tests.report.test_report import parsed, text_of
from weft.errors import WeftError
from weft.report import Comparison, write_comparison
from weft.report.bootstrap import Drawn, Scored, paired_differences
from weft.report.pairs import task_rows
from weft.report.reading import read_evaluation, read_run
from weft.report.settings import differing, differing_settings
from weft.types import Records


def load(_: Path) -> Mapping[str, Scored]:
    return TASKS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """RGB alone on one task, and RGB with depth on two."""
    folder = tmp_path_factory.mktemp("compared")
    rgb = make_run(folder / "rgb", modalities=("image",), tasks=("rooms",), num_samples=20, name="rgb")
    both = make_run(folder / "both", tasks=("rooms", "scene"), num_samples=20, skill=0.02, name="both", seed=1)
    return rgb, both


@pytest.fixture(scope="module")
def comparison(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return write_comparison(runs, tmp_path_factory.mktemp("out") / "compared.html", load_tasks=load)


def rows_of(comparison: Comparison) -> list[dict[str, str]]:
    with comparison.tables[0].open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_page_is_whole_and_fetches_nothing(comparison: Comparison) -> None:
    page = comparison.page.read_text(encoding="utf-8")
    assert parsed(page).open == []
    assert not re.search(r"https?:", page)
    assert EVIL not in page


def test_the_difference_is_that_of_the_paired_bootstrap(comparison: Comparison, runs: tuple[Path, Path]) -> None:
    first, second = (read_evaluation(run / "evaluation/test") for run in runs)
    expected = paired_differences(
        TASKS["rooms"], first.records("rooms", "image"), second.records("rooms", "image+depth"), groups={}
    )["mIoU"]
    rows = [row for row in rows_of(comparison) if row["figure"] == "mIoU" and row["run"] == "B"]
    row = next(row for row in rows if row["modalities"] == "all it has")
    assert float(row["difference_from_A"]) == pytest.approx(expected.value)
    assert float(row["difference_low"]) == pytest.approx(expected.interval.low)
    assert float(row["difference_high"]) == pytest.approx(expected.interval.high)
    assert row["excludes_zero"] == str(expected.excludes_zero)
    assert row["samples"] == "20"


def test_the_same_modalities_are_compared_too(comparison: Comparison) -> None:
    found = [row for row in rows_of(comparison) if row["modalities"] == "image" and row["run"] == "B"]
    assert [row["figure"] for row in found] == ["mIoU"]
    assert float(found[0]["difference_from_A"]) == pytest.approx(0.01, abs=0.03)  # the skill, not what depth adds


def test_the_sentence_says_what_was_gained(comparison: Comparison) -> None:
    text = text_of(comparison.page.read_text(encoding="utf-8"))
    assert re.search(r"On rooms, both is better than rgb by [\d.]+ points \(\+[\d.]+ to \+[\d.]+\): mIoU", text)
    assert "A has no task of this name." in text


def test_the_terminal_table_is_in_line(comparison: Comparison) -> None:
    lines = comparison.text.split("\n\n")[1].splitlines()
    assert lines[0].split() == ["task", "modalities", "figure", "A", "B", "B", "−", "A"]
    assert "better" in lines[2]
    assert len({line.index("  ") > 0 for line in lines}) == 1


def test_only_what_differs_is_listed(runs: tuple[Path, Path]) -> None:
    rgb, both = map(read_run, runs)
    settings = differing_settings({"A": rgb, "B": both})
    assert set(settings) == {"name", "modalities.depth", "tasks.scene", "train.seed"}
    assert settings["train.seed"] == {"A": "0", "B": "1"}
    assert settings["modalities.depth"]["A"] == "–"
    assert differing_settings({"A": rgb, "B": rgb}) == {}


def test_a_part_that_some_runs_lack_is_told_in_short_and_compared_among_the_others() -> None:
    unet, fcn = ({"type": "segmentation", "decoder": {"type": name, "width": 64}} for name in ("unet", "fcn"))
    tasks = {"A": {"rooms": unet}, "B": {"rooms": fcn}, "C": {}}
    assert dict(differing(tasks, "tasks")) == {
        "tasks.rooms": {"A": "segmentation", "B": "segmentation", "C": "–"},
        "tasks.rooms.decoder.type": {"A": "unet", "B": "fcn"},
    }
    assert dict(differing({"A": {"ema": None}, "B": {}})) == {"ema": {"A": "not set", "B": "–"}}


def test_lower_is_better_makes_less_better(tmp_path: Path) -> None:
    poor = make_run(tmp_path / "poor", tasks=("corners",), num_samples=20)
    good = make_run(tmp_path / "good", tasks=("corners",), num_samples=20, skill=0.3)
    found = write_comparison([poor, good], tmp_path / "c.html", load_tasks=load)
    text = text_of(found.page.read_text(encoding="utf-8"))
    assert "is better than" in text
    row = next(row for row in rows_of(found) if row["run"] == "B" and row["figure"] == "MAE")
    assert float(row["difference_from_A"]) < 0


def test_groups_are_resampled_whole(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"{n}", num_samples=12, groups=True, seed=n, tasks=("scene",)) for n in (0, 1)]
    found = write_comparison(runs, tmp_path / "c.html", load_tasks=load)
    assert "resamples of whole groups" in found.page.read_text(encoding="utf-8")


def test_a_task_that_only_others_have_is_compared_with_nothing(tmp_path: Path) -> None:
    first = make_run(tmp_path / "first", tasks=("rooms",), num_samples=8)
    rest = [make_run(tmp_path / f"{n}", tasks=("scene",), num_samples=8, seed=n) for n in (1, 2)]
    found = write_comparison([first, *rest], tmp_path / "c.html", load_tasks=load)
    assert all(row["difference_from_A"] == "" for row in rows_of(found) if row["task"] == "scene")


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"2026-{n}", num_samples=6, tasks=("scene",)) for n in (1, 2)]
    text = write_comparison(runs, tmp_path / "c.html", load_tasks=load).text
    assert "nyuv2_rgbd 2026-1" in text
    assert "nyuv2_rgbd 2026-2" in text


def test_formulas_are_quoted_in_the_tables(tmp_path: Path, comparison: Comparison) -> None:
    with comparison.tables[0].open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(FORMULA in cell for cell in cells)
    for cell in cells:
        assert not cell.startswith(("=", "+", "@", "\t")), cell
        assert not cell.startswith("-") or math.isfinite(float(cell))  # numbers may be negative
    run = make_run(tmp_path / "run", num_samples=6, tasks=("scene",), name="=1+1")
    other = make_run(tmp_path / "other", num_samples=6, tasks=("scene",))
    settings = write_comparison([run, other], tmp_path / "c.html", load_tasks=load).tables[1]
    assert "name,'=1+1,nyuv2_rgbd" in settings.read_text(encoding="utf-8")


def test_runs_that_were_not_scored_are_refused_with_the_command(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    bare = make_run(tmp_path / "bare", evaluated=False)
    with pytest.raises(WeftError, match=r"weft evaluate .*bare"):
        write_comparison([runs[0], bare], tmp_path / "c.html", load_tasks=load)
    assert not list(tmp_path.glob("c*"))


def test_runs_scored_on_different_splits_are_refused(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    other = make_run(tmp_path / "other", num_samples=6)
    (other / "evaluation/test").rename(other / "evaluation/val")
    path = other / "evaluation/val/evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"split": "val"}))
    with pytest.raises(WeftError, match="no split that all 2 runs have scored"):
        write_comparison([runs[0], other], tmp_path / "c.html", load_tasks=load)


def test_one_run_is_refused(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    with pytest.raises(WeftError, match="takes 2 to 26"):
        write_comparison(runs[:1], tmp_path / "c.html", load_tasks=load)


MANY = {
    "text alone": (("depth",), 0.0),
    "image alone": (("image",), 0.0),
    "weighted": (("image", "depth"), 0.0),
    "concat": (("image", "depth"), 0.0),
    "decision": (("image", "depth"), -0.05),
    "hybrid": (("image", "depth"), 0.02),
    "transformer": (("image", "depth"), 0.1),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Seven runs of one task, one of them clearly the best."""
    folder = tmp_path_factory.mktemp("many")
    runs = [
        make_run(folder / name, modalities=given, tasks=("scene",), num_samples=60, skill=skill, name=name)
        for name, (given, skill) in MANY.items()
    ]
    return write_comparison(runs, folder / "c.html", load_tasks=load)


def test_of_many_runs_the_best_is_named_with_those_that_keep_up(many: Comparison) -> None:
    page = many.page.read_text(encoding="utf-8")
    assert parsed(page).open == []
    text = text_of(page)
    found = re.search(r"On scene, transformer leads with ([\d.]+) % accuracy, better than (.*?) beyond noise", text)
    assert found
    assert "text alone" in found[2]
    assert "image alone" in found[2]
    assert len(re.findall(r"On scene, ", text)) == 1


def test_many_runs_stand_in_the_order_of_their_figure(many: Comparison) -> None:
    page = many.page.read_text(encoding="utf-8")
    table = page.split('class="sortable standings"')[1].split("</table>")[0]
    values = [float(value) for value in re.findall(r'data-sort="[\d.]+"><b>([\d.]+)</b>', table)]
    assert len(values) == 7
    assert values == sorted(values, reverse=True)
    assert table.index("transformer") < table.index("text alone")


def test_each_run_stands_against_each_and_the_signs_agree(many: Comparison, tmp_path: Path) -> None:
    evaluations = {
        letter: read_evaluation(many.page.parent / name / "evaluation/test")
        for letter, name in zip("ABCDEFG", MANY, strict=True)
    }
    found = task_rows("scene", evaluations, dict.fromkeys(evaluations, TASKS)).against
    assert len(found) == 7 * 6
    for (one, other), change in found.items():
        back = found[other, one]
        assert change.difference.value == pytest.approx(-back.difference.value)
        assert change.difference.interval.low == pytest.approx(-back.difference.interval.high)
    expected = paired_differences(
        TASKS["scene"],
        evaluations["C"].records("scene", "image+depth"),
        evaluations["G"].records("scene", "image+depth"),
        groups={},
    )["accuracy"]
    assert found["G", "C"].difference == expected
    assert found["G", "C"].conclusion == "better"


def test_many_runs_have_a_line_each_in_the_terminal(many: Comparison) -> None:
    lines = many.text.split("\n\n")[1].splitlines()
    assert lines[0].split() == ["task", "modalities", "figure", "run", "value", "less", "A"]
    assert max(map(len, lines)) < 100
    assert len([line for line in lines if "all it has" in line and "accuracy" in line]) == 7
    assert len([line for line in lines if "rarest third, mean" in line]) == 7


class Stricter(AccuracyScores):
    """A run's own way to score: as one with a threshold of its own would."""

    def figures(self, records: Records) -> dict[str, float]:
        return {name: value / 2 for name, value in super().figures(records).items()}


def test_every_run_is_scored_by_its_own_task(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, num_samples=20, tasks=("scene",)) for name in ("same", "stricter")]
    own = {runs[0]: {"scene": AccuracyScores()}, runs[1]: {"scene": Stricter()}}
    found = write_comparison(runs, tmp_path / "c.html", load_tasks=lambda run: own[run])
    row = next(row for row in rows_of(found) if row["run"] == "B" and row["figure"] == "accuracy")
    mean = AccuracyScores().figures(read_evaluation(runs[0] / "evaluation/test").records("scene", "image+depth"))
    assert float(row["difference_from_A"]) == pytest.approx(-mean["accuracy"] / 2)


# --- rare classes ----------------------------------------------------------------------------------------------------


def test_the_rare_classes_are_those_of_training_and_their_mean_has_a_paired_interval(
    tmp_path: Path, comparison: Comparison
) -> None:
    rgb = make_run(tmp_path / "rgb", modalities=("image",), tasks=("rooms",), num_samples=20, name="rgb")
    both = make_run(tmp_path / "both", tasks=("rooms",), num_samples=20, skill=0.02, name="both", seed=1)
    summary = json.loads((both / "summary.json").read_text())
    # five classes occur, so that two are the rarest third
    summary["data"]["class_counts"] = {"rooms": {"wall": 10, "lamp": 5, "sink": 900, "sofa": 901, "bed": 11, "bag": 0}}
    (both / "summary.json").write_text(json.dumps(summary))
    found = write_comparison([rgb, both], tmp_path / "rare.html", load_tasks=load)
    named = ["lamp", "wall"]  # two of the five that occur
    rows = {row["run"]: row for row in rows_of(found) if row["figure"] == "IoU/rarest third, mean"}
    per_class = {
        row["figure"]: float(row["value"])
        for row in rows_of(found)
        if row["run"] == "B"
        and row["figure"] in [f"IoU/{name}" for name in named]
        and row["modalities"] == "all it has"
    }
    assert float(rows["B"]["value"]) == pytest.approx(sum(per_class.values()) / 2)
    first, second = (read_evaluation(run / "evaluation/test") for run in (rgb, both))
    drawn = [
        Drawn.of(TASKS["rooms"], one.records("rooms", key), groups={})
        for one, key in ((first, "image"), (second, "image+depth"))
    ]
    means = [one.resamples[:, [one.figures.index(f"IoU/{name}") for name in named]].mean(1) for one in drawn]
    low, high = np.quantile(means[1] - means[0], (0.025, 0.975))
    assert float(rows["B"]["difference_low"]) == pytest.approx(low)
    assert float(rows["B"]["difference_high"]) == pytest.approx(high)
    assert re.search(r"IoU.*: rarest third, mean +[\d.]+", found.text)
    assert found.text.index("rarest third, mean") < found.text.index(": lamp") < found.text.index(": wall")
    text = text_of(found.page.read_text(encoding="utf-8"))
    assert "Rare classes the rarest third, by what the training split has of them" in " ".join(text.split())
    # without such counts the truth of the split says it, and the page says so
    text = text_of(comparison.page.read_text(encoding="utf-8"))
    assert "by the truth of test, as no run counted its training split" in " ".join(text.split())
