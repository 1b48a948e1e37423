"""The manifest: unique ids, views without copies, safe paths, and ten million rows."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from weft.data.manifest import Manifest, safe_path, usual_split
from weft.errors import DataFault
from weft.modalities.base import BadCell


def manifest_of(ids: list[str], splits: list[str], root: Path = Path("."), **columns: list) -> Manifest:
    return Manifest(pa.table({"id": ids, "split": splits, **columns}), root)


def test_a_row_is_a_mapping_with_none_for_what_is_absent():
    manifest = manifest_of(["a", "b"], ["train", "test"], depth=[None, "b.png"])
    assert manifest.row(0) == {"id": "a", "split": "train", "depth": None}
    assert manifest.present("depth").tolist() == [False, True]
    assert manifest.present("thermal").tolist() == [False, False]


def test_a_split_is_a_view_in_order():
    manifest = manifest_of(["a", "b", "c"], ["test", "train", "test"])
    view = manifest.split("test")
    assert [view.id(index) for index in range(len(view))] == ["a", "c"]
    assert view.table is manifest.table
    assert view.take([1]).id(0) == "c"
    assert len(manifest.split("val")) == 0
    with pytest.raises(IndexError):
        view.row(2)


def test_splits_come_as_people_say_them():
    assert manifest_of(["a", "b", "c", "d"], ["test", "extra", "val", "train"]).splits == [
        "train",
        "val",
        "test",
        "extra",
    ]
    assert [usual_split(name) for name in ("Valid", "dev", "training", "fold7")] == ["val", "val", "train", "fold7"]


def test_an_id_that_is_there_twice_is_refused_by_name():
    with pytest.raises(DataFault, match=r"b \(2 times\)") as caught:
        manifest_of(["b", "a", "b"], ["train"] * 3)
    assert caught.value.code == "duplicate-id"
    assert caught.value.exit_code == 3


def test_rows_without_id_or_split_are_refused():
    with pytest.raises(DataFault, match="1 rows have no split, the first is row 2"):
        Manifest(pa.table({"id": ["a", "b"], "split": ["train", None]}), Path("."))
    with pytest.raises(DataFault, match="no column 'split'"):
        Manifest(pa.table({"id": ["a"]}), Path("."))


def test_a_path_stays_below_the_roots(tmp_path: Path):
    root, other, outside = tmp_path / "root", tmp_path / "other", tmp_path / "outside"
    for folder in (root, other, outside):
        folder.mkdir()
        (folder / f"{folder.name}.png").write_bytes(b"x")
    (root / "link.png").symlink_to(outside / "outside.png")
    (root / "inner.png").symlink_to(root / "root.png")
    manifest = manifest_of(["a"], ["train"], root).with_roots([other])
    assert manifest.resolve("root.png") == root / "root.png"
    assert manifest.resolve(str(root / "root.png")) == root / "root.png"
    assert manifest.resolve("other.png") == other / "other.png"
    assert manifest.resolve("inner.png") == root / "root.png"
    for cell in (
        "../outside/outside.png",
        str(outside / "outside.png"),
        "link.png",
        "a/../../outside/outside.png",
        "\0",
    ):
        with pytest.raises(BadCell) as caught:
            manifest.resolve(cell)
        assert caught.value.code == "path-outside"


def test_a_path_that_is_no_text_is_refused(tmp_path: Path):
    with pytest.raises(BadCell, match="7 is no path"):
        safe_path(7, (tmp_path,))  # type: ignore[arg-type]


def test_cells_of_a_format_without_files_become_arrays():
    manifest = Manifest(
        pa.table({"id": ["a"], "split": ["train"]}), Path("."), arrays=lambda cell: np.array([int(cell)])
    )
    assert manifest.resolve("3").tolist() == [3]


def test_other_splits_do_not_touch_the_rows():
    manifest = manifest_of(["a", "b"], ["train", "train"], x=[1, 2])
    changed = manifest.take([1, 0]).with_split(["val", "train"])
    assert [changed.row(index) for index in (0, 1)] == [
        {"id": "b", "split": "val", "x": 2},
        {"id": "a", "split": "train", "x": 1},
    ]


def test_a_manifest_goes_to_another_process():
    manifest = manifest_of(["a", "b"], ["train", "test"]).split("test")
    assert pickle.loads(pickle.dumps(manifest)).row(0)["id"] == "b"


def test_ten_million_rows_open_in_about_a_second(tmp_path: Path):
    size = 10_000_000
    ids = pc.utf8_lpad(pc.cast(pa.array(np.arange(size)), pa.string()), 8, "0")
    splits = pa.array(["train", "test"]).take(pa.array((np.arange(size) % 10 == 0).astype(np.int8)))
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink:
        table = pa.table({"id": ids, "split": splits})
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1 << 20)
    del table, ids, splits
    before = pa.total_allocated_bytes()
    start = time.perf_counter()
    manifest = Manifest(pa.ipc.open_file(pa.memory_map(str(tmp_path / "t.arrow"))).read_all(), tmp_path)
    test = manifest.split("test")
    seconds = time.perf_counter() - start
    assert len(test) == size // 10
    assert test.id(3) == "00000030"
    assert seconds < 3  # about 0.3 on an idle machine of two cores
    assert pa.total_allocated_bytes() - before < 32e6  # the table itself is mapped
