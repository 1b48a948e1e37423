"""A live stream is answered as the whole clip is, and what cannot stream is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import weft
from weft import Predictor, StreamingPredictor, WeftError, load_experiment

BACKBONE = {"type": "timm", "name": "test_resnet"}
FRAMES = {"type": "frames", "backbone": BACKBONE, "cell": "gru", "hidden": 8, "causal": True}
SMALL = {"type": "dtl", "dim": 16, "heads": 2, "window": 2, "segment": 2, "causal": True}
NUM_FRAMES = 5


def write_clips(root: Path) -> None:
    """Six clips as folders of frames, a picture beside each, and what they show, whole and frame by frame."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(6):
        folder = root / f"clip{number}"
        folder.mkdir(parents=True)
        for place in range(NUM_FRAMES):
            Image.fromarray(frame(generator)).save(folder / f"{place:03}.png")
        Image.fromarray(frame(generator)).save(root / f"still{number}.png")
        row: dict[str, object] = {"clip": folder.name, "still": f"still{number}.png", "what": "ab"[number % 2]}
        row |= {"id": str(number), "split": "val" if number > 3 else "train", "when": list("ab" * 3)[:NUM_FRAMES]}
        row["where"] = [[[3 * place, number]] for place in range(NUM_FRAMES)]
        lines.append(json.dumps(row))
    (root / "clips.jsonl").write_text("\n".join(lines))


def frame(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)


def experiment(folder: Path, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "stream",
        "data": {"format": "table", "root": str(folder), "file": "clips.jsonl", "size": [32, 32], "workers": 0},
        "modalities": {
            "clip": {"type": "video", "encoder": FRAMES},
            "still": {"type": "image", "encoder": {**BACKBONE, "vector": 8}},
        },
        "fusion": {**SMALL, "tokens": "steps"},
        "tasks": {"what": {"type": "classification"}, "when": {"type": "frame_classification"}},
        "train": {"epochs": 1, "batch_size": 2, "precision": "fp32", "device": "cpu", "output": str(folder / "runs")},
    }
    return changed(content, changes)


def changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """With other parts, `fusion=…`, or other entries of them, `modalities__clip=…`."""
    for path, value in changes.items():
        part, _, name = path.partition("__")
        content[part] = {**content[part], name: value} if name else value
    return content


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


WHERE = {"type": "frame_location", "points": ["thing"], "width": 8}
MAPS = {"type": "video", "encoder": {"type": "frame_maps", "backbone": BACKBONE}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"modalities__clip": MAPS, "fusion": SMALL, "tasks__where": WHERE},
        {"fusion": "none", "tasks": {"what": {"type": "classification", "over": ["clip"]}}},
    ],
    ids=["tokens of frames", "maps of frames", "without a fusion"],
)
def test_after_every_frame_the_answers_are_those_of_the_clip_up_to_there(clips: Path, changes: dict[str, Any]) -> None:
    run = weft.train(load_experiment(experiment(clips, **changes)), progress=False)
    whole, stream = Predictor(run), StreamingPredictor(run)
    pictures = [np.asarray(Image.open(clips / "clip5" / f"{place:03}.png")) for place in range(NUM_FRAMES)]
    still = clips / "still5.png"
    state = stream.start(still=still)
    for number, picture in enumerate(pictures):
        answers, after = stream.step(state, clip=picture)
        again, _ = stream.step(state, clip=picture)  # the state that went in is as it was
        expected = whole(clip=np.stack(pictures[: number + 1]), still=still)
        assert set(answers) == set(expected)
        for task, said in expected.items():
            assert said is not None
            np.testing.assert_allclose(answers[task], said[:, -1] if task in ("when", "where") else said, atol=1e-4)
            np.testing.assert_array_equal(answers[task], again[task])
        state = after
    in_one_go = list(stream.answers(({"clip": picture} for picture in pictures), still=still))
    np.testing.assert_array_equal(in_one_go[-1]["what"], answers["what"])


def test_a_picture_that_is_not_given_is_absent_and_mistakes_are_named(clips: Path) -> None:
    run = weft.train(load_experiment(experiment(clips)), progress=False)
    stream, picture = StreamingPredictor(run), np.zeros((32, 32, 3), np.uint8)
    answers, _ = stream.step(stream.start(), clip=picture)
    np.testing.assert_allclose(answers["what"], Predictor(run)(clip=picture[None])["what"], atol=1e-4)
    with pytest.raises(WeftError, match="clip comes frame by frame: give it to `step`"):
        stream.start(clip=picture)
    with pytest.raises(WeftError, match="frame by frame come clip; still is not among them"):
        stream.step(stream.start(), still=picture)
    with pytest.raises(WeftError, match="frame by frame come clip; none was given"):
        stream.step(stream.start())


def test_what_looks_ahead_is_refused_with_every_reason(clips: Path) -> None:
    blind = {**FRAMES, "causal": False}
    changes: dict[str, Any] = {
        "fusion": {**SMALL, "causal": False, "tokens": "steps"},
        "modalities__clip": {"type": "video", "encoder": blind},
        "inference": {"flip": True},
    }
    run = weft.train(load_experiment(experiment(clips, **changes)), progress=False)
    with pytest.raises(WeftError) as told:
        StreamingPredictor(run)
    assert told.value.code == "no-stream"
    for reason in (
        "fusion: this fusion sees later frames; train it with `causal: true`",
        "modalities.clip: its recurrent network goes over a clip from both ends; train it with `causal: true`",
        "inference: a stream looks once at every frame",
    ):
        assert reason in str(told.value)
