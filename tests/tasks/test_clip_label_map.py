"""Label maps of the frames of a clip: which belongs to which frame, what is refused, and the motion beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.tasks.task_cases import CLIP_SPEC, DECODER
from weft.data.clipfile import open_clip
from weft.data.timeline import Timeline
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.modalities.flow import FlowModality
from weft.modalities.image import ImageModality
from weft.modalities.video import VideoModality
from weft.tasks.clip_label_map import ClipLabelMap
from weft.tasks.video_segmentation import VideoSegmentation
from weft.types import Batch

MODALITIES = {"clip": VideoModality({})}


def numbered(*numbers: int) -> Timeline:
    return Timeline.of_numbers(np.array(numbers))


def store(folder: Path, maps: dict[int, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, labels in maps.items():
        Image.fromarray(labels.astype(np.uint8)).save(folder / f"mask_{number:05d}.png")
    return folder


def field(**options: object) -> ClipLabelMap:
    return ClipLabelMap({}, classes=["background", "object"], **options)


def test_a_map_belongs_to_the_frame_of_its_number_and_other_frames_have_no_label(tmp_path) -> None:
    folder = store(tmp_path / "a", {2: np.zeros((3, 4)), 4: np.ones((3, 4)), 9: np.zeros((3, 4))})
    found = field().read_frames(str(folder), Path, numbered(1, 2, 4, 6))
    assert found.shape == (4, 3, 4)
    assert [np.unique(frame).tolist() for frame in found] == [[255], [0], [1], [255]]


def test_a_clip_none_of_whose_frames_has_a_map_has_no_label_at_all(tmp_path) -> None:
    folder = store(tmp_path / "a", {30: np.ones((3, 4))})
    assert (field().read_frames(str(folder), Path, numbered(0, 1)) == 255).all()


def test_a_single_map_beside_a_single_frame_belongs_to_it(tmp_path) -> None:
    store(tmp_path, {7: np.ones((3, 4))})
    cell = str(tmp_path / "mask_00007.png")
    assert (field().read_frames(cell, Path, numbered(12)) == 1).all()
    beside_two = field().read_frames(cell, Path, numbered(6, 7))
    assert (beside_two[0] == 255).all()
    assert (beside_two[1] == 1).all()


def test_a_picture_is_a_clip_of_one_frame(tmp_path) -> None:
    store(tmp_path, {7: np.ones((3, 4))})
    assert open_clip(tmp_path / "mask_00007.png").timeline.numbers.tolist() == [7]


def test_values_are_read_as_those_of_a_still(tmp_path) -> None:
    folder = store(tmp_path / "a", {0: np.array([[0, 255], [255, 0]])})
    read = field(remap={"0": 0, "255": 1}, ignore=7).read(str(folder), Path)
    np.testing.assert_array_equal(read, [[[0, 1], [1, 0]]])
    with pytest.raises(BadCell, match=r"mask_00000\.png holds 255"):
        field(ignore=7).read(str(folder), Path)


def test_classes_that_nobody_names_are_those_that_occur(tmp_path) -> None:
    folder = store(tmp_path / "a", {0: np.array([[0, 3]]), 1: np.array([[3, 255]])})
    open_field = ClipLabelMap({})
    facts = open_field.fit([open_field.read_frames(str(folder), Path, numbered(0, 1, 2))])
    assert (facts["classes"], facts["counts"]) == (["0", "3"], [1, 2])
    fitted = ClipLabelMap(facts).read_frames(str(folder), Path, numbered(1, 2))
    np.testing.assert_array_equal(fitted, [[[1, 255]], [[255, 255]]])
    assert ClipLabelMap(facts).class_counts(fitted).tolist() == [0, 1]


def test_maps_of_different_sizes_are_refused(tmp_path) -> None:
    folder = store(tmp_path / "a", {0: np.zeros((3, 4)), 1: np.zeros((4, 4))})
    with pytest.raises(BadCell, match=r"begins with a map of 4x3 pixels, and mask_00001.png has 4x4") as caught:
        field().read(str(folder), Path)
    assert caught.value.code == "size-mismatch"


def test_an_empty_folder_is_refused(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(BadCell, match="pictures"):
        field().read(str(tmp_path / "a"), Path)


def test_a_part_of_a_clip_has_the_maps_of_that_part(tmp_path) -> None:
    folder = store(tmp_path / "a", {number: np.full((2, 2), number % 2) for number in range(6)})
    found = field().read(f"{folder}#frames=2:5", lambda cell: Path(cell.split("#")[0]))
    assert found[:, 0, 0].tolist() == [0, 1, 0]


def test_a_clip_is_drawn_as_a_strip_of_its_frames() -> None:
    strip = field().draw(np.stack([np.zeros((4, 5), np.uint8), np.full((4, 5), 255, np.uint8)]))
    assert strip.size == (5 + 2 + 5, 4)
    assert strip.getpixel((0, 0)) != strip.getpixel((8, 0)) == (255, 255, 255)


def batch(clips: torch.Tensor, labels: torch.Tensor, **changes: object) -> Batch:
    rows = len(clips)
    values = {
        "inputs": {"clip": clips},
        "targets": {"mask": labels},
        "present": {"clip": torch.ones(rows, dtype=torch.bool)},
        "labelled": {"mask": torch.ones(rows, dtype=torch.bool)},
        "ids": tuple(f"s{row}" for row in range(rows)),
        "size": (clips.shape[-2], clips.shape[-1]),
        "sizes": ((clips.shape[-2], clips.shape[-1]),) * rows,
        "lengths": {"clip": torch.full((rows,), clips.shape[1])},
        "frames": (tuple(range(clips.shape[1])),) * rows,
    }
    return Batch(**{**values, **changes})  # type: ignore[arg-type]


def test_motion_stands_beside_the_classes_where_it_is_asked_for() -> None:
    waves = (128 + 60 * torch.sin(torch.arange(40) / 2.5)[:, None] * torch.cos(torch.arange(56) / 3)).to(torch.uint8)
    frames = torch.stack([waves[:, 4:52], waves[:, 2:50], waves[:, :48]])[None, :, None]  # moves right by 2
    numbers = torch.randint(0, 2, (1, 3, 40, 48), dtype=torch.uint8)
    given = batch(frames, numbers)
    assert field().beside("mask", given, MODALITIES) is numbers
    moving = field(motion="clip")
    labels, motion = moving.parted(moving.beside("mask", given, MODALITIES))
    torch.testing.assert_close(labels, numbers.long())
    assert motion is not None
    assert motion.shape == (1, 3, 40, 48, 2)
    assert motion[:, 0].isnan().all()
    assert motion[0, 1:, 8:-8, 8:-8].nanmedian(1).values.nanmedian(1).values[:, 0] == pytest.approx([-2, -2], abs=0.2)


def test_padding_in_time_and_place_and_rows_without_the_clip_have_no_motion() -> None:
    frames = torch.randint(0, 255, (1, 3, 3, 24, 40), dtype=torch.uint8)
    given = batch(
        frames,
        torch.zeros(2, 3, 24, 40, dtype=torch.uint8),
        present={"clip": torch.tensor([False, True])},
        labelled={"mask": torch.tensor([True, True])},
        sizes=((24, 40), (20, 32)),
        lengths={"clip": torch.tensor([2])},
        frames=((), (0, 1)),
    )
    moving = field(motion="clip")
    _, motion = moving.parted(moving.beside("mask", given, MODALITIES))
    assert motion is not None
    assert motion[0].isnan().all()
    assert motion[1, 2].isnan().all()
    assert motion[1, 1, 20:].isnan().all()
    assert motion[1, 1, :, 32:].isnan().all()


def test_motion_of_what_has_none_is_refused() -> None:
    frames, numbers = torch.zeros(1, 2, 3, 20, 20), torch.zeros(1, 2, 20, 20, dtype=torch.uint8)
    with pytest.raises(DataFault, match="'clop'; the modalities are clip; did you mean 'clip'"):
        field(motion="clop").beside("mask", batch(frames, numbers), MODALITIES)
    with pytest.raises(DataFault, match="clips of 8 bits"):
        field(motion="clip").beside("mask", batch(frames, numbers), MODALITIES)
    small = torch.zeros(1, 2, 3, 20, 15, dtype=torch.uint8)
    with pytest.raises(DataFault, match="told by clip, and of s0 it is not: frames are 15x20 pixels"):
        field(motion="clip").beside("mask", batch(small, small[:, :, 0]), MODALITIES)
    with pytest.raises(DataFault, match="a clip of pictures or of optical flow tells some"):
        field(motion="clip").beside("mask", batch(frames, numbers), {"clip": ImageModality({})})
    with pytest.raises(DataFault, match=r"set train\.features\.where to none"):
        field(motion="clip").beside("mask", batch(frames, numbers, inputs={"clip": frames[:0]}), MODALITIES)


# --- motion that is given


def square(left: int, *, value: float = 1.0) -> np.ndarray:
    """(12, 24): a square of 6 pixels a side."""
    mask = np.zeros((12, 24), np.float32)
    mask[3:9, left : left + 6] = value
    return mask


def given_motion(flow: torch.Tensor, numbers: tuple[int, ...], **options: str) -> torch.Tensor:
    """(T, H, W, 2) beside the masks of one clip."""
    masks = torch.zeros(1, len(flow), *flow.shape[2:], dtype=torch.uint8)
    target = field(motion="flow")
    seen = batch(
        flow[None], masks, inputs={"flow": flow[None]}, present={"flow": torch.tensor([True])},
        lengths={"flow": torch.tensor([len(flow)])}, frames=(numbers,),
    )  # fmt: skip
    motion = target.parted(target.beside("mask", seen, {"flow": FlowModality({}, **options)}))[1]
    assert motion is not None
    return motion[0]


def moving_square() -> torch.Tensor:
    """(3, 2, 12, 24): the flow forward of a square that lies at 4, 6 and 8 of a floor that stands."""
    right = np.stack([square(left, value=2) for left in (4, 6, 8)])
    return torch.from_numpy(np.stack([right, np.zeros_like(right)], 1))


def test_given_flow_forward_tells_where_the_pixels_of_the_next_frame_came_from() -> None:
    motion = given_motion(moving_square(), (0, 1, 2))
    assert motion[0].isnan().all()
    # of the second frame, in a row through the square, which now lies at 6 to 11: 4 and 5 were hidden by it, 10 and 11
    # are what it covers now, where it and the floor both arrive
    known = ~motion[1, 5].isnan().any(-1)
    assert (~known).nonzero().flatten().tolist() == [4, 5, 10, 11]
    assert motion[1, 5, 6:10, 0].tolist() == [-2] * 4
    assert motion[1, 5, 12:, 0].abs().max() == motion[1, 0].abs().max() == 0
    torch.testing.assert_close(motion[2, :, 2:], motion[1, :, :-2], equal_nan=True)


def test_given_flow_backward_is_taken_as_it_is_where_it_stays_in_the_picture() -> None:
    backward = -moving_square()
    backward[1, 0, 0, 1] = -2  # from outside
    backward[1, :, 11, 23] = torch.nan
    motion = given_motion(backward, (0, 1, 2), direction="backward")
    assert motion[0].isnan().all()
    assert motion[1].isnan().all(-1).nonzero().tolist() == [[0, 1], [11, 23]]
    assert motion[1, 5, 6:12, 0].tolist() == [-2] * 6
    torch.testing.assert_close(motion[2], backward[2].movedim(0, -1))


def test_consistency_by_given_flow_is_the_overlap_where_the_motion_is_known() -> None:
    motion = given_motion(moving_square(), (0, 1, 2)).movedim(-1, 1)
    task = VideoSegmentation({"fused": CLIP_SPEC}, field(motion="flow"), decoder=DECODER, objects=["object"])

    def agree(*lefts: int) -> tuple[int, int]:
        said = torch.from_numpy(np.stack([square(left) for left in lefts])).long()
        target = torch.cat([said[:, None].float(), motion], 1)[None]
        rows = task.records(nn.functional.one_hot(said, 2).permute(3, 0, 1, 2)[None].float(), target, ["a"]).rows
        return int(rows["steady"].sum()), int(rows["either"].sum())

    # of the square's 6 columns the 2 in front are not known, so 4 columns of 6 pixels in either of two frames
    assert agree(4, 6, 8) == (48, 48)
    # an answer that stands: in the second frame the columns 6 to 9 agree, and 4 and 5 are not known; in the third 8 and
    # 9 agree, 4 and 5 too, where the floor stands, and 10 and 11 came from the answer at 8 and 9 and are none now
    assert agree(4, 4, 4) == (24 + 24, 24 + 36)


def test_given_flow_tells_nothing_between_frames_that_do_not_follow_one_another() -> None:
    motion = given_motion(moving_square(), (3, 4, 6))
    assert not motion[1].isnan().all()
    assert motion[2].isnan().all()
