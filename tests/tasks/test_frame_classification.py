"""A class for every frame: what counts, which frames are read, and files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from tests.tasks.task_cases import CLIP_SPEC, clips
from weft.errors import DataFault
from weft.tasks.exchange import Origin
from weft.tasks.frame_classification import FrameClassification, FrameHead
from weft.tasks.frame_label import FrameLabel
from weft.types import Features, FeatureSpec


def task(spec: FeatureSpec = CLIP_SPEC) -> FrameClassification:
    torch.manual_seed(0)
    return FrameClassification({"clip": spec}, FrameLabel({"classes": ["walk", "run"]}))


def test_figures_are_over_the_frames_whose_class_is_known() -> None:
    truth = torch.tensor([[0, 1, 1, -1], [1, -1, -1, -1]])
    sure = torch.tensor([[0.9, 0.2, 0.8, 0.1], [0.4, 0.9, 0.9, 0.9]])  # of walk
    prediction = torch.stack([sure, 1 - sure], 1)
    given = task()
    records = given.records(prediction, truth, ["a", "b"])
    figures = given.figures(records)
    assert figures["accuracy"] == pytest.approx(3 / 4)
    assert figures["recall/walk"] == 1
    assert figures["recall/run"] == pytest.approx(2 / 3)
    assert figures["precision/walk"] == pytest.approx(1 / 2)
    assert records.totals["confusion"].tolist() == [[1, 0], [1, 2]]
    assert given.badness(records) == pytest.approx([1 / 3, 0])


def test_frames_whose_class_is_not_known_cost_nothing() -> None:
    given = task()
    logits = torch.randn(2, 2, 3, requires_grad=True)
    target = torch.tensor([[0, -1, 1], [-1, -1, -1]])
    total, count = given.loss(logits, target)
    log = logits.log_softmax(1)
    torch.testing.assert_close(total, -(log[0, 0, 0] + log[0, 1, 2]))
    assert count == given.count(target) == 2
    nothing, none = given.loss(logits[1:], target[1:])
    assert (nothing.item(), none.item()) == (0, 0)


def test_a_frame_is_read_from_its_own_pixels_or_its_own_token() -> None:
    head = FrameHead(16, 2, hidden=0, dropout=0.0)
    given = clips()
    said = head(given, (0, 0))
    frame = given.tokens.unflatten(1, (3, -1))[2, 1].mean(0)
    torch.testing.assert_close(said[2, :, 1], head.layers(frame))
    assert (said[1, :, 2] == 0).all()  # the second clip has two frames
    sequence = Features.of_sequence(torch.randn(2, 4, 16), torch.tensor([4, 3]))
    told = head(sequence, (0, 0))
    torch.testing.assert_close(told[1, :, 2], head.layers(sequence.tokens[1, 2]))
    assert (told[1, :, 3] == 0).all()


def test_tokens_that_are_no_frames_are_refused() -> None:
    given = task(FeatureSpec("sequence", 16)).eval()
    logits = given(Features.of_sequence(torch.randn(1, 7, 16), torch.tensor([7])), view="clip", size=(0, 0))
    with pytest.raises(
        DataFault, match=r"7 tokens in the place of 3 frames; let it read, by `over`, a view of the clip"
    ):
        given.loss(logits, torch.tensor([[0, 1, -1]]))
    with pytest.raises(ValueError, match="needs frames and view 'clip' is a vector"):
        task(FeatureSpec("vector", 16))


def test_answers_are_rows_by_the_numbers_of_the_frames(tmp_path) -> None:
    shares = np.array([[0.9, 0.2], [0.1, 0.8]])
    given = task()
    given.write(shares, Origin("=a", (0, 0), (0, 0), numbers=[3, 12]), tmp_path)
    with (tmp_path / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["frame"], row["class"], row["p/run"]) for row in rows] == [
        ("'=a", "3", "walk", "0.100000"),
        ("'=a", "12", "run", "0.800000"),
    ]
    assert given.told(shares) == (("", "walk → run"),)
