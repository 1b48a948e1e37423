"""Optical flow: what is in the files, how vectors move with the picture, and what the encoder sees of them."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from weft.data import geometry
from weft.data.flowfile import read_flow
from weft.data.geometry import Warp
from weft.data.timeline import Timeline
from weft.engine.inference import looks
from weft.experiment import Augment, Inference
from weft.modalities.base import BadCell
from weft.modalities.flow import FlowModality
from weft.types import Batch, InputSpec

#: (2, 3, 2): right and down of two rows of three pixels.
VECTORS = np.array([[[1, 2], [-3.5, 0], [0, 0]], [[0.25, -8], [100, 7], [6, -6]]], np.float32)


def flo(path: Path, vectors: np.ndarray) -> Path:
    """As Middlebury describes it: "PIEH", width, height, then right and down of every pixel, row by row."""
    height, width = vectors.shape[:2]
    content = b"PIEH" + struct.pack("<ii", width, height)
    for row in vectors.tolist():
        for right, down in row:
            content += struct.pack("<ff", right, down)
    path.write_bytes(content)
    return path


def kitti(path: Path, stored: np.ndarray) -> Path:
    """16 bits of red, green and blue, as OpenCV writes them: blue first."""
    cv2.imwrite(str(path), stored[..., ::-1].astype(np.uint16))
    return path


def as_given(cell: object) -> Path | np.ndarray:
    return cell  # type: ignore[return-value]


def test_a_flo_file_is_read_as_it_is_described_and_as_opencv_reads_it(tmp_path: Path) -> None:
    path = flo(tmp_path / "0.flo", VECTORS)
    np.testing.assert_array_equal(read_flow(path), VECTORS)
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(path)), VECTORS)


def test_what_is_beyond_all_bounds_or_no_number_is_not_known(tmp_path: Path) -> None:
    for place, strange in enumerate((1e10, -2e9, np.nan, np.inf)):
        vectors = VECTORS.copy()
        vectors[0, 1, place % 2] = strange
        found = read_flow(flo(tmp_path / "0.flo", vectors))
        assert np.isnan(found[0, 1]).all()  # in both components
        assert np.isnan(found).sum() == 2
        np.testing.assert_array_equal(read_flow(vectors), found)


def test_a_png_of_sixteen_bits_is_read_as_kitti_describes_it(tmp_path: Path) -> None:
    stored = np.array([[[2**15 + 64, 2**15 - 32, 1], [2**15, 2**15, 0], [0, 2**16 - 1, 1]]])
    found = read_flow(kitti(tmp_path / "0.png", stored))
    np.testing.assert_array_equal(found[0, 0], [1, -0.5])
    assert np.isnan(found[0, 1]).all()
    np.testing.assert_array_equal(found[0, 2], [-512, 511.984375])


@pytest.mark.parametrize("ending", [".npy", ".npz", ".tif"])
def test_arrays_of_two_channels_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"0{ending}"
    if ending == ".npy":
        np.save(path, VECTORS.astype(np.float64))
    elif ending == ".npz":
        np.savez_compressed(path, flow=VECTORS)
    else:
        tifffile.imwrite(path, VECTORS, metadata={"axes": "YXS"}, photometric="minisblack", planarconfig="contig")
    found = read_flow(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VECTORS)


def broken(folder: Path, what: str) -> Path:
    path = folder / "0.flo"
    whole = flo(path, VECTORS).read_bytes()
    contents = {
        "cut": whole[:-3],
        "long": whole + b"\0",
        "header": whole[:7],
        "empty": b"",
        "page": b"<html>404</html>",
        "bomb": b"PIEH" + struct.pack("<ii", 100_000, 100_000),
        "negative": b"PIEH" + struct.pack("<ii", -3, 2),
        "archive": b"PK\x03\x04 and no more",
    }
    path.write_bytes(contents[what])
    return path


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("cut", "truncated-flow"),
        ("long", "truncated-flow"),
        ("header", "truncated-flow"),
        ("archive", "truncated-flow"),
        ("empty", "empty-file"),
        ("page", "not-an-image"),
        ("bomb", "too-many-pixels"),
        ("negative", "no-pixels"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, what: str, code: str) -> None:
    with pytest.raises(BadCell, match=r"0\.flo") as fault:
        read_flow(broken(tmp_path, what))
    assert fault.value.code == code


def test_what_is_no_flow_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "colours.png")
    np.save(tmp_path / "channels_first.npy", VECTORS.transpose(2, 0, 1))
    np.save(tmp_path / "whole.npy", VECTORS.astype(np.int16))
    np.savez(tmp_path / "two.npz", a=VECTORS, b=VECTORS)
    for name in ("colours.png", "channels_first.npy", "whole.npy", "two.npz"):
        with pytest.raises(BadCell, match=name) as fault:
            read_flow(tmp_path / name)
        assert fault.value.code == "not-flow"
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((3000, 3000, 2), np.float32))
    with pytest.raises(BadCell, match=r"declares 3000x3000 = 9\.0 million pixels"):
        read_flow(tmp_path / "bomb.npz", max_pixels=1_000_000)


def test_a_folder_has_a_flow_for_every_frame_but_the_last(tmp_path: Path) -> None:
    for number in (4, 5, 6):
        flo(tmp_path / f"frame_{number:04d}.flo", np.full((2, 3, 2), number, np.float32))
    field = FlowModality({})
    assert field.timeline(tmp_path, as_given).numbers.tolist() == [4, 5, 6]
    beside = Timeline.of_numbers(np.arange(4, 8))
    assert field.read_frames(tmp_path, as_given, beside)[:, 0, 0, 0].tolist() == [4, 5, 6, 6]
    flo(tmp_path / "frame_0006.flo", np.zeros((3, 3, 2), np.float32))
    with pytest.raises(BadCell, match="begins with a frame of 3x2") as fault:
        field.read_frames(tmp_path, as_given, beside)
    assert fault.value.code == "size-mismatch"
    (tmp_path / "frame_0006.flo").unlink()
    with pytest.raises(BadCell, match="no frame beside 1 of the 4 that are taken") as fault:
        field.read_frames(tmp_path, as_given, beside)
    assert fault.value.code == "frame-missing"


def test_flow_backward_of_the_first_frame_is_not_known(tmp_path: Path) -> None:
    for number in (5, 6, 7):
        flo(tmp_path / f"{number}.flo", np.full((2, 3, 2), number, np.float32))
    field = FlowModality({}, direction="backward")
    frames = Timeline.of_numbers(np.arange(4, 8))
    read = field.read_frames(tmp_path, as_given, frames)
    assert np.isnan(read[0]).all()
    assert read[1:, 0, 0, 0].tolist() == [5, 6, 7]
    assert np.isnan(field.read_frames(tmp_path, as_given, frames.at(np.array([0])))).all()
    np.testing.assert_array_equal(field.read_frames(tmp_path, as_given, frames.at(np.array([1, 2]))), read[1:3])
    with pytest.raises(BadCell, match="no frame beside 2 of the 3"):
        field.read_frames(tmp_path, as_given, Timeline.of_numbers(np.arange(3, 6)))


# --- geometry


def textured(shift: tuple[int, int]) -> np.ndarray:
    """(40, 60, 1) float32 of a large pattern, moved right and down."""
    right, down = shift
    pattern = np.random.default_rng(0).random((80, 100)).astype(np.float32)
    smooth = cv2.GaussianBlur(pattern, None, 2)
    return np.ascontiguousarray(smooth[20 - down : 60 - down, 20 - right : 80 - right, None])


#: Mirrored, half as wide, one and a half times as high, and a part of that; a quarter turn; a resizing.
WARPS = {
    "mirrored": Warp(np.array([[-0.5, 0, 28], [0, 1.5, -9]]), (40, 60), (45, 24), resizes=False, mirrors=True),
    "turned": Warp(np.array([[0, -1.0, 40], [1, 0, 0]]), (40, 60), (60, 40), resizes=False),
    "resized": Warp(np.array([[0.5, 0, 0], [0, 0.5, 0]]), (40, 60), (20, 30), resizes=True),
}


@pytest.mark.parametrize(("name", "expected"), [("mirrored", (-2, 3)), ("turned", (-2, 4)), ("resized", (2, 1))])
def test_moved_flow_is_the_flow_between_the_moved_pictures(name: str, expected: tuple[int, int]) -> None:
    warp, kind = WARPS[name], geometry.Geometry("clip", fill=0)
    first, second = geometry.apply(warp, np.stack([textured((0, 0)), textured((4, 2))]), kind)[..., 0]
    flow = np.broadcast_to(np.float32((4, 2)), (1, 40, 60, 2))
    moved = geometry.apply(warp, flow, FlowModality({}).geometry)[0]
    right, down = expected
    height, width = warp.size
    rows, columns = np.mgrid[8 : height - 8, 8 : width - 8]
    np.testing.assert_allclose(moved[rows, columns], np.broadcast_to(expected, (*rows.shape, 2)), atol=1e-5)
    # a pixel of the first moved picture is found in the second where the moved flow says; and not where it was
    np.testing.assert_allclose(first[rows, columns], second[rows + down, columns + right], atol=2e-3)
    assert np.abs(first[rows, columns] - second[rows, columns]).mean() > 0.01


def test_any_drawn_geometry_turns_and_scales_the_vectors() -> None:
    augment = Augment(flip=1.0, scale=(0.7, 1.4), rotate=30.0, crop=(32, 32))
    for seed in range(4):
        warp = geometry.draw((40, 60), (48, 48), augment, geometry.generator(seed))
        flow = np.broadcast_to(np.float32((4, -3)), (1, 40, 60, 2))
        moved = geometry.apply(warp, flow, FlowModality({}).geometry)[0]
        expected = warp.matrix[:, :2] @ (4, -3)
        known = ~np.isnan(moved).any(-1)
        assert known.mean() > 0.3
        np.testing.assert_allclose(moved[known], np.broadcast_to(expected, (known.sum(), 2)), atol=1e-4)


def test_what_is_not_known_stays_so_and_reaches_no_neighbour() -> None:
    flow = np.full((1, 8, 8, 2), 2, np.float32)
    flow[0, 2:4, 2:4] = np.nan
    half = Warp(np.array([[0.5, 0, 0], [0, 0.5, 0]]), (8, 8), (4, 4), resizes=True)
    moved = geometry.apply(half, flow, FlowModality({}).geometry)[0]
    assert np.isnan(moved[1, 1]).all()
    assert np.isnan(moved).sum() == 2
    assert np.nanmin(moved) == np.nanmax(moved) == 1
    beyond = Warp(np.array([[1.0, 0, 3], [0, 1, 0]]), (8, 8), (8, 8), resizes=False)
    assert np.isnan(geometry.apply(beyond, flow, FlowModality({}).geometry)[0][:, :3]).all()


def test_looks_at_test_time_turn_and_scale_the_vectors() -> None:
    pixels = torch.zeros(1, 2, 2, 8, 16)
    pixels[:, :, 0, :, :8], pixels[:, :, 1] = 3, 1
    batch = Batch(
        inputs={"flow": pixels}, targets={}, present={"flow": torch.tensor([True])}, labelled={}, ids=("a",),
        size=(8, 16), sizes=((8, 16),),
    )  # fmt: skip
    inference = Inference(flip=True, scales=(0.5, 1))
    seen = looks(batch, {"flow": FlowModality({})}, inference=inference, multiple=4, whole_too=False)
    small, small_flipped, same, flipped = (look.batch.inputs["flow"][0, 0] for look in seen)
    assert (same[:, 0, 0].tolist(), same[:, 0, -1].tolist()) == ([3, 1], [0, 1])
    assert (flipped[:, 0, 0].tolist(), flipped[:, 0, -1].tolist()) == ([0, 1], [-3, 1])
    assert (small.shape, small[:, 0, 0].tolist()) == ((2, 4, 8), [1.5, 0.5])
    assert small_flipped[:, 0, -1].tolist() == [-1.5, 0.5]


# --- what the encoder sees


def test_the_encoder_sees_pixels_by_their_spread_and_nothing_where_nothing_is_known() -> None:
    value = np.zeros((1, 1, 3, 2), np.float32)
    value[0, 0] = [[3, 4], [np.nan, np.nan], [0, 5]]
    facts = FlowModality({}).fit([value])
    assert facts == {"scale": pytest.approx((50 / 4) ** 0.5, rel=1e-5)}
    field = FlowModality(facts, validity=True)
    assert not field.wants_fit
    assert field.num_channels == 3
    ready = field.preprocessor(InputSpec())(field.to_tensor(value)[None])
    assert ready.shape == (1, 1, 3, 1, 3)
    torch.testing.assert_close(ready[0, 0, :2, 0, 0], torch.tensor([3, 4]) / 12.5**0.5)
    assert ready[0, 0, :, 0, 1].tolist() == [0, 0, 0]
    assert ready[0, 0, 2, 0].tolist() == [1, 0, 1]
    fixed = FlowModality(facts, scale=2.0)
    assert fixed.num_channels == 2
    assert fixed.preprocessor(InputSpec())(field.to_tensor(value)[None])[0, 0, :, 0, 0].tolist() == [1.5, 2]


def test_a_training_part_without_any_motion_has_a_scale_too() -> None:
    assert FlowModality({}).fit([np.zeros((1, 2, 2, 2), np.float32)]) == {"scale": 1.0}
    assert FlowModality({}).fit([np.full((1, 2, 2, 2), np.nan, np.float32)]) == {"scale": 1.0}


def test_colours_say_where_to_and_brightness_how_far() -> None:
    value = np.zeros((1, 1, 4, 2), np.float32)
    value[0, 0] = [[9, 0], [-9, 0], [0, 0], [np.nan, np.nan]]
    drawn = np.asarray(FlowModality({}, scale=3.0).draw(value))[0]
    assert drawn.tolist() == [[255, 0, 0], [0, 255, 255], [0, 0, 0], [128, 128, 128]]
