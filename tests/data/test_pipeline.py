"""From a manifest to batches: what a batch holds, what is random, and what does not change it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from weft.data.collate import Sample
from weft.data.pipeline import Data, build_data
from weft.errors import ConfigError, DataFault
from weft.experiment import Augment, Cache
from weft.types import Batch

BUSY = Augment(flip=0.5, scale=(0.8, 1.3), rotate=10)


def same(first: Batch, second: Batch) -> bool:
    tensors = [
        (one[name], other[name])
        for field in ("inputs", "targets", "present", "labelled")
        for one, other in [(getattr(first, field), getattr(second, field))]
        for name in one
    ]
    return first.ids == second.ids and first.size == second.size and all(torch.equal(*pair) for pair in tensors)


def all_same(first: Iterator[Batch], second: Iterator[Batch]) -> bool:
    return all(same(*pair) for pair in zip(first, second, strict=True))


def of(data: Data, **options) -> Iterator[Batch]:
    return data.batches("train", training=True, **options)


def test_a_batch_holds_what_is_there(small):
    small.rows[0]["depth"] = None
    small.rows[1]["label"] = None
    batch = next(small.data().batches("train"))
    assert batch.ids == ("t0", "t1", "t2", "t3")
    assert batch.present["depth"].tolist() == [False, True, True, True]
    assert batch.labelled["rooms"].tolist() == [True, False, True, True]
    assert batch.inputs["image"].shape == (4, 3, 24, 32)
    assert batch.inputs["image"].dtype == torch.uint8
    assert batch.inputs["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch.inputs["depth"].shape == (3, 1, 24, 32)
    assert batch.inputs["depth"].max() < 9.001  # metres
    assert batch.targets["rooms"].shape == (3, 24, 32)
    assert batch.size == (24, 32)


def test_values_arrive_as_they_are_in_the_files(small):
    batch = next(small.data().batches("test"))
    image = np.asarray(Image.open(small.root / "e0.png"))
    label = np.asarray(Image.open(small.root / "e0-label.png"))
    assert np.array_equal(batch.inputs["image"][0].permute(1, 2, 0).numpy(), image)
    assert np.array_equal(batch.targets["rooms"][0].numpy(), label)


def test_different_sizes_are_padded_with_what_counts_nowhere(empty):
    empty.add("a", size=(20, 32))
    empty.add("b", size=(24, 30))
    empty.add("v", split="val")
    batch = next(empty.data().batches("train", multiple=16))
    assert batch.size == (32, 32)
    assert batch.sizes == ((20, 32), (24, 30))
    assert torch.all(batch.targets["rooms"][0, 20:] == 255)
    assert torch.all(batch.targets["rooms"][1, :, 30:] == 255)
    assert torch.all(batch.inputs["depth"][0, :, 20:] == 0)
    assert not torch.any(batch.targets["rooms"][0, :20] == 255)


def test_nothing_there_is_not_the_same_as_not_labelled(small):
    small.rows[0]["points"] = "[null, null]"
    small.rows[1]["points"] = None
    batch = next(small.data().batches("train"))
    assert batch.labelled["things"].tolist() == [True, False, True, True]
    assert batch.targets["things"][0, :, 2].tolist() == [0, 0]  # looked at, and neither can be seen


def test_a_batch_without_a_modality_or_label_is_still_a_batch(small):
    for row in small.rows[:4]:
        row["depth"] = row["label"] = None
    batch = next(small.data().batches("train"))
    assert batch.inputs["depth"].shape == (0, 1, 24, 32)
    assert not batch.labelled["rooms"].any()
    assert len(batch.targets["rooms"]) == 0


def test_order_and_augmentation_are_functions_of_seed_and_epoch(small):
    options = {"augment": BUSY, "dropout": 0.3}
    assert all_same(of(small.data(**options), epoch=3), of(small.data(**options), epoch=3))
    ids = {tuple(id for batch in of(small.data(seed=seed), epoch=epoch) for id in batch.ids)
           for seed, epoch in ((0, 0), (0, 1), (1, 0))}  # fmt: skip
    assert len(ids) == 3
    first, second = (next(of(small.data(**options), epoch=epoch)) for epoch in (0, 1))
    shared = set(first.ids) & set(second.ids)
    assert shared
    sample = shared.pop()
    images = [batch.inputs["image"].float().mean().item() for batch in (first, second)]
    assert images[0] != images[1], sample


def test_a_sample_does_not_depend_on_its_company(small):
    options = {"augment": BUSY, "dropout": 0.3}
    found = {}
    for batch_size in (2, 3):
        for batch in of(small.data(batch_size=batch_size, **options), epoch=1):
            rows = torch.cumsum(batch.present["image"], 0) - 1
            for index, sample in enumerate(batch.ids):
                there = bool(batch.present["image"][index])
                found.setdefault(sample, []).append(batch.inputs["image"][rows[index]] if there else torch.zeros(1))
    twice = [pair for pair in found.values() if len(pair) == 2]
    assert len(twice) >= 8
    assert all(torch.equal(*pair) for pair in twice)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_do_not_depend_on_the_number_of_workers(small, workers):
    options = {"augment": BUSY, "dropout": 0.3, "on_bad": "drop", "max_bad": 1.0}
    (small.root / "t3.png").write_bytes(b"broken")
    plain, data = small.data(**options), small.data(workers=workers, **options)
    for epoch in (0, 1):
        state = torch.get_rng_state()
        assert all_same(of(plain, epoch=epoch, multiple=8), of(data, epoch=epoch, multiple=8))
        assert torch.equal(state, torch.get_rng_state())
        assert all_same(plain.batches("val"), data.batches("val"))
    assert plain.dropped == data.dropped
    assert [dropped.id for dropped in data.dropped] == ["t3"]


def test_resuming_in_the_middle_of_an_epoch_gives_the_rest_of_it(small):
    data = small.data(batch_size=2, augment=BUSY)
    whole = list(of(data, epoch=2))
    rest = list(data.steps("train", epoch=2, start=1, accumulate=2))
    assert [len(step) for step in rest] == [2]  # four batches in all, of nine samples
    assert all_same(iter(whole[2:]), iter(rest[0]))
    assert list(data.steps("train", epoch=2, start=2, accumulate=2)) == []


def test_steps_count_batches_that_drops_have_emptied(small):
    data = small.data(batch_size=2)
    lost = list(of(data))[1].ids[0]
    (small.root / f"{lost}.png").write_bytes(b"broken")
    dropping = small.data(batch_size=2, on_bad="drop", max_bad=1.0)
    assert [len(step) for step in dropping.steps("train", epoch=0, start=0, accumulate=1)] == [1, 0, 1, 1]
    assert [len(step) for step in dropping.steps("train", epoch=0, start=0, accumulate=2)] == [1, 2]


def test_evaluation_shows_every_sample_once_and_in_order(small):
    data = small.data(batch_size=2)
    assert [id for batch in data.batches("train") for id in batch.ids] == [f"t{index}" for index in range(9)]
    assert data.num_steps("train", training=False) == 5
    assert [sample.id for sample in data.samples("val")] == ["v0", "v1"]


def test_training_leaves_out_a_last_batch_of_one(small):
    data = small.data(batch_size=4)  # of nine
    assert [len(batch) for batch in of(data)] == [4, 4]
    assert data.num_steps("train", training=True) == 2
    assert [len(batch) for batch in of(small.data(batch_size=1))] == [1] * 9


def test_a_single_training_sample_is_still_trained_on(empty):
    empty.add("only")
    empty.add("v", split="val")
    assert [len(batch) for batch in of(empty.data())] == [1]


def test_modality_dropout_hides_at_its_rate_and_never_all(small):
    data = small.data(dropout=0.5, batch_size=9)
    present = {"image": 0, "depth": 0}
    for epoch in range(40):
        batch = next(of(data, epoch=epoch))
        assert torch.all(batch.present["image"] | batch.present["depth"])
        for name in present:
            present[name] += int(batch.present[name].sum())
    # kept in 1/2, and in half of the 1/4 where both would go: 5/8 of 360
    assert all(180 < count < 270 for count in present.values())
    assert all(batch.present["image"].all() for batch in data.batches("train"))


def test_the_same_split_can_be_read_while_it_is_read(small):
    data = small.data(workers=1, batch_size=2)
    outer = data.batches("train")
    next(outer)
    assert len(list(data.batches("val"))) == 1
    assert len(list(outer)) == 4


def test_leaving_an_epoch_early_does_not_disturb_the_next(small):
    for workers in (0, 1):
        data = small.data(workers=workers, batch_size=2)
        whole = [batch.ids for batch in of(data, epoch=1)]
        batches = of(data, epoch=0)
        next(batches)
        batches.close()
        assert [batch.ids for batch in of(data, epoch=1)] == whole


def test_facts_are_kept_and_give_the_same_fields_without_the_data(small):
    data = small.data()
    facts = json.loads(json.dumps(data.facts))
    assert facts["modalities"]["depth"]["metres_per_unit"] == 0.001
    for path in small.root.glob("t*.png"):  # nothing of the training split is looked at again
        path.unlink()
    again = build_data(small.experiment(), facts=facts)
    assert again.facts == data.facts
    assert all_same(again.batches("val"), data.batches("val"))


def test_fitting_is_the_same_each_time_and_sees_the_training_split_alone(small):
    facts = small.data().facts
    assert facts == small.data().facts
    (small.root / "v0.png").write_bytes((small.root / "t0.png").read_bytes())
    assert small.data().facts == facts


def test_new_samples_may_lack_labels_and_modalities(small):
    facts = small.data().facts
    manifest = small.manifest()
    table = manifest.table.drop_columns(["label", "points", "depth"])
    fresh = dataclasses.replace(manifest, table=table, columns={})
    data = build_data(small.experiment(), facts=facts, manifest=fresh)
    batch = next(data.batches("test"))
    assert batch.present["image"].all()
    assert not batch.present["depth"].any()
    assert not batch.labelled["rooms"].any()


def test_a_single_sample_goes_the_same_way(small):
    data = small.data(size=(12, 16))
    expected = next(iter(data.samples("test")))
    image = np.asarray(Image.open(small.root / "e0.png"))
    given = data.sample_from({"image": image, "depth": small.root / "e0-depth.png"})
    assert isinstance(given, Sample)
    assert given.size == (12, 16)
    assert given.original_size == (24, 32)
    assert np.array_equal(given.inputs["image"], expected.inputs["image"])
    assert np.array_equal(given.inputs["depth"], expected.inputs["depth"])


@pytest.mark.parametrize("inputs", [{}, {"sound": "a.wav"}, {"image": "gone.png"}])
def test_a_single_sample_that_cannot_be_read_is_refused(small, inputs):
    with pytest.raises(DataFault):
        small.data().sample_from(inputs)


def test_counts_and_notes_say_what_is_missing(small):
    small.rows[0]["depth"] = small.rows[9]["points"] = None
    data = small.data()
    assert data.counts["train"] == {
        "samples": 9,
        "modalities": {"image": 9, "depth": 8},
        "targets": {"rooms": 9, "things": 9},
    }
    assert "train: depth is missing in 1 of 9 samples" in data.notes
    assert "val: things is missing in 1 of 2 samples" in data.notes


def test_a_limit_takes_the_first_of_every_split(small):
    data = small.data(limit=1)
    assert [data.counts[split]["samples"] for split in ("train", "val", "test")] == [1, 1, 1]


def test_columns_that_are_not_there_are_named_with_the_nearest(small):
    experiment = small.experiment()
    wrong = dataclasses.replace(experiment.modalities["depth"], column="deptth")
    experiment = dataclasses.replace(experiment, modalities={**experiment.modalities, "depth": wrong})
    with pytest.raises(ConfigError, match=r"modalities\.depth\.column: .* did you mean 'depth'"):
        build_data(experiment)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_the_cache_changes_nothing(small, where, tmp_path):
    cache = Cache(where=where, folder=str(tmp_path / "cache"))
    plain, data = small.data(augment=BUSY), small.data(augment=BUSY, cache=cache)
    for epoch in (0, 1):
        assert all_same(of(plain, epoch=epoch), of(data, epoch=epoch))
