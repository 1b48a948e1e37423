"""Validation parts and leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from weft.data.hashing import hash_strings
from weft.data.manifest import Manifest
from weft.data.splits import check_leaks, find_leaks, with_validation
from weft.errors import DataFault
from weft.experiment import Validation


def samples(num_train: int, num_test: int = 3, group_size: int = 0, order: np.ndarray | None = None) -> Manifest:
    names = [f"s{number:03d}" for number in range(num_train + num_test)]
    splits = ["train"] * num_train + ["test"] * num_test
    table = {"id": names, "split": splits}
    if group_size:
        table["scene"] = [f"g{number // group_size}" for number in range(len(names))]
    manifest = Manifest(pa.table(table), Path("."))
    return manifest if order is None else Manifest(manifest.table.take(pa.array(order)), Path("."))


def held_out(manifest: Manifest) -> set[str]:
    return set(manifest.split("val").values("id").to_pylist())


def test_random_holds_out_the_share_and_depends_on_ids_not_on_order():
    cut = Validation(fraction=0.2, by="random")
    first = with_validation(samples(50), cut, group=None, seed=0)
    shuffled = samples(50, order=np.random.default_rng(1).permutation(53))
    assert len(held_out(first)) == 10
    assert held_out(first) == held_out(with_validation(shuffled, cut, group=None, seed=0))
    assert held_out(first) != held_out(with_validation(samples(50), cut, group=None, seed=1))
    assert len(first.split("test")) == 3


@pytest.mark.parametrize("by", ["random", "block", "group"])
def test_folds_divide_the_training_samples_exactly(by: str):
    manifest = samples(47, group_size=2)
    parts = [
        held_out(with_validation(manifest, Validation(by=by, folds=4, fold=fold, blocks=2), group="scene", seed=3))  # type: ignore[arg-type]
        for fold in range(4)
    ]
    assert sum(len(part) for part in parts) == 47
    assert set().union(*parts) == {f"s{number:03d}" for number in range(47)}
    assert min(len(part) for part in parts) >= 8


def test_blocks_are_runs_in_manifest_order():
    cut = with_validation(samples(100), Validation(fraction=0.2, by="block", blocks=4), group=None, seed=0)
    inside = np.array([name == "val" for name in cut.values("split").to_pylist()])
    assert inside.sum() == 20
    assert int((np.diff(inside.astype(int)) == 1).sum()) + int(inside[0]) == 4


def test_blocks_end_where_groups_end():
    cut = with_validation(
        samples(100, group_size=5), Validation(fraction=0.2, by="block", blocks=2), group="scene", seed=0
    )
    assert not [leak for leak in find_leaks(cut, [], group="scene") if "val" in str(leak)]


def test_blocks_say_where_they_cut_long_groups():
    cut = with_validation(samples(40, group_size=40), Validation(by="block"), group="scene", seed=0)
    assert "they cut through groups of 'scene'" in cut.notes[-1]


def test_groups_stay_whole():
    cut = with_validation(samples(60, 0, group_size=6), Validation(fraction=0.3, by="group"), group="scene", seed=0)
    assert len(held_out(cut)) == 18
    assert check_leaks(cut, [], group="scene") == []


@pytest.mark.parametrize(
    ("manifest", "validation", "group", "why"),
    [
        (samples(1), Validation(), None, "cannot be cut from 1 training samples"),
        (samples(3), Validation(folds=5), None, "there must be 5 or more"),
        (samples(9), Validation(folds=3, fold=3), None, "goes from 0 to 2"),
        (samples(9), Validation(by="group"), None, "set data.group"),
        (samples(9, group_size=20), Validation(by="group"), "scene", "has 1 among the training samples"),
        (samples(9), Validation(by="group"), "patient", "no column 'patient'"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(manifest, validation, group, why):
    with pytest.raises(DataFault, match=why):
        with_validation(manifest, validation, group=group, seed=0)


def test_an_existing_validation_part_stays():
    manifest = Manifest(pa.table({"id": ["a", "b"], "split": ["train", "val"]}), Path("."))
    assert with_validation(manifest, Validation(), group=None, seed=0) is manifest


def test_hashes_do_not_depend_on_chunks_and_are_spread_evenly():
    names = [f"name {number}" for number in range(4000)] + ["", "a", "ä"]
    whole = hash_strings(pa.array(names), 7)
    parts = pa.chunked_array([names[:10], names[10:2000], names[2000:]])
    assert (hash_strings(parts, 7) == whole).all()
    assert (hash_strings(pa.array(names).slice(100), 7) == whole[100:]).all()
    assert len(set(whole.tolist())) == len(names)
    assert abs((whole[:4000] < 2**63).mean() - 0.5) < 0.04  # five standard errors


def test_the_same_content_in_two_splits_is_found(tmp_path: Path):
    for name, content in {"a": b"one", "b": b"one", "c": b"two", "d": b"three"}.items():
        (tmp_path / name).write_bytes(content)
    table = pa.table({"id": list("abcd"), "split": ["train", "test", "test", "train"], "image": list("abcd")})
    manifest = Manifest(table, tmp_path)
    (leak,) = find_leaks(manifest, ["image"])
    assert leak.samples == (("a", "train"), ("b", "test"))
    assert check_leaks(manifest, ["image"]) == [
        "leak: column 'image': the same content (a, b) is in train (a) and in test (b)"
    ]
    with pytest.raises(DataFault, match="the same content") as caught:
        check_leaks(manifest, ["image"], strict=True)
    assert caught.value.code == "leak"


def test_the_same_patient_in_two_splits_is_found():
    table = pa.table({"id": list("abc"), "split": ["train", "test", "train"], "patient": ["p", "p", "q"]})
    (leak,) = find_leaks(Manifest(table, Path(".")), [], group="patient")
    assert leak.value == "p"
    assert str(leak) == "column 'patient': the group 'p' is in train (a) and in test (b)"
