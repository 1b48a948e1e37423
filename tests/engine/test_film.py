"""A clip drawn frame by frame: which frames, what is drawn of them, and where the fusion looked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from tests.tasks.task_cases import CLIP_SPEC, DECODER
from weft.data.collate import Sample
from weft.data.timeline import Timeline
from weft.engine.film import MOST_FRAMES, Film, attention_of
from weft.modalities.video import VideoModality
from weft.tasks.clip_label_map import ClipLabelMap
from weft.tasks.frame_classification import FrameClassification
from weft.tasks.frame_label import FrameLabel
from weft.tasks.video_segmentation import VideoSegmentation
from weft.types import Features

SIZE = (16, 24)


class Kept(dict[str, Image.Image]):
    """What was saved, by name."""

    def __call__(self, picture: Image.Image, name: str) -> str:
        self[name] = picture
        return f"pictures/{name}.png"


def film(
    num_frames: int, *, labelled: bool = True, looked: dict[str, tuple[torch.Tensor, Features]] | None = None
) -> Film:
    shade = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    clip = np.broadcast_to(10 * shade, (num_frames, *SIZE, 3))
    masks = np.zeros((num_frames, *SIZE), np.uint8)
    masks[:, 4:8] = 1
    classes = np.arange(num_frames) % 2
    targets = {"masks": masks, "kind": classes} if labelled else {}
    numbers = Timeline.of_numbers(np.arange(num_frames) * 2 + 5)
    return Film(
        sample=Sample("a", {"clip": clip}, targets, SIZE, SIZE, frames=numbers),
        modalities={"clip": VideoModality({})},
        tasks={
            "masks": VideoSegmentation(
                {"clip": CLIP_SPEC}, ClipLabelMap({"classes": ["no", "yes"]}), decoder=DECODER, objects=["yes"]
            ),
            "kind": FrameClassification({"clip": CLIP_SPEC}, FrameLabel({"classes": ["walk", "run"]})),
        },
        still=Image.new("RGB", SIZE[::-1], "grey"),
        looked=looked or {},
        size=SIZE,
    )


def answers(num_frames: int) -> dict[str, np.ndarray]:
    said = np.zeros((2, num_frames, *SIZE), np.float32)
    said[0] = 1
    return {"masks": said, "kind": np.full((2, num_frames), 0.5, np.float32)}


def test_frames_are_shown_with_what_went_in_what_is_true_and_what_was_answered() -> None:
    kept = Kept()
    drawn = film(3).drawn(answers(3), kept)
    assert drawn is not None
    assert drawn["frames"] == [5, 7, 9]
    rows = [(row["of"], row["kind"]) for row in drawn["rows"]]
    masks = [("masks", "truth"), ("masks", "prediction"), ("masks", "error")]
    assert rows == [("clip", "input"), *masks, ("kind", "truth"), ("kind", "prediction")]
    assert all(len(row["pictures"]) == 3 for row in drawn["rows"])
    shades = [kept[f"film-clip-input-{place:03d}"].getpixel((0, 0))[0] for place in range(3)]
    assert shades == [0, 10, 20]
    truth = np.asarray(kept["film-masks-truth-002"])
    assert (truth[0] == 20).all()  # what is no object is as it is
    assert not (truth[5] == 20).all()


def test_of_a_long_clip_some_frames_are_shown_evenly_spaced() -> None:
    kept = Kept()
    drawn = film(45).drawn(answers(45), kept)
    assert drawn is not None
    assert len(drawn["frames"]) == MOST_FRAMES
    assert (drawn["frames"][0], drawn["frames"][-1]) == (5, 5 + 2 * 44)
    assert set(np.diff(drawn["frames"])) == {8}


def test_without_labels_and_answers_only_what_went_in_is_shown() -> None:
    drawn = film(2, labelled=False).drawn({}, Kept())
    assert drawn is not None
    assert [row["kind"] for row in drawn["rows"]] == ["input"]


def test_attention_is_shown_at_its_frame() -> None:
    attention = torch.zeros(1, 12)
    attention[0, 4:8], attention[0, 8] = 0.2, 0.1  # the second frame all over, the third in its first place
    tokens = torch.zeros(1, 12, 4)
    features = Features(tokens, torch.ones(1, 12, dtype=torch.bool), torch.ones(1, dtype=torch.bool), (3, 2, 2))
    explained = {"attention/clip": attention, "share": torch.ones(1, 1)}
    kept = Kept()
    drawn = film(3, looked=attention_of(explained, {"clip": features})).drawn({}, kept)
    assert drawn is not None
    row = drawn["rows"][0]
    np.testing.assert_allclose(row["shares"], [0, 0.8, 0.1], rtol=1e-6)
    assert drawn["rows"][1]["kind"] == "attention"
    brightness = [np.asarray(kept[f"film-clip-attention-{place:03d}"], float).mean() - 10 * place for place in range(3)]
    assert brightness[1] > brightness[2] > brightness[0] == 0


def test_a_token_a_frame_tells_shares_and_no_places() -> None:
    attention = torch.tensor([[0.5, 0.25, 0.25]])
    features = Features.of_sequence(torch.zeros(1, 3, 4), torch.tensor([3]))
    drawn = film(3, looked={"clip": (attention, features)}).drawn({}, Kept())
    assert drawn is not None
    assert drawn["rows"][0]["shares"] == [0.5, 0.25, 0.25]
    assert "attention" not in [row["kind"] for row in drawn["rows"]]


def test_what_came_through_each_part_is_told_by_the_frames() -> None:
    shares = {"inter": torch.tensor([[0.5, 0.25, 0.25]]), "exchange": torch.full((1, 3), torch.nan)}
    drawn = replace(film(3), parts=shares).drawn({}, Kept())
    assert drawn is not None
    assert drawn["parts"] == {"unit": "frame", "numbers": [5, 7, 9], "shares": {"inter": [0.5, 0.25, 0.25]}}
    longer = replace(film(2), parts=shares).drawn({}, Kept())  # a text goes on after the clip
    assert longer is not None
    assert (longer["parts"]["unit"], longer["parts"]["numbers"]) == ("step", [1, 2, 3])
    plain = film(3).drawn({}, Kept())
    assert plain is not None
    assert plain["parts"] is None
