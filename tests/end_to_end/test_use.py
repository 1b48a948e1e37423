"""A trained run in use: evaluated, reported, compared, and asked for answers with anything missing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import weft
from weft import Experiment, Predictor, WeftError
from weft.engine.evaluate import read_records
from weft.engine.score import subsets_of

Make = Callable[..., Experiment]


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run with its evaluation."""
    run = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, run)
    weft.evaluate(run, progress=False, num_pictures=2)
    return run


def evaluation(run: Path, split: str = "test") -> dict:
    return json.loads((run / "evaluation" / split / "evaluation.json").read_text())


def test_every_subset_of_the_modalities_is_scored_with_intervals(evaluated: Path) -> None:
    result = evaluation(evaluated)
    assert result["samples"] == 10
    for task in result["tasks"].values():
        assert list(task["subsets"]) == ["image+depth", "image", "depth"]
        for subset in task["subsets"].values():
            figure = subset["figures"][task["main_figure"]]
            assert figure["low"] <= figure["value"] <= figure["high"]


def test_a_sample_without_the_kept_modality_is_not_answered_and_counted(evaluated: Path) -> None:
    result = evaluation(evaluated)
    missing = 10 - json.loads((evaluated / "summary.json").read_text())["data"]["counts"]["test"]["modalities"]["depth"]
    assert missing > 0
    assert result["tasks"]["room"]["subsets"]["depth"]["no_answer"] == missing
    assert result["tasks"]["room"]["subsets"]["image"]["no_answer"] == 0


def test_figures_are_those_of_the_records(evaluated: Path) -> None:
    result = evaluation(evaluated)["tasks"]
    task = Predictor(evaluated).loaded.model.tasks["label"]
    records = read_records(evaluated / "evaluation" / "test" / "records" / "label__image+depth.npz")
    assert task.figures(records)["mIoU"] == pytest.approx(
        result["label"]["subsets"]["image+depth"]["figures"]["mIoU"]["value"]
    )
    assert int(records.totals["confusion"].sum()) == int(records.rows["actual"].sum())


def test_corruptions_and_pictures_are_there(evaluated: Path) -> None:
    result = evaluation(evaluated)
    for task in result["tasks"].values():
        for modality in ("image", "depth"):
            assert set(task["corruptions"][modality]) == {"noise", "blur", "pixel_dropout", "shift"}
            assert [entry["severity"] for entry in task["corruptions"][modality]["noise"]] == [0, 1, 2, 3]
    assert len(result["pictures"]) >= 2
    for entry in result["pictures"]:
        for path in entry["inputs"].values():
            assert Image.open(evaluated / "evaluation" / "test" / path).size == (48, 48)


def test_the_batch_size_changes_no_figure(evaluated: Path) -> None:
    figures = []
    for size in (1, 7):
        result = weft.evaluate(
            evaluated, split="val", quick=True, overrides=[f"train.batch_size={size}"], progress=False
        )
        figures.append({name: task["subsets"]["image+depth"]["figures"] for name, task in result["tasks"].items()})
    for task, first in figures[0].items():
        for name, figure in first.items():
            assert figure["value"] == pytest.approx(figures[1][task][name]["value"], abs=2e-3, nan_ok=True), (
                task,
                name,
            )


def test_without_a_modality_equals_its_subset(evaluated: Path) -> None:
    result = weft.evaluate(evaluated, without=["depth"], quick=True, progress=False)
    assert list(result["tasks"]["label"]["subsets"]) == ["image"]
    alone = result["tasks"]["label"]["subsets"]["image"]["figures"]["mIoU"]["value"]
    assert alone == evaluation(evaluated)["tasks"]["label"]["subsets"]["image"]["figures"]["mIoU"]["value"]
    assert (evaluated / "evaluation" / "test-without-depth" / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": ["sonar"]}, "no modality 'sonar' to leave out; there are image, depth"),
        ({"without": ["image", "depth"]}, "nothing to answer from"),
        ({"split": "holdout"}, "no split 'holdout'; there are train, val, test"),
        ({"checkpoint": "epoch-9"}, "no checkpoint 'epoch-9'; there are best, last"),
    ],
)
def test_what_is_not_there_is_named(trained: Path, changes: dict, message: str) -> None:
    with pytest.raises(WeftError, match=message):
        weft.evaluate(trained, progress=False, **changes)


def test_the_report_and_the_comparison_are_written(evaluated: Path, tmp_path: Path) -> None:
    page = weft.write_report(evaluated).read_text(encoding="utf-8")
    assert all(name in page for name in ("label", "room", "marks", "true_depth", "pixel_dropout", "mIoU"))
    assert "https://" not in page
    other = tmp_path / "other"
    shutil.copytree(evaluated, other)
    weft.compare([evaluated, other], out=tmp_path / "comparison.html")
    assert (tmp_path / "comparison.html").is_file()


def test_the_predictor_answers_from_what_it_is_given(trained: Path) -> None:
    predictor = Predictor(trained)
    image = np.zeros((48, 48, 3), np.uint8)
    depth = np.full((48, 48), 2.0, np.float32)
    both = predictor(image=image, depth=depth)
    assert both["label"].shape == (6, 48, 48)
    assert both["label"].sum(0) == pytest.approx(np.ones((48, 48)), abs=1e-4)
    assert both["room"].shape == (4,)
    alone = predictor(depth=depth)
    assert not np.allclose(alone["room"], both["room"])
    with pytest.raises(WeftError, match="sonar is not among them"):
        predictor(sonar=depth)
    with pytest.raises(WeftError, match="none was given"):
        predictor()


def write_files(folder: Path, number: int) -> None:
    generator = np.random.default_rng(number)
    Image.fromarray(generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    depth = generator.integers(1000, 4000, (60, 80), dtype=np.uint16)
    Image.fromarray(depth).save(folder / f"{number}_depth.png")


def test_answers_for_a_table_are_written_at_the_size_of_the_files(experiment: Make, tmp_path: Path) -> None:
    made = experiment(
        modalities__depth={
            "metres_per_unit": 0.001,
            "encoder": {"type": "timm", "name": "mobilenetv3_small_050"},
        },
        data__size=[48, 64],
        train__epochs=1,
    )
    run = weft.train(made, progress=False)
    files = tmp_path / "files"
    files.mkdir()
    for number in (1, 2):
        write_files(files, number)
    with (files / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["id", "image", "depth"], ["a", "1.png", "1_depth.png"], ["b", "2.png", ""], ["c", "", "2_depth.png"]]
        )
    out = weft.predict(run, manifest=files / "new.csv", out=tmp_path / "answers", progress=False)
    masks = sorted((out / "label").glob("*.png"))
    assert [path.stem for path in masks] == ["a", "b", "c"]
    mask = Image.open(masks[0])
    assert (mask.mode, mask.size) == ("P", (80, 60))
    depths = sorted((out / "true_depth").glob("*.png"))
    assert Image.open(depths[0]).size == (80, 60)
    assert np.asarray(Image.open(depths[0])).max() > 255
    rows = list(csv.DictReader(next((out / "room").glob("*.csv")).open()))
    assert len(rows) == 3
    (files / "other.csv").write_text("id,imgae\n0,1.png\n")
    with pytest.raises(WeftError, match=r"none of the columns image, depth, .* it has imgae; did you mean 'image'\?"):
        weft.predict(run, manifest=files / "other.csv", progress=False)


def test_flips_scales_and_windows_are_averaged(experiment: Make, trained: Path) -> None:
    sample = {"image": np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)}
    predictor = Predictor(trained)
    plain = predictor(**sample)
    mirrored = predictor(image=sample["image"][:, ::-1].copy())
    run = Path(trained.parent, "averaged")
    shutil.copytree(trained, run, dirs_exist_ok=True)
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("flip: false\n", "flip: true\n"))
    averaged = Predictor(run)(**sample)
    expected = (plain["label"] + mirrored["label"][..., ::-1]) / 2
    assert averaged["label"] == pytest.approx(expected, abs=1e-5)
    assert averaged["room"] == pytest.approx((plain["room"] + mirrored["room"]) / 2, abs=1e-5)


def test_subsets_are_all_up_to_five_and_chosen_beyond() -> None:
    assert subsets_of(["a", "b", "c"]) == [
        ("a", "b", "c"),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
        ("a",),
        ("b",),
        ("c",),
    ]
    many = subsets_of(list("abcdefgh"))
    assert len(many) == 1 + 8 + 16 + 8
    assert len(set(many)) == len(many)
    assert many[0] == tuple("abcdefgh")
