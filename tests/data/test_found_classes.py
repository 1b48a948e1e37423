"""Data that shows nothing of what is to be learned: refused before training; classes that it lacks are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import weft.data.found_classes as module
from weft.config import load_experiment
from weft.data.formats.table import Table
from weft.data.inspect import inspect
from weft.data.manifest import Manifest
from weft.data.pipeline import Data, build_data
from weft.errors import DataFault
from weft.experiment import Experiment

DOG = [[5, 5, 20, 20, "dog"]]


def experiment(root: Path, cells: list[Any], task: dict[str, Any], known: dict[str, Any], **data: Any) -> Experiment:
    """Pictures of 32x32 with a cell each, the last of them of val."""
    lines = []
    for number, cell in enumerate(cells):
        Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(root / f"{number}.png")
        split = "train" if number < len(cells) - 1 else "val"
        lines.append(json.dumps({"id": f"s{number}", "split": split, "image": f"{number}.png", "said": cell}))
    (root / "t.jsonl").write_text("\n".join(lines))
    content = {
        "name": "small",
        "data": {"format": "table", "root": str(root), "file": "t.jsonl", "columns": {"said": known}, "workers": 0}
        | data,
        "modalities": {"image": {"encoder": {"type": "timm", "name": "mobilenetv3_small_050"}}},
        "tasks": {"things": {**task, "target": "said"}},
    }
    return load_experiment(content)


def boxes(root: Path, *cells: Any, **data: Any) -> Data:
    known = {"kind": "boxes", "classes": ["cat", "dog", "bird"]}
    return build_data(experiment(root, [*cells, DOG], {"type": "detection"}, known, **data))


def masks(root: Path, *values: int) -> Experiment:
    for number, value in enumerate(values):
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(root / f"m{number}.png")
    known = {"kind": "label", "classes": ["floor", "wall"], "ignore": 255}
    return experiment(root, [f"m{number}.png" for number in range(len(values))], {"type": "segmentation"}, known)


def test_training_without_a_single_box_is_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(
        DataFault, match=r"2 training samples are labelled for things .*'said'.*none of them shows"
    ) as told:
        boxes(tmp_path, [], None, [])
    assert told.value.code == "nothing-to-learn"
    assert "cat, dog, bird" in str(told.value)


def test_a_class_without_a_box_is_told_and_an_empty_picture_is_none(tmp_path: Path) -> None:
    notes = boxes(tmp_path, [], DOG, None).notes
    assert "things: no training sample shows cat, bird, 2 of 3 classes: what is never shown is not learned" in notes


def test_what_all_training_samples_show_needs_no_word(tmp_path: Path) -> None:
    every = [[5, 5, 20, 20, name] for name in ("cat", "dog", "bird")]
    assert not [note for note in boxes(tmp_path, every, []).notes if note.startswith("things")]


def test_of_many_samples_some_are_looked_at_and_only_that_all_are_empty_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CELLS", 2)
    notes = boxes(tmp_path, [], DOG, []).notes  # the first and the last
    assert "things: of 2 labelled training samples that were looked at none shows any class" in notes
    assert not [note for note in boxes(tmp_path, DOG, [], []).notes if note.startswith("things")]


def test_masks_without_a_labelled_pixel_are_refused_and_weft_data_says_so(tmp_path: Path) -> None:
    blank = masks(tmp_path, 255, 255, 0)
    with pytest.raises(DataFault, match="there is nothing to learn"):
        build_data(blank)
    (fault,) = [one for one in inspect(blank).faults if one.code == "nothing-to-learn"]
    assert "none of them shows anything of its classes (floor, wall)" in fault.message
    assert build_data(masks(tmp_path, 255, 1, 0)).notes[-1].startswith("things: no training sample shows floor, 1 of 2")


def test_a_run_that_goes_on_or_is_evaluated_is_not_asked_again(tmp_path: Path) -> None:
    data = boxes(tmp_path, DOG, DOG)
    known = {"kind": "boxes", "classes": ["cat", "dog", "bird"]}
    later = experiment(tmp_path, [[], [], DOG], {"type": "detection"}, known)
    assert build_data(later, facts=data.facts).counts["train"]["targets"] == {"things": 2}


def test_json_lines_may_hold_lists_of_numbers_and_names(tmp_path: Path) -> None:
    manifest = mixed(tmp_path, '{"id": "a", "boxes": [[1, 2, 3, 4, "dog"]], "n": [1, 2]}\n\n{"id": "b", "n": []}')
    assert manifest.values("boxes").to_pylist() == ['[[1, 2, 3, 4, "dog"]]', None]
    assert manifest.values("n").to_pylist() == [[1, 2], []]
    with pytest.raises(DataFault, match=r"cannot be read as .jsonl"):
        mixed(tmp_path, '{"id": "a", "boxes": [1, "dog"], "n": 1}\n{"id": "b", "n": "one"}')
    with pytest.raises(DataFault, match=r"cannot be read as .jsonl"):
        mixed(tmp_path, '{"id": "a", "boxes": [1, "dog"]}\n{"id": ')


def mixed(root: Path, text: str) -> Manifest:
    (root / "m.jsonl").write_text(text)
    return Table(root=str(root), file="m.jsonl").manifest()


def test_edges_between_classes_are_not_classes(tmp_path: Path) -> None:
    same = masks(tmp_path, 1, 1, 0)
    edges = replace(same, tasks={"things": replace(same.tasks["things"], type="edges", options={})})
    assert not [note for note in build_data(edges).notes if note.startswith("things")]
