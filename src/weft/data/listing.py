"""Folders and lists of names read with suspicion: what several data formats share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from weft.errors import DataFault

#: Endings of raster files that weft reads.
RASTERS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".npy")


def folder(root: str | Path, *parts: str) -> Path:
    """A folder that is there.

    Raises:
        DataFault: it is not; the message says what is there instead.
    """
    path = Path(root, *parts).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise DataFault(f"{path} is a file, and a folder is expected", code="no-folder")
    parent = path.parent
    beside = sorted(entry.name for entry in parent.iterdir())[:10] if parent.is_dir() else []
    there = f"; {parent} has {', '.join(beside)}" if beside else ""
    raise DataFault(f"the folder {path} does not exist{there}; check `root`", code="no-folder")


def folders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def read_text(path: Path, *, encoding: str = "utf-8-sig") -> str:
    """A small text file.

    Raises:
        DataFault: it is missing or in another encoding.
    """
    try:
        return path.read_text(encoding)
    except FileNotFoundError as error:
        raise DataFault(f"{path} does not exist", code="missing-file") from error
    except UnicodeDecodeError as error:
        raise DataFault(
            f"{path} is not {encoding.removesuffix('-sig')} (byte {error.start}); save it so", code="encoding"
        ) from error
    except OSError as error:
        raise DataFault(f"{path} cannot be read: {error}", code="unreadable-file") from error


def read_names(path: Path) -> list[str]:
    """The names in a list file, one a line; empty lines are passed over."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def by_stem(path: Path, *, endings: Sequence[str] = RASTERS, before: str = "", after: str = "") -> dict[str, str]:
    """{stem: file name} of the files in a folder, sorted by stem.

    Args:
        path: the folder; sub-folders and hidden files are passed over.
        endings: endings of the files that count, in small letters.
        before, after: what names have around the sample's own (`_mask` in `a_mask.png`): it is taken off, and files
            without it do not count.

    Raises:
        DataFault: two files have one stem.
    """
    found: dict[str, str] = {}
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    for name in names:
        stem, ending = os.path.splitext(name)
        fits = stem.startswith(before) and stem.endswith(after) and len(stem) > len(before) + len(after)
        if ending.lower() not in endings or not fits:
            continue
        stem = stem[len(before) : len(stem) - len(after)]
        if stem in found:
            raise DataFault(
                f"{path} has {found[stem]} and {name}, which would be one sample; rename or remove one",
                code="duplicate-id",
            )
        found[stem] = name
    return dict(sorted(found.items()))


def column_of(prefix: str, ids: Iterable[str], files: Mapping[str, str]) -> pa.Array:
    """Cells `prefix/file` for the ids that have a file, null for the others."""
    return pa.array([f"{prefix}/{files[name]}" if name in files else None for name in ids], pa.string())


def absent_notes(table: pa.Table) -> list[str]:
    """A note for each column in which cells are empty."""
    return [
        f"column {name!r}: {table.column(name).null_count} of {table.num_rows} samples have no file"
        for name in table.column_names
        if table.column(name).null_count
    ]
