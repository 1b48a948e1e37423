"""Texts from YAML to answers: an own vocabulary, a network with its tokenizer, files in their encoding, and faults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import weft
from tests.encoders.tiny_transformer import write_tiny_bert
from weft.data.inspect import inspect
from weft.errors import ConfigError, DataFault

THINGS = ("cat", "dog")


def write(root: Path, texts: Sequence[str | None], *, files: str = "") -> None:
    """Samples whose kind is the animal in their text; the last eight are the test part."""
    rows = []
    for number, text in enumerate(texts):
        part = "test" if number >= len(texts) - 8 else "val" if number % 8 == 7 else "train"
        cell = text
        if files and text is not None:
            cell = f"{number}.txt"
            (root / cell).write_bytes(text.encode(files))
        rows.append({"id": f"s{number}", "split": part, "text": cell, "kind": THINGS[number % 2]})
    (root / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))


def sentences(number: int) -> list[str | None]:
    places = ("on the mat", "at left", "in a box", "is red", "sat")
    return [f"The {THINGS[i % 2]} {' '.join([places[i % 5]] * (1 + i % 3))}." for i in range(number)]


def experiment(root: Path, encoder: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "name": "texts",
        "data": {"format": "table", "root": str(root), "file": "all.jsonl", "workers": 0},
        "modalities": {"text": {"encoder": encoder, **options}},
        "tasks": {"kind": {"type": "classification"}},
        "train": {
            "epochs": 6,
            "batch_size": 8,
            "optimizer": {"type": "adamw", "lr": 0.02},
            "precision": "fp32",
            "device": "cpu",
            "output": str(root / "runs"),
        },
    }


SMALL = {"type": "text_rnn", "embedding": 8, "hidden": 8}


def best(answer: Any) -> str:
    return THINGS[int(answer.argmax())]


def test_an_own_vocabulary_from_training_to_an_answer(tmp_path: Path) -> None:
    write(tmp_path, sentences(64))
    run = weft.train(experiment(tmp_path, SMALL), progress=False)
    facts = json.loads((run / "facts.json").read_text())["modalities"]["text"]
    assert {"cat", "dog", "the"} <= set(facts["vocabulary"])
    assert (
        weft.evaluate(run, quick=True, progress=False)["tasks"]["kind"]["subsets"]["text"]["figures"]["accuracy"][
            "value"
        ]
        == 1.0
    )
    predictor = weft.Predictor(run)
    assert best(predictor(text="the DOG sat")["kind"]) == "dog"
    (tmp_path / "one.txt").write_text("a cat")
    assert best(predictor(text=tmp_path / "one.txt")["kind"]) == "cat"
    for odd in ("", "😀", "我 हिन्दी", "cat " * 100_000):  # each has an answer
        assert predictor(text=odd)["kind"].shape == (2,)
    assert weft.write_report(run).is_file()


def test_a_network_with_its_tokenizer_goes_on_without_its_folder(tmp_path: Path) -> None:
    write(tmp_path, sentences(64))
    folder = write_tiny_bert(tmp_path / "network")
    run = weft.train(experiment(tmp_path, {"type": "huggingface", "weights": str(folder)}), progress=False)
    shutil.rmtree(folder)
    assert (
        weft.evaluate(run, quick=True, progress=False)["tasks"]["kind"]["subsets"]["text"]["figures"]["accuracy"][
            "value"
        ]
        == 1.0
    )
    assert best(weft.Predictor(run)(text="a dog")["kind"]) == "dog"


def test_texts_that_are_missing_are_counted_and_their_samples_left_out(tmp_path: Path) -> None:
    texts = sentences(64)
    texts[3] = None
    texts[4] = ""
    write(tmp_path, texts)
    config = experiment(tmp_path, SMALL)
    config["data"]["null_values"] = []  # an empty string is a text, and only null is absent
    run = weft.train({**config, "train": {**config["train"], "epochs": 1}}, progress=False)
    log = (run / "log.txt").read_text()
    assert "1 samples have none of the modalities and are left out: s3" in log
    assert "training texts of" in log


def test_files_in_a_declared_encoding_and_in_another(tmp_path: Path) -> None:
    write(tmp_path, [f"你好 {text}" for text in sentences(32)], files="gb18030")
    config = experiment(tmp_path, SMALL, file=True)
    with pytest.raises(DataFault, match=r"sample s0 of train.*0\.txt is not in utf-8.*gb18030") as caught:
        weft.train(config, progress=False)
    assert caught.value.exit_code == 3
    found = inspect(weft.load_experiment(config))
    assert {fault.code for fault in found.faults} == {"wrong-encoding"}
    config["modalities"]["text"]["encoding"] = "gb18030"
    assert inspect(weft.load_experiment(config)).ok
    run = weft.train({**config, "train": {**config["train"], "epochs": 1}}, progress=False)
    assert "你" in json.loads((run / "facts.json").read_text())["modalities"]["text"]["vocabulary"]


def test_a_text_longer_than_a_file_name_is_no_leak_and_no_fault(tmp_path: Path) -> None:
    long = "word " * 20_000
    write(tmp_path, [f"{text} {long}" if i % 9 == 0 else text for i, text in enumerate(sentences(32))])
    found = inspect(weft.load_experiment(experiment(tmp_path, SMALL, max_length=16)))
    assert found.ok
    assert any("longer than max_length and cut at 16" in note for note in found.notes)


def test_own_vocabularies_share_no_encoder(tmp_path: Path) -> None:
    write(tmp_path, sentences(32))
    config = experiment(tmp_path, SMALL)
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    rows = [{**row, "title": row["text"].replace("cat", "cow")} for row in rows]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config["modalities"]["title"] = {"type": "text", "encoder": {"share": "text"}}
    config["fusion"] = "none"
    with pytest.raises(ConfigError, match="title and text do not mean the same"):
        weft.train(config, progress=False)
    config["modalities"]["text"]["encoder"] = {"type": "huggingface", "weights": str(write_tiny_bert(tmp_path / "n"))}
    weft.train({**config, "train": {**config["train"], "epochs": 1}}, progress=False)  # one tokenizer for both
