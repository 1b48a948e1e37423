"""`weft init`: what is guessed of folders, with reasons, and that the guess is a valid configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from weft.config import load_experiment
from weft.data.guess import Guess, guess
from weft.data.pipeline import build_data
from weft.errors import DataFault


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (32, 48, 3), np.uint8)


def guessed(root: Path) -> tuple[dict, Guess]:
    """The configuration as a mapping, after it was found valid and its data was opened."""
    found = guess(root)
    tree = yaml.safe_load(found.config_text)
    build_data(load_experiment(tree))
    return tree, found


def test_parallel_folders_become_image_depth_and_labels(tmp_path: Path):
    for number in range(8):
        save(tmp_path / "rgb" / f"{number}.png", picture(number))
        save(tmp_path / "depth" / f"{number}.png", np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 3)
        save(tmp_path / "masks" / f"{number}_mask.png", (np.arange(32 * 48).reshape(32, 48) % 3).astype(np.uint8))
    tree, found = guessed(tmp_path)
    assert tree["data"]["format"] == "folder"
    assert tree["data"]["columns"]["depth"] == {"folder": "depth", "kind": "depth", "metres_per_unit": 0.001}
    assert tree["data"]["columns"]["masks"]["folder"] == "masks/*_mask.png"
    assert tree["modalities"].keys() == {"rgb", "depth"}
    assert tree["tasks"] == {"masks": {"type": "segmentation"}}
    said = "\n".join(found.reasons)
    assert "3 different values (0, 1, 2) in 8 files: a label map" in said
    assert "metres_per_unit 0.001 is assumed" in said


def test_class_folders_become_a_classification(tmp_path: Path):
    for split in ("train", "test"):
        for number in range(4):
            save(tmp_path / split / "cat" / f"c{number}.png", picture(number))
            save(tmp_path / split / "dog" / f"d{number}.png", picture(10 + number))
    tree, _ = guessed(tmp_path)
    assert tree["tasks"] == {"label": {"type": "classification"}}


def test_a_column_of_files_is_a_path_and_not_text(tmp_path: Path):
    rows = ["name;picture;kind;note;patient;part"]
    for number in range(20):
        save(tmp_path / "pictures" / f"{number}.png", picture(number))
        part = "test" if number > 15 else "training"
        rows.append(f"s{number};pictures/{number}.png;{'ab'[number % 2]};free words {number};p{number // 2};{part}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    tree, found = guessed(tmp_path)
    assert tree["data"]["file"] == "all.csv"
    assert (tree["data"]["delimiter"], tree["data"]["id"], tree["data"]["split"]) == (";", "name", "part")
    assert tree["data"]["group"] == "patient"
    assert list(tree["modalities"]) == ["picture"]
    assert tree["tasks"] == {"kind": {"type": "classification"}}
    said = "\n".join(found.reasons)
    assert "picture: 100 % of its values are files" in said
    assert "note: 20 different texts" in said


def test_binary_masks_and_colour_masks_are_declared(tmp_path: Path):
    palette = np.array([[0, 0, 0], [200, 30, 30]], np.uint8)
    for number in range(4):
        save(tmp_path / "image" / f"{number}.png", picture(number))
        save(tmp_path / "mask" / f"{number}.png", (np.eye(32, 48, dtype=np.uint8) * 255))
        save(tmp_path / "parts" / f"{number}.png", palette[np.eye(32, 48, dtype=np.uint8)])
    tree, _ = guessed(tmp_path)
    assert tree["data"]["columns"]["mask"]["classes"] == {"0": "background", "255": "object"}
    assert tree["data"]["columns"]["parts"]["colours"] == {"class_0": "#000000", "class_1": "#c81e1e"}


def test_without_labels_depth_is_what_can_be_learned(tmp_path: Path):
    for number in range(4):
        save(tmp_path / "image" / f"{number}.png", picture(number))
        save(tmp_path / "depth" / f"{number}.png", np.arange(32 * 48, dtype=np.uint16).reshape(32, 48))
    tree, _ = guessed(tmp_path)
    assert tree["tasks"] == {"depth": {"type": "pixel_regression"}}


def test_pictures_of_different_sizes_get_one(tmp_path: Path):
    for number in range(4):
        save(tmp_path / "a" / f"{number}.png", np.tile(picture(number), (1 + number % 2, 1, 1)))
        save(tmp_path / "b" / f"x{number}.png", picture(number))
    tree, found = guessed(tmp_path)
    assert all(side % 32 == 0 for side in tree["data"]["size"])
    assert any("pictures differ in size" in reason for reason in found.reasons)


def test_a_folder_that_says_nothing_is_refused_with_what_was_found(tmp_path: Path):
    with pytest.raises(DataFault, match="neither a table"):
        guess(tmp_path)
    for number in range(3):
        save(tmp_path / "image" / f"{number}.png", picture(number))
    with pytest.raises(DataFault, match="nothing to learn"):
        guess(tmp_path)
    with pytest.raises(DataFault, match="does not exist"):
        guess(tmp_path / "none")


@pytest.mark.parametrize(("name", "kind"), [("nyuv2", "nyuv2"), ("camvid", "camvid"), ("pennfudan", "folder")])
def test_real_data_is_recognised(shared: Path, name: str, kind: str):
    tree = yaml.safe_load(guess(shared / "data" / name).config_text)
    assert tree["data"]["format"] == kind
    assert "segmentation" in str(tree["tasks"])
    load_experiment(tree)
