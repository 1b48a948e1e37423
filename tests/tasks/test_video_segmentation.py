"""Segmentation of clips: what a frame is told, what J, F and consistency are over clips, files, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.tasks.task_cases import CLIP_SPEC, DECODER, FRAMES, ROWS, SIZE, SPEC, clips, features
from weft.errors import DataFault
from weft.registry import Part
from weft.tasks.clip_label_map import ClipLabelMap
from weft.tasks.exchange import Origin
from weft.tasks.frames import by_clip, stills_of
from weft.tasks.label_map import LabelMap
from weft.tasks.segmentation import Segmentation
from weft.tasks.video_segmentation import VideoSegmentation

CLASSES = ["background", "object"]


def task(motion: str | None = None, **options: object) -> VideoSegmentation:
    torch.manual_seed(0)
    field = ClipLabelMap({"classes": CLASSES}, motion=motion)
    return VideoSegmentation({"fused": CLIP_SPEC}, field, **{"decoder": DECODER, **options})  # type: ignore[arg-type]


def answers(masks: np.ndarray) -> torch.Tensor:
    """(P, 2, T, H, W) probabilities of masks (P, T, H, W) of the object."""
    return nn.functional.one_hot(torch.from_numpy(masks).long(), 2).movedim(-1, 1).float()


def square(left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((60, 80), np.int64)
    mask[20 : 20 + side, left : left + side] = 1
    return mask


def test_a_frame_is_answered_as_the_same_picture_by_itself() -> None:
    video = task().eval()
    still = Segmentation({"fused": SPEC}, LabelMap({"classes": CLASSES}), decoder=DECODER).eval()
    still.load_state_dict(video.state_dict())
    with torch.no_grad():
        said = video.predict(video(clips(), view="fused", size=SIZE))
        alone = still.predict(still(features(sum(FRAMES)), view="fused", size=SIZE))
    assert said.shape == (ROWS, 2, max(FRAMES), *SIZE)
    torch.testing.assert_close(torch.cat([said[row, :, :n].movedim(1, 0) for row, n in enumerate(FRAMES)]), alone)


def test_what_fills_up_a_clip_reaches_no_statistics() -> None:
    given = clips()
    assert [one.tokens.shape[0] for one in (stills_of(given), stills_of(given.select(torch.tensor([0]))))] == [9, 3]
    normal = nn.BatchNorm2d(16)
    normal(stills_of(given).pyramid[-1])
    other = nn.BatchNorm2d(16)
    other(features(sum(FRAMES)).pyramid[-1])
    torch.testing.assert_close(normal.running_mean, other.running_mean)
    real = given.frames
    torch.testing.assert_close(
        by_clip(torch.arange(1.0, 10.0), real), torch.tensor([[1, 2, 3], [4, 5, 0], [6, 7, 8], [9, 0, 0.0]])
    )


def test_frames_without_a_label_cost_nothing() -> None:
    video = task()
    logits = video(clips(), view="fused", size=SIZE)
    target = torch.zeros(ROWS, 3, *SIZE, dtype=torch.uint8)
    target[:, 1:] = 255
    total, count = video.loss(logits, target)
    first_frames, only = video.loss(logits[:, :, :1], target[:, :1])
    torch.testing.assert_close(total, first_frames)
    assert count == only == ROWS * SIZE[0] * SIZE[1]


def test_a_clip_without_any_labelled_frame_costs_nothing_and_has_no_figure() -> None:
    video = task()
    unlabelled = torch.full((ROWS, 3, *SIZE), 255, dtype=torch.uint8)
    total, count = video.loss(video(clips(), view="fused", size=SIZE), unlabelled)
    assert (total.item(), count.item()) == (0, 0)
    total.backward()
    records = video.records(torch.full((ROWS, 2, 3, *SIZE), 0.5), unlabelled, ["a", "b", "c", "d"])
    assert all(np.isnan(value) for value in video.figures(records).values())
    assert video.badness(records).tolist() == [0, 0, 0, 0]


def test_a_label_beyond_what_is_answered_is_refused() -> None:
    video = task()
    still = video(features(), view="fused", size=SIZE)
    assert still.shape[2] == 1
    target = torch.zeros(ROWS, 2, *SIZE, dtype=torch.uint8)
    with pytest.raises(DataFault, match=r"frame 2 of a clip has a label, and what the task reads has 1 frames"):
        video.loss(still, target)
    target[:, 1] = 255
    assert video.loss(still, target)[1] == ROWS * SIZE[0] * SIZE[1]


def test_measures_are_means_over_the_frames_of_a_clip_and_then_over_clips() -> None:
    video = task(objects=["object"])
    truth = np.stack([[square(20)] * 4, [square(20)] * 4])
    said = np.stack([[square(20), square(20), square(22), square(60)], [square(20)] * 4])
    records = video.records(answers(said), torch.from_numpy(truth).to(torch.uint8), ["a", "b"])
    overlap = 80 / 120
    rows = {name: values[:, 0].tolist() for name, values in records.rows.items() if name[0] in "JF"}
    assert rows["J_mean"] == pytest.approx([(2 + overlap) / 4, 1])
    assert rows["J_recall"] == [0.75, 1]
    assert rows["J_decay"] == pytest.approx([1 - overlap / 2, 0])  # frames 0 and 1 against 2 and 3
    figures = video.figures(records)
    assert figures["J_mean"] == figures["J_mean/object"] == pytest.approx(((2 + overlap) / 4 + 1) / 2)
    assert figures["J&F_mean"] == pytest.approx((figures["J_mean"] + figures["F_mean"]) / 2)
    assert video.badness(records) == pytest.approx([1 - (rows["J_mean"][0] + rows["F_mean"][0]) / 2, 0])


def test_an_object_that_does_not_occur_in_a_clip_is_in_no_mean_of_it() -> None:
    video = task(objects=["object"])
    truth = np.stack([[square(20)] * 2, [square(0, side=0)] * 2])
    records = video.records(answers(truth), torch.from_numpy(truth).to(torch.uint8), ["a", "b"])
    assert records.rows["occurs"].tolist() == [[1], [0]]
    assert video.figures(records)["J_mean"] == 1
    invented = np.stack([[square(20)] * 2, [square(20)] * 2])
    assert video.figures(video.records(answers(invented), torch.from_numpy(truth).to(torch.uint8), ["a", "b"]))[
        "J_mean"
    ] == pytest.approx(0.5)


def test_only_labelled_frames_are_measured_and_unlabelled_pixels_are_not() -> None:
    video = task(objects=["object"])
    truth = torch.from_numpy(np.stack([[square(20), square(20)]])).to(torch.uint8)
    truth[0, 1] = 255
    records = video.records(answers(np.stack([[square(20), square(60)]])), truth, ["a"])
    assert records.rows["J_mean"].tolist() == [[1]]
    truth[0, 0, :, 30:] = 255  # so that what is said beyond is neither right nor wrong
    wide = video.records(answers(np.stack([[square(20) | square(25), square(60)]])), truth, ["a"])
    assert wide.rows["J_mean"].tolist() == wide.rows["F_mean"].tolist() == [[1]]


def standing(masks: np.ndarray, moved: float) -> torch.Tensor:
    """The target of masks (P, T, H, W) with a motion to the right by so many pixels, unknown in the last 10 columns."""
    numbers = torch.from_numpy(masks).float()[:, :, None]
    motion = torch.zeros(*masks.shape[:2], 2, *masks.shape[2:])
    motion[:, :, 0] = -moved
    motion[:, 0] = torch.nan
    motion[..., -10:] = torch.nan
    return torch.cat([numbers, motion], 2)


def test_consistency_is_the_overlap_with_the_answer_before_carried_along() -> None:
    video = task(objects=["object"], motion="clip")
    moving = np.stack([[square(20), square(22), square(24)]])
    follows = video.records(answers(moving), standing(moving, 2), ["a"])
    assert (follows.rows["steady"].tolist(), follows.rows["either"].tolist()) == ([[200]], [[200]])
    lags = video.records(answers(np.stack([[square(20), square(20), square(24)]])), standing(moving, 2), ["a"])
    # carried along by 2, the first lies at 22 beside the 20 of the second: 80 of 120; the second beside 24: as many
    assert (lags.rows["steady"].tolist(), lags.rows["either"].tolist()) == ([[160]], [[240]])
    assert video.figures(lags)["consistency"] == pytest.approx(160 / 240)
    unseen = video.records(answers(np.stack([[square(70)] * 3])), standing(moving, 0), ["a"])
    assert unseen.rows["either"].tolist() == [[0]]
    assert np.isnan(video.figures(unseen)["consistency"])


def test_the_loss_of_inconsistency_by_hand() -> None:
    steady = task(objects=["object"], motion="clip", consistency=0.5)
    plain = task(objects=["object"], motion="clip")
    masks = np.zeros((1, 2, 4, 30), np.int64)
    logits = torch.zeros(1, 2, 2, 4, 30)
    logits[0, 1, 1] = np.log(3)  # 1/2 each in the first frame, 1/4 and 3/4 in the second
    target = standing(masks, 0)
    total, count = steady.loss(logits, target)
    without, _ = plain.loss(logits, target)
    # (1/4)² twice at every pixel whose motion is known, times the count and the weight
    assert ((total - without) / count).item() == pytest.approx(0.5 * 2 / 16, rel=1e-5)
    assert count == 240


def test_consistency_without_motion_and_objects_that_are_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="name in `motion` the modality"):
        task(consistency=0.1)
    with pytest.raises(ValueError, match=r"objects names 'objekt'; the classes are background, object; did you mean"):
        task(objects=["objekt"])


def test_answers_are_written_as_a_folder_of_palette_pictures_by_the_numbers_of_the_frames(tmp_path) -> None:
    video = task()
    prediction = answers(np.stack([[square(20), square(30)]]))[0].numpy()
    video.write(prediction, Origin("bear", (120, 160), (60, 80), numbers=[4, 12]), tmp_path)
    assert sorted(path.name for path in (tmp_path / "bear").iterdir()) == ["00004.png", "00012.png"]
    with Image.open(tmp_path / "bear" / "00012.png") as picture:
        assert (picture.mode, picture.size) == ("P", (160, 120))
        labels = np.asarray(picture)
    assert labels[50, 70] == 1
    assert labels[50, 50] == 0
    assert json.loads((tmp_path / "classes.json").read_text())["1"]["name"] == "object"


def test_views_of_different_strides_are_answered_at_one_size() -> None:
    video = task(decoder=Part("decoder", "fcn", {"channels": 8, "hidden": 8, "dropout": 0.0}))
    fine, coarse = torch.randn(2, 2, 3, 8, 12), torch.randn(2, 2, 3, 4, 6)
    alike = video.alike({"a": fine, "b": coarse})
    torch.testing.assert_close(alike["a"], fine)
    torch.testing.assert_close(
        alike["b"][:, :, 1], nn.functional.interpolate(coarse[:, :, 1], (8, 12), mode="bilinear", align_corners=False)
    )
