"""Frozen encoders run once for each sample, and nobody can tell from the results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import weft
from tests.changes import changed
from tests.encoders.tiny_transformer import tiny_bert
from weft import Experiment, Predictor, load_experiment, registry
from weft.data import feature_store
from weft.data.feature_store import FeatureStore, Stored, read_entry
from weft.encoders.huggingface import HuggingFaceEncoder
from weft.encoders.raster import RasterEncoder
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training
from weft.errors import ConfigError, Interrupted
from weft.modalities.base import Modality
from weft.modalities.image import ImageModality
from weft.modalities.text import TextModality
from weft.types import Features, InputSpec, Slot

Make = Callable[..., Experiment]
WORDS = ["a", "red", "ball", "the", "cat", "sat", "on", "mat", "left", "right"]
NUM_TRAIN, NUM_VAL, BATCH = 11, 5, 4


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, texts of very different lengths and classes; some cells empty."""
    folder = tmp_path_factory.mktemp("posts")
    random = np.random.default_rng(0)
    lines = ["id,split,image,text,mood"]
    for index in range(NUM_TRAIN + NUM_VAL):
        split = "train" if index < NUM_TRAIN else "val"
        Image.fromarray(random.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        image = "" if index % 5 == 1 else f"{index}.png"
        text = "" if index % 5 == 3 else " ".join(random.choice(WORDS, 1 + (7 * index) % 13))
        lines.append(f"{index},{split},{image},{text},{'good' if index % 2 else 'bad'}")
    (folder / "posts.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def experiment(root: Path, tmp_path: Path) -> Make:
    """Makes an experiment with changes, `train__epochs=1`, whose features are kept in a folder of the test."""

    def make(**changes: Any) -> Experiment:
        content: dict[str, Any] = {
            "name": "posts",
            "data": {"format": "table", "root": str(root), "file": "posts.csv", "size": [40, 48], "workers": 0},
            "modalities": {
                "image": {
                    "dropout": 0.2,
                    "encoder": {"type": "timm", "name": "mobilenetv3_small_050", "freeze": True, "vector": 8},
                },
                "text": {
                    "dropout": 0.2,
                    "encoder": {"type": "huggingface", "weights": str(tiny_bert()), "freeze": True, "vector": 8},
                },
            },
            "fusion": "concat",
            "tasks": {"mood": {"type": "classification", "classes": ["bad", "good"]}},
            "train": {
                "epochs": 2,
                "batch_size": BATCH,
                "precision": "fp32",
                "ema": 0.9,
                "device": "cpu",
                "output": str(tmp_path / "runs"),
                "features": {"where": "disk", "folder": str(tmp_path / "features")},
            },
        }
        return load_experiment(changed(content, changes))

    return make


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is decoded and encoded, in order: "image read", "text encoded", …"""
    seen: list[str] = []

    def watch(kind: type, method: str, word: str) -> None:
        original = getattr(kind, method)

        def watched(*arguments: Any, **options: Any) -> Any:
            seen.append(word)
            return original(*arguments, **options)

        monkeypatch.setattr(kind, method, watched)

    watch(ImageModality, "read", "image read")
    watch(TextModality, "read", "text read")
    watch(RasterEncoder, "extract", "image encoded")
    watch(HuggingFaceEncoder, "extract", "text encoded")
    return seen


def train(made: Experiment) -> Path:
    return weft.train(made, progress=False)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def assert_same_result(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert all(torch.equal(other[name], value) for name, value in one.items())
    rows = [
        [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in RunFolder(run).read_rows("metrics.csv")
        ]
        for run in (first, second)
    ]
    assert rows[0] == rows[1]


def log(run: Path) -> str:
    return (run / "log.txt").read_text()


TOKENS = {"type": "huggingface", "weights": str(tiny_bert()), "freeze": True}
TRANSFORMER = {"fusion": "transformer", "train__epochs": 3}
MAPS = {"type": "timm", "name": "mobilenetv3_small_050", "freeze": True}


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("disk", {}),
        ("memory", {"train__precision": "bf16", "data__workers": 2}),
        ("memory", {"modalities__text__encoder": TOKENS, "modalities__image__encoder": MAPS, **TRANSFORMER}),
        ("disk", {"modalities__image__encoder": {**MAPS, "freeze": False}, "data__augment__flip": 0.5}),
        ("memory", {"data__sampling": {"type": "repeat_factor", "task": "mood", "threshold": 1.0}}),
    ],
    ids=["vectors", "bf16 and workers", "tokens and maps", "one of them trained", "samples that come again"],
)
def test_the_result_is_the_same_to_the_bit(experiment: Make, where: str, changes: dict[str, Any]) -> None:
    without = train(experiment(**changes, train__features__where="none"))
    kept = train(experiment(**changes, train__features__where=where))
    assert "kept" not in log(without)
    assert "kept" in log(kept)
    assert_same_result(kept, without)


def test_after_the_first_epoch_nothing_is_decoded_or_encoded(experiment: Make, calls: list[str]) -> None:
    made = experiment(modalities__image__dropout=0.0, modalities__text__dropout=0.0)
    training = Training(made, RunFolder.create(made, echo=False))
    original, counts = training._evaluate, []

    def evaluated() -> Any:
        result = original()
        counts.append(len(calls))
        return result

    training._evaluate = evaluated  # type: ignore[method-assign]
    calls.clear()
    training.fit()
    assert {"image read", "image encoded", "text read", "text encoded"} <= set(calls)
    assert counts == [len(calls)] * 2


def test_a_later_run_finds_what_an_earlier_one_kept(experiment: Make, calls: list[str]) -> None:
    first = train(experiment(modalities__image__dropout=0.0, modalities__text__dropout=0.0))
    calls.clear()
    second = train(experiment(modalities__image__dropout=0.0, modalities__text__dropout=0.0))
    assert [call for call in calls if "encoded" in call] == []
    assert_same_result(first, second)


def number_kept(run: Path) -> int:
    return sum(int(line.split("features: ")[1].split()[0]) for line in log(run).splitlines() if " kept; " in line)


def test_what_decides_the_features_decides_where_they_are_kept(experiment: Make, root: Path, tmp_path: Path) -> None:
    quiet = {"modalities__image__dropout": 0.0, "modalities__text__dropout": 0.0, "train__epochs": 1}
    present = [line.split(",") for line in (root / "posts.csv").read_text().splitlines()[1:]]
    images, texts = (sum(bool(line[column]) for line in present) for column in (2, 3))
    distinct = len({line[3] for line in present if line[3]})
    assert number_kept(train(experiment(**quiet))) >= images + distinct
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in root.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    Image.new("RGB", (48, 40), "red").save(changed / "0.png")
    table = (changed / "posts.csv").read_text()
    (changed / "posts.csv").write_text(table.replace(present[1][3], "the mat", 1))
    run = train(experiment(**quiet, data__root=str(changed)))
    # the batches of the two changed cells are encoded anew, and only those two cells are new
    assert len(list((tmp_path / "features").glob("*/*"))) == images + distinct + 2
    assert 2 <= number_kept(run) <= 2 * BATCH
    seed = experiment(**quiet, train__seed=1)  # other random weights of the image's network
    assert images <= number_kept(train(seed)) < images + texts
    small = experiment(**quiet, data__size=[32, 32])
    assert images <= number_kept(train(small)) < images + texts


def test_a_damaged_entry_is_told_and_made_anew(experiment: Make, tmp_path: Path) -> None:
    first = train(experiment())
    entries = sorted((tmp_path / "features").glob("*/*"))
    content = entries[0].read_bytes()
    entries[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    entries[1].write_bytes(b"")
    second = train(experiment())
    assert "2 were damaged (their checksum differs) and have been made anew" in log(second)
    assert entries[0].read_bytes() == content
    assert_same_result(first, second)


def test_resumed_without_what_was_in_memory(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(experiment(train__features__where="memory"))
    original = Training._step

    def stopping(self: Training, batches: Any) -> None:
        original(self, batches)
        if self.position.step == 4:
            raise Interrupted("stop", signal_number=15)

    made = experiment(train__features__where="memory", train__save_every=1)
    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", stopping)
        with pytest.raises(Interrupted):
            train(made)
    assert_same_result(whole, weft.train(made, resume="auto", progress=False))


def test_what_finds_no_room_is_encoded_again_and_told(experiment: Make, tmp_path: Path) -> None:
    limit = 4096 / 2**30  # a few entries of vectors
    run = train(experiment(train__features__limit=limit))
    assert "found no room" in log(run)
    kept = [path.stat().st_size for path in (tmp_path / "features").glob("*/*")]
    assert 0 < sum(kept) <= 4096
    assert_same_result(run, train(experiment(train__features__where="none")))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    row = Features.of_vector(torch.zeros(1, 200))
    store = FeatureStore(tmp_path, limit=2**20)
    for recipe in ("old", "older"):
        assert store.write(store.folder(recipe), Slot("entry"), row)
    size = store.used // 2
    os_time = (tmp_path / "old").stat().st_mtime
    os.utime(tmp_path / "older", (os_time - 100, os_time - 100))
    store = FeatureStore(tmp_path, limit=2 * size + 10)
    mine = store.folder("mine")
    assert store.write(mine, Slot("first"), row)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "old"]
    assert store.write(mine, Slot("second"), row)
    assert not store.write(mine, Slot("third"), row)  # its own are not thrown out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
    assert store.used == 2 * size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["vector", "sequence with a summary", "pyramid"])
def test_an_entry_is_what_was_written(tmp_path: Path, dtype: torch.dtype, layout: str) -> None:
    if layout == "vector":
        row = Features.of_vector(torch.randn(1, 5).to(dtype))
    elif layout == "pyramid":
        row = Features.of_pyramid([torch.randn(1, 3, 8, 6).to(dtype), torch.randn(1, 4, 4, 3).to(dtype)])
    else:
        row = Features.of_sequence(torch.randn(1, 7, 5), torch.tensor([4]), vector=torch.randn(1, 5)).map(
            lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor
        )
    store = FeatureStore(tmp_path, limit=2**20)
    folder = store.folder("recipe")
    assert store.write(folder, Slot("name", (40, 48)), row.packed())
    found = read_entry(folder, Slot("name"))
    assert isinstance(found, Stored)
    assert found.original_size == (40, 48)
    assert found.features.grid == row.grid
    for one, other in zip(tensors_of(found.features), tensors_of(row), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def tensors_of(features: Features) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    features.map(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found


def test_samples_that_are_changed_at_random_are_encoded_in_every_epoch(experiment: Make, calls: list[str]) -> None:
    quiet = {"modalities__image__dropout": 0.0, "modalities__text__dropout": 0.0, "data__augment__flip": 0.5}
    run = train(experiment(**quiet))
    assert "image: frozen, and runs in every epoch of training" in log(run)
    num_train, num_val = -(-NUM_TRAIN // BATCH), -(-NUM_VAL // BATCH)
    assert calls.count("image encoded") == 2 * num_train + num_val  # the validation part is not changed
    calls.clear()
    train(experiment(**quiet, train__epochs=4, train__features__copies=2, modalities__image__brightness=0.3))
    assert calls.count("image encoded") == NUM_TRAIN_IMAGES * 2 + num_val  # each row by itself, with its own colours


NUM_TRAIN_IMAGES = sum(index % 5 != 1 for index in range(NUM_TRAIN))


def test_versions_come_again_in_turn_and_are_the_same_after_resuming(experiment: Make) -> None:
    changes = {
        "data__augment__flip": 0.5,
        "data__augment__scale": [0.8, 1.2],
        "modalities__image__brightness": 0.4,
        "train__features__copies": 2,
    }
    on_disk = train(experiment(**changes, train__epochs=3))
    in_memory = train(experiment(**changes, train__epochs=3, train__features__where="memory"))
    assert_same_result(on_disk, in_memory)
    reader = Training(
        (made := experiment(**changes, train__features__where="memory")), RunFolder.create(made, echo=False)
    ).data._reader
    key = weft.data.dataset.Key  # type: ignore[attr-defined]
    first, second, third = (reader[key(0, epoch)] for epoch in (0, 1, 2))
    assert np.array_equal(first.inputs["image"], third.inputs["image"])
    assert not np.array_equal(first.inputs["image"], second.inputs["image"])


def test_copies_need_a_place() -> None:
    with pytest.raises(ConfigError, match="copies are kept nowhere"):
        load_experiment(
            {
                "name": "x",
                "data": {"format": "scenes"},
                "modalities": {"image": {"encoder": {"type": "timm", "name": "resnet18"}}},
                "tasks": {"room": {"type": "classification"}},
                "train": {"features": {"where": "none", "copies": 2}},
            }
        )


def test_pictures_of_different_sizes_are_not_kept(experiment: Make, root: Path, tmp_path: Path) -> None:
    run = train(experiment(data__size=None, train__epochs=1))
    assert "image: frozen, and runs in every epoch, as pictures differ in size; set data.size" in log(run)
    assert "text: frozen, so what they give is kept" in log(run)


def test_an_evaluation_is_the_same_from_what_is_kept(experiment: Make, calls: list[str]) -> None:
    run = train(experiment())
    weft.evaluate(run, progress=False, num_pictures=1, overrides=["train.features.where=none"])
    plain = json.loads((run / "evaluation" / "val" / "evaluation.json").read_text())
    calls.clear()
    weft.evaluate(run, progress=False, num_pictures=1)
    kept = json.loads((run / "evaluation" / "val" / "evaluation.json").read_text())
    assert "image encoded" in calls  # of the pictures and the corrupted batches
    assert kept["tasks"] == plain["tasks"]
    calls.clear()
    quick = weft.evaluate(run, progress=False, quick=True)
    assert calls == []
    assert quick["images_per_second"] is None  # nothing was encoded, so nothing was measured


def test_a_predictor_reads_nothing_that_is_kept(experiment: Make, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(experiment())

    def forbidden(*arguments: object) -> None:
        raise AssertionError("a stored feature was read")

    monkeypatch.setattr(feature_store, "load", forbidden)
    answer = Predictor(run)(image=str(root / "0.png"), text="the cat sat")["mood"]
    assert answer is not None
    assert answer.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", registry.names("modality"))
def test_a_preprocessor_that_says_it_is_not_random_is_not(name: str) -> None:
    modality: Modality = registry.get("modality", name)({"columns": []} if name == "table" else {})
    preprocessor = modality.preprocessor(InputSpec())
    assert not preprocessor.random
    if name == "table":
        pytest.skip("rows have no frozen encoder")
    rasters = {"raster": (2, modality.num_channels, 16, 16), "video": (2, 3, modality.num_channels, 16, 16)}
    inputs = torch.rand(rasters.get(modality.kind, (2, 4000)))
    assert torch.equal(preprocessor.train()(inputs), preprocessor.eval()(inputs))


def test_options_that_draw_are_random() -> None:
    for name, options in (("image", {"hue": 0.1}), ("audio", {"gain": 3.0}), ("audio", {"time_mask": 0.1})):
        assert registry.get("modality", name)({}, **options).preprocessor(InputSpec()).random, (name, options)


def test_joined_rows_are_filled_up_with_tokens_that_are_not_real() -> None:
    short = Features.of_sequence(torch.ones(1, 2, 3), torch.tensor([2]))
    long = Features.of_sequence(torch.ones(2, 4, 3), torch.tensor([4, 1]))
    joined = Features.join([short, long])
    assert joined.tokens.shape == (3, 4, 3)
    assert joined.mask.tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]
    assert joined.pooled.tolist() == [[1.0] * 3] * 3
    assert joined.select(torch.tensor([0, 2])).trimmed().tokens.shape == (2, 2, 3)
