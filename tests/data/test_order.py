"""The order of training: neighbours in length share a batch, and everything follows from (seed, epoch)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weft import load_experiment
from weft.data.pipeline import Data, build_data
from weft.types import Batch

NUM_SAMPLES = 203
BATCH = 8


def write(root: Path, lengths: np.ndarray) -> None:
    """Texts of so many words; every fifth sample has none."""
    rows = [
        {
            "id": f"{i:03}",
            "split": "train",
            "words": None if i % 5 == 0 else "word " * n,
            "kind": "ab"[i % 2],
            "side": i,
        }
        for i, n in enumerate(lengths.tolist())
    ]
    rows += [{**rows[-1], "id": f"v{i}", "split": "val"} for i in range(3)]
    (root / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))


def data(root: Path, *, seed: int = 0, batch_size: int = BATCH, **options: Any) -> Data:
    modalities = {
        "words": {"type": "text", "min_count": 1, "encoder": {"type": "text_rnn"}},
        "side": {"type": "text", "min_count": 1, "encoder": {"type": "text_rnn"}},
    }
    experiment = load_experiment(
        {
            "name": "order",
            "data": {"format": "table", "root": str(root), "file": "all.jsonl", "workers": 0, **options},
            "modalities": modalities,
            "tasks": {"kind": {"type": "classification", "classes": ["a", "b"]}},
            "train": {"batch_size": batch_size, "seed": seed, "device": "cpu"},
        }
    )
    return build_data(experiment)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, np.random.default_rng(0).geometric(0.04, NUM_SAMPLES))
    return tmp_path


def training(found: Data, *, epoch: int = 0, start_step: int = 0) -> Iterator[Batch]:
    groups = found.steps("train", epoch=epoch, start=start_step, accumulate=1)
    return (batch for group in groups for batch in group)


def ids(found: Data, **options: Any) -> list[tuple[str, ...]]:
    return [batch.ids for batch in training(found, **options)]


def padded(found: Data) -> float:
    """Share of the token numbers that are padding."""
    batches = list(training(found))
    real = sum(int(batch.lengths["words"].sum()) for batch in batches)
    return 1 - real / sum(batch.inputs["words"].numel() for batch in batches)


def test_neighbours_in_length_are_padded_little(root: Path) -> None:
    alone, sorted_in_pools = padded(data(root, neighbours=0)), padded(data(root))
    assert alone > 0.5
    assert sorted_in_pools < 0.15


def test_a_batch_is_padded_to_its_own_longest_text_and_lengths_say_what_is_real(root: Path) -> None:
    for batch in training(data(root)):
        tokens, lengths = batch.inputs["words"], batch.lengths["words"]
        assert tokens.shape == (int(batch.present["words"].sum()), int(lengths.max()))
        beyond = torch.arange(tokens.shape[1]) >= lengths[:, None]
        assert bool((tokens[beyond] == 0).all())
        assert bool((tokens[~beyond] != 0).all())


@pytest.mark.parametrize("neighbours", [0, 1, 4, 32])
def test_every_sample_comes_once_an_epoch(root: Path, neighbours: int) -> None:
    batches = ids(data(root, neighbours=neighbours))
    assert sorted(sample for batch in batches for sample in batch) == [f"{i:03}" for i in range(NUM_SAMPLES)]
    assert [len(batch) for batch in batches] == [BATCH] * 25 + [NUM_SAMPLES - 25 * BATCH]


def test_the_order_is_a_function_of_seed_and_epoch(root: Path) -> None:
    first = ids(data(root), epoch=3)
    assert ids(data(root), epoch=3) == first
    assert ids(data(root), epoch=4) != first
    assert ids(data(root, seed=1), epoch=3) != first
    assert ids(data(root, workers=2), epoch=3) == first


@pytest.mark.parametrize("neighbours", [0, 4, 32])
def test_a_resumed_epoch_goes_on_where_it_was(root: Path, neighbours: int) -> None:
    found = data(root, neighbours=neighbours)
    whole = ids(found, epoch=1)
    for start in (1, 3, 4, 9, len(whole) - 1, len(whole)):
        assert ids(found, epoch=1, start_step=start) == whole[start:]


def test_batches_of_short_and_long_texts_come_in_no_order(root: Path) -> None:
    longest = [int(batch.lengths["words"].max()) for batch in training(data(root))]
    assert sorted(longest) != longest
    assert abs(float(np.corrcoef(longest, np.arange(len(longest)))[0, 1])) < 0.6


def test_samples_that_lack_a_text_are_spread_over_the_batches(root: Path) -> None:
    present = [float(batch.present["words"].float().mean()) for batch in training(data(root))]
    assert np.mean(present) == pytest.approx(0.8, abs=0.02)
    assert min(present) >= 0.3


def test_a_pool_is_made_of_the_samples_that_would_have_come_anyway(root: Path) -> None:
    """Sorting moves a sample within its pool only, so a pool of one batch changes nothing but the order in it."""
    plain, pooled = ids(data(root, neighbours=0)), ids(data(root, neighbours=1))
    assert [set(batch) for batch in plain] == [set(batch) for batch in pooled]
    four = ids(data(root, neighbours=4))
    for first in range(0, 24, 4):
        there = {sample for batch in plain[first : first + 4] for sample in batch}
        assert {sample for batch in four[first : first + 4] for sample in batch} == there


def test_evaluation_keeps_the_order_of_the_data(root: Path) -> None:
    assert [sample for batch in data(root).batches("train") for sample in batch.ids] == [
        f"{i:03}" for i in range(NUM_SAMPLES)
    ]


@pytest.mark.parametrize(("num_samples", "sizes"), [(1, [1]), (2, [2]), (9, [8]), (10, [8, 2]), (17, [8, 8])])
def test_a_last_batch_of_one_is_left_out(tmp_path: Path, num_samples: int, sizes: list[int]) -> None:
    write(tmp_path, np.arange(1, num_samples + 1))
    found = data(tmp_path)
    assert sorted(map(len, ids(found)), reverse=True) == sizes
    assert found.num_steps("train", training=True) == len(sizes)


def test_a_short_batch_is_not_always_that_of_the_longest_texts(tmp_path: Path) -> None:
    write(tmp_path, np.arange(1, 43))
    found = data(tmp_path)
    short = [batch for epoch in range(12) for batch in ids(found, epoch=epoch) if len(batch) == 2]
    assert len(short) == 12
    assert len({batch for batch in short if int(batch[1]) < 30}) > 3
