"""`weft data`: every fault of the data is found, with the file, the sample and the likely cause."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weft.config import load_experiment
from weft.data.inspect import inspect
from weft.data.inspection import Inspection
from weft.errors import ConfigError

ENCODER = {"type": "timm", "name": "resnet18"}
NAMES = [f"s{number}" for number in range(8)]


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight samples without a fault: six to train on and two to test."""
    random = np.random.default_rng(0)
    rows = ["id,split,image,depth,label,kind,place,scene"]
    for number, name in enumerate(NAMES):
        save(tmp_path / "image" / f"{name}.png", random.integers(0, 256, (16, 24, 3), np.uint8))
        save(tmp_path / "depth" / f"{name}.png", random.integers(500, 9000, (16, 24), np.uint16))
        save(tmp_path / "label" / f"{name}.png", random.integers(0, 3, (16, 24), np.uint8))
        cells = [f"{column}/{name}.png" for column in ("image", "depth", "label")]
        split = "test" if number > 5 else "train"
        rows.append(",".join([name, split, *cells, "xy"[number % 2], '"[[3, 4, 1]]"', f"g{number}"]))
    (tmp_path / "t.csv").write_text("\n".join(rows))
    return tmp_path


def look(root: Path, out: bool = False, **changes: Any) -> Inspection:
    columns = {
        "depth": {"kind": "depth", "metres_per_unit": 0.001},
        "label": {"kind": "label", "classes": ["sky", "road", "tree"]},
    }
    data = {"format": "table", "root": str(root), "file": "t.csv", "columns": columns}
    tree = {
        "name": "looked",
        "data": {**data, **changes},
        "modalities": {"image": {"encoder": ENCODER}, "depth": {"encoder": ENCODER}},
        "tasks": {
            "label": {"type": "segmentation"},
            "kind": {"type": "classification"},
            "place": {"type": "location"},
        },
    }
    return inspect(load_experiment(tree), root / "out" if out else None)


def replace_cell(root: Path, old: str, new: str) -> None:
    path = root / "t.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def codes(found: Inspection) -> set[tuple[str, str]]:
    return {(fault.column, fault.code) for fault in found.faults}


def test_rows_and_pictures_that_share_an_encoder_are_looked_at_too(root: Path):
    tree = {
        "name": "looked",
        "data": {"format": "table", "root": str(root), "file": "t.csv", "size": [16, 24]},
        "modalities": {
            "image": {"encoder": ENCODER},
            "again": {"type": "image", "column": "label", "aligned": False, "encoder": {"share": "image"}},
            "row": {"type": "table", "columns": ["kind", "scene"], "encoder": "table_mlp"},
        },
        "tasks": {"kind": {"type": "classification"}},
    }
    found = inspect(load_experiment(tree))
    assert found.faults == []
    assert found.figures["row"]["train"].present == 5  # one of six is for validation
    assert found.figures["again"]["train"].present == 5
    assert any("scene is left out: each of its values occurs too rarely" in note for note in found.notes)


def test_whole_data_has_no_fault_and_is_counted(root: Path):
    found = look(root, out=True)
    assert found.ok, found.faults
    assert sum(found.counts.values()) == 8
    train = found.figures["label"]["train"]
    assert train.classes.total() == 16 * 24 * found.counts["train"]
    assert train.sizes == {(16, 24): found.counts["train"]}
    assert 0.5 <= found.figures["depth"]["test"].low < found.figures["depth"]["test"].high <= 9
    assert sum(sum(part.classes.values()) for part in found.figures["kind"].values()) == 8
    page = (root / "out" / "index.html").read_text()
    assert "No faults" in page
    assert all((root / "out" / name).is_file() for name in found.pictures.values())
    assert "no faults" in str(found)
    assert "label: class" in str(found)


def test_the_imbalance_is_told_with_what_sampling_makes_of_it(root: Path):
    for name in NAMES:  # trees in one training sample, of twelve pixels
        mask = np.zeros((16, 24), np.uint8)
        mask[8:] = 1
        mask[:1, :12] = 2 if name == "s0" else 0
        save(root / "label" / f"{name}.png", mask)
    replace_cell(root, "s5,train", "s5,val")
    found = look(root, out=True, sampling={"type": "over", "task": "label"})
    assert found.ok, found.faults
    number = found.counts["train"]
    shares = {name: (split["train"], split["in an epoch"]) for name, split in found.balance("label")}
    assert shares["tree"][0] == pytest.approx(12 / (number * 16 * 24))
    # that sample comes as often as there are samples, the others once
    assert shares["tree"][1] == pytest.approx(number * 12 / ((2 * number - 1) * 16 * 24))
    assert found.holding("label") == {"sky": number, "road": number, "tree": 1}
    assert "rarest third: tree" in str(found)
    assert f"imbalance ratio {number * 16:.3g} (largest to smallest)" in str(found)
    assert f"an epoch has {2 * number - 1} samples of the {number} of train, each of them 1 to" in str(found)
    page = (root / "out" / "index.html").read_text()
    assert "<th>in an epoch" in page
    assert "effective number" in page


def test_a_remedy_that_cannot_be_is_a_fault(root: Path):
    found = look(root, augment={"copy_paste": {"task": "kind"}})
    assert any("kind has no masks to cut objects out by; tasks that have: label" in one.message for one in found.faults)


def test_a_truncated_an_empty_and_a_false_file_are_found(root: Path):
    for name, content in {"s0": None, "s1": b"", "s2": b"<html>404"}.items():
        path = root / "image" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:300] if content is None else content)
    (root / "image" / "s3.png").unlink()
    found = look(root)
    assert {fault.id for fault in found.faults} == {"s0", "s1", "s2", "s3"}
    assert {code for _, code in codes(found)} == {"truncated-image", "empty-file", "not-an-image", "missing-file"}
    assert all(fault.id in fault.message for fault in found.faults)


def test_labels_outside_are_found_with_pixels_and_cause(root: Path):
    save(root / "label" / "s1.png", np.array([[0, 1, 9] * 8] * 16, np.uint8))
    found = look(root)
    (fault,) = found.faults
    assert (fault.code, fault.id, fault.column) == ("label-outside", "s1", "label")
    assert "9 (128 pixels)" in fault.message
    assert "s1.png" in fault.message


def test_sizes_that_differ_are_found_with_both_files(root: Path):
    save(root / "depth" / "s2.png", np.full((8, 12), 900, np.uint16))
    (fault,) = look(root).faults
    assert (fault.code, fault.column) == ("size-mismatch", "depth")
    assert "image/s2.png is 24x16" in fault.message


def test_a_path_that_leaves_the_root_is_found(root: Path):
    replace_cell(root, "image/s4.png", "../image/s4.png")
    assert codes(look(root)) == {("image", "path-outside")}


def test_a_decompression_bomb_is_not_decoded(root: Path):
    Image.new("1", (30000, 30000)).save(root / "image" / "s0.png")
    assert codes(look(root)) == {("image", "too-many-pixels")}


def test_lossy_and_coloured_label_maps_are_found(root: Path):
    save(root / "label" / "s0.jpg", np.zeros((16, 24), np.uint8))
    replace_cell(root, "label/s0.png", "label/s0.jpg")
    save(root / "label" / "s1.png", np.zeros((16, 24, 3), np.uint8))
    assert codes(look(root)) == {("label", "lossy-label"), ("label", "colour-label")}


def test_points_outside_the_picture_are_found(root: Path):
    replace_cell(root, 'label/s0.png,x,"[[3, 4, 1]]"', 'label/s0.png,x,"[[30, 4, 1]]"')
    (fault,) = look(root).faults
    assert (fault.code, fault.id) == ("point-outside", "s0")
    assert "24x16" in fault.message


def test_depth_without_a_unit_is_found_and_nan_is_told(root: Path):
    columns = {"label": {"kind": "label", "classes": ["sky", "road", "tree"]}}
    (fault, *_) = look(root, columns=columns).faults
    assert (fault.column, fault.code) == ("depth", "depth-scale")
    depth = np.full((16, 24), 2.0, np.float32)
    depth[0, :3] = [np.nan, np.inf, 0]
    np.save(root / "depth" / "s0.npy", depth)
    replace_cell(root, "depth/s0.png", "depth/s0.npy")
    found = look(root, columns={**columns, "depth": {"kind": "depth", "metres_per_unit": 0.001}})
    assert "depth: 2 pixels are NaN or infinite and count as not known" in found.notes


def test_depth_of_8_bits_is_told(root: Path):
    for name in NAMES:
        save(root / "depth" / f"{name}.png", np.arange(16 * 24).reshape(16, 24).astype(np.uint8))
    assert any("looks like 8 bits" in note for note in look(root).notes)


def test_the_same_file_in_two_splits_is_a_warning_or_a_fault(root: Path):
    (root / "image" / "s7.png").write_bytes((root / "image" / "s0.png").read_bytes())
    found = look(root)
    assert found.ok
    assert [(warning.code, warning.column) for warning in found.warnings] == [("leak", "image")]
    assert ("image", "leak") in codes(look(root, strict=True))


def test_the_same_group_in_two_splits_is_a_warning(root: Path):
    replace_cell(root, "g7", "g0")
    found = look(root, group="scene")
    assert ["the group 'g0'" in warning.message for warning in found.warnings] == [True]


def test_a_task_without_labels_one_class_and_an_unknown_class_are_found(root: Path):
    path = root / "t.csv"
    text = path.read_text()
    path.write_text(text.replace(",x,", ",,").replace(",y,", ",,"))
    assert any(fault.code == "no-labels" for fault in look(root).faults)
    path.write_text(text.replace(",x,", ",y,"))
    assert "one-class" in {fault.code for fault in look(root).faults}
    path.write_text(text)
    columns = {
        "depth": {"kind": "depth", "metres_per_unit": 0.001},
        "label": {"kind": "label", "classes": ["sky", "road", "tree"]},
        "kind": {"kind": "class", "classes": ["x", "z"]},
    }
    assert codes(look(root, columns=columns)) == {("kind", "class-unknown")}


def test_a_sample_without_any_input_and_absent_cells_are_told(root: Path):
    replace_cell(root, "image/s0.png,depth/s0.png", ",")
    found = look(root)
    assert found.ok
    assert any("have none of the modalities and are left out: s0" in note for note in found.notes)
    assert any("depth is missing in 1 of" in note for note in found.notes)


def test_no_training_sample_is_a_fault(root: Path):
    path = root / "t.csv"
    path.write_text(path.read_text().replace(",train,", ",other,"))
    assert "no-samples" in {fault.code for fault in look(root).faults}


def test_a_column_that_is_not_there_is_a_mistake_in_the_configuration(root: Path):
    replace_cell(root, "kind", "sort")
    with pytest.raises(ConfigError, match="no column 'kind'"):
        look(root)


def test_all_faults_are_listed_in_a_file_that_no_spreadsheet_runs(root: Path):
    for name in NAMES[:5]:
        (root / "image" / f"{name}.png").write_bytes(b"")
    replace_cell(root, "s5,train", "=1+1,train")
    save(root / "label" / "s5.png", np.full((16, 24), 77, np.uint8))
    found = look(root, out=True)
    assert "and 2 more" in str(found)
    with (root / "out" / "faults.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.faults) == 6
    assert "'=1+1" in {row["id"] for row in rows}


def test_markup_in_names_is_escaped(root: Path):
    replace_cell(root, "s5,train", "<script>alert(1)</script>,train")
    (root / "image" / "s5.png").write_bytes(b"")
    look(root, out=True)
    page = (root / "out" / "index.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
