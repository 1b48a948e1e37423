"""Class folders and tables of clips, and the windows of DAVIS."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from weft.config import load_experiment
from weft.data.formats.camvid import CamVid
from weft.data.formats.clips import Clips
from weft.data.formats.davis import Davis, covering_windows, training_windows
from weft.data.guess import guess
from weft.data.timeline import Timeline
from weft.errors import DataFault
from weft.modalities.video import VideoModality
from weft.tasks.clip_label_map import ClipLabelMap
from weft.tasks.label_map import LabelMap


def frames(path: Path, numbers: range, *, grey: bool = False) -> None:
    path.mkdir(parents=True)
    for number in numbers:
        picture = np.full((6, 8) if grey else (6, 8, 3), 255 * (number % 2), np.uint8)
        Image.fromarray(picture).save(path / f"{number:05d}.png")


def test_class_folders_hold_files_and_folders_of_frames(tmp_path):
    frames(tmp_path / "train/wave/1", range(3))
    (tmp_path / "train/clap").mkdir()
    (tmp_path / "train/clap/2.mp4").write_bytes(b"looked at later")
    (tmp_path / "train/clap/notes.txt").write_text("no clip")
    frames(tmp_path / "test/wave/3", range(2))
    manifest = Clips(root=str(tmp_path)).manifest()
    assert [manifest.row(index) for index in range(3)] == [
        {"id": "test/wave/3", "split": "test", "clip": "test/wave/3", "label": "wave"},
        {"id": "train/clap/2", "split": "train", "clip": "train/clap/2.mp4", "label": "clap"},
        {"id": "train/wave/1", "split": "train", "clip": "train/wave/1", "label": "wave"},
    ]
    assert manifest.columns["label"].facts["classes"] == ["clap", "wave"]
    assert manifest.clip == "clip"


def test_a_table_names_clips_parts_and_labels(tmp_path):
    frames(tmp_path / "a", range(6))
    (tmp_path / "train.csv").write_text("file,act,who\na#frames=0:3,run,x\na#frames=3:6,walk,y\n")
    (tmp_path / "test.csv").write_text("file,who\na,x\n")
    manifest = Clips(
        root=str(tmp_path), file={"train": "train.csv", "test": "test.csv"}, path="file", label="act"
    ).manifest()
    assert manifest.names == ["id", "split", "clip", "label", "who"]
    assert manifest.row(1) == {
        "id": "a#frames=3:6", "split": "train", "clip": "a#frames=3:6", "label": "walk", "who": "y",
    }  # fmt: skip
    assert manifest.row(2)["label"] is None
    line = VideoModality({}).timeline("a#frames=3:6", manifest.resolve)
    assert line.numbers.tolist() == [3, 4, 5]


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    (tmp_path / "all.csv").write_text("file,label\na,b\n")
    with pytest.raises(DataFault, match="no column 'path' of files; it has file, label"):
        Clips(root=str(tmp_path), file="all.csv").manifest()


@pytest.mark.parametrize("num", [1, 7, 12, 25])
@pytest.mark.parametrize(("length", "stride"), [(4, 1), (4, 3), (1, 2), (30, 1)])
def test_windows_outside_training_have_each_frame_once(num, length, stride):
    windows = [range(start, stop, stride) for start, stop in covering_windows(num, length, stride)]
    assert Counter(number for window in windows for number in window) == Counter(range(num))
    assert max(map(len, windows)) <= length


def test_training_windows_are_whole_and_reach_the_end():
    assert list(training_windows(10, 4, 1, 4)) == [(0, 4), (4, 8), (6, 10)]
    assert list(training_windows(10, 3, 2, 2)) == [(0, 5), (2, 7), (4, 9), (5, 10)]
    assert list(training_windows(3, 4, 1, 4)) == [(0, 3)]


def davis(root: Path, num: int = 5) -> None:
    for name in ("bear", "camel", "dog"):
        frames(root / "JPEGImages/480p" / name, range(num))
        frames(root / "Annotations/480p" / name, range(num), grey=True)


@pytest.mark.parametrize("line", ["bear", "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png"])
def test_the_lists_of_davis_say_the_splits(tmp_path, line):
    davis(tmp_path)
    (tmp_path / "ImageSets/480p").mkdir(parents=True)
    (tmp_path / "ImageSets/480p/train.txt").write_text(f"{line}\n{line.replace('00000', '00001')}\n")
    (tmp_path / "ImageSets/480p/val.txt").write_text(line.replace("bear", "dog"))
    manifest = Davis(root=str(tmp_path), length=3).manifest()
    found = [(row["id"], row["split"], row["clip"]) for row in map(manifest.row, range(len(manifest)))]
    assert found == [
        ("bear/00000", "train", "JPEGImages/480p/bear#frames=0:3:1"),
        ("bear/00002", "train", "JPEGImages/480p/bear#frames=2:5:1"),
        ("dog/00000", "val", "JPEGImages/480p/dog#frames=0:3:1"),
        ("dog/00003", "val", "JPEGImages/480p/dog#frames=3:5:1"),
    ]
    assert any("1 sequences are on no list" in note for note in manifest.notes)
    assert "motion" not in manifest.names


def test_a_listed_sequence_that_is_not_there_is_told(tmp_path):
    davis(tmp_path)
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    (tmp_path / "ImageSets/2017/train.txt").write_text("wolf\n")
    with pytest.raises(DataFault, match="'wolf', which is not among the sequences bear"):
        Davis(root=str(tmp_path)).manifest()


def test_without_lists_whole_sequences_are_drawn(tmp_path):
    davis(tmp_path)
    manifest = Davis(root=str(tmp_path), test=0.3, val=0.3).manifest()
    assert {split: len({row["sequence"] for row in map(part.row, range(len(part)))}) for split in manifest.splits
            for part in [manifest.split(split)]} == {"train": 1, "val": 1, "test": 1}  # fmt: skip
    with pytest.raises(DataFault, match="leave nothing to train on"):
        Davis(root=str(tmp_path), test=0.7, val=0.3).manifest()


def test_every_object_is_one_class_and_nothing_is_unlabelled(tmp_path):
    davis(tmp_path)
    field = LabelMap(Davis(root=str(tmp_path)).manifest().columns["masks"].facts)
    stored = np.array([[0, 1, 2, 255]], np.uint8)
    assert field.read(stored, lambda cell: cell).tolist() == [[0, 1, 1, 1]]


def test_the_real_sequences_are_read_each_frame_once(shared):
    root = shared / "data/davis"
    if not root.is_dir():
        pytest.skip("DAVIS is not here")
    manifest = Davis(root=str(root), length=7, stride=2).manifest()
    test = manifest.split("test")
    field, motion = VideoModality({}), VideoModality({}, channels=1)
    seen: Counter[tuple[str, int]] = Counter()
    lines: dict[str, Timeline] = {}
    for row in map(test.row, range(len(test))):
        lines[row["sequence"]] = line = field.timeline(row["clip"], manifest.resolve)
        seen.update((row["sequence"], int(number)) for number in line.numbers)
        last = {"clip": row["clip"], "motion": row["motion"]}
    assert set(seen.values()) == {1}
    for name in lines:
        assert sum(sequence == name for sequence, _ in seen) == len(list((root / "JPEGImages/480p" / name).iterdir()))
    line = lines[name]
    assert field.read_frames(last["clip"], manifest.resolve, line).shape == (len(line), 160, 284, 3)
    assert motion.read_frames(last["motion"], manifest.resolve, line).shape == (len(line), 160, 284, 1)


def test_camvid_gives_the_frames_before_a_labelled_one(tmp_path):
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        for name in ("A_010", "A_020", "A_030", "B_f010", "B_f020"):
            Image.fromarray(np.full((4, 4), int(name[-2]), np.uint8)).save(tmp_path / folder / f"{name}.png")
    manifest = CamVid(root=str(tmp_path), before=2).manifest()
    rows = {row["id"]: row for row in map(manifest.row, range(len(manifest)))}
    seen = {}
    for name, row in rows.items():
        line = VideoModality({}).timeline(row["clip"], manifest.resolve)
        clip = VideoModality({}).read_frames(row["clip"], manifest.resolve, line)
        masks = ClipLabelMap(manifest.columns["masks"].facts).read_frames(row["masks"], manifest.resolve, line)
        seen[name] = clip[:, 0, 0, 0].tolist(), masks[:, 0, 0].tolist()
    assert seen == {
        "A_010": ([1], [1]),
        "A_020": ([1, 2], [255, 2]),
        "A_030": ([1, 2, 3], [255, 255, 3]),
        "B_f010": ([1], [1]),
        "B_f020": ([1, 2], [255, 2]),
    }
    (tmp_path / "trainannot/A_020.png").unlink()
    assert CamVid(root=str(tmp_path), before=2).manifest().row(1)["masks"] is None


def guessed(root: Path) -> dict:
    text = guess(root).config_text
    found: dict = yaml.safe_load(text)
    load_experiment(found)  # it is a configuration without a fault
    return found


def test_init_finds_class_folders_of_clips(tmp_path):
    for name in ("wave/1", "wave/2", "clap/3"):
        frames(tmp_path / "train" / name, range(9))
    found = guessed(tmp_path)
    assert found["data"] == {"format": "clips", "root": str(tmp_path), "frames": {"sampling": "random", "count": 8}}
    assert found["modalities"]["clip"]["type"] == "video"
    assert found["tasks"] == {"label": {"type": "classification"}}


def test_init_finds_clips_in_a_table_and_knows_davis(tmp_path):
    frames(tmp_path / "table/a", range(3))
    frames(tmp_path / "table/b", range(4))
    (tmp_path / "table/all.csv").write_text("clip,act\na,run\nb,walk\n")
    found = guessed(tmp_path / "table")
    assert found["modalities"]["clip"]["type"] == "video"
    assert found["data"]["columns"]["clip"] == {"kind": "video"}
    davis(tmp_path / "davis")
    found = guessed(tmp_path / "davis")
    assert found["data"] == {"format": "davis", "root": str(tmp_path / "davis")}
    assert found["tasks"] == {"masks": {"type": "video_segmentation"}}


def test_init_takes_parallel_folders_of_scenes_for_no_clips(tmp_path):
    for name in ("rgb", "depth"):
        frames(tmp_path / name / "scene", range(3))
    with pytest.raises(DataFault):
        guess(tmp_path)
