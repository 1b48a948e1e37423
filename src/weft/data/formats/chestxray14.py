"""ChestX-ray14: frontal X-rays of the chest with fourteen findings, from the official tables and folders."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from weft.data.listing import folder, read_names, read_text
from weft.data.manifest import Column, Manifest
from weft.data.tablefile import read_table
from weft.errors import DataFault
from weft.registry import register

#: In the order of the paper, which is that of others' published figures.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip

#: What the table says of an X-ray without any.
NO_FINDING = "No Finding"

#: The tables as published, the newer first, and the boxes.
ENTRIES, BOXES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"), "BBox_List_2017.csv"

#: The official lists; the second split is tested on.
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}

#: Ages above this are mistakes of the table (411, 148 …).
OLDEST = 120

#: {column: its names in the tables}.
_COLUMNS = {
    "id": ("Image Index",),
    "findings": ("Finding Labels",),
    "follow_up": ("Follow-up #",),
    "patient": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
}

#: What the boxes call a finding by another name.
_OTHER_NAMES = {"Infiltrate": "Infiltration"}

#: Years of one unit of an age such as 058Y, 011M, 013D.
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


@register("format", "chestxray14")
class ChestXray14:
    """112,120 frontal X-rays of 30,805 patients, each with any of fourteen findings; 984 boxes on 880 of them.

    Below `root`: `Data_Entry_2017_v2020.csv` or `Data_Entry_2017.csv`; the pictures in `images/`, or as they are
    published in `images_001/images/` to `images_012/images/`; the official lists `train_val_list.txt` and
    `test_list.txt`, which part by patient; and `BBox_List_2017.csv` where there is one. Without lists every X-ray is
    train. Rows that no list names are left out, and counted.

    Columns: `image`; `findings`, several labels or none; `age` in years, where an age above 120 is a mistake and so
    empty, and 058Y, 011M, 013D are understood; `sex` (M, F); `view` (PA, AP); `follow_up`, the number of the visit;
    `patient`, the group; and `boxes`, a list of {label, box}, the box xyxy in pixels of the published 1024 × 1024
    picture, empty where nobody drew any. A validation part is cut by whole patients with `validation: {by: group}`.

    Reference: Wang et al., CVPR 2017, arXiv:1705.02315.

    Args:
        root: the folder that holds the tables and the pictures.
        file: the table of the X-rays, where it has another name.
    """

    def __init__(self, *, root: str, file: str | None = None) -> None:
        self.root = root
        self.file = file

    def manifest(self) -> Manifest:
        """All X-rays of the lists, in the order of the table.

        Raises:
            DataFault: a table, a list or the pictures are missing or not as described.
        """
        root = folder(self.root)
        entries = _entries(self._path(root))
        splits, notes = _splits(root, entries.column("id"))
        entries = entries.append_column("split", splits).filter(pc.is_valid(splits))
        ids = entries.column("id")
        age = _mapped(entries.column("age"), _years, pa.float64())
        odd = age.null_count - entries.column("age").null_count
        if odd:
            notes.append(f"{odd} ages are no number of years, or one above {OLDEST}; they are left empty")
        images = _images(root, ids)
        if images.null_count:
            notes.append(f"{images.null_count} of {len(ids)} X-rays have no picture here")
        boxes, said = _boxes(root / BOXES, ids)
        table = pa.table(
            {
                "id": ids,
                "split": entries.column("split"),
                "image": images,
                "findings": _mapped(entries.column("findings"), _findings, pa.string()),
                "age": age,
                **{name: entries.column(name) for name in ("sex", "view", "patient")},
                "follow_up": _mapped(entries.column("follow_up"), _whole, pa.int64()),
                "boxes": boxes,
            }
        )
        columns = {
            "image": Column("image"),
            "findings": Column("labels", {"classes": list(FINDINGS)}),
            "age": Column("number"),
            **{name: Column("class") for name in ("sex", "view", "patient")},
            "follow_up": Column("number"),
            "boxes": Column("boxes", {"classes": list(FINDINGS)}),
        }
        return Manifest(table, root, columns, notes=(*notes, *said), group="patient")

    def _path(self, root: Path) -> Path:
        names = ENTRIES if self.file is None else (self.file,)
        found = next((root / name for name in names if (root / name).is_file()), None)
        if found is None:
            raise DataFault(f"{root} has no {' or '.join(names)}; check `root`", code="missing-file")
        return found


def _entries(path: Path) -> pa.Table:
    """The table with columns of our names, all text."""
    table = read_table(path)
    found = {}
    for name, theirs in _COLUMNS.items():
        column = next((column for column in theirs if column in table.column_names), None)
        if column is None:
            raise DataFault(
                f"{path} has no column {' or '.join(map(repr, theirs))}; it has {', '.join(table.column_names)}",
                code="no-column",
            )
        found[name] = table.column(column)
    return pa.table(found)


def _splits(root: Path, ids: pa.ChunkedArray) -> tuple[pa.Array, list[str]]:
    """(each X-ray's split, null where no list names it, notes)."""
    lists = {split: read_names(root / name) for split, name in LISTS.items() if (root / name).is_file()}
    if not lists:
        return pa.repeat(pa.scalar("train"), len(ids)), [f"{root} has no {LISTS['train']}: every X-ray is train"]
    names = pa.array([name for listed in lists.values() for name in listed], pa.string())
    of_names = pa.array([split for split, listed in lists.items() for _ in listed], pa.string())
    splits = pc.take(of_names, pc.index_in(ids, names).combine_chunks())
    counts = {
        "X-rays are in no list and are left out": splits.null_count,
        "names in the lists are not in the table": len(names) - pc.sum(pc.is_in(names, pc.unique(ids))).as_py(),
    }
    return splits, [f"{count} {said}" for said, count in counts.items() if count]


def _mapped(cells: pa.ChunkedArray, change: Callable[[str], object], kind: pa.DataType) -> pa.Array:
    """A column with each of its different values changed; null stays null."""
    encoded = cells.combine_chunks().dictionary_encode()
    return pa.array([change(value) for value in encoded.dictionary.to_pylist()], kind).take(encoded.indices)


def _findings(cell: str) -> str:
    """Findings joined by "|", empty for none of them."""
    names = [] if cell.strip() == NO_FINDING else [name.strip() for name in cell.split("|")]
    for name in names:
        if name not in FINDINGS:
            raise DataFault(
                f"{name!r} in {cell!r} is no finding; there are {', '.join(FINDINGS)}, or {NO_FINDING} alone",
                code="class-unknown",
            )
    return "|".join(names)


def _years(cell: str) -> float | None:
    """An age in years; None where it is none or a mistake."""
    found = re.fullmatch(r"(\d+)([YMWD]?)", cell.strip().upper())
    years = int(found[1]) * _YEARS[found[2] or "Y"] if found else math.inf
    return years if years <= OLDEST else None


def _whole(cell: str) -> int | None:
    return int(cell) if cell.strip().isdigit() else None


def _images(root: Path, ids: pa.ChunkedArray) -> pa.Array:
    """The path of each picture, null where it is not there."""
    folders = ["images"] if (root / "images").is_dir() else []
    folders += sorted(f"{path.name}/images" for path in root.glob("images_*") if (path / "images").is_dir())
    if not folders:
        raise DataFault(f"{root} has neither images/ nor images_001/images/; check `root`", code="no-folder")
    where = {name: place for place in folders for name in os.listdir(root / place)}
    return pa.array([f"{where[name]}/{name}" if name in where else None for name in ids.to_pylist()], pa.string())


def _boxes(path: Path, ids: pa.ChunkedArray) -> tuple[pa.Array, list[str]]:
    """(the boxes of each X-ray, null where there are none, notes). The file's header has commas within its names."""
    kind = pa.list_(pa.struct({"label": pa.string(), "box": pa.list_(pa.float64())}))
    drawn: dict[str, list[dict[str, object]]] = defaultdict(list)
    lines = read_text(path).splitlines() if path.is_file() else []
    for number, cells in enumerate(csv.reader(lines), start=1):
        if not cells or cells[0] == _COLUMNS["id"][0]:
            continue
        try:
            name, label, (left, top, width, height) = cells[0], cells[1], map(float, cells[2:6])
            label = _findings(_OTHER_NAMES.get(label, label))
        except (ValueError, IndexError, DataFault) as error:
            raise DataFault(
                f"{path}, line {number}: {','.join(cells)!r}; a box is written as image, finding, x, y, width, height",
                code="bad-box",
            ) from error
        drawn[name].append({"label": label, "box": [left, top, left + width, top + height]})
    boxes = pa.array([drawn.pop(name, None) for name in ids.to_pylist()], kind)
    return boxes, [f"{len(drawn)} X-rays with boxes are in none of the splits"] if drawn else []
