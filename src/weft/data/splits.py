"""A validation part, or a fold, cut from the training split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.hashing import hash_strings
from weft.data.manifest import Manifest
from weft.data.stratified import class_counts, stratified_parts
from weft.errors import DataFault
from weft.experiment import Validation

#: The split of a fold that is set apart from training.
FOLD = "fold"


def with_validation(manifest: Manifest, validation: Validation, *, group: str | None, seed: int) -> Manifest:
    """The samples with a validation part cut from `train`, or with one of several folds held out.

    Without folds nothing happens where there is a `val` split already. With folds, the splits that they divide are one
    before; the fold is the validation part, or with `inner` the split `fold`, and the validation part is then cut from
    the samples that are left. What is cut depends on the seed and on ids, classes, groups or manifest order, on nothing
    else. Where there are several data sets, it is cut from each by itself.

    Args:
        manifest: all samples.
        validation: how the part is cut.
        group: column whose equal values stay together; by default the one the format knows.
        seed: another seed, another part.

    Raises:
        DataFault: there are too few samples or groups, or no group column.
    """
    if manifest.sets:
        return _of_each_set(manifest, validation, group=group, seed=seed)
    if "train" not in manifest.splits:
        return manifest
    group = group or manifest.group
    if validation.folds is None:
        if "val" in manifest.splits:
            return manifest
        return _hold_out(manifest, ("train",), "val", validation, group, seed)
    if validation.fold >= validation.folds:
        raise DataFault(
            f"validation.fold is {validation.fold}; with {validation.folds} folds it goes from 0 to "
            f"{validation.folds - 1}",
            code="no-validation",
        )
    if validation.inner is None:
        if "val" in manifest.splits and "val" not in validation.divide:
            raise DataFault(
                "the fold cannot be the validation part, since there is a split val that the folds do not divide; add "
                "val to validation.divide, or give validation.inner, which sets the fold apart",
                code="no-validation",
            )
        return _hold_out(manifest, validation.divide, "val", validation, group, seed)
    manifest = _hold_out(manifest, validation.divide, FOLD, validation, group, seed)
    if "val" in manifest.splits or not validation.inner:
        return manifest
    inner = replace(validation, folds=None, fraction=validation.inner)
    return _hold_out(manifest, ("train",), "val", inner, group, seed)


def _of_each_set(manifest: Manifest, validation: Validation, *, group: str | None, seed: int) -> Manifest:
    """`with_validation` of each of several data sets by itself."""
    places = manifest.set_places()
    splits = np.empty(len(manifest), object)
    notes: list[str] = []
    for place, one in enumerate(manifest.sets):
        rows = np.flatnonzero(places == place)
        alone = replace(manifest.take(rows), sets=(), notes=())
        try:
            cut = with_validation(alone, validation, group=group, seed=seed)
        except DataFault as error:
            raise DataFault(f"the set {one.name}: {error}", code=error.code) from error
        splits[rows] = cut.values("split").to_pylist()
        notes += [f"{one.name}: {note}" for note in cut.notes]
    return manifest.with_split(pa.array(splits, pa.string())).with_notes(*notes)


def _hold_out(
    manifest: Manifest, pool: Sequence[str], name: str, validation: Validation, group: str | None, seed: int
) -> Manifest:
    """The samples with a part of the splits `pool` as the split `name`, and the rest of them as `train`."""
    splits = manifest.values("split")
    pooled = np.asarray(pc.is_in(splits, pa.array(pool)))
    train = manifest.take(np.flatnonzero(pooled))
    needed = validation.folds or 2
    if len(train) < needed:
        raise DataFault(
            f"a validation part cannot be cut from {len(train)} training samples; there must be {needed} or more, "
            "or a split named val",
            code="no-validation",
        )
    held_out, note = _CUTS[validation.by](train, validation, group, seed)
    names = [split for split in manifest.splits if split not in (*pool, "train", name)]
    codes = np.asarray(pc.index_in(splits, pa.array([*names, "train", name]))).copy()
    codes[np.flatnonzero(pooled)] = len(names) + held_out
    fold = f", fold {validation.fold} of {validation.folds}" if validation.folds else ""
    use = "validation" if name == "val" else "scoring"
    said = f"{held_out.sum()} of {len(train)} training samples are held out for {use}, by {validation.by}{fold}{note}"
    column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array([*names, "train", name]))
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
    codes, names = group_codes(train, group)
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
        codes, _ = group_codes(train, group)
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


def _by_stratified(train: Manifest, validation: Validation, group: str | None, seed: int) -> tuple[np.ndarray, str]:
    """Samples, or whole groups, so that the part has the classes' shares of the whole."""
    if validation.stratify is None:
        raise DataFault(
            "validation.by is stratified, but validation.stratify names no column; give the column of the classes",
            code="no-validation",
        )
    codes, names = group_codes(train, group or "id")
    needed = validation.folds or 2
    if len(names) < needed:
        raise DataFault(
            f"a stratified validation part needs {needed} groups or more, and the column {group!r} has {len(names)} "
            "among the training samples",
            code="no-validation",
        )
    counts, classes = class_counts(train, validation.stratify, codes)
    share = validation.fraction
    shares = [1 / validation.folds] * validation.folds if validation.folds else [share, 1 - share]
    parts = stratified_parts(counts, shares, np.argsort(hash_strings(names, seed), kind="stable"))
    few = [name or "no label" for name, total in zip(classes, counts.sum(0), strict=True) if total < needed]
    note = f" {validation.stratify!r}" + (f"; there are fewer than {needed} of {', '.join(few[:5])}" if few else "")
    return (parts == (validation.fold if validation.folds else 0))[codes], note


_CUTS = {"random": _by_random, "group": _by_group, "block": _by_block, "stratified": _by_stratified}


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


def group_codes(manifest: Manifest, group: str) -> tuple[np.ndarray, pa.Array]:
    """((n,) group number of each sample, the groups' names); a sample without a group is one of its own."""
    values = pc.coalesce(pc.cast(manifest.values(group), pa.string()), manifest.values("id"))
    return encode(values)


def encode(strings: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """((n,) place of each string in the second, the different strings in order of appearance)."""
    if isinstance(strings, pa.ChunkedArray):
        strings = pa.concat_arrays(strings.chunks) if strings.num_chunks else pa.array([], pa.string())
    encoded = pc.dictionary_encode(strings)
    return np.asarray(encoded.indices), encoded.dictionary
