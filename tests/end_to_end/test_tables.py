"""Pictures and columns together, from YAML to a report that says what was looked at, and a row on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import weft
from tests.end_to_end.test_configs import write_houses


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("houses")
    write_houses(root / "data")
    data = {"format": "table", "root": str(root / "data"), "file": "train.csv", "id": "house", "size": [64, 64]}
    data |= {"paths": {"kitchen": "images/{house}_kitchen.jpg", "cellar": "images/{house}_cellar.jpg"}, "workers": 0}
    data |= {"optional": ["cellar"], "validation": {"fraction": 0.3}}
    encoder = {"type": "timm", "name": "test_resnet"}
    columns = ["bedrooms", "bathrooms", "area_sqft", "zipcode"]
    table = {
        "type": "table",
        "columns": columns,
        "categories": ["zipcode"],
        "encoder": {"type": "table_tokens", "dim": 16},
    }
    experiment = {
        "name": "houses",
        "data": data,
        "modalities": {
            "kitchen": {"type": "image", "aligned": False, "encoder": encoder},
            "cellar": {"type": "image", "aligned": False, "encoder": {"share": "kitchen"}},
            "facts": table,
        },
        "fusion": {"type": "transformer", "dim": 16, "heads": 2, "layers": 1},
        "tasks": {"price": {"type": "regression", "target": "price_usd", "transform": "log", "unit": "USD"}},
        "train": {"epochs": 1, "batch_size": 4, "precision": "fp32", "device": "cpu", "output": str(root / "runs")},
    }
    path = weft.train(weft.load_experiment(experiment), progress=False)
    weft.evaluate(path, progress=False)
    return path


def test_the_report_names_columns_with_what_they_say_and_what_they_were_worth(run: Path) -> None:
    page = weft.write_report(run).read_text(encoding="utf-8")
    for said in ("bedrooms", "area_sqft", "zipcode", "USD", "R² of the logarithm"):
        assert said in page
    evaluation = (run / "evaluation" / "val" / "evaluation.json").read_text()
    assert '"kitchen+facts"' in evaluation or '"kitchen+cellar+facts"' in evaluation


def test_a_run_answers_for_a_row_alone_and_for_a_picture_alone(run: Path) -> None:
    predictor = weft.Predictor(run)
    row = {"bedrooms": 3, "bathrooms": "2.5", "zipcode": 99999}
    (dear,) = predictor(facts=row)["price"]  # type: ignore[misc]
    assert dear > 0
    data = Path(weft.load_experiment(run / "experiment.yaml").data.format.options["root"])
    (other,) = predictor(kitchen=data / "images" / "3_kitchen.jpg")["price"]  # type: ignore[misc]
    assert other != dear
