"""Validation parts and leaks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from weft.data.hashing import hash_strings
from weft.data.leaks import check_leaks, find_leaks
from weft.data.manifest import Column, Manifest
from weft.data.splits import with_validation
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


def labelled(labels: list[str | None], groups: list[str] | None = None, **more: list) -> Manifest:
    names = [f"s{number:04d}" for number in range(len(labels))]
    table = {"id": names, "split": ["train"] * len(names), "label": labels, **more}
    if groups is not None:
        table["group"] = groups
    return Manifest(pa.table(table), Path("."), group="group" if groups is not None else None)


def fold_of(manifest: Manifest, folds: int, seed: int = 0, **options) -> dict[str, int]:
    """{id: the fold that holds it out}."""
    cut = [
        with_validation(manifest, Validation(folds=folds, fold=fold, **options), group=None, seed=seed)
        for fold in range(folds)
    ]
    return {name: fold for fold, part in enumerate(cut) for name in held_out(part)}


STRATIFIED = {"by": "stratified", "stratify": "label"}


def test_stratified_folds_differ_by_one_sample_of_a_class_at_most():
    labels = ["positive"] * 61 + ["negative"] * 27 + ["neutral"] * 13
    folds = fold_of(labelled(labels), 5, **STRATIFIED)
    assert len(folds) == 101
    for name in ("positive", "negative", "neutral"):
        counts = np.bincount([folds[f"s{place:04d}"] for place, label in enumerate(labels) if label == name])
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(list(folds.values()))
    assert sizes.max() - sizes.min() <= 1


def test_stratified_folds_depend_on_seed_and_ids_not_on_order():
    manifest = labelled(["a", "b"] * 30)
    shuffled = Manifest(manifest.table.take(pa.array(np.random.default_rng(0).permutation(60))), Path("."))
    assert fold_of(manifest, 4, **STRATIFIED) == fold_of(shuffled, 4, **STRATIFIED)
    assert fold_of(manifest, 4, **STRATIFIED) != fold_of(manifest, 4, seed=1, **STRATIFIED)


def test_stratified_folds_keep_groups_whole_and_are_as_even_as_scikit_learns():
    from sklearn.model_selection import StratifiedGroupKFold

    random = np.random.default_rng(0)
    groups = np.sort(random.integers(0, 300, 1000))
    labels = np.where(random.random(1000) < 0.7, groups % 3, random.integers(0, 3, 1000))  # groups lean to a class
    manifest = labelled([f"c{label}" for label in labels], [f"g{group}" for group in groups])
    ours = np.array(list(dict(sorted(fold_of(manifest, 5, **STRATIFIED).items())).values()))
    theirs = np.empty(1000, int)
    for fold, (_, held) in enumerate(StratifiedGroupKFold(5).split(labels, labels, groups)):
        theirs[held] = fold

    def unevenness(folds: np.ndarray) -> float:
        table = np.stack([np.bincount(folds[labels == label], minlength=5) for label in range(3)])
        return float((table / table.sum(1, keepdims=True)).std(1).mean())

    assert all(len(set(ours[groups == group])) == 1 for group in set(groups))
    assert unevenness(ours) <= unevenness(theirs)


def test_a_stratified_share_has_the_shares_of_the_classes():
    labels = ["a"] * 80 + ["b"] * 40 + [None] * 20
    cut = with_validation(labelled(labels), Validation(fraction=0.25, **STRATIFIED), group=None, seed=0)
    held = cut.split("val").values("label").to_pylist()
    assert {label: held.count(label) for label in set(labels)} == {"a": 20, "b": 10, None: 5}


def test_several_labels_are_stratified_each():
    labels = ["x|y"] * 30 + ["x"] * 30 + [""] * 60
    manifest = labelled(labels)
    manifest = Manifest(manifest.table, Path("."), {"label": Column("labels")})
    folds = fold_of(manifest, 3, **STRATIFIED)
    for name in ("x|y", "x", ""):
        counts = np.bincount([folds[f"s{place:04d}"] for place, label in enumerate(labels) if label == name])
        assert counts.max() - counts.min() <= 1


def test_a_fold_apart_is_scored_and_another_part_chooses_the_checkpoint():
    manifest = labelled(["a", "b"] * 50, [f"g{number // 2}" for number in range(100)])
    cuts = [
        with_validation(manifest, Validation(folds=5, fold=fold, inner=0.25, **STRATIFIED), group=None, seed=0)
        for fold in range(5)
    ]
    assert [{split: len(cut.split(split)) for split in cut.splits} for cut in cuts] == [
        {"train": 60, "val": 20, "fold": 20}
    ] * 5
    assert sorted(name for cut in cuts for name in cut.split("fold").values("id").to_pylist()) == sorted(
        manifest.values("id").to_pylist()
    )
    assert all(check_leaks(cut, [], group="group") == [] for cut in cuts)


def test_a_fold_apart_with_no_inner_part_leaves_the_rest_to_training():
    cut = with_validation(labelled(["a", "b"] * 20), Validation(folds=4, inner=0, **STRATIFIED), group=None, seed=0)
    assert {split: len(cut.split(split)) for split in cut.splits} == {"train": 30, "fold": 10}


def test_folds_of_train_alone_leave_val_to_choose():
    names = [f"s{number}" for number in range(40)]
    manifest = Manifest(pa.table({"id": names, "split": ["train"] * 30 + ["val"] * 10}), Path("."))
    apart = with_validation(manifest, Validation(folds=3, divide=("train",), inner=0.5), group=None, seed=0)
    assert {split: len(apart.split(split)) for split in apart.splits} == {"train": 20, "val": 10, "fold": 10}
    assert set(apart.split("val").values("id").to_pylist()) == set(names[30:])
    both = with_validation(manifest, Validation(folds=4, inner=0), group=None, seed=0)
    assert {split: len(both.split(split)) for split in both.splits} == {"train": 30, "fold": 10}
    with pytest.raises(DataFault, match="add val to validation"):
        with_validation(manifest, Validation(folds=3, divide=("train",)), group=None, seed=0)


@pytest.mark.parametrize(
    ("manifest", "options", "why"),
    [
        (labelled(["a", "b"] * 5), {"stratify": "kind"}, "no column 'kind'"),
        (labelled(["a", "b"] * 5), {"stratify": None}, "names no column"),
        (labelled(["a", "b"], price=[1.5, 2.5]), {"stratify": "price"}, "give a column of classes"),
        (labelled(["a", "b"] * 5, ["g"] * 10), {"stratify": "label"}, "has 1 among the training samples"),
    ],
)
def test_what_cannot_be_stratified_is_refused_with_the_reason(manifest, options, why):
    with pytest.raises(DataFault, match=why):
        with_validation(manifest, Validation(**{**STRATIFIED, **options}), group=None, seed=0)


def test_a_class_with_fewer_samples_than_folds_is_named():
    cut = with_validation(labelled(["a"] * 20 + ["b"] * 2), Validation(folds=5, **STRATIFIED), group=None, seed=0)
    assert cut.notes[-1].endswith("by stratified, fold 0 of 5 'label'; there are fewer than 5 of b")


def test_a_hundred_thousand_samples_of_thirty_thousand_patients_are_stratified_in_seconds():
    random = np.random.default_rng(0)
    labels = [f"c{label}" for label in random.integers(0, 15, 100_000)]
    manifest = labelled(labels, [f"p{patient}" for patient in random.integers(0, 30_000, 100_000)])
    start = time.process_time()
    with_validation(manifest, Validation(folds=5, **STRATIFIED), group=None, seed=0)
    assert time.process_time() - start < 5  # 0.6 s
