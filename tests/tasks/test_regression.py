"""Regression: what is read, learned, answered, scored and written, by hand and against scikit-learn."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional as reference
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from weft.config import load_experiment
from weft.engine.evaluate import evaluate
from weft.engine.predict import Predictor, predict
from weft.engine.train import train
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.registry import Part
from weft.tasks.exchange import Origin
from weft.tasks.numbers import Numbers, rounded
from weft.tasks.regression import Regression
from weft.types import FeatureSpec

SPEC = {"fused": FeatureSpec("vector", 4)}


def read(field: Numbers, cell: object) -> list[float]:
    return field.read(cell, Path).tolist()


def fitted(*cells: object, **options: object) -> Numbers:
    bare = Numbers({}, **options)  # type: ignore[arg-type]
    return Numbers(bare.fit(bare.read(cell, Path) for cell in cells), **options)  # type: ignore[arg-type]


def task_of(mean: list[float], std: list[float], **options: object) -> Regression:
    own = {name: options.pop(name) for name in ("names", "transform", "unit") if name in options}
    return Regression(SPEC, Numbers({"mean": mean, "std": std}, **own), **options)  # type: ignore[arg-type]


# ---- the target


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        (3, [3]),
        ("2.5", [2.5]),
        ("1|-2e3", [1, -2000]),
        ([1, 2.5], [1, 2.5]),
        (np.array([1.0, 2.0]), [1, 2]),
        ("1||3", [1, math.nan, 3]),
        ([None, 4], [math.nan, 4]),
    ],
)
def test_a_cell_is_a_number_or_several(cell: object, numbers: list[float]) -> None:
    assert read(Numbers({}), cell) == pytest.approx(numbers, nan_ok=True)


@pytest.mark.parametrize(
    ("cell", "code", "message"),
    [
        ("dear", "not-a-number", "'dear' is no number"),
        ([[1]], "not-a-number", "is no number"),
        ("1e39", "not-a-number", "too large to compute with"),
        (math.nan, "not-a-number", "no number that is known; leave the cell empty"),
        ("|", "not-a-number", "no number that is known"),
        ("1|2|3", "numbers-count", "'1|2|3' holds 3 numbers where there are 2"),
        ("0|1", "no-logarithm", "0 has no logarithm; mend the cell, or choose `transform: none`"),
        ([2, -1], "no-logarithm", "-1 has no logarithm"),
    ],
)
def test_a_bad_cell_is_refused(cell: object, code: str, message: str) -> None:
    with pytest.raises(BadCell) as caught:
        read(Numbers({}, names=("a", "b"), transform="log"), cell)
    assert caught.value.code == code
    assert message in str(caught.value)


def test_mean_and_deviation_are_of_what_is_learned_and_of_what_is_known() -> None:
    field = fitted([1, 10], [3, None], [5, 1000], transform="log", names=("a", "b"))
    logs = np.log([1, 3, 5])
    assert field.mean == pytest.approx([logs.mean(), math.log(100)])
    assert field.std == pytest.approx([logs.std(), math.log(10)], rel=1e-6)
    assert fitted(1, 2).names == ("",)
    assert fitted("1|2", "3|5").names == ("0", "1")


def test_targets_that_teach_nothing_or_do_not_agree_are_refused() -> None:
    with pytest.raises(DataFault, match="the number is the same in all training samples"):
        fitted(7, 7)
    with pytest.raises(DataFault, match="the number b is the same"):
        fitted([1, 5], [2, 5], names=("a", "b"))
    with pytest.raises(DataFault, match="some samples have 1 numbers and others 2"):
        fitted(7, [7, 8])
    with pytest.raises(DataFault, match="no training sample has a number"):
        Numbers({}).fit([])
    with pytest.raises(ValueError, match="every number needs its own name"):
        Numbers({}, names=("a", "a"))
    with pytest.raises(ValueError, match="names has 1 and the training split 2 numbers"):
        Numbers({"mean": [0.0, 1.0], "std": [1.0, 1.0]}, names=("a",))


# ---- what is learned and answered


def test_the_loss_is_that_of_standardised_numbers_by_hand() -> None:
    task = task_of([10.0], [5.0])
    total, count = task.loss(torch.tensor([[1.0], [0.0], [9.0]]), torch.tensor([[20.0], [10.0], [math.nan]]))
    assert (total.item(), count.item()) == (1.0, 2.0)  # (1 − 2)², (0 − 0)²
    logs = task_of([math.log(100)], [math.log(10)], transform="log", loss=Part("loss", "l1"))
    total, _ = logs.loss(torch.tensor([[0.5]]), torch.tensor([[1000.0]]))
    assert total.item() == pytest.approx(0.5, abs=1e-6)


def test_answers_are_in_the_unit_of_the_target() -> None:
    assert task_of([10.0], [5.0]).predict(torch.tensor([[-1.0]])).item() == 5
    logs = task_of([math.log(100)], [math.log(10)], transform="log")
    assert logs.predict(torch.tensor([[1.0], [-2.0]])).flatten().tolist() == pytest.approx([1000, 1], rel=1e-5)
    wild = logs.predict(torch.tensor([[1e4], [-1e4]]))
    assert wild.isfinite().all()
    assert (wild > 0).all()  # so that its logarithm can be scored, too


def test_a_loss_that_takes_logarithms_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="choose `transform: log` and the loss mse"):
        task_of([10.0], [5.0], loss=Part("loss", "scale_invariant"))


# ---- figures


def test_figures_by_hand() -> None:
    task = task_of([0.0], [1.0])
    records = task.records(torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([[1.0], [3.0], [5.0]]), ["a", "b", "c"])
    figures = task.figures(records)
    assert figures == pytest.approx({"MAE": 2 / 3, "RMSE": math.sqrt(2 / 3), "R2": 1 - 2 / 8})
    assert task.badness(records).tolist() == [0, 1, 1]
    assert task.main_figure == "R2"


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_scikit_learn_and_torchmetrics(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.exp(random.normal(size=(40, 3))).astype(np.float32)
    said = (truth * np.exp(random.normal(0, 0.3, size=(40, 3)))).astype(np.float32)
    task = task_of([0.0] * 3, [1.0] * 3, names=("a", "b", "c"), transform="log")
    figures = task.figures(task.records(torch.from_numpy(said), torch.from_numpy(truth), [str(n) for n in range(40)]))
    for suffix, change in (("", np.asarray), ("_log", np.log)):
        answers, truths = change(said.astype(np.float64)), change(truth.astype(np.float64))
        assert figures[f"MAE{suffix}"] == pytest.approx(mean_absolute_error(truths, answers))
        assert figures[f"RMSE{suffix}"] == pytest.approx(root_mean_squared_error(truths, answers))
        assert figures[f"R2{suffix}"] == pytest.approx(r2_score(truths, answers))
        assert figures[f"R2{suffix}/b"] == pytest.approx(r2_score(truths[:, 1], answers[:, 1]))
        expected = reference.r2_score(torch.from_numpy(answers), torch.from_numpy(truths), multioutput="raw_values")
        assert [figures[f"R2{suffix}/{name}"] for name in "abc"] == pytest.approx(expected.tolist())
    assert task.main_figure == "R2_log"


def test_numbers_that_are_not_known_are_in_no_figure() -> None:
    task = task_of([0.0, 0.0], [1.0, 1.0], names=("a", "b"))
    truth = torch.tensor([[1.0, math.nan], [3.0, math.nan], [5.0, 2.0]])
    said = torch.tensor([[2.0, 1e9], [3.0, -1e9], [5.0, 4.0]])
    records = task.records(said, truth, ["x", "y", "z"])
    figures = task.figures(records)
    assert (figures["MAE/a"], figures["MAE/b"], figures["MAE"]) == pytest.approx((1 / 3, 2, 7 / 6))
    assert math.isnan(figures["R2/b"])  # a single number has no variance
    assert figures["R2"] == figures["R2/a"] == 1 - 1 / 8
    assert task.badness(records).tolist() == [1, 0, 1]


# ---- what people get


def test_answers_are_written_as_a_table_and_in_words(tmp_path: Path) -> None:
    task = task_of([1.0, 2.0], [1.0, 1.0], names=("price", "area"), unit="USD")
    task.write(np.array([1234567.0, -0.5], np.float32), Origin("a", (0, 0), (0, 0)), tmp_path)
    task.write(np.array([1.25, 2], np.float32), Origin("b", (0, 0), (0, 0)), tmp_path)
    with (tmp_path / "values.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["id", "price", "area"], ["a", "1234567", "-0.5"], ["b", "1.25", "2"]]
    assert task.describe(np.array([889000.0, 1.23456])) == (("price", "889,000 USD"), ("area", "1.235 USD"))
    assert task.field.describe(np.array([math.nan, 7])) == (("price", "unknown"), ("area", "7 USD"))
    assert task.units() == {"MAE": "USD", "RMSE": "USD"}
    blank = Image.new("RGB", (200, 20))
    assert task.draw(np.array([1.0, 2.0]), blank).height > blank.height
    alone = task_of([1.0], [1.0])
    alone.write(np.array([3.0], np.float32), Origin("a", (0, 0), (0, 0)), tmp_path / "one")
    assert (tmp_path / "one" / "values.csv").read_text().splitlines() == ["id,value", "a,3"]
    assert alone.describe(np.array([3.0])) == (("", "3"),)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.000123456, "0.0001235"), (12.3456, "12.35"), (1234.5, "1,234"), (-2e6, "-2,000,000"), (1e13, "1e+13")],
)
def test_numbers_are_rounded_for_people(number: float, text: str) -> None:
    assert rounded(number) == text


def test_a_price_is_learned_from_columns_and_a_run_answers_for_a_row(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["id,split,area,zone,price"]
    for place in range(180):
        area, zone = random.uniform(50, 300), "abcd"[place % 4]
        price = 1000 * area * (1 + "abcd".index(zone)) * math.exp(random.normal(0, 0.05))
        split = "test" if place % 6 == 1 else "val" if place % 6 == 2 else "train"
        lines.append(f"{place},{split},{area:.1f},{zone},{price:.0f}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    experiment = load_experiment(
        {
            "name": "prices",
            "data": {"format": "table", "root": str(tmp_path), "file": "t.csv", "workers": 0},
            "modalities": {
                "facts": {"type": "table", "columns": ["area", "zone"], "encoder": {"type": "table_mlp", "dim": 32}}
            },
            "tasks": {"price": {"type": "regression", "transform": "log", "unit": "USD"}},
            "train": {
                "epochs": 15,
                "evaluate_every": 15,
                "batch_size": 16,
                "optimizer": {"type": "adamw", "lr": 0.01},
                "precision": "fp32",
                "device": "cpu",
                "output": str(tmp_path / "runs"),
            },
        }
    )
    run = train(experiment, progress=False)
    result = evaluate(run, split="test", quick=True, progress=False)
    figures = result["tasks"]["price"]["subsets"]["facts"]["figures"]
    assert figures["R2_log"]["value"] > 0.9
    assert figures["R2_log"]["low"] < figures["R2_log"]["value"] < figures["R2_log"]["high"]
    predictor = Predictor(run)
    cheap, dear = (
        predictor(facts={"area": 100, "zone": zone})["price"].item()
        for zone in ("a", "d")  # type: ignore[union-attr]
    )
    assert dear / cheap == pytest.approx(4, rel=0.3)
    assert predictor(facts={"zone": "d"})["price"].item() > cheap  # type: ignore[union-attr]
    folder = predict(run, split="test", progress=False)
    assert len((folder / "price" / "values.csv").read_text().splitlines()) == 31
