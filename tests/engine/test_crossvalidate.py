"""Cross-validation: every sample scored once by a network that never saw it, what is done kept, two compared."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import weft
from weft.cli import run as command
from weft.config import load_experiment
from weft.data.pipeline import build_data
from weft.engine import crossvalidate as module
from weft.engine import evaluate as evaluate_module
from weft.engine import pooling
from weft.engine.evaluate import read_records
from weft.engine.run_folder import RunFolder
from weft.errors import ConfigError, Interrupted
from weft.metrics.paired import corrected_resampled_t, mcnemar

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One thread, and intervals from few resamples."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_module, "RESAMPLES", 40)
        patch.setattr(pooling, "RESAMPLES", 200)
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six training pictures in pairs that belong together, six for validation and six to test on."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows = ["id,split,image,colour,pair"]
    for number in range(48):
        name, value = list(COLOURS.items())[number // 2 % 3]
        tint = np.clip(np.array(value) + random.normal(0, 90, 3), 0, 255).astype(np.uint8)  # some look like others
        Image.fromarray(np.broadcast_to(tint, (32, 32, 3)).copy()).save(root / f"{number}.png")
        split = "train" if number < 36 else "val" if number < 42 else "test"
        rows.append(f"s{number:02d},{split},{number}.png,{name},p{number // 2}")
    (root / "samples.csv").write_text("\n".join(rows))
    return root


def content(root: Path, output: Path, **train: Any) -> dict[str, Any]:
    return {
        "name": "colours",
        "data": {
            "format": "table",
            "root": str(root),
            "file": "samples.csv",
            "group": "pair",
            "validation": {"by": "stratified", "stratify": "colour"},
            "workers": 0,
        },
        "modalities": {"image": {"encoder": {"type": "timm", "name": "test_convnext"}}},
        "tasks": {"colour": {"type": "classification", "classes": list(COLOURS)}},
        "train": {
            "epochs": 2,
            "batch_size": 6,
            "optimizer": {"type": "adamw", "lr": 0.001},
            "precision": "fp32",
            "device": "cpu",
            "output": str(output),
            **train,
        },
    }


@pytest.fixture(scope="module")
def crossed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two folds of train alone, in two repeats."""
    experiment = load_experiment(content(pictures, tmp_path_factory.mktemp("runs")))
    return weft.crossvalidate(experiment, folds=2, repeats=2, progress=False)


def records_of(folder: Path) -> Any:
    return read_records(folder / "evaluation" / "fold" / "records" / "colour__image.npz")


def test_every_training_sample_is_scored_once_a_repeat_and_never_seen_in_training(crossed: dict[str, Any]) -> None:
    for repeat in (0, 1):
        scored = []
        for fold in (0, 1):
            folder = RunFolder(Path(crossed["folder"], f"repeat-{repeat}-fold-{fold}"))
            held = records_of(folder.path).ids
            data = build_data(folder.experiment(), facts=folder.read_json("facts.json"))
            assert set(held) == set(data.ids("fold"))
            assert not set(held) & {*data.ids("train"), *data.ids("val"), *data.ids("test")}
            assert data.ids("val") == [f"s{number}" for number in range(36, 42)]  # the data's own, which is not divided
            assert {data.column("fold", "pair")[one] for one in held}.isdisjoint(data.column("train", "pair").values())
            scored += held
        assert sorted(scored) == [f"s{number:02d}" for number in range(36)]


def test_repeats_divide_anew(crossed: dict[str, Any]) -> None:
    digests = [run["digest"] for run in crossed["runs"]]
    assert len(set(digests)) == 4


def test_figures_are_those_of_the_folds_and_of_all_their_answers(crossed: dict[str, Any]) -> None:
    folder = Path(crossed["folder"])
    folds = [records_of(folder / run["run"]) for run in crossed["runs"]]
    accuracies = [(one.rows["scores"].argmax(1) == one.rows["truth"]).mean() for one in folds]
    figure = crossed["tasks"]["colour"]["figures"]["accuracy"]
    assert figure["mean"] == pytest.approx(np.mean(accuracies))
    assert figure["std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert figure["folds"] == 4
    pooled = records_of(folder)
    assert len(set(pooled.ids)) == len(pooled) == 72
    assert figure["value"] == pytest.approx((pooled.rows["scores"].argmax(1) == pooled.rows["truth"]).mean())
    assert figure["low"] < figure["value"] < figure["high"]
    assert len(set(accuracies)) > 1
    written = json.loads((folder / "crossvalidation.json").read_text())
    assert written["tasks"]["colour"]["figures"]["accuracy"]["mean"] == figure["mean"]
    assert crossed["checkpoint"] == "chosen by 6 samples outside the fold"


def test_answers_of_a_group_and_of_all_repeats_are_resampled_together(crossed: dict[str, Any]) -> None:
    groups = json.loads(Path(crossed["folder"], "evaluation", "fold", "evaluation.json").read_text())["groups"]
    assert groups["s00"] == groups["s01"] == groups["s00@2"] == groups["s01@2"] == "p0"
    assert len(groups) == 72
    assert len(set(groups.values())) == 18


def test_what_is_done_is_not_done_again_and_repeats_are_added(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(content(pictures, tmp_path))
    trained: list[Path] = []
    whole = module.train

    def stop_at_the_second(experiment: Any, *, resume: Path, progress: bool) -> Path:
        trained.append(resume)
        if len(trained) == 2:
            raise Interrupted("a signal", signal_number=15)
        return whole(experiment, resume=resume, progress=progress)

    monkeypatch.setattr(module, "train", stop_at_the_second)
    with pytest.raises(Interrupted, match="The same command goes on") as caught:
        weft.crossvalidate(experiment, folds=2, inner=0.2, with_val=True, progress=False)
    assert caught.value.exit_code == 143
    first = weft.crossvalidate(experiment, folds=2, inner=0.2, with_val=True, progress=False)
    assert [path.name for path in trained] == ["repeat-0-fold-0", "repeat-0-fold-1", "repeat-0-fold-1"]
    more = weft.crossvalidate(experiment, folds=2, repeats=2, inner=0.2, with_val=True, progress=False)
    assert [path.name for path in trained[3:]] == ["repeat-1-fold-0", "repeat-1-fold-1"]
    assert more["folder"] == first["folder"]
    assert more["runs"][:2] == first["runs"]
    assert first["samples"] == 42  # val is divided too
    assert first["checkpoint"] == "chosen by 6 samples outside the fold"  # a pair of each class, nearest to a fifth


def test_a_fold_keeps_the_checkpoint_that_it_was_scored_with(crossed: dict[str, Any]) -> None:
    for run in crossed["runs"]:
        kept = sorted(path.name for path in Path(crossed["folder"], run["run"], "checkpoints").iterdir())
        assert kept == ["best"]


def test_two_are_compared_by_sample_and_over_the_folds_that_both_have(
    crossed: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    experiment = load_experiment(content(pictures, tmp_path, optimizer={"type": "sgd", "lr": 0.001}))
    other = weft.crossvalidate(experiment, folds=2, progress=False)
    assert Path(other["folder"]).name != Path(crossed["folder"]).name
    compared = weft.compare([crossed["folder"], other["folder"]], out=tmp_path / "compared.html")
    with (tmp_path / "compared-tests.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["figure"] == "accuracy")
    by_fold = [[run["figures"]["colour"]["accuracy"] for run in one["runs"][:2]] for one in (crossed, other)]
    expected = corrected_resampled_t(np.subtract(by_fold[1], by_fold[0]).tolist(), tested_to_trained=1.0)
    assert float(row["difference_from_A"]) == pytest.approx(expected.mean)
    assert row["folds"] == "2"
    right = []
    for one in (crossed, other):
        pooled = records_of(Path(one["folder"]))
        found = zip(pooled.ids, pooled.rows["scores"].argmax(1) == pooled.rows["truth"], strict=True)
        right.append(np.array([hit for name, hit in sorted(found) if "@" not in name]))
    only = (int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    assert (int(row["right_only_A"]), int(row["right_only_run"])) == only
    assert sum(only) > 0
    assert expected.mean != 0
    assert float(row["p_mcnemar"]) == pytest.approx(mcnemar(*right).p)
    assert compared.text.splitlines()[-1].split()[:6] == ["colour", "accuracy,", "%", "B", "−", "A"]
    assert f"{only[0]} : {only[1]}" in compared.text
    assert f"{only[0]} : {only[1]}" in compared.page.read_text()


def test_folds_that_differ_are_not_paired(crossed: dict[str, Any], tmp_path: Path) -> None:
    other = shutil.copytree(crossed["folder"], tmp_path / "other")
    said = json.loads((other / "crossvalidation.json").read_text())
    said["runs"][0]["digest"] = "of other samples"
    (other / "crossvalidation.json").write_text(json.dumps(said))
    compared = weft.compare([crossed["folder"], other], out=tmp_path / "compared.html")
    assert (tmp_path / "compared-tests.csv").read_text().count("\n") == 1  # the header alone
    assert compared.text.splitlines()[-1].split()[6] == "–"


def test_the_command_prints_the_folder(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "colours.yaml"
    file.write_text(json.dumps(content(pictures, tmp_path / "runs")))
    assert command(["crossvalidate", str(file), "train.epochs=1", "--folds", "2", "--inner", "0", "--quiet"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "crossvalidation.json").is_file()
    assert folder.parent.name == "crossvalidation"


@pytest.mark.parametrize(
    ("validation", "why"),
    [
        ({"by": "stratified"}, "stratify names no column"),
        ({"inner": 0.1}, "given without folds"),
        ({"folds": 3, "divide": ["val"]}, "folds divide train"),
        ({"by": "stratify"}, "did you mean 'stratified'"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_loaded(
    pictures: Path, tmp_path: Path, validation: dict[str, Any], why: str
) -> None:
    changed = content(pictures, tmp_path)
    changed["data"]["validation"] = validation
    with pytest.raises(ConfigError, match=why):
        load_experiment(changed)


def test_a_report_of_the_whole_can_be_written(crossed: dict[str, Any]) -> None:
    page = weft.write_report(crossed["folder"]).read_text()
    figure = crossed["tasks"]["colour"]["figures"]["accuracy"]
    assert f"{100 * figure['value']:.1f}" in page
