"""Digits seen and heard: a small tree written by the description of its files, and the real one where it is there."""

from __future__ import annotations

import gzip
import pickle
import struct
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from weft.data.formats.digits import Digits
from weft.data.idxfile import read_idx
from weft.data.manifest import Manifest
from weft.errors import DataFault
from weft.modalities.base import BadCell

SPEAKERS = ("ann", "bob", "cid", "dot", "eve")
NUM_INDICES = 5


def write_idx(path: Path, array: np.ndarray) -> None:
    """Two zero bytes, type 8 (unsigned byte), the number of axes, each axis as four bytes, big end first; the bytes."""
    content = b"\0\0\x08" + bytes([array.ndim]) + b"".join(struct.pack(">i", n) for n in array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_wav(path: Path, samples: np.ndarray, *, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def write_tree(root: Path, *, pictures_per_digit: int = 60) -> Path:
    """Every digit by five speakers, five times; picture and sound number n of a digit are known by their values."""
    (root / "recordings").mkdir(parents=True)
    for digit in range(10):
        for place, speaker in enumerate(SPEAKERS):
            for index in range(NUM_INDICES):
                tone = np.sin(np.arange(400 + 10 * index) * (0.1 + 0.05 * digit))
                path = root / "recordings" / f"{digit}_{speaker}_{index}.wav"
                write_wav(path, (1000 + 100 * place) * tone)
    labels = np.tile(np.arange(10, dtype=np.uint8), pictures_per_digit)
    pictures = np.zeros((len(labels), 28, 28), np.uint8)
    pictures[:, 14, 14] = labels * 20
    pictures[:, 0, :2] = np.stack([np.arange(len(labels)) // 256, np.arange(len(labels)) % 256], 1)  # its number
    write_idx(root / "train-images-idx3-ubyte.gz", pictures)
    write_idx(root / "train-labels-idx1-ubyte.gz", labels)
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("digits") / "tree")


def number_of(picture: np.ndarray) -> int:
    return int(picture[0, 0]) * 256 + int(picture[0, 1])


def rows(manifest: Manifest, split: str | None = None) -> list[dict]:
    part = manifest if split is None else manifest.split(split)
    return [part.row(index) for index in range(len(part))]


def fault(code: str, match: str | None = None, **options) -> None:
    with pytest.raises(DataFault, match=match) as caught:
        Digits(**options).manifest()
    assert caught.value.code == code


def test_every_sample_pairs_a_picture_and_a_sound_of_one_digit(tree):
    manifest = Digits(root=str(tree)).manifest()
    assert len(manifest) == 10 * len(SPEAKERS) * NUM_INDICES
    for row in rows(manifest)[::7]:
        picture, sound = manifest.resolve(row["image"]), manifest.resolve(row["audio"])
        digit, speaker, index = row["audio"].rpartition("/")[2].removesuffix(".wav").split("_")
        assert (row["digit"], row["speaker"], row["index"]) == (digit, speaker, index)
        assert picture.shape == (28, 28)
        assert picture.dtype == np.uint8
        assert picture[14, 14] == 20 * int(digit)
        tone = np.sin(np.arange(400 + 10 * int(index)) * (0.1 + 0.05 * int(digit)))
        np.testing.assert_allclose(sound, (1000 + 100 * SPEAKERS.index(speaker)) * tone / 2**15, atol=1 / 2**15)
    assert manifest.columns["audio"].facts == {"sample_rate": 8000}
    assert manifest.columns["digit"].facts == {"classes": [str(digit) for digit in range(10)]}


@pytest.mark.parametrize(("by", "test", "val"), [("index", {"0"}, {"1"}), ("speaker", {"ann"}, {"bob"})])
def test_splits_share_no_index_or_speaker_and_no_picture(tree, by, test, val):
    manifest = Digits(root=str(tree), by=by, pairs=2).manifest()
    found = {split: rows(manifest, split) for split in ("train", "val", "test")}
    assert {row[by] for row in found["test"]} == test
    assert {row[by] for row in found["val"]} == val
    assert not {row[by] for row in found["train"]} & (test | val)
    pictures = Counter(row["image"] for row in rows(manifest))
    assert set(pictures.values()) == {1}
    shown = [number_of(manifest.resolve(row["image"])) for row in rows(manifest)]
    assert len(set(shown)) == len(shown)
    assert Counter(Counter(row["audio"].rpartition("/")[2] for row in found["train"]).values()) == {2: 150}
    assert len(found["test"]) == len(found["val"]) == 50


def test_shares_say_how_much_is_held_out(tree):
    manifest = Digits(root=str(tree), test=0.4, val=0).manifest()
    assert manifest.splits == ["train", "test"]
    assert {row["index"] for row in rows(manifest, "test")} == {"0", "1"}
    assert {row["index"] for row in rows(Digits(root=str(tree), test=0.01).manifest(), "test")} == {"0"}
    fault("no-samples", "leave nothing to train on", root=str(tree), test=0.6, val=0.5)


def test_the_seed_makes_the_pairs_and_more_pictures_change_no_other_split(tree):
    def pairs(**options):
        return {row["id"]: (row["split"], row["image"]) for row in rows(Digits(root=str(tree), **options).manifest())}

    assert pairs() == pairs()
    assert pairs() != pairs(seed=1)
    one, two = pairs(), pairs(pairs=2)
    assert {key: value for key, value in two.items() if value[0] != "train"} == {
        key: value for key, value in one.items() if value[0] != "train"
    }


def test_noise_is_of_the_stated_strength_and_the_same_each_time(tree):
    clean = Digits(root=str(tree)).manifest()
    noisy = Digits(root=str(tree), image_noise=0.2, sound_noise=6.0).manifest()
    ratios, deviations = [], []
    for index in range(0, len(clean), 5):
        before, after = clean.row(index), noisy.row(index)
        sound, loud = clean.resolve(before["audio"]), noisy.resolve(after["audio"])
        np.testing.assert_array_equal(loud, noisy.resolve(after["audio"]))
        ratios.append(np.mean(sound.astype(float) ** 2) / np.mean((loud - sound).astype(float) ** 2))
        picture, grain = clean.resolve(before["image"]), noisy.resolve(after["image"])
        np.testing.assert_array_equal(grain, noisy.resolve(after["image"]))
        lit = (picture > 60) & (picture < 195)
        deviations += (grain[lit].astype(float) - picture[lit]).tolist()
    assert 10 * np.log10(np.mean(ratios)) == pytest.approx(6.0, abs=0.2)
    assert np.std(deviations) == pytest.approx(51, rel=0.15)


def test_noise_differs_between_samples_and_seeds(tree):
    noisy = Digits(root=str(tree), pairs=2, sound_noise=0.0).manifest()
    first, second = (noisy.resolve(noisy.row(index)["audio"]) for index in (0, 1))  # one recording, twice
    assert len(first) == len(second)
    assert not np.allclose(first, second)
    other = Digits(root=str(tree), pairs=2, sound_noise=0.0, seed=1).manifest()
    assert not np.allclose(first, other.resolve(other.row(0)["audio"]))


def test_more_noise_than_there_is_room_for_makes_the_sound_softer_not_clipped(tmp_path):
    root = write_tree(tmp_path)
    write_wav(root / "recordings" / "0_ann_0.wav", 32000 * np.ones(400))
    manifest = Digits(root=str(root), sound_noise=-10.0).manifest()
    loud = manifest.resolve("audio/0_ann_0-0/0_ann_0.wav")
    assert np.abs(loud).max() == pytest.approx(1)
    assert (np.abs(loud) > 0.999).sum() == 1


def test_several_pairs_of_idx_files_are_counted_through(tmp_path):
    root = write_tree(tmp_path, pictures_per_digit=20)
    fault("too-few-pictures", "20 pictures of a 0", root=str(root))
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    pictures = np.full((100, 28, 28), 250, np.uint8)
    write_idx(root / "t10k-images-idx3-ubyte", pictures)
    write_idx(root / "t10k-labels-idx1-ubyte", labels)
    manifest = Digits(root=str(root)).manifest()
    from_second = [number for row in rows(manifest) if (number := int(row["image"].partition("/")[2])) < 100]
    assert from_second
    assert all((manifest.resolve(f"image/{number}") == 250).all() for number in from_second)  # t10k comes before train
    assert number_of(manifest.resolve("image/100")) == 0


def test_files_of_another_name_are_left_out_and_counted(tmp_path):
    root = write_tree(tmp_path)
    (root / "recordings" / "readme.txt").write_text("hello")
    manifest = Digits(root=str(root)).manifest()
    assert len(manifest) == 250
    assert "1 files are not named" in manifest.notes[0]


def test_the_arrays_reach_a_worker_process(tree):
    manifest = Digits(root=str(tree), image_noise=0.5, sound_noise=0.0).manifest()
    copy = pickle.loads(pickle.dumps(manifest.arrays))
    assert len(pickle.dumps(manifest.arrays)) < 2000  # paths, not pictures
    for cell in (manifest.row(3)["image"], manifest.row(3)["audio"]):
        np.testing.assert_array_equal(copy(cell), manifest.resolve(cell))


# faults


def test_missing_files_are_named(tmp_path):
    root = write_tree(tmp_path)
    fault("no-folder", root=str(root / "nowhere"))
    (root / "train-labels-idx1-ubyte.gz").unlink()
    fault("missing-file", "train-images-idx3-ubyte.gz stands alone", root=str(root))
    (root / "train-images-idx3-ubyte.gz").unlink()
    fault("missing-file", "has neither", root=str(root))
    for path in (root / "recordings").iterdir():
        path.unlink()
    fault("no-samples", "DIGIT_SPEAKER_INDEX", root=str(root))


@pytest.mark.parametrize(
    ("content", "code", "match"),
    [
        (b"", "wrong-type", "begins with"),
        (b"\0\0\x0d\x03" + bytes(100), "wrong-type", "00 00 08 03"),
        (b"\0\0\x08\x03" + struct.pack(">iii", 2, 2, 2) + bytes(7), "truncated-file", "2 x 2 x 2 bytes and holds 7"),
        (b"\0\0\x08\x03" + struct.pack(">iii", 2, 2, 2) + bytes(9), "truncated-file", "holds more"),
        (b"\0\0\x08\x03" + struct.pack(">ii", 2, 2), "truncated-file", None),
        (b"\0\0\x08\x03" + struct.pack(">iii", 2**30, 2**30, 2**30), "too-large", "at most"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_broken_idx_files_are_refused(tmp_path, content, code, match, packed):
    path = tmp_path / f"images-idx3-ubyte-{packed}"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataFault, match=match) as caught:
        read_idx(path, 3)
    assert caught.value.code == code


def test_a_damaged_gzip_is_refused(tmp_path):
    path = tmp_path / "labels-idx1-ubyte.gz"
    write_idx(path, np.arange(10, dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataFault, match="copy it again"):
        read_idx(path, 1)


def test_labels_must_fit_the_pictures(tmp_path):
    root = write_tree(tmp_path)
    write_idx(root / "train-labels-idx1-ubyte.gz", np.zeros(3, np.uint8))
    fault("size-mismatch", "600 pictures and .* 3 labels", root=str(root))
    (tmp_path / "b").mkdir()
    root = write_tree(tmp_path / "b" / "c")
    write_idx(root / "train-labels-idx1-ubyte.gz", np.full(600, 10, np.uint8))
    fault("label-outside", "the label 10", root=str(root))


def test_a_recording_at_another_rate_or_cut_off_is_a_bad_cell(tmp_path):
    root = write_tree(tmp_path)
    manifest = Digits(root=str(root)).manifest()
    write_wav(root / "recordings" / "9_eve_4.wav", np.ones(10), rate=16000)
    with pytest.raises(BadCell, match="16000 Hz and the others at 8000") as caught:
        manifest.resolve("audio/x/9_eve_4.wav")
    assert caught.value.code == "wrong-rate"
    for cell in ("audio/x/../../secret.wav", "image/9999", "sound/1", "image/-1"):
        with pytest.raises(BadCell):
            manifest.resolve(cell)


def test_the_real_folder_is_read(shared):
    manifest = Digits(root=str(shared / "data" / "digits"), pairs=3).manifest()
    counts = {split: len(manifest.split(split)) for split in manifest.splits}
    assert counts == {"train": 2700, "val": 300, "test": 300}
    assert {row["index"] for row in rows(manifest, "test")} == {"5", "6", "7", "8", "9"}
    assert len({row["image"] for row in rows(manifest)}) == 3300
    row = manifest.row(0)
    assert manifest.resolve(row["image"]).max() > 200
    assert 0.01 < np.abs(manifest.resolve(row["audio"])).max() <= 1
