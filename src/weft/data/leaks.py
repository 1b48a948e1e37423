"""What two splits must not share: files of the same content, and groups."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.manifest import Manifest
from weft.data.splits import encode, group_codes
from weft.errors import DataFault
from weft.modalities.base import BadCell

#: Files beyond which training does not compare contents by itself; `weft data` always does.
MAX_COMPARED = 200_000


@dataclass(frozen=True)
class Leak:
    """Something that two splits share.

    Attributes:
        column: where it was found.
        what: "file" for the same content, "group" for the same group.
        value: the group's name, or the paths.
        samples: id and split of one sample on either side.
    """

    column: str
    what: str
    value: str
    samples: tuple[tuple[str, str], tuple[str, str]]

    def __str__(self) -> str:
        (first, first_split), (second, second_split) = self.samples
        said = f"the group {self.value!r}" if self.what == "group" else f"the same content ({self.value})"
        return f"column {self.column!r}: {said} is in {first_split} ({first}) and in {second_split} ({second})"


def check_leaks(
    manifest: Manifest, columns: Sequence[str], *, group: str | None = None, strict: bool = False
) -> list[str]:
    """What to warn of: the same file content or the same group in two splits.

    Args:
        manifest: all samples, with their final splits.
        columns: the columns whose cells are files that may not be shared: inputs.
        group: column whose equal values belong together; by default the one the format knows.
        strict: refuse instead of warning.

    Raises:
        DataFault: with `strict`, when there is a leak.
    """
    notes = []
    if _has_files(manifest) and len(manifest) * len(columns) > MAX_COMPARED:
        notes.append(f"more than {MAX_COMPARED} files: whether two splits share one was not looked at (weft data does)")
        columns = ()
    leaks = find_leaks(manifest, columns, group=group)
    for what in ("file", "group"):
        found = [leak for leak in leaks if leak.what == what]
        if found:
            more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            notes.append(f"leak: {found[0]}{more}")
    if strict and leaks:
        raise DataFault("; ".join(notes) + "; remove one side, or set data.strict to false", code="leak")
    return notes


def find_leaks(manifest: Manifest, columns: Sequence[str], *, group: str | None = None) -> list[Leak]:
    """All that two splits share: groups, and files by content (size first, then the start, then all of it)."""
    leaks: list[Leak] = []
    group = group or manifest.group
    if group is not None:
        leaks += _shared_groups(manifest, group)
    if _has_files(manifest) and len(manifest.splits) > 1:
        for column in columns:
            leaks += _shared_files(manifest, column)
    return leaks


def _has_files(manifest: Manifest) -> bool:
    """Whether the cells of any data set name files."""
    return any(one.arrays is None or one.made for one in manifest.sets or (manifest,))


def _shared_groups(manifest: Manifest, group: str) -> Iterator[Leak]:
    codes, names = group_codes(manifest, group)
    splits, _ = encode(pc.cast(manifest.values("split"), pa.string()))
    pairs, firsts = np.unique(np.stack([codes, splits], 1), axis=0, return_index=True)
    same = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
    for place in same:
        first, second = sorted((int(firsts[place]), int(firsts[place + 1])))
        yield Leak(
            group, "group", names[int(pairs[place, 0])].as_py(), (_sample(manifest, first), _sample(manifest, second))
        )


def _sample(manifest: Manifest, index: int) -> tuple[str, str]:
    return manifest.id(index), str(manifest.cell(index, "split"))


def _shared_files(manifest: Manifest, column: str) -> Iterator[Leak]:
    """A leak for each file whose content is also in another split, named with the first of its kind."""
    splits = manifest.values("split").to_pylist()
    candidates = _files(manifest, column)
    for look in (lambda path: path.stat().st_size, lambda path: _digest(path, 4096), lambda path: _digest(path, -1)):
        alike = defaultdict(list)
        for index, path, key in candidates:
            try:
                alike[key, look(path)].append((index, path))
            except OSError:  # a file that cannot be read shares nothing; reading it for training will name it
                continue
        candidates = [
            (index, path, key)
            for key, members in alike.items()
            if len({splits[index] for index, _ in members}) > 1
            for index, path in members
        ]
    firsts: dict[object, tuple[int, Path]] = {}
    for index, path, key in candidates:
        first, first_path = firsts.setdefault(key, (index, path))
        if splits[index] != splits[first]:
            value = f"{first_path.name}, {path.name}"
            yield Leak(column, "file", value, (_sample(manifest, first), _sample(manifest, index)))


def _files(manifest: Manifest, column: str) -> list[tuple[int, Path, object]]:
    """(index, file, key so far) of the cells of a column that name files which may be read."""
    files: list[tuple[int, Path, object]] = []
    places, sets = manifest.set_places(), manifest.sets or (manifest,)
    for index, cell in enumerate(manifest.values(column).to_pylist() if column in manifest.names else []):
        one = sets[places[index]]
        if not isinstance(cell, str) or (one.arrays is not None and cell.startswith(one.made)):
            continue
        try:
            path = manifest.resolve(cell, places[index])
            if isinstance(path, Path) and path.is_dir():  # a folder of frames: told by the first of its files
                path = next((path / name for name in sorted(os.listdir(path))), path)
            if isinstance(path, Path) and path.is_file() and path.stat().st_size:  # empty files are another fault
                files.append((index, path, None))
        except (BadCell, OSError):  # not a path that may be read, or no path at all: a text
            continue
    return files


def _digest(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(size), digest_size=16).digest()
