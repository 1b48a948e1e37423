"""Faults injected into a small data set: each is refused, dropped by name, or harmless, as promised."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from weft.data import loader
from weft.data.pipeline import Data
from weft.errors import DataFault, ResourceFault
from weft.experiment import Augment
from weft.types import InputSpec


def read_all(data: Data, split: str = "train") -> list[str]:
    return [sample for batch in data.batches(split) for sample in batch.ids]


def refused(small, code: str, match: str, **options) -> None:
    """Refused with the same words whoever reads, and dropped by name where that is asked for."""
    for workers in (0, 1):
        with pytest.raises(DataFault, match=match) as caught:
            read_all(small.data(workers=workers, **options))
        assert caught.value.code == code
        assert caught.value.exit_code == 3
        assert "Traceback" not in str(caught.value)


def cut(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# --- 1, 2, 3: files that cannot be decoded ---------------------------------------------------------------------------


def test_a_truncated_picture_is_refused_with_sample_column_and_fix(small):
    cut(small.root / "t2.png")
    refused(small, "truncated-image", r"sample t2 of train, column 'image': .*t2\.png is cut off .*on_bad")


def test_a_dropped_sample_is_listed_with_its_reason_and_is_in_no_batch(small):
    cut(small.root / "t2.png")
    (small.root / "t5-depth.png").write_text("<html>404</html>")
    data = small.data(on_bad="drop", max_bad=0.5)
    assert read_all(data) == ["t0", "t1", "t3", "t4", "t6", "t7", "t8"]
    assert [(bad.id, bad.split, bad.column, bad.code) for bad in data.dropped] == [
        ("t2", "train", "image", "truncated-image"),
        ("t5", "train", "depth", "not-an-image"),
    ]
    assert "web page" in data.dropped[1].reason
    read_all(data)
    assert len(data.dropped) == 2  # each is counted once


def test_more_bad_samples_than_allowed_are_refused(small):
    cut(small.root / "t2.png")
    with pytest.raises(
        DataFault, match=r"1 of 9 samples of train cannot be used, more than max_bad: 0\.1 allows"
    ) as caught:
        read_all(small.data(on_bad="drop", max_bad=0.1))
    assert caught.value.code == "too-many-bad"


def test_training_never_gets_a_batch_that_drops_have_left_with_one_sample(small):
    for index in range(5):
        (small.root / f"t{index}.png").write_bytes(b"")
    data = small.data(on_bad="drop", max_bad=1.0, batch_size=2)
    for epoch in range(5):
        assert all(len(batch) == 2 for batch in data.batches("train", epoch=epoch, training=True))


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty-file"), (b"<!doctype html><p>404", "not-an-image"), (b"id,split\n1,2\n", "not-an-image")],
)
def test_files_of_another_kind_are_refused(small, content, code):
    (small.root / "t1.png").write_bytes(content)
    refused(small, code, r"sample t1 .*t1\.png")


def test_a_missing_file_is_refused(small):
    (small.root / "t1-label.png").unlink()
    refused(small, "missing-file", r"sample t1 of train, column 'label': .* does not exist")


def test_a_bomb_is_refused(small):
    Image.new("1", (9_000, 8_000)).save(small.root / "t1.png")
    refused(small, "too-many-pixels", r"9000x8000 = 72\.0 million pixels")
    refused(small, "too-many-pixels", r"max_pixels", image={"max_pixels": 100})


# --- 4, 5: things that do not lie on one another ---------------------------------------------------------------------


def test_a_picture_turned_by_exif_whose_mask_was_not_is_refused_naming_both(small):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(small.root / "t4.png").save(small.root / "t4.png", exif=exif)
    refused(small, "size-mismatch", r"t4\.png is 24x32 pixels and t4-depth\.png is 32x24 .*EXIF")


def test_a_picture_turned_by_exif_together_with_its_masks_is_fine(small):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("t4.png", "t4-depth.png", "t4-label.png"):
        Image.open(small.root / name).save(small.root / name, exif=exif)
    assert len(read_all(small.data())) == 9


def test_a_mask_of_another_size_is_refused_naming_both(small):
    Image.new("L", (16, 12)).save(small.root / "t4-label.png")
    refused(small, "size-mismatch", r"t4\.png is 32x24 pixels and t4-label\.png is 16x12; .*bring one to the size")
    refused(small, "size-mismatch", r"t4-label\.png", size=(24, 32))  # resizing would hide it


# --- 6, 12: depth ----------------------------------------------------------------------------------------------------


def test_depth_that_looks_like_eight_bits_is_warned_of(small):
    assert not any("8 bits" in note for note in small.data().notes)
    for row in small.rows:
        stored = np.asarray(Image.open(small.root / row["depth"]))
        Image.fromarray((stored // 40).astype(np.uint8)).save(small.root / row["depth"])
    assert any(note.startswith("depth: only") and "8 bits" in note for note in small.data().notes)


def test_unknown_depth_is_in_no_figure_and_becomes_the_mean(small):
    known = small.data().facts["modalities"]["depth"]["statistics"]
    for row in small.rows:
        stored = np.array(Image.open(small.root / row["depth"])).astype(np.float32)
        stored = np.concatenate([stored, np.full_like(stored, np.nan), np.full_like(stored, np.inf), 0 * stored])
        np.save(small.root / f"{row['id']}.npy", stored)
        image = Image.open(small.root / row["image"])
        image.resize((32, 96)).save(small.root / row["image"])
        row["depth"], row["label"] = f"{row['id']}.npy", None
        row["points"] = "[[1, 2], null]"
    data = small.data(tasks=("things",))
    found = data.facts["modalities"]["depth"]["statistics"]
    assert found["metres"]["mean"] == pytest.approx(known["metres"]["mean"], rel=1e-5)
    assert found["metres"]["std"] == pytest.approx(known["metres"]["std"], rel=1e-5)
    ready = data.modalities["depth"].preprocessor(InputSpec())(next(data.batches("train")).inputs["depth"])
    assert torch.isfinite(ready).all()
    assert torch.all(ready[:, :, 24:] == 0)
    assert ready[:, :, :24].std() == pytest.approx(1, abs=0.1)


def test_whole_numbers_of_depth_without_a_unit_are_refused(small):
    manifest = small.manifest

    def without_unit():
        found = manifest()
        found.columns["depth"].facts.clear()
        return found

    small.manifest = without_unit
    with pytest.raises(DataFault, match=r"sample t\d of train, column 'depth': .*metres_per_unit"):
        small.data()


# --- 7, 8, 9: label maps ---------------------------------------------------------------------------------------------


def test_labels_stay_what_they_were_through_all_that_is_random(small):
    data = small.data(augment=Augment(flip=0.5, scale=(0.5, 2), rotate=45), size=(20, 28))
    for epoch in range(3):
        for batch in data.batches("train", epoch=epoch, training=True):
            assert set(batch.targets["rooms"].unique().tolist()) <= {0, 1, 2, 3, 255}


def test_a_colour_mask_without_a_table_is_refused(small):
    Image.new("RGB", (32, 24), (0, 200, 0)).save(small.root / "t3-label.png")
    refused(small, "colour-label", r"t3-label\.png is a label map in colours")


def test_a_label_outside_the_classes_is_found_on_reading_with_value_and_count(small):
    label = np.array(Image.open(small.root / "t3-label.png"))
    label[0, :5] = 17
    Image.fromarray(label).save(small.root / "t3-label.png")
    refused(small, "label-outside", r"t3-label\.png holds 17 \(5 pixels\)")


# --- 11, 15, 22: what is missing -------------------------------------------------------------------------------------


def test_a_task_without_any_training_label_is_refused(small):
    for row in small.rows:
        if row["split"] == "train":
            row["points"] = None
    with pytest.raises(DataFault, match=r"no training sample has a label for things \(column 'points'\)") as caught:
        small.data()
    assert caught.value.code == "no-labels"


def test_a_sample_with_no_modality_is_dropped_by_name(small):
    small.rows[3]["image"] = small.rows[3]["depth"] = None
    data = small.data()
    assert [(bad.id, bad.code) for bad in data.dropped] == [("t3", "no-input")]
    assert "t3" not in read_all(data)
    assert data.counts["train"]["samples"] == 8
    assert "1 samples have none of the modalities and are left out: t3" in data.notes


def test_a_modality_missing_everywhere_is_a_mask_and_is_counted(small):
    for row in small.rows:
        row["depth"] = None
    data = small.data()
    assert data.counts["train"]["modalities"] == {"image": 9, "depth": 0}
    batch = next(data.batches("train"))
    assert not batch.present["depth"].any()
    assert "train: depth is missing in 9 of 9 samples" in data.notes


def test_an_empty_training_split_is_refused(empty):
    empty.add("a", split="test")
    with pytest.raises(DataFault, match="no training sample"):
        empty.data()


def test_a_training_split_without_its_files_says_what_is_lacking(empty):
    for name, split in (("a", "train"), ("b", "train"), ("c", "val")):
        empty.add(name, split=split)
        empty.rows[-1]["image"] = empty.rows[-1]["depth"] = None
    with pytest.raises(DataFault, match=r"2 rows of train have none of image, depth: are the files there\?"):
        empty.data()


# --- 17, 20: channels, bits, places ----------------------------------------------------------------------------------


def test_mixed_channels_become_one_count_by_rule(small):
    colour = Image.open(small.root / "t0.png")
    for name, mode in (("t1", "L"), ("t2", "RGBA"), ("t3", "P"), ("t4", "LA")):
        colour.convert(mode).save(small.root / f"{name}.png")
    colour.convert("CMYK").save(small.root / "t5.png", format="TIFF")
    data = small.data()
    assert len(read_all(data)) == 9
    assert next(data.batches("train")).inputs["image"].shape[1] == 3


def test_sixteen_bits_among_eight_are_refused_with_the_sample(small):
    Image.fromarray(np.full((24, 32), 30_000, np.uint16)).save(small.root / "t6.png")
    refused(small, "bit-depth", r"sample t6 .*t6\.png holds uint16 and the training data uint8")


def test_a_path_that_leaves_the_roots_is_refused(small):
    small.rows[1]["image"] = "../t0.png"
    refused(small, "path-outside", r"sample t1 .*'\.\.'")


# --- 27: a worker dies -----------------------------------------------------------------------------------------------


def test_a_killed_worker_is_one_clear_message_with_the_samples(small, monkeypatch):
    parent = os.getpid()
    read = small.data().modalities["image"].__class__.read

    def die(self, cell, resolve):
        if cell == "t5.png" and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, cell, resolve)

    monkeypatch.setattr("weft.modalities.image.ImageModality.read", die)
    with pytest.raises(ResourceFault, match=r"was killed.* among the \d+ samples from t\d to t\d") as caught:
        read_all(small.data(workers=1, batch_size=2))
    assert caught.value.exit_code == 5
    assert "Traceback" not in str(caught.value)


def test_a_worker_that_hangs_is_named_too(small, monkeypatch):
    parent = os.getpid()
    read = small.data().modalities["image"].__class__.read

    def sleep(self, cell, resolve):
        if cell == "t5.png" and os.getpid() != parent:
            time.sleep(4)
        return read(self, cell, resolve)

    monkeypatch.setattr("weft.modalities.image.ImageModality.read", sleep)
    monkeypatch.setattr(loader, "PATIENCE", 1)
    with pytest.raises(ResourceFault, match="gave nothing for 1 seconds"):
        read_all(small.data(workers=1, batch_size=2))
