"""Points and boxes of every frame: how they are read, moved, counted, written and drawn."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tasks.task_cases import CLIP_SPEC, SIZE, clips, features
from tests.tasks.task_cases import FRAMES as NUM_FRAMES
from weft.data import geometry
from weft.data.timeline import Timeline
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.tasks.exchange import Origin
from weft.tasks.frame_location import FrameLocation
from weft.tasks.frame_points import FramePoints
from weft.tasks.location import HeatMapHead, Location
from weft.tasks.points import Points

FRAMES = Timeline.of_numbers(np.array([3, 4, 8]), None)


def task() -> FrameLocation:
    torch.manual_seed(0)
    return FrameLocation({"clip": CLIP_SPEC}, FramePoints({"points": ["ball", "box"]}), width=8)


def table(folder: Path, *lines: str) -> Path:
    path = folder / "places.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_table_is_read_by_the_numbers_of_the_frames(tmp_path: Path) -> None:
    path = table(tmp_path, "frame,point,x,y,visible", "3,ball,1.5,2,1", "3,box,7,8,", "8,box,,,0", "9,ball,5,5,1")
    field = FramePoints({"points": ["ball", "box"]})
    read = field.read_frames("places.csv", lambda _: path, FRAMES)
    assert read[0].tolist() == [[1.5, 2, 1], [7, 8, 1]]
    assert read[1, :, 2].tolist() == [-1, -1]  # no row: not known
    assert read[2].tolist() == [[0, 0, 0], [0, 0, 0]]  # a row of one: the other is not visible
    assert field.to_tensor(read)[1].tolist() == [[-1, -1, -1]] * 2
    assert FramePoints({}).read_frames("places.csv", lambda _: path, FRAMES).tolist() == ["ball", "box"]


def test_a_list_is_read_by_its_places(tmp_path: Path) -> None:
    cell = [None, None, None, [[1, 2], None], {"box": [3, 4]}]
    read = FramePoints({"points": ["ball", "box"]}).read_frames(cell, Path, FRAMES)
    assert read[:, :, 2].tolist() == [[1, 0], [0, 1], [-1, -1]]


def test_boxes_are_read_in_either_form(tmp_path: Path) -> None:
    corners = table(tmp_path, "frame,box,x1,y1,x2,y2", "4,car,2,3,12,9")
    both = FramePoints({"points": ["car"]}, kind="boxes").read_frames("a", lambda _: corners, FRAMES)
    sizes = table(tmp_path, "frame,box,x,y,width,height", "4,car,2,3,10,6", "5,car,0,0,1,1")
    again = FramePoints({"points": ["car"]}, kind="boxes", box="xywh").read_frames("a", lambda _: sizes, FRAMES)
    assert np.array_equal(both, again)
    assert both.shape == (3, 5, 3)
    tensor = FramePoints({"points": ["car"]}, kind="boxes").to_tensor(both)
    assert tensor[1].tolist() == [[2, 3, 1], [12, 9, 1]]
    assert tensor[0].tolist() == [[-1, -1, -1]] * 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["frame,point,x", "3,ball,1"], "is in frame, point, x, y and, where not all can be seen, visible"),
        (["frame,point,x,y", "3,ball,1,2", "3,ball,1,3"], "has 'ball' twice in the frame 3; keep one"),
        (["frame,point,x,y", "3,ball,1,"], "does not say where 'ball' is in the frame 3; fill in x and y, or say 0"),
        (["frame,point,x,y", "3,bell,1,2"], "frame 3: 'bell' is not among the names"),
        (["frame,point,x,y,visible", "3,ball,1,2,0.5"], "frame 3: 'ball' has 0.5 for visible; 0 and 1 are allowed"),
        (["frame,point,x,y", "x,ball,1,2"], "cannot be read as a table of frames"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, lines: list[str], message: str) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(BadCell, match=message):
        FramePoints({"points": ["ball", "box"]}).read_frames("places.csv", lambda _: path, FRAMES)


def test_places_without_frames_are_refused() -> None:
    with pytest.raises(BadCell, match="give the sample a clip"):
        FramePoints({"points": ["ball"]}).read([[[1, 2]]], Path)


def test_places_move_as_their_frames_do_and_unknown_ones_stay_unknown() -> None:
    """The marked pixel of every frame is found where its point went."""
    tracks = np.array([[[2.5, 1.5, 1], [9.5, 5.5, 1]], [[0, 0, -1], [0, 0, -1]], [[4.5, 2.5, 1], [0.5, 3.5, 1]]])
    clip = np.zeros((3, 8, 12, 1), np.uint8)
    for frame in (0, 2):
        x, y = tracks[frame, 0, :2].astype(int)
        clip[frame, y, x] = 255
    field = FramePoints({"points": ["ball", "box"]})
    mirrored = geometry.Warp(np.array([[-1.0, 0, 12], [0, 1, 0]]), (8, 12), (8, 12), resizes=True, mirrors=True)
    cropped = geometry.Warp(np.array([[1.0, 0, -3], [0, 1, -1]]), (8, 12), (6, 8), resizes=False)
    for warp in (mirrored, cropped):
        moved = geometry.apply(warp, tracks, field.geometry)
        pixels = geometry.apply(warp, clip, geometry.Geometry("clip"))
        assert (moved[1, :, 2] == -1).all()
        for frame in (0, 2):
            x, y, visible = moved[frame, 0]
            assert bool(visible) == bool(pixels[frame].max() == 255)
            assert not visible or pixels[frame, int(y), int(x)] == 255


def test_frames_that_are_not_known_cost_nothing_and_the_rest_costs_what_stills_do() -> None:
    given, still = task(), Location({}, Points({"points": ["ball", "box"]}))
    logits = torch.rand(1, 2, 3, 5) * 10
    logits[..., 3:] = torch.tensor([48.0, 32.0])
    target = torch.tensor([[[[3.0, 4, 1], [5, 6, 1]], [[-1, -1, -1]] * 2, [[1, 2, 1], [0, 0, 0]]]])
    total, count = given.loss(logits, target)
    known = still.loss(logits[0, :, [0, 2]].movedim(1, 0), target[0, [0, 2]])
    torch.testing.assert_close((total, count), known)
    assert count == given.count(target) == 4
    with pytest.raises(DataFault, match="frame 2 of a clip has a label, and what the task reads has 1 frames"):
        given.loss(logits[:, :, :1], target.flip(1))


def test_figures_are_over_the_frames_that_are_known() -> None:
    given = task()
    truth = torch.tensor(
        [[[[10.0, 10, 1], [20, 20, 1]], [[-1, -1, -1]] * 2], [[[0, 0, 0], [8, 8, 1]], [[-1, -1, -1]] * 2]]
    )
    said = truth.movedim(1, 2).clone()
    said[0, 0, 0] = torch.tensor([13.0, 14, 0.9])  # 5 pixels off: found
    said[0, 1, 0] = torch.tensor([26.0, 20, 0.2])  # 6 off: not found, and said not to be visible
    said[1, :, 0] = torch.tensor(
        [[50.0, 50, 0.1], [8, 8, 0.9]]
    )  # where what is not visible is said to be is of no matter
    records = given.records(said, truth, ["a", "b"])
    figures = given.figures(records)
    assert figures["MAE"] == pytest.approx((3 + 4 + 6) / 6)
    assert figures["RMSE"] == pytest.approx(np.sqrt((9 + 16 + 36) / 6))
    assert figures["MAE/ball"] == pytest.approx(7 / 2)
    assert figures["PCK"] == pytest.approx(2 / 3)
    assert figures["visibility_accuracy"] == pytest.approx(3 / 4)
    assert given.badness(records) == pytest.approx([13 / 4, 0])


def test_box_iou_is_the_mean_over_frames() -> None:
    given = FrameLocation({"clip": CLIP_SPEC}, FramePoints({"points": ["a"]}, kind="boxes"), width=8)
    truth = torch.tensor([[[[0.0, 0, 1], [10, 10, 1]], [[0, 0, 1], [10, 10, 1]]]])
    said = truth.movedim(1, 2).clone()
    said[0, 1, 1, 0] = 5  # the second frame's box is half as wide
    figures = given.figures(given.records(said, truth, ["a"]))
    assert figures["box_IoU"] == pytest.approx((1 + 0.5) / 2)
    assert figures["MAE"] == pytest.approx(5 / 8)
    assert "PCK" not in figures


def test_a_frame_is_answered_from_its_own_pixels() -> None:
    given, seen = task().eval(), clips()
    with torch.no_grad():
        said = given(seen, view="clip", size=SIZE)
        last = HeatMapHead.forward(given.heads["clip"], features(sum(NUM_FRAMES)).select(torch.tensor([8])), SIZE)
    assert said.shape == (4, 2, 3, 5)
    torch.testing.assert_close(said[3, :, 0], last[0])
    assert (said[3, :, 1:] == 0).all()  # the last clip has one frame


def test_answers_are_rows_by_the_numbers_of_the_frames_and_can_be_read_again(tmp_path: Path) -> None:
    given = task()
    answer = np.array([[[1, 2, 1.0], [3, 4, 1.0]], [[5, 6, 1.0], [7, 8, 0.0]]])
    given.write(answer, Origin("=a", (64, 96), SIZE, numbers=[3, 8]), tmp_path)
    with (tmp_path / "points.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "frame", "point", "x", "y", "visible"]
    assert rows[1][1:] == ["3", "ball", "2.00", "4.00", "1.000000"]
    assert [row[1] for row in rows[1:]] == ["3", "3", "8", "8"]
    again = given.field.read_frames("points.csv", lambda _: tmp_path / "points.csv", FRAMES)
    assert again[[0, 2], :, :2].tolist() == [[[2, 4], [10, 12]], [[6, 8], [0, 0]]]


def test_marks_are_drawn_on_enlarged_frames_where_they_belong() -> None:
    given, frame = task(), Image.new("RGB", (48, 32))
    target = given.field.read_frames([[[10, 20], None]], Path, Timeline.of_numbers(np.array([0, 1]), None))
    truths = given.truth_by_frame(target)
    picture = given.draw_truth(truths[0], frame)
    assert picture.size == (192, 128)
    assert picture.getpixel((40, 80)) == given.colours()["ball"]
    both = given.draw(np.array([[10, 20, 1.0], [10, 20, 1.0]]), frame)  # in one place: the second within the first
    assert both.getpixel((40, 80)) == given.colours()["box"]
    assert both.getpixel((40, 80 + 10)) == given.colours()["ball"]
    unknown = given.draw_truth(truths[1], frame)
    assert np.asarray(unknown)[:30, :30].any()  # the question mark
    assert not np.asarray(unknown)[60:].any()
    error = np.asarray(given.draw_error(np.array([[30, 20, 1.0], [0, 0, 0.0]]), truths[0], frame))
    assert error[80, 80].tolist() == [230, 40, 40]
    assert given.field.draw(target).size[0] > 0
