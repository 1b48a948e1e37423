"""Tables and folders of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from weft.config import load_experiment
from weft.data import tablefile
from weft.data.declared import Declared
from weft.data.formats.folder import Folder, FolderColumn
from weft.data.formats.table import Table
from weft.data.manifest import Manifest
from weft.errors import DataFault


def csv(root: Path, text: str, **options) -> Manifest:
    (root / "t.csv").write_bytes(text.encode(options.pop("write_as", "utf-8")))
    return Table(root=str(root), file="t.csv", **options).manifest()


def test_cells_of_csv_stay_as_they_are_written_and_empty_ones_are_absent(tmp_path: Path):
    manifest = csv(tmp_path, 'id,split,image,note\n001,train,0012,"two\nlines, ""quoted"""\n002,Validation,,\n')
    assert manifest.row(0) == {"id": "001", "split": "train", "image": "0012", "note": 'two\nlines, "quoted"'}
    assert manifest.row(1) == {"id": "002", "split": "val", "image": None, "note": None}
    assert "the split 'Validation' is taken as val" in manifest.notes


def test_a_byte_order_mark_another_delimiter_and_another_encoding_are_read(tmp_path: Path):
    assert csv(tmp_path, "id,split\na,train\n", write_as="utf-8-sig").id(0) == "a"
    assert csv(tmp_path, "id;split\na;train\n", delimiter=";").id(0) == "a"
    assert csv(tmp_path, "id,split\n图,train\n", write_as="gb18030", encoding="gb18030").id(0) == "图"
    assert csv(tmp_path, "id,x\na,-\n", null_values=("-",)).row(0)["x"] is None


@pytest.mark.parametrize(
    ("text", "why", "code"),
    [
        ("id,a,a\n1,2,3\n", "column 'a' twice", "duplicate-column"),
        ("", "is empty", "empty-file"),
        ("id,a\n1,2\n1,3\n", "1 \\(2 times\\)", "duplicate-id"),
        ("id,a\n1,2,3\n", "Row #2: Expected 2 columns, got 3", "bad-table"),
        ('id,a\n1,"open\n2,b\n', "odd number of double quotes", "bad-table"),
        ("id;a\n1;2\n", "is its delimiter ';'", "no-column"),
        ("id,a\n,2\n", "row 1 has no 'id'", "no-id"),
        ("id,split\n1,\n", "row 1 has no 'split'", "no-split"),
    ],
)
def test_a_bad_table_is_refused_with_the_place(tmp_path: Path, text: str, why: str, code: str):
    with pytest.raises(DataFault, match=why) as caught:
        csv(tmp_path, text)
    assert (caught.value.code, caught.value.exit_code) == (code, 3)


def test_a_table_in_another_encoding_or_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataFault, match="UTF8"):
        csv(tmp_path, "id,a\n1,ä\n", write_as="latin-1")
    with pytest.raises(DataFault, match="cannot be read as"):
        csv(tmp_path, "id\n1\n", encoding="no-such-encoding")
    with pytest.raises(DataFault, match=r"none\.csv does not exist"):
        Table(root=str(tmp_path), file="none.csv").manifest()
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(DataFault, match="its name must end in"):
        Table(root=str(tmp_path), file="t.xlsx").manifest()


def test_rows_without_ids_are_numbered_and_without_splits_are_train(tmp_path: Path):
    manifest = csv(tmp_path, "x\n" + "a\n" * 12)
    assert (manifest.id(0), manifest.id(11), manifest.splits) == ("01", "12", ["train"])
    assert len(manifest.notes) == 2


def test_a_file_for_each_split(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("x,y\n3,4\n")
    manifest = Table(root=str(tmp_path), file={"train": "a.csv", "test": "b.csv"}).manifest()
    assert manifest.values("id").to_pylist() == ["train-1", "train-2", "test-1"]
    assert manifest.row(0)["y"] is None
    assert manifest.row(2) == {"id": "test-1", "split": "test", "x": "3", "y": "4"}


def test_json_lines_and_parquet_keep_lists_and_numbers(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text(
        '{"id": "a", "split": "train", "tags": ["x", "y"], "place": [[1, 2, 1]], "price": 2.5}\n'
        '{"id": "b", "split": "train", "tags": [], "price": null}\n'
    )
    manifest = Table(root=str(tmp_path), file="t.jsonl", columns={"tags": Declared(kind="labels")}).manifest()
    assert manifest.row(0)["tags"] == ["x", "y"]
    assert manifest.row(1) == {"id": "b", "split": "train", "tags": [], "place": None, "price": None}
    assert manifest.columns["tags"].facts == {"classes": ["x", "y"]}
    table = pa.table({"id": [7, 8], "split": ["train", "test"], "price": [1.0, np.nan]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    manifest = Table(root=str(tmp_path), file="t.parquet").manifest()
    assert manifest.row(1) == {"id": "8", "split": "test", "price": None}
    (tmp_path / "t.jsonl").write_text('{"id": "a", "x": 1}\n{"id": "b", "x": "one"}\n')
    with pytest.raises(DataFault, match="changed from number to string"):
        Table(root=str(tmp_path), file="t.jsonl").manifest()


def test_classes_come_from_the_training_split_in_the_order_of_their_numbers(tmp_path: Path):
    text = "id,split,a,b,c\n1,train,10,x,p|q\n2,train,9,y,\n3,test,11,z,r\n"
    columns = {
        "a": Declared(kind="class"),
        "b": Declared(kind="class", classes={"x": "cross", "y": "why"}),
        "c": Declared(kind="labels"),
    }
    manifest = csv(tmp_path, text, columns=columns)
    assert manifest.columns["a"].facts["classes"] == ["9", "10"]
    assert manifest.columns["b"].facts["classes"] == ["cross", "why"]
    assert manifest.values("b").to_pylist() == ["cross", "why", "z"]  # z is refused by name when it is read
    assert manifest.columns["c"].facts["classes"] == ["p", "q"]


def test_declared_maps_and_depths_are_facts(tmp_path: Path):
    columns = {
        "label": Declared(kind="label", classes={"7": "road", "8": "pavement", "9": "road"}, ignore=0),
        "depth": Declared(kind="depth", metres_per_unit=0.001),
        "price": Declared(kind="number"),
    }
    manifest = csv(tmp_path, "id,label,depth,price\na,l.png,d.png,3.5\nb,,,nan\n", columns=columns)
    remap = {"7": 0, "8": 1, "9": 0}
    assert manifest.columns["label"].facts == {"classes": ["road", "pavement"], "remap": remap, "ignore": 0}
    assert manifest.columns["depth"].facts == {"metres_per_unit": 0.001}
    assert manifest.values("price").to_pylist() == [3.5, None]
    with pytest.raises(DataFault, match="declares 'tag'"):
        csv(tmp_path, "id\na\n", columns={"tag": Declared(kind="class")})
    with pytest.raises(DataFault, match="declared as number"):
        csv(tmp_path, "id,n\na,many\n", columns={"n": Declared(kind="number")})
    with pytest.raises(DataFault, match="no value in the training split"):
        csv(tmp_path, "id,split,n\na,test,x\n", columns={"n": Declared(kind="class")})


def test_declarations_come_from_yaml(tmp_path: Path):
    (tmp_path / "t.csv").write_text("id,image,label\na,a.png,a.png\n")
    data = {"format": "table", "root": str(tmp_path), "file": "t.csv"}
    data["columns"] = {"label": {"kind": "label", "classes": ["sky", "road"], "ignore": 9}}
    experiment = load_experiment(
        {
            "name": "t",
            "data": data,
            "modalities": {"image": {"encoder": {"type": "timm", "name": "resnet18"}}},
            "tasks": {"label": {"type": "segmentation"}},
        }
    )
    manifest = experiment.data.format().manifest()
    assert manifest.columns["label"].facts == {"classes": ["sky", "road"], "ignore": 9}


def test_a_large_table_is_converted_once_and_then_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tablefile, "LARGE", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    columns = {"label": Declared(kind="class")}
    first = csv(tmp_path, "id,split,label\na,train,x\nb,test,y\n", columns=columns)
    assert "converted once" in first.notes[-1]
    monkeypatch.setattr("weft.data.formats.table.read_table", None)  # from here on, reading would fail
    again = Table(root=str(tmp_path), file="t.csv", columns=columns).manifest()
    assert again.row(1) == first.row(1)
    assert again.columns == first.columns
    monkeypatch.undo()
    monkeypatch.setattr(tablefile, "LARGE", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changed = csv(tmp_path, "id,split,label\na,train,x\nc,test,yes\n", columns=columns)
    assert changed.id(1) == "c"


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)


def test_paths_are_made_of_other_columns_and_are_empty_where_one_of_those_is(tmp_path: Path):
    text = "house,room,n\n7,bath,x\n8,,y\n"
    paths = {"photo": "images/{house}_{room}.jpg", "plan": "{n}.png", "whole": "p/{house}"}
    manifest = csv(tmp_path, text, id="house", paths=paths)
    assert manifest.names == ["id", "split", "house", "room", "n", "photo", "plan", "whole"]
    assert manifest.values("photo").to_pylist() == ["images/7_bath.jpg", None]
    assert manifest.values("plan").to_pylist() == ["x.png", "y.png"]
    assert manifest.values("whole").to_pylist() == ["p/7", "p/8"]
    pyarrow.parquet.write_table(pa.table({"id": [7, 8]}), tmp_path / "t.parquet")
    typed = Table(root=str(tmp_path), file="t.parquet", paths={"photo": "{id}.jpg"}).manifest()
    assert typed.values("photo").to_pylist() == ["7.jpg", "8.jpg"]


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ({"p": "images/{hous}.jpg"}, "names the column 'hous', which t.csv does not have; .* did you mean 'house'"),
        ({"p": "images/1.jpg"}, "has no column in it"),
        ({"p": "{house}}.jpg"}, "a brace too many"),
        ({"house": "{house}.jpg"}, r"`paths` makes 'house', which t\.csv has"),
        ({"id": "{house}.jpg"}, "`paths` makes 'id'"),
    ],
)
def test_a_pattern_that_cannot_be_filled_in_is_refused(tmp_path: Path, paths: dict[str, str], why: str):
    with pytest.raises(DataFault, match=why):
        csv(tmp_path, "house\n7\n", paths=paths)


def test_files_that_need_not_be_there_are_empty_cells_and_counted_and_others_stay(tmp_path: Path):
    touch(tmp_path / "a1.png")
    text = "id\n1\n2\n3\n"
    paths = {"a": "a{id}.png", "b": "b{id}.png"}
    manifest = csv(tmp_path, text, paths=paths, optional=("a",))
    assert manifest.values("a").to_pylist() == ["a1.png", None, None]
    assert manifest.values("b").to_pylist() == ["b1.png", "b2.png", "b3.png"]
    assert "column 'a': 2 of 3 samples have no file" in manifest.notes
    outside = csv(tmp_path, "id,p\n1,../x.png\n", optional=("p",))
    assert outside.values("p").to_pylist() == ["../x.png"]  # refused when it is read
    with pytest.raises(DataFault, match="the data has no column 'c'"):
        csv(tmp_path, text, paths=paths, optional=("c",))


def test_the_houses_are_read_as_they_lie(shared: Path):
    rooms = ("bathroom", "bedroom", "frontal", "kitchen")
    manifest = Table(
        root=str(shared / "data" / "houses"),
        file="train.csv",
        id="house",
        paths={room: f"images/{{house}}_{room}.jpg" for room in rooms},
        optional=("kitchen",),
    ).manifest()
    assert len(manifest) == 421
    assert manifest.row(0)["kitchen"] == "images/3_kitchen.jpg"
    for room in rooms:
        assert manifest.present(room).all()
        assert manifest.resolve(manifest.row(420)[room]).is_file()


def test_class_folders_with_and_without_splits(tmp_path: Path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        touch(tmp_path / "flat" / name)
        touch(tmp_path / "parts" / "train" / name)
    touch(tmp_path / "parts" / "valid" / "b" / "1.png")
    flat = Folder(root=str(tmp_path / "flat")).manifest()
    assert flat.row(2) == {"id": "b/1", "split": "train", "image": "b/1.png", "label": "b"}
    assert flat.columns["label"].facts["classes"] == ["a", "b"]
    parts = Folder(root=str(tmp_path / "parts"), classes=["b", "a"]).manifest()
    assert parts.row(3) == {"id": "valid/b/1", "split": "val", "image": "valid/b/1.png", "label": "b"}
    assert parts.columns["label"].facts["classes"] == ["b", "a"]


def test_parallel_folders_are_paired_by_stem_and_gaps_are_absent(tmp_path: Path):
    for name in ("images/1.jpg", "images/2.jpg", "depth/2.png", "depth/3.png", "masks/m1_mask.png", "masks/other.png"):
        touch(tmp_path / name)
    columns = {
        "image": "images",
        "depth": FolderColumn(folder="depth", kind="depth", metres_per_unit=0.001),
        "label": FolderColumn(folder="masks/m*_mask.png", kind="label", ignore=255),
    }
    manifest = Folder(root=str(tmp_path), columns=columns).manifest()
    assert manifest.values("id").to_pylist() == ["1", "2", "3"]
    assert manifest.values("image").to_pylist() == ["images/1.jpg", "images/2.jpg", None]
    assert manifest.values("label").to_pylist() == ["masks/m1_mask.png", None, None]
    assert manifest.notes[1:] == (
        "column 'depth': 1 of 3 samples have no file",
        "column 'label': 2 of 3 samples have no file",
    )
    assert manifest.columns["depth"].facts == {"metres_per_unit": 0.001}


@pytest.mark.parametrize("pattern", ["{split}/images/{stem}.png", "images/{split}/{stem}.png"])
def test_splits_of_parallel_folders_are_outside_or_inside(tmp_path: Path, pattern: str):
    for split, stem in (("train", 1), ("train", 2), ("test", 1)):
        touch(tmp_path / pattern.format(split=split, stem=stem))
    manifest = Folder(root=str(tmp_path), columns={"image": "images"}).manifest()
    assert manifest.values("id").to_pylist() == ["train/1", "train/2", "test/1"] or manifest.splits == ["train", "test"]
    assert len(manifest.split("train")) == 2
    for index in range(3):
        assert Path(str(manifest.resolve(manifest.row(index)["image"]))).is_file()


def test_lists_choose_and_name_the_splits(tmp_path: Path):
    for stem in (1, 2, 3):
        touch(tmp_path / "images" / f"{stem}.png")
    (tmp_path / "train.txt").write_text("2\n")
    (tmp_path / "test.txt").write_text("images/3.png\n\n")
    lists = {"train": "train.txt", "test": "test.txt"}
    manifest = Folder(root=str(tmp_path), columns={"image": "images"}, lists=lists).manifest()
    assert [manifest.row(index)["split"] for index in range(2)] == ["train", "test"]
    assert manifest.notes == ("1 of 3 samples are in no list and left out",)
    (tmp_path / "test.txt").write_text("4\n")
    with pytest.raises(DataFault, match="names '4'"):
        Folder(root=str(tmp_path), columns={"image": "images"}, lists=lists).manifest()


def test_folders_that_cannot_be_read_so_are_refused(tmp_path: Path):
    with pytest.raises(DataFault, match="no folders"):
        Folder(root=str(tmp_path)).manifest()
    touch(tmp_path / "images" / "1.png")
    touch(tmp_path / "images" / "1.jpg")
    with pytest.raises(DataFault, match=r"1\.jpg and 1\.png"):
        Folder(root=str(tmp_path), columns={"image": "images"}).manifest()
    with pytest.raises(DataFault, match=r"depth does not exist.* has images"):
        Folder(root=str(tmp_path), columns={"depth": "depth"}).manifest()
    with pytest.raises(DataFault, match=r"more than one \*"):
        Folder(root=str(tmp_path), columns={"image": "images/*a*.png"}).manifest()
