"""Files that a table does not name, though their names begin with what one of its columns says: for `weft init`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

from weft.data.audiofile import SOUNDS
from weft.data.guess_column import ColumnGuess, of_files
from weft.data.listing import RASTERS

#: Share of the rows that must have a file.
_MOST = 0.8

#: Rows whose pictures are compared.
_LOOKED_AT = 24


@dataclass(frozen=True)
class Paths:
    """Columns of files by a pattern.

    Attributes:
        key: the column that is in the patterns.
        patterns: {column: pattern}.
        optional: those of which some rows have no file.
        columns: what they seem to be.
    """

    key: str
    patterns: dict[str, str]
    optional: list[str]
    columns: dict[str, ColumnGuess]


def guess_paths(root: Path, table: pa.Table) -> Paths | None:
    """Patterns such as `images/{house}_kitchen.jpg` that name files of most rows; None where there are none."""
    for key in table.column_names:
        cells = table.column(key)
        if pa.types.is_nested(cells.type) or cells.null_count or len(pc.unique(cells)) < len(cells):
            continue
        values = pc.cast(cells, pa.string()).to_pylist()
        found: dict[str, dict[str, Path]] = {}
        for pattern, value, path in _named(root, set(values), key):
            found.setdefault(pattern, {})[value] = path
        found = {pattern: files for pattern, files in found.items() if len(files) >= _MOST * len(values)}
        if found:
            return _described(key, found, values, list(table.column_names))
    return None


def _named(root: Path, values: set[str], key: str) -> Iterator[tuple[str, str, Path]]:
    """(pattern, value, file) of the files one folder deep that are called after a value, alone or before a mark."""
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    for folder in folders:
        for name in sorted(os.listdir(root / folder)):
            stem, ending = os.path.splitext(name)
            if ending.lower() not in (*RASTERS, *SOUNDS):
                continue
            length = next(
                (n for n in range(len(stem), 0, -1) if stem[:n] in values and not stem[n : n + 1].isalnum()), 0
            )
            if length:
                yield f"{folder}/{{{key}}}{stem[length:]}{ending}", stem[:length], root / folder / name


def _described(key: str, found: Mapping[str, Mapping[str, Path]], values: list[str], taken: list[str]) -> Paths:
    patterns: dict[str, str] = {}
    columns: dict[str, ColumnGuess] = {}
    optional = []
    for pattern, files in found.items():
        folder, _, rest = pattern.partition(f"/{{{key}}}")
        name = "".join(mark if mark.isalnum() else "_" for mark in rest.rpartition(".")[0]).strip("_") or folder
        while name in taken or name in patterns:
            name += "_file"
        guess = of_files(list(files.values()), name=name)
        lacking = len(values) - len(files)
        some = f"; {lacking} of {len(values)} rows have none" if lacking else ""
        patterns[name] = pattern
        optional += [name] if lacking else []
        columns[name] = replace(guess, reason=f"files {pattern}{some}; {guess.reason}")
    pictures = [name for name, guess in columns.items() if guess.kind == "image"]
    sizes: Counter[str] = Counter()
    for value in values[:_LOOKED_AT]:
        there = {_size(found[patterns[name]][value]) for name in pictures if value in found[patterns[name]]}
        sizes["different" if len(there) > 1 else "same"] += 1
    if sizes["different"]:
        for name in pictures:
            guess = columns[name]
            reason = f"{guess.reason}; the pictures of a row differ in size, so each is taken for a scene of its own"
            columns[name] = replace(guess, reason=reason, options={**guess.options, "aligned": False})
    return Paths(key, patterns, optional, columns)


def _size(path: Path) -> tuple[int, int]:
    """(width, height) as the file says; (0, 0) where it says nothing."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError):
        return 0, 0
