"""What an evaluation finds besides figures, from a trained run of picture, words and sound; and tables of answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import weft
from tests.end_to_end.conftest import ENCODER, small
from weft import load_experiment
from weft.engine.evaluate import read_records

MODALITIES = ["image", "text", "sound"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose fusion attends across kinds, evaluated and reported."""
    content = small(tmp_path_factory.mktemp("runs"), train__epochs=1)
    content["data"] |= {"num_train": 12, "num_val": 4, "num_test": 8, "missing": {"text": 0.3, "label": 0.2}}
    content["modalities"] = {
        "image": {"encoder": ENCODER},
        "text": {"encoder": {"type": "text_rnn", "hidden": 8, "embedding": 8}},
        "sound": {"type": "audio", "column": "audio", "encoder": {"type": "conv_rnn", "hidden": 8, "channels": [8]}},
    }
    content["fusion"] = {"type": "transformer", "dim": 16, "heads": 2, "layers": 1}
    content["decision"] = "linear"
    content["tasks"] = {
        "label": content["tasks"]["label"],
        "event": {"type": "classification", "over": ["fused", "text", "sound"]},
    }
    folder = weft.train(load_experiment(content), progress=False)
    weft.evaluate(folder, progress=False, num_pictures=3)
    weft.write_report(folder)
    return folder


@pytest.fixture(scope="module")
def evaluation(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluation/test/evaluation.json").read_text())
    return found


def test_shares_of_all_modalities_sum_to_one_over_the_split(evaluation: dict[str, Any]) -> None:
    assert evaluation["fusion"]["sums_to_one"]
    shares = evaluation["fusion"]["levels"]["share"]
    assert set(shares) == set(MODALITIES)
    assert shares["image"]["count"] == 8  # it always stands beside the sound
    assert shares["text"]["count"] < 8
    parts = evaluation["tasks"]["event"]["shares"]
    assert sum(part["count"] for part in parts if part["kind"] == "answers") == 8
    assert {part["name"] for part in evaluation["tasks"]["label"]["shares"]} == {"better half", "worse half"}


def test_the_decision_gives_its_shares(evaluation: dict[str, Any]) -> None:
    shares = evaluation["tasks"]["event"]["decision"]
    assert set(shares) == {"fused", "text", "sound"}
    assert sum(shares.values()) == pytest.approx(1)
    assert evaluation["tasks"]["label"]["decision"] == {}


def test_agreement_counts_what_the_records_say(run: Path, evaluation: dict[str, Any]) -> None:
    found = evaluation["tasks"]["event"]["agreement"]
    right = {}
    for key in (*MODALITIES, "+".join(MODALITIES)):
        records = read_records(run / "evaluation/test/records" / f"event__{key}.npz")
        said = records.rows["scores"].argmax(1) == records.rows["truth"]
        right[key] = dict(zip(records.ids, said, strict=True))
    common = set.intersection(*(set(one) for one in right.values()))
    assert found["count"] == len(common)
    assert found["together"] == sum(right["+".join(MODALITIES)][sample] for sample in common)
    assert found["any_alone"] == sum(any(right[m][sample] for m in MODALITIES) for sample in common)
    assert sum(row["right"] + row["wrong"] for row in found["rows"]) == len(common)
    assert evaluation["tasks"]["label"]["agreement"] is None  # masks are not simply right or wrong


def test_reliability_holds_every_answer(evaluation: dict[str, Any]) -> None:
    assert sum(evaluation["tasks"]["event"]["reliability"]["count"]) == 8


def test_samples_are_shown_as_what_they_are(run: Path, evaluation: dict[str, Any]) -> None:
    folder = run / "evaluation/test"
    for picture in evaluation["pictures"]:
        looked = picture["looked"]
        assert sum(one["share"] for one in looked.values()) == pytest.approx(1, abs=0.02)
        assert picture["inputs"].keys() == {"image", "sound"}
        drawn = {m: Image.open(folder / picture["inputs"][m]) for m in ("image", "sound")}
        for modality in ("image", "sound"):
            overlay = Image.open(folder / looked[modality]["picture"])
            assert overlay.size == drawn[modality].size
            assert np.any(np.asarray(overlay) != np.asarray(drawn[modality]))
        if "text" in looked:
            words = [word for word, _ in looked["text"]["words"]]
            assert picture["texts"]["text"] == [["", " ".join(words)]]
            assert sum(share for _, share in looked["text"]["words"]) == pytest.approx(looked["text"]["share"])
        truth = picture["tasks"]["event"]["truth"]
        assert isinstance(truth, list)
        assert truth[0][1] in evaluation["tasks"]["event"]["classes"]
        assert isinstance(picture["tasks"]["label"]["prediction"], str)
    examples = [picture for picture in evaluation["pictures"] if picture["example_of"]]
    assert examples
    assert all(set(MODALITIES) >= set(picture["alone"]["event"]) for picture in examples)


def test_the_report_shows_what_was_found(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("What the network listens to", "right alone, right together", "Calibration", "% of all attention"):
        assert words in page


def test_answers_begin_their_tables_anew(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers"
    for _ in range(2):
        weft.predict(run, split="val", out=out, progress=False)
    with (out / "event" / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert len({row["id"] for row in rows}) == 4


def test_words_alone_tell_no_place_in_a_picture(run: Path) -> None:
    answers = weft.Predictor(run)(text="a dog barks")
    assert answers["label"] is None
    assert answers["event"] is not None
