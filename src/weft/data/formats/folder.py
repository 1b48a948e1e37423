"""Folders as they are: a folder for each class, or parallel folders whose files are paired by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from weft.data.audiofile import SOUNDS
from weft.data.declared import Declared, Kind, describe
from weft.data.listing import RASTERS, absent_notes, by_stem, folder, folders, read_names
from weft.data.manifest import SPLITS, Column, Manifest, usual_split
from weft.errors import DataFault
from weft.registry import register


@dataclass(frozen=True, kw_only=True)
class FolderColumn(Declared):
    """One of the parallel folders, and what is known about its files.

    Args:
        folder: below `root`; a pattern such as masks/*_mask.png where names are more than the sample's: * is its id.
        kind: image, depth, audio, label (a map of classes), instances (a map of objects: 0 is nothing, every other
            value one of them) or text.
    """

    folder: str
    kind: Kind = "image"


@register("format", "folder")
class Folder:
    """Class folders (`CLASS/1.jpg`), or, with `columns`, parallel folders (`images/1.jpg` and `depth/1.png`).

    Splits are sub-folders named train, val and test, outside (`train/CLASS/1.jpg`, `train/images/1.jpg`) or, in
    parallel folders, inside (`images/train/1.jpg`); or lists of ids in files; or else every sample is train.

    Class folders give the columns `image`, or `audio` where they hold sounds, and `label`. In parallel folders a sample that some folder has no file of is
    absent there.

    Example:
        data: {format: folder, root: rgbd, columns: {image: rgb, depth: {folder: depth, kind: depth, metres_per_unit: 0.001}}}

    Args:
        root: the folder that holds them.
        columns: {column: folder}, or more of what is known of it; without, folders are classes.
        lists: file with one id a line for each split, such as {train: train.txt, test: test.txt}.
        classes: names of the class folders in the order of their numbers; by default all that train has, sorted.
    """  # noqa: E501  the example is one line so that it can be copied

    def __init__(
        self,
        *,
        root: str,
        columns: dict[str, str | FolderColumn] | None = None,
        lists: dict[str, str] | None = None,
        classes: list[str] | None = None,
    ) -> None:
        self.root = root
        self.columns = {name: _column(value) for name, value in (columns or {}).items()}
        self.lists = dict(lists or {})
        self.classes = classes

    def manifest(self) -> Manifest:
        """All files, in the order of their names.

        Raises:
            DataFault: a folder is missing, holds nothing, or two files would be one sample.
        """
        root = folder(self.root)
        table = self._parallel(root) if self.columns else self._class_folders(root)
        if not table.num_rows:
            raise DataFault(
                f"{root} has no files where they are expected; check `root` and `columns`", code="no-samples"
            )
        notes = tuple(absent_notes(table))
        if self.lists:
            table, said = _listed(table, {split: read_names(root / name) for split, name in self.lists.items()})
            notes += said
        declared: Mapping[str, Declared] = self.columns or {"label": Declared(kind="class", classes=self.classes)}
        table, columns = describe(table, declared, source=str(root))
        known = {"image": Column("image"), "audio": Column("audio"), **columns}
        return Manifest(table, root, known, notes=notes)

    def _class_folders(self, root: Path) -> pa.Table:
        parts = []
        for prefix, split in (_split_folders(root) or {"": "train"}).items():
            for name in folders(root / prefix):
                files = by_stem(root / prefix / name, endings=(*RASTERS, *SOUNDS))
                where = os.path.join(prefix, name)
                ids = [f"{where}/{stem}" for stem in files]
                cells: dict[str, list[Any]] = {"image": [], "audio": []}
                for file in files.values():
                    heard = os.path.splitext(file)[1].lower() in SOUNDS
                    cells["image"].append(None if heard else f"{where}/{file}")
                    cells["audio"].append(f"{where}/{file}" if heard else None)
                parts.append(_rows(split, ids, {**cells, "label": [name] * len(ids)}))
        if not parts:
            raise DataFault(
                f"{root} has no folders, and every folder is a class; give `columns` for parallel folders",
                code="no-samples",
            )
        table = pa.concat_tables(parts)
        empty = [name for name in ("image", "audio") if table.column(name).null_count == table.num_rows]
        return table.drop_columns(empty)

    def _parallel(self, root: Path) -> pa.Table:
        """Rows of parallel folders: splits outside, else inside, else none."""
        folders = {name: PurePath(column.folder) for name, column in self.columns.items()}
        outside = _split_folders(root)
        if outside:
            return pa.concat_tables(
                [self._paired(root, split, PurePath(part), None) for part, split in outside.items()]
            )
        first = next(iter(folders.values()))
        inside = _split_folders(folder(root, str(first.parent if "*" in first.name else first)))
        if inside:
            return pa.concat_tables([self._paired(root, split, PurePath(), part) for part, split in inside.items()])
        return self._paired(root, "train", PurePath(), None)

    def _paired(self, root: Path, split: str, prefix: PurePath, inside: str | None) -> pa.Table:
        """Rows of one split: one for each stem that any of the folders has."""
        found: dict[str, dict[str, str]] = {}
        for name, column in self.columns.items():
            path, before, after, endings = _pattern(
                prefix / column.folder, SOUNDS if column.kind == "audio" else RASTERS
            )
            path = path / inside if inside else path
            files = by_stem(folder(root, str(path)), endings=endings, before=before, after=after)
            found[name] = {stem: f"{path.as_posix()}/{file}" for stem, file in files.items()}
        stems = sorted(set().union(*found.values()))
        part = inside or (str(prefix) if str(prefix) != "." else "")
        ids = [f"{part}/{stem}" if part else stem for stem in stems]
        return _rows(split, ids, {name: [files.get(stem) for stem in stems] for name, files in found.items()})


def _column(value: str | FolderColumn | Mapping[str, Any]) -> FolderColumn:
    return FolderColumn(folder=value) if isinstance(value, str) else FolderColumn.of(value)


def _split_folders(path: Path) -> dict[str, str]:
    """{sub-folder: split} of those that are named as splits."""
    return {name: usual_split(name) for name in folders(path) if usual_split(name) in SPLITS}


def _pattern(path: PurePath, usual: tuple[str, ...]) -> tuple[PurePath, str, str, tuple[str, ...]]:
    """(folder, what stands before the id, what stands after it, endings) of `folder` or `folder/*_mask.png`."""
    if "*" not in path.name:
        return path, "", "", usual
    before, _, after = path.name.partition("*")
    if "*" in after or "*" in str(path.parent):
        raise DataFault(
            f"the folder {str(path)!r} has more than one *; it stands for the sample's id once", code="bad-pattern"
        )
    stem, ending = os.path.splitext(after)
    return path.parent, before, stem, (ending.lower(),) if ending and ending != ".*" else usual


def _rows(split: str, ids: list[str], cells: Mapping[str, list[Any]]) -> pa.Table:
    columns = {name: pa.array(values, pa.string()) for name, values in cells.items()}
    return pa.table({"id": pa.array(ids, pa.string()), "split": pa.array([split] * len(ids), pa.string()), **columns})


def _listed(table: pa.Table, lists: Mapping[str, list[str]]) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows that are in the lists, with their splits; names in a list may be paths of files, whose stem counts."""
    known = {str(PurePath(name)): place for place, name in enumerate(table.column("id").to_pylist())}
    places: list[int] = []
    splits: list[str] = []
    for split, names in lists.items():
        for name in names:
            stem = next(
                (key for key in (name, str(PurePath(name).with_suffix("")), PurePath(name).stem) if key in known), ""
            )
            if not stem:
                raise DataFault(f"the list of {split} names {name!r}, and no file has that name", code="missing-file")
            places.append(known[stem])
            splits.append(split)
    left = table.num_rows - len(set(places))
    notes = (f"{left} of {table.num_rows} samples are in no list and left out",) if left else ()
    table = table.take(pa.array(places, pa.int64()))
    return table.set_column(table.schema.get_field_index("split"), "split", pa.array(splits, pa.string())), notes
