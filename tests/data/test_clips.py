"""Clips on their way into a batch: one choice of frames and one geometry for all, padding in time, caches, faults."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from weft.data import geometry
from weft.data.frames import choose
from weft.data.inspect import inspect
from weft.data.manifest import Column, Manifest
from weft.data.pipeline import Data, build_data
from weft.errors import DataFault
from weft.experiment import Augment, Cache, DataConfig, Experiment, Frames, ModalityConfig, TrainConfig
from weft.modalities.base import Geometry
from weft.modalities.video import VideoModality
from weft.tasks.frame_label import FrameLabel
from weft.types import InputSpec


@dataclass
class Folders:
    """Folders of frames, each told by its brightness, and of motion with one frame fewer."""

    root: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    type: str = "folders"
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> Folders:
        return self

    def add(self, name: str, numbers: list[int], *, split: str = "train", size: tuple[int, int] = (12, 16)) -> None:
        for folder, last in (("clip", None), ("motion", -1)):
            (self.root / folder / name).mkdir(parents=True)
            for number in numbers[:last]:
                picture = np.full((*size, 3), number, np.uint8)
                picture[:, : size[1] // 2] += 100  # the left half is brighter, so that mirroring shows
                Image.fromarray(picture).save(self.root / folder / name / f"frame_{number}.png")
        self.rows.append({"id": name, "split": split, "clip": f"clip/{name}", "motion": f"motion/{name}"})

    def manifest(self) -> Manifest:
        names = ("id", "split", "clip", "motion")
        table = pa.table({name: pa.array([row[name] for row in self.rows], pa.string()) for name in names})
        return Manifest(table, self.root, {"clip": Column("video"), "motion": Column("video")}, clip="clip")

    def experiment(self, *, dropout: float = 0.0, modalities: tuple[str, ...] = ("clip", "motion"), **data: Any):
        return Experiment(
            name="clips",
            data=DataConfig(format=self, **{"workers": 0, **data}),  # type: ignore[arg-type]
            modalities={
                name: ModalityConfig(type="video", column=name, encoder=None, dropout=dropout) for name in modalities
            },
            tasks={},
            train=TrainConfig(batch_size=4, device="cpu"),
        )

    def data(self, **options: Any) -> Data:
        return build_data(self.experiment(**options))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    found = Folders(tmp_path)
    found.add("a", list(range(12)))
    found.add("b", [5, 6, 7, 8, 9, 10])
    found.add("c", [0, 1, 2])
    found.add("v", [0, 1, 2, 3], split="val")
    return found


def right_half(clips: torch.Tensor) -> list[list[int]]:
    """The numbers of the frames of (P, T, C, H, W), by their brightness."""
    return clips[:, :, 0, 0, -1].tolist()


def test_a_batch_holds_the_frames_taken_padded_in_time(folders):
    batch = next(folders.data(frames=Frames(count=4)).batches("train"))
    assert batch.inputs["clip"].shape == (3, 4, 3, 12, 16)
    assert batch.inputs["clip"].dtype == torch.uint8
    assert batch.frames == ((1, 4, 7, 10), (5, 7, 8, 10), (0, 1, 2))
    assert batch.lengths["clip"].tolist() == batch.lengths["motion"].tolist() == [4, 4, 3]
    numbers = right_half(batch.inputs["clip"])
    assert numbers[:2] == [[1, 4, 7, 10], [5, 7, 8, 10]]
    assert numbers[2][:3] == [0, 1, 2]
    assert len(set(batch.inputs["clip"][2, 3].flatten().tolist())) == 1  # the fill


def test_motion_has_the_last_step_beside_the_last_frame(folders):
    batch = next(folders.data(frames=Frames()).batches("val"))
    assert right_half(batch.inputs["clip"]) == [[0, 1, 2, 3]]
    assert right_half(batch.inputs["motion"]) == [[0, 1, 2, 2]]


def test_the_format_says_whose_frames_count_also_where_that_is_no_input(folders):
    batch = next(folders.data(modalities=("motion",)).batches("val"))
    assert batch.frames == ((0, 1, 2, 3),)
    assert right_half(batch.inputs["motion"]) == [[0, 1, 2, 2]]


def test_chance_takes_the_same_frames_for_all_and_other_ones_in_other_epochs(folders):
    data = folders.data(frames=Frames(sampling="random", count=3), dropout=0.5)
    epochs = []
    for epoch in range(6):
        batch = next(data.batches("train", training=True, epoch=epoch))
        again = next(data.batches("train", training=True, epoch=epoch))
        assert batch.frames == again.frames
        for name, shift in (("clip", 0), ("motion", 1)):
            rows = batch.present[name].nonzero().flatten().tolist()
            for row, numbers in zip(rows, right_half(batch.inputs[name]), strict=True):
                sample = folders.rows["abc".index(batch.ids[row])]["id"]
                last = {"a": 11, "b": 10, "c": 2}[sample] - shift
                assert numbers == [min(number, last) for number in batch.frames[row]]
        epochs.append(dict(zip(batch.ids, batch.frames, strict=True)))
    assert len({epoch["a"] for epoch in epochs}) > 1
    plain = folders.data(frames=Frames(sampling="random", count=3))
    kept = next(plain.batches("train", training=True, epoch=0))
    assert dict(zip(kept.ids, kept.frames, strict=True)) == epochs[0]  # hiding modalities changes no frame


def test_all_frames_move_by_one_geometry(folders):
    augment = Augment(flip=0.5, scale=(0.8, 1.2), rotate=10)
    data = folders.data(frames=Frames(count=4), augment=augment)
    batch = next(data.batches("train", training=True))
    for clip, motion, numbers in zip(batch.inputs["clip"], batch.inputs["motion"], batch.frames, strict=True):
        bright = clip[0] == numbers[0] + 100  # one half of the picture, without what is mixed at its edges
        assert 0.1 < bright.float().mean() < 0.6
        for place, number in enumerate(numbers):
            assert torch.equal(clip[place] == number + 100, bright)
            assert torch.equal(motion[place] == motion[place].max(), bright)


def test_masks_are_never_blended():
    random = np.random.default_rng(0)
    labels = random.choice(np.array([0, 7, 200], np.uint8), (3, 20, 30))
    warp = geometry.draw((20, 30), (16, 24), Augment(flip=1, scale=(0.7, 1.3), rotate=20), geometry.generator(3))
    moved = geometry.apply(warp, labels, Geometry("clip_label", fill=255))
    assert moved.shape == (3, 16, 24)
    assert set(np.unique(moved)) <= {0, 7, 200, 255}
    np.testing.assert_array_equal(moved[1], geometry.apply(warp, labels[1], Geometry("label", fill=255)))


def test_colours_are_jittered_once_for_a_clip():
    preprocessor = VideoModality({}, brightness=0.5, contrast=0.5, hue=0.2, saturation=0.5).preprocessor(InputSpec())
    still = torch.randint(50, 200, (2, 1, 3, 4, 5), dtype=torch.uint8)
    torch.manual_seed(0)
    first, second, third = preprocessor.train()(still.expand(2, 3, 3, 4, 5)).unbind(1)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first, third)
    torch.testing.assert_close(preprocessor.eval()(still), still / 255)


def test_windows_share_what_is_kept_of_their_frames(folders):
    for name in "abc":
        folders.rows.append({**folders.rows["abc".index(name)], "id": f"{name}2", "clip": f"clip/{name}#frames=0:8"})
    data = folders.data(modalities=("clip",), cache=Cache(where="memory", limit=0.01))
    first = list(data.batches("train"))
    used = data._reader.cache.used
    assert used == 21 * (12 * 16 * 3 + 24)  # 12 + 6 + 3 frames and the head of each
    again = list(data.batches("train"))
    assert data._reader.cache.used == used
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.inputs["clip"], other.inputs["clip"])
        assert one.frames == other.frames


def test_a_frame_that_changes_on_disk_is_read_again(folders, tmp_path):
    cache = Cache(where="disk", limit=0.01, folder=str(tmp_path / "kept"))
    assert right_half(next(folders.data(cache=cache).batches("val")).inputs["clip"]) == [[0, 1, 2, 3]]
    Image.fromarray(np.full((12, 16, 3), 77, np.uint8)).save(folders.root / "clip/v/frame_2.png", compress_level=0)
    assert right_half(next(folders.data(cache=cache).batches("val")).inputs["clip"]) == [[0, 1, 77, 3]]


def fault_of(folders: Folders, **data: Any) -> DataFault:
    with pytest.raises(DataFault) as fault:
        _read_all(folders.experiment(**data))
    return fault.value


def _read_all(experiment: Experiment) -> None:
    data = build_data(experiment)
    for split in ("train", "val"):
        list(data.batches(split))


def test_a_clip_without_frames_is_refused_by_name(folders):
    (folders.root / "clip/none").mkdir()
    folders.rows.append({"id": "n", "split": "val", "clip": "clip/none", "motion": None})
    fault = fault_of(folders)
    assert fault.code == "no-frames"
    assert "sample n of val, column 'clip'" in str(fault)


def test_a_clip_that_ends_before_the_one_beside_it_is_refused(folders):
    for number in (8, 9, 10):
        (folders.root / f"motion/a/frame_{number}.png").unlink()
    assert fault_of(folders).code == "frame-missing"


def test_frames_of_unequal_size_are_refused(folders):
    Image.new("RGB", (10, 10)).save(folders.root / "clip/b/frame_8.png")
    fault = fault_of(folders)
    assert fault.code == "size-mismatch"
    assert "16x12" in str(fault)
    assert "10x10" in str(fault)


def test_missing_frames_leave_the_numbers_of_the_others_and_are_remarked(folders):
    (folders.root / "clip/v/frame_1.png").unlink()
    assert next(folders.data(modalities=("clip",)).batches("val")).frames == ((0, 2, 3),)
    found = inspect(folders.experiment(modalities=("clip",)))
    assert found.ok
    assert found.figures["clip"]["train"].lengths == (3, 12)
    assert any("frames are missing between" in note for note in found.notes)


def test_a_strip_is_drawn_for_a_clip(folders):
    field = VideoModality({})
    drawn = field.draw(field.read(folders.root / "clip/a", lambda cell: cell))
    assert drawn.size == (6 * 16 + 5 * 2, 12)
    assert [drawn.getpixel((18 * column + 15, 0))[0] for column in range(6)] == [0, 2, 4, 7, 9, 11]


def test_the_same_folder_in_two_splits_is_a_leak(folders):
    folders.rows.append({**folders.rows[0], "id": "again", "split": "val", "clip": "clip/a#frames=0:4"})
    assert any("clip" in str(one) for one in inspect(folders.experiment()).warnings)


def test_labels_of_frames_meet_the_frames_taken(tmp_path):
    table = tmp_path / "acts.csv"
    table.write_text("frame,label\n0,walk\n1,walk\n4,run\n")
    clip = VideoModality({}).timeline(np.zeros((6, 4, 4, 3), np.uint8), lambda cell: cell)
    field = FrameLabel({"classes": ["run", "walk"]})
    assert field.read_frames("acts.csv", lambda _: table, clip).tolist() == [1, 1, -1, -1, 0, -1]
    some = choose(clip, Frames(count=3))
    assert some.numbers.tolist() == [1, 3, 5]
    assert field.read_frames("acts.csv", lambda _: table, some).tolist() == [1, -1, -1]
    table.write_text("start,stop,label\n0,0.15,walk\n0.15,0.3,run\n")
    timed = replace(clip, times=clip.times / 10, end=0.6, in_seconds=True)
    assert field.read_frames("acts.csv", lambda _: table, timed).tolist() == [1, 1, 0, -1, -1, -1]
    assert field.read_frames(["run", None, "walk"], lambda cell: cell, some).tolist() == [-1, -1, -1]
    assert field.fit([np.array([0, -1, 1, 1])])["counts"] == [1, 2]
