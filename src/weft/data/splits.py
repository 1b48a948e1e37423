"""A validation part cut from the training split, and what two splits must not share."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.hashing import hash_strings
from weft.data.manifest import Manifest
from weft.errors import DataFault
from weft.experiment import Validation
from weft.modalities.base import BadCell

#: Files beyond which training does not compare contents by itself; `weft data` always does.
MAX_COMPARED = 200_000


def with_validation(manifest: Manifest, validation: Validation, *, group: str | None, seed: int) -> Manifest:
    """The samples with a validation part cut from `train`; other splits are not touched.

    Nothing happens where there is a `val` split already, unless folds are asked for: then both are one before they
    are divided. The part depends on the seed and on ids, groups or manifest order, on nothing else.

    Args:
        manifest: all samples.
        validation: how the part is cut.
        group: column whose equal values stay together; by default the one the format knows.
        seed: another seed, another part.

    Raises:
        DataFault: there are too few samples or groups, or no group column.
    """
    splits = manifest.values("split")
    pool = np.asarray(pc.equal(splits, "train"))
    held = np.asarray(pc.equal(splits, "val"))
    if (held.any() and validation.folds is None) or not pool.any():
        return manifest
    pool |= held
    train = manifest.take(np.flatnonzero(pool))
    if validation.folds is not None and validation.fold >= validation.folds:
        raise DataFault(
            f"validation.fold is {validation.fold}; with {validation.folds} folds it goes from 0 to "
            f"{validation.folds - 1}",
            code="no-validation",
        )
    needed = validation.folds or 2
    if len(train) < needed:
        raise DataFault(
            f"a validation part cannot be cut from {len(train)} training samples; there must be {needed} or more, "
            "or a split named val",
            code="no-validation",
        )
    group = group or manifest.group
    held_out, note = _CUTS[validation.by](train, validation, group, seed)
    names = [name for name in manifest.splits if name not in ("train", "val")]
    codes = np.asarray(pc.index_in(splits, pa.array([*names, "train", "val"]))).copy()
    codes[np.flatnonzero(pool)] = len(names) + held_out
    count = int(held_out.sum())
    fold = f", fold {validation.fold} of {validation.folds}" if validation.folds else ""
    said = f"{count} of {len(train)} training samples are held out for validation, by {validation.by}{fold}{note}"
    column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array([*names, "train", "val"]))
    return manifest.with_split(column).with_notes(said)


def _by_random(train: Manifest, validation: Validation, group: str | None, seed: int) -> tuple[np.ndarray, str]:
    """Single samples by the rank of their ids' hashes."""
    rank = np.empty(len(train), np.int64)
    rank[np.argsort(hash_strings(train.values("id"), seed), kind="stable")] = np.arange(len(train))
    low, high = _window(len(train), validation)
    return (rank >= low) & (rank < high), ""


def _by_group(train: Manifest, validation: Validation, group: str | None, seed: int) -> tuple[np.ndarray, str]:
    """Whole groups in the order of their names' hashes, until there are enough samples."""
    if group is None:
        raise DataFault(
            "validation.by is group, but no group column is known; set data.group to the column whose equal values "
            "belong together",
            code="no-validation",
        )
    codes, names = _groups(train, group)
    needed = validation.folds or 2
    if len(names) < needed:
        raise DataFault(
            f"validation by group needs {needed} groups or more, and the column {group!r} has {len(names)} among the "
            "training samples; use by: block or by: random",
            code="no-validation",
        )
    order = np.argsort(hash_strings(names, seed), kind="stable")
    sizes = np.bincount(codes, minlength=len(names))[order]
    middle = np.cumsum(sizes) - sizes / 2
    low, high = _window(len(train), validation)
    chosen = (middle >= low) & (middle < high)
    if not chosen.any() or chosen.all():  # groups larger than a part: the one nearest to its middle
        chosen = np.zeros(len(names), bool)
        chosen[np.argmin(np.abs(middle - (low + high) / 2))] = True
    return np.isin(codes, order[chosen]), f" {group!r}, {int(chosen.sum())} of {len(names)} groups"


def _by_block(train: Manifest, validation: Validation, group: str | None, seed: int) -> tuple[np.ndarray, str]:
    """A contiguous run out of each of `blocks` equal stretches, its ends moved to where a group ends."""
    size = len(train)
    share = 1 / validation.folds if validation.folds else validation.fraction
    blocks = max(1, min(validation.blocks, int(size * share)))
    edges = np.linspace(0, size, blocks + 1)
    length = np.diff(edges)
    if validation.folds:
        start = edges[:-1] + length * validation.fold / validation.folds
    else:
        start = edges[:-1] + length * (1 - share) * np.random.default_rng([seed, size]).random(blocks)
    starts, stops = np.round(start).astype(int), np.round(start + length * share).astype(int)
    note = f", {blocks} runs"
    if group is not None:
        codes, _ = _groups(train, group)
        ends = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [size]])
        if len(ends) - 1 >= 2 * blocks * (validation.folds or 1):
            starts, stops = _nearest(ends, starts), _nearest(ends, stops)
        else:
            note += f"; they cut through groups of {group!r}, which are long ({len(ends) - 1} in all)"
    held_out = np.zeros(size, bool)
    for first, stop in zip(starts, stops, strict=True):
        held_out[first:stop] = True
    if not held_out.any() or held_out.all():
        raise DataFault(
            f"no validation part of {share:.0%} in {blocks} runs can be cut from {size} training samples whose groups "
            "stay whole; use by: group, fewer blocks, or another fraction",
            code="no-validation",
        )
    return held_out, note


_CUTS = {"random": _by_random, "group": _by_group, "block": _by_block}


def _window(size: int, validation: Validation) -> tuple[int, int]:
    """[low, high) of the ranks that are held out, neither none nor all of them."""
    if validation.folds:
        return size * validation.fold // validation.folds, size * (validation.fold + 1) // validation.folds
    return 0, min(max(round(size * validation.fraction), 1), size - 1)


def _nearest(edges: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For each place the nearest of the sorted edges."""
    after = np.searchsorted(edges, places).clip(1, len(edges) - 1)
    before = after - 1
    return np.where(places - edges[before] <= edges[after] - places, edges[before], edges[after])


def _groups(manifest: Manifest, group: str) -> tuple[np.ndarray, pa.Array]:
    """((n,) group number of each sample, the groups' names); a sample without a group is one of its own."""
    values = pc.coalesce(pc.cast(manifest.values(group), pa.string()), manifest.values("id"))
    return _encode(values)


def _encode(strings: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """((n,) place of each string in the second, the different strings in order of appearance)."""
    if isinstance(strings, pa.ChunkedArray):
        strings = pa.concat_arrays(strings.chunks) if strings.num_chunks else pa.array([], pa.string())
    encoded = pc.dictionary_encode(strings)
    return np.asarray(encoded.indices), encoded.dictionary


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
    if manifest.arrays is None and len(manifest) * len(columns) > MAX_COMPARED:
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
    if manifest.arrays is None and len(manifest.splits) > 1:
        for column in columns:
            leaks += _shared_files(manifest, column)
    return leaks


def _shared_groups(manifest: Manifest, group: str) -> Iterator[Leak]:
    codes, names = _groups(manifest, group)
    splits, _ = _encode(pc.cast(manifest.values("split"), pa.string()))
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
    for index, cell in enumerate(manifest.values(column).to_pylist() if column in manifest.names else []):
        if not isinstance(cell, str):
            continue
        try:
            path = manifest.resolve(cell)
        except BadCell:
            continue
        if isinstance(path, Path) and path.is_file() and path.stat().st_size:  # empty files are another fault
            files.append((index, path, None))
    return files


def _digest(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(size), digest_size=16).digest()
