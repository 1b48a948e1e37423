"""Clips from training to the page: masks on every frame, a class for each, pictures among clips, and files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import weft
from tests.end_to_end.test_configs import write_davis
from weft import cli

CONFIG = """
name: clips
data:
  {{format: table, root: {root}, file: all.csv, size: [48, 80], validation: {{by: random, fraction: 0.5}}}}
modalities:
  clip: {{type: video, encoder: {{type: frame_maps, backbone: {{type: timm, name: test_resnet, pretrained: false}}}}}}
fusion: none
tasks:
  masks:
    {{type: video_segmentation, decoder: {{type: fcn, channels: 8}}, classes: [background, object],
    remap: {{"0": 0, "255": 1}}, ignore: 7, objects: [object], motion: clip, consistency: 0.1}}
  side: {{type: frame_classification, classes: [left, right]}}
train: {{epochs: 1, batch_size: 2, precision: fp32, device: cpu, output: {root}/runs}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three clips, one of them with a mask on one frame only, and a picture with its mask beside them."""
    root = tmp_path_factory.mktemp("clips")
    write_davis(root)
    frames, masks = "JPEGImages/480p", "Annotations/480p"
    for number in (0, 1, 2, 4):
        (root / masks / "car" / f"{number:05}.png").unlink()
    (root / "bear.csv").write_text("frame,label\n0,left\n3,right\n")
    rows = [
        f"bear,{frames}/bear,{masks}/bear,bear.csv",
        f"car,{frames}/car,{masks}/car,",
        f"dog,{frames}/dog,{masks}/dog,bear.csv",
        f"still,{frames}/swan/00002.jpg,{masks}/swan/00002.png,",
    ]
    (root / "all.csv").write_text("\n".join(["id,clip,masks,side", *rows]))
    (root / "config.yaml").write_text(CONFIG.format(root=root))
    trained = weft.train(root / "config.yaml", progress=False)
    weft.evaluate(trained, split="train", progress=False)
    weft.write_report(trained)
    return trained


def test_clips_of_different_lengths_and_a_picture_train_one_head(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["loss/masks"]) > 0 for row in rows)
    assert any(row["masks/J&F_mean"] for row in rows)
    assert "masks/consistency" in rows[0]


def test_the_page_shows_clips_as_strips_with_their_answers(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert '<div class="film">' in page
    assert "masks: prediction, frame 3" in page
    assert "side: truth, frame 0" in page
    assert "J&amp;F mean" in page


def test_answers_are_folders_of_frames_and_rows_by_frame(run: Path, tmp_path: Path) -> None:
    out = weft.predict(run, split="train", out=tmp_path / "said", progress=False)
    folder = next(path for path in sorted((out / "masks").iterdir()) if path.name != "classes.json")
    numbers = {"00002.png"} if folder.name == "still" else {f"{number:05}.png" for number in range(5)}
    assert {path.name for path in folder.iterdir()} == numbers
    with Image.open(folder / "00002.png") as picture:
        assert (picture.mode, picture.size) == ("P", (80, 48))
    with (out / "side" / "frames.csv").open() as file:
        assert {row["frame"] for row in csv.DictReader(file)} >= {"2"}


def test_a_clip_can_be_answered_from_python(run: Path) -> None:
    clip = np.random.default_rng(0).integers(0, 255, (4, 48, 80, 3), dtype=np.uint8)
    said = weft.Predictor(run)(clip=clip)
    assert said["masks"] is not None
    assert said["masks"].shape == (2, 4, 48, 80)
    assert said["side"] is not None
    assert said["side"].shape == (2, 4)


def test_a_part_of_a_clip_is_answered_from_python_and_from_the_command_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = str(run.parents[2] / "JPEGImages/480p/bear")
    predictor = weft.Predictor(run)
    whole, part = predictor(clip=frames)["masks"], predictor(clip=f"{frames}#frames=1:4")["masks"]
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part, whole[:, 1:4])
    assert cli.run(["predict", str(run), "--clip", f"{frames}#frames=1:4", "--out", str(tmp_path / "said")]) == 0
    assert {path.name for path in (tmp_path / "said/masks/sample").iterdir()} == {"00001.png", "00002.png", "00003.png"}
    assert cli.run(["predict", str(run), "--clip", f"{frames}#t=3,2", "--out", str(tmp_path / "none")]) == 2
    assert "write #t=START,STOP in seconds" in capsys.readouterr().err
    assert cli.run(["predict", str(run), "--clip", f"{frames}/none#t=3", "--out", str(tmp_path / "none")]) == 2
    assert "none'" in capsys.readouterr().err


def test_a_folder_of_frames_is_answered_from_the_command_line(run: Path, tmp_path: Path) -> None:
    frames = run.parents[2] / "JPEGImages/480p/bear"
    assert cli.run(["predict", str(run), "--clip", str(frames), "--out", str(tmp_path / "said")]) == 0
    assert len(list((tmp_path / "said/masks/sample").glob("*.png"))) == len(list(frames.iterdir()))
    assert cli.run(["predict", str(run), "--clip", str(frames / "none"), "--out", str(tmp_path / "none")]) == 2
