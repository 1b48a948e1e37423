"""Clips of actions and the like: a folder of video files for each class, or a table of paths and labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from weft.data.declared import Declared, describe
from weft.data.listing import RASTERS, folder, folders
from weft.data.manifest import SPLITS, Column, Manifest, usual_split
from weft.data.tablefile import read_table
from weft.data.videofile import VIDEOS
from weft.errors import DataFault, did_you_mean
from weft.registry import register


@register("format", "clips")
class Clips:
    """Class folders of clips (`CLASS/1.mp4`, or `CLASS/1/0001.jpg`, a folder of frames), or a CSV of path and label.

    Splits are sub-folders named train, val and test outside (`train/CLASS/1.mp4`); in a table a column `split`, or a
    table for each. Otherwise every clip is train.

    Columns: `clip`; `label`, where it has one; of a table, all others that it has.

    Example:
        data: {format: clips, root: actions, frames: {sampling: random, count: 8}}
        data: {format: clips, root: actions, file: {train: train.csv, test: test.csv}}

    Args:
        root: the folder that holds them.
        file: a table below `root`, or one for each split; without, folders are classes.
        path: its column of files or folders of frames, from `root` on; they may name a part: `a.mp4#t=2,5`.
        label: its column of classes.
        classes: names of the classes in the order of their numbers; by default all that train has, sorted.
    """

    def __init__(
        self,
        *,
        root: str,
        file: str | dict[str, str] | None = None,
        path: str = "path",
        label: str = "label",
        classes: list[str] | None = None,
    ) -> None:
        self.root = root
        self.files = {} if file is None else dict(file) if isinstance(file, dict) else {"": file}
        self.path, self.label = path, label
        self.classes = classes

    def manifest(self) -> Manifest:
        """All clips, in the order of their names, or of the table.

        Raises:
            DataFault: the folder or a table is missing or holds nothing, or a column is not there.
        """
        root = folder(self.root)
        if self.files:
            table = pa.concat_tables(
                [self._listed(root / file, split) for split, file in self.files.items()], promote_options="permissive"
            )
        else:
            table = _of_folders(root)
        if not table.num_rows:
            raise DataFault(f"{root} has no clips where they are expected; check `root`", code="no-samples")
        known: dict[str, Column] = {}
        if "label" in table.column_names:
            declared = {"label": Declared(kind="class", classes=self.classes)}
            table, known = describe(table, declared, source=str(root))
        return Manifest(table, root, {"clip": Column("video"), **known}, clip="clip")

    def _listed(self, path: Path, split: str) -> pa.Table:
        """The rows of one table."""
        table = read_table(path)
        if self.path not in table.column_names:
            hint = did_you_mean(self.path, table.column_names)
            raise DataFault(
                f"{path} has no column {self.path!r} of files; it has {', '.join(table.column_names)}{hint}: name the "
                "column in `path`",
                code="no-column",
            )
        paths = table.column(self.path).to_pylist()
        if None in paths:
            raise DataFault(f"{path}: row {paths.index(None) + 1} names no clip; fill it in", code="no-id")
        given = table.column("split").to_pylist() if "split" in table.column_names and not split else []
        rows: dict[str, Any] = {
            "id": table.column("id").to_pylist() if "id" in table.column_names else paths,
            "split": [usual_split(str(one)) for one in given] or [usual_split(split) or "train"] * len(paths),
            "clip": paths,
        }
        if self.label in table.column_names:
            rows["label"] = table.column(self.label)
        taken = {"id", "split", "clip", "label", self.path, self.label}
        return pa.table({**rows, **{name: table.column(name) for name in table.column_names if name not in taken}})


def _of_folders(root: Path) -> pa.Table:
    """A row for each clip in class folders, with or without folders of splits around them."""
    splits = {name: usual_split(name) for name in folders(root) if usual_split(name) in SPLITS} or {"": "train"}
    rows = [
        {"id": os.path.splitext(cell)[0], "split": split, "clip": cell, "label": name}
        for prefix, split in splits.items()
        for name in folders(root / prefix)
        for cell in _clips(root, os.path.join(prefix, name))
    ]
    if not rows:
        raise DataFault(
            f"{root} has no folders of clips, and every folder is a class; a clip is a file ({', '.join(VIDEOS)}) or a "
            "folder of pictures. Give `file` for a table of paths and labels",
            code="no-samples",
        )
    return pa.Table.from_pylist(rows)


def _clips(root: Path, where: str) -> Iterator[str]:
    """The cells of one class folder, by name: its video files, and its folders that hold pictures."""
    with os.scandir(root / where) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    stems: dict[str, str] = {}
    for name, is_folder in found:
        inside = os.listdir(root / where / name) if is_folder else []
        if not (_some(inside, RASTERS) if is_folder else _some([name], VIDEOS)):
            continue
        stem = name if is_folder else os.path.splitext(name)[0]
        if stem in stems:
            raise DataFault(
                f"{root / where} has {stems[stem]} and {name}, which would be one sample; rename or remove one",
                code="duplicate-id",
            )
        stems[stem] = name
        yield f"{where}/{name}"


def _some(names: Sequence[str], endings: Sequence[str]) -> bool:
    return any(os.path.splitext(name)[1].lower() in endings for name in names)
