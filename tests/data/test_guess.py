"""`weft init`: what is guessed of folders, with reasons, and that the guess is a valid configuration."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from tests.data.test_formats_coco import write_coco, write_json
from tests.data.test_formats_voc import write_voc
from weft.config import load_experiment
from weft.data.guess import Guess, guess
from weft.data.guess_column import of_cells
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


def test_voc_is_recognised_from_the_folder_of_a_year_or_of_all_years(tmp_path: Path):
    write_voc(tmp_path / "VOCdevkit" / "VOC2012", train=4)
    tree, _ = guessed(tmp_path / "VOCdevkit" / "VOC2012")
    assert tree["data"]["format"] == "voc"
    assert tree["data"]["lists"] == "Main"
    assert tree["tasks"] == {"boxes": {"type": "detection"}, "label": {"type": "segmentation"}}
    (tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation").rename(tmp_path / "kept")
    tree, _ = guessed(tmp_path / "VOCdevkit")
    assert tree["data"]["root"] == str(tmp_path / "VOCdevkit" / "VOC2012")
    assert tree["tasks"].keys() == {"boxes"}


def test_voc_with_masks_only_or_with_one_list_of_all_names_them(tmp_path: Path):
    write_voc(tmp_path, train=4)
    lists = tmp_path / "ImageSets"
    for path in (lists / "Main").iterdir():
        path.unlink()
    assert guessed(tmp_path)[0]["data"]["lists"] == "Segmentation"
    (lists / "Segmentation" / "train.txt").unlink()
    tree, _ = guessed(tmp_path)
    assert tree["data"]["names"] == {"train": "trainval"}
    assert tree["tasks"].keys() == {"label"}


def test_coco_is_recognised_by_its_files_and_their_pictures(tmp_path: Path):
    write_coco(tmp_path / "official")
    tree, found = guessed(tmp_path / "official")
    assert tree["data"]["format"] == "coco"
    assert "names" not in tree["data"]
    assert tree["tasks"] == {"boxes": {"type": "detection"}}
    assert "train2017/ with annotations/instances_train2017.json" in "\n".join(found.reasons)
    write_coco(tmp_path / "own", "train", "valid")
    write_json(tmp_path / "own", "instances_elsewhere", [])
    assert guessed(tmp_path / "own")[0]["data"]["names"] == {"train": "train", "val": "valid"}


def test_class_folders_become_a_classification(tmp_path: Path):
    for split in ("train", "test"):
        for number in range(4):
            save(tmp_path / split / "cat" / f"c{number}.png", picture(number))
            save(tmp_path / split / "dog" / f"d{number}.png", picture(10 + number))
    tree, _ = guessed(tmp_path)
    assert tree["tasks"] == {"label": {"type": "classification"}}


def save_sound(path: Path, *, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 800, "NONE", ""))
        file.writeframes(np.full(800, 1000, "<i2").tobytes())


def test_class_folders_of_sounds_become_a_classification(tmp_path: Path):
    for split in ("train", "test"):
        for number in range(4):
            save_sound(tmp_path / split / "yes" / f"y{number}.wav", rate=16000 if number == 3 else 8000)
            save_sound(tmp_path / split / "no" / f"n{number}.wav")
    tree, found = guessed(tmp_path)
    assert tree["tasks"] == {"label": {"type": "classification"}}
    assert tree["modalities"] == {"audio": {"type": "audio", "sample_rate": 8000, "encoder": {"type": "conv_rnn"}}}
    assert "sounds of 0.1 to 0.1 s at 8000 Hz; sample_rate 8000 is taken" in "\n".join(found.reasons)


def test_sounds_beside_pictures_and_in_tables_are_inputs(tmp_path: Path):
    rows = ["id,seen,heard,label"]
    for number in range(8):
        save(tmp_path / "seen" / f"{number}.png", picture(number))
        save_sound(tmp_path / "heard" / f"{number}.wav")
        rows.append(f"{number},seen/{number}.png,heard/{number}.wav,{'ab'[number % 2]}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    tree, _ = guessed(tmp_path)
    assert tree["data"]["format"] == "table"
    assert tree["data"]["columns"]["heard"] == {"kind": "audio"}
    assert {name: one["type"] for name, one in tree["modalities"].items()} == {"seen": "image", "heard": "audio"}
    (tmp_path / "table.csv").unlink()
    for number in range(8):
        save(tmp_path / "mask" / f"{number}.png", np.full((32, 48), number % 3, np.uint8))
    tree, _ = guessed(tmp_path)
    assert tree["data"]["columns"]["heard"] == {"folder": "heard", "kind": "audio"}
    assert tree["modalities"].keys() == {"seen", "heard"}


def test_a_column_of_files_is_a_path_and_not_text(tmp_path: Path):
    rows = ["name;picture;kind;note;patient;part"]
    for number in range(20):
        save(tmp_path / "pictures" / f"{number}.png", picture(number))
        part = "test" if number > 15 else "training"
        rows.append(f"s{number};pictures/{number}.png;{'ab'[number % 2]};w{number};p{number // 2};{part}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    tree, found = guessed(tmp_path)
    assert tree["data"]["file"] == "all.csv"
    assert (tree["data"]["delimiter"], tree["data"]["id"], tree["data"]["split"]) == (";", "name", "part")
    assert tree["data"]["group"] == "patient"
    assert list(tree["modalities"]) == ["picture"]
    assert tree["tasks"] == {"kind": {"type": "classification"}}
    said = "\n".join(found.reasons)
    assert "picture: 100 % of its values are files" in said
    assert "note: 20 different words, such as 'w0', are taken for names or codes; left out" in said


def test_a_column_of_texts_is_an_input_with_its_reason(tmp_path: Path):
    rows = ["id\tpost\tpicture\tmood\ttags\tsame\tempty"]
    for number in range(24):
        save(tmp_path / "pictures" / f"{number}.png", picture(number))
        post = f"what a day | no. {number}" if number % 2 else f"今天天气{number}"
        rows.append(f"{number}\t{post}\tpictures/{number}.png\t{'ab'[number % 2]}\tx|{'yz'[number % 2]}\tas ever\t")
    (tmp_path / "posts.tsv").write_text("\n".join(rows), encoding="utf-8")
    tree, found = guessed(tmp_path)
    assert tree["modalities"]["post"] == {"type": "text", "encoder": {"type": "text_rnn"}}
    assert list(tree["modalities"]) == ["post", "picture"]
    assert tree["tasks"].keys() == {"mood", "tags"}
    said = "\n".join(found.reasons)
    assert "post: 24 different texts of up to 19 letters" in said
    assert "same: the same value everywhere" in said
    assert "empty: empty everywhere; left out" in said


@pytest.mark.parametrize(("encoding", "options"), [("utf-8", {}), ("gb18030", {"encoding": "gb18030"})])
def test_a_column_of_text_files_is_read_from_them_in_an_encoding_that_fits(
    tmp_path: Path, encoding: str, options: dict[str, str]
):
    rows = ["id,post,mood"]
    for number in range(8):
        (tmp_path / f"{number}.txt").write_bytes(f"今天天气很好 {number}".encode(encoding))
        rows.append(f"{number},{number}.txt,{'ab'[number % 2]}")
    (tmp_path / "posts.csv").write_text("\n".join(rows))
    tree, found = guessed(tmp_path)
    assert tree["modalities"]["post"] == {"type": "text", "file": True, **options, "encoder": {"type": "text_rnn"}}
    assert f"fit {encoding}" in "\n".join(found.reasons)
    for number in range(8):
        (tmp_path / f"{number}.txt").write_bytes(b"\0\1\2")
    assert (
        "that are no texts" in of_cells(pa.chunked_array([[f"{number}.txt" for number in range(8)]]), tmp_path).reason
    )


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


def test_columns_that_are_not_learned_are_a_row_beside_the_pictures(tmp_path: Path):
    rows = ["id,file,age,sex,seen,postcode,price,note"]
    for number in range(24):
        save(tmp_path / "pictures" / f"{number}.png", picture(number))
        seen, code = f"2024-01-{1 + number:02d}", 10115 + number % 4
        rows.append(
            f"{number},pictures/{number}.png,{20.5 + number},{'fm'[number % 2]},{seen},{code},{10 + number},always"
        )
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    tree, found = guessed(tmp_path)
    assert tree["tasks"] == {"price": {"type": "regression"}}
    row = dict(tree["modalities"]["columns"])
    assert row.pop("encoder") == {"type": "table_mlp"}
    assert row == {
        "type": "table",
        "columns": ["age", "sex", "seen", "postcode"],
        "numbers": ["age"],
        "categories": ["sex", "postcode"],
        "dates": ["seen"],
    }
    assert "columns" not in tree["data"]  # sex is no target, so nothing need be declared of it
    assert any(line.startswith("postcode: ") and line.endswith("an input, a category") for line in found.reasons)


@pytest.mark.parametrize(
    ("header", "tasks", "row"),
    [
        ("age,sex,diagnosis", {"diagnosis": {"type": "classification"}}, ["age", "sex"]),
        ("age,height,sex", {"sex": {"type": "classification"}}, ["age", "height"]),
        ("sex,age,height", {"sex": {"type": "classification"}}, ["age", "height"]),
        ("age,height,width", {"width": {"type": "regression", "transform": "log"}}, ["age", "height"]),
    ],
)
def test_what_a_plain_table_is_to_learn_is_told_by_names_then_by_kinds(
    tmp_path: Path, header: str, tasks: dict, row: list[str]
):
    cells = {
        "age": lambda n: f"{n / 7 - 1:.2f}",
        "height": lambda n: f"{n / 9:.2f}",
        "width": lambda n: f"{1.1**n:.2f}",
    }
    cells |= {"sex": lambda n: "fm"[n % 2], "diagnosis": lambda n: "abc"[n % 3]}
    lines = [",".join(cells[name](number) for name in header.split(",")) for number in range(40)]
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    tree, _ = guessed(tmp_path)
    assert tree["tasks"] == tasks
    assert tree["modalities"]["columns"]["columns"] == row


def test_files_called_after_a_column_become_columns_by_a_pattern(tmp_path: Path):
    rows = ["house,rooms,price"]
    for number in range(1, 21):
        save(tmp_path / "images" / f"{number}_kitchen.png", picture(number))
        save(tmp_path / "images" / f"{number}-bath.png", np.tile(picture(number), (1, 1 + number % 2, 1)))
        if number > 3:
            save(tmp_path / "plans" / f"{number}.png", picture(number))
        rows.append(f"{number},{number / 2},{1000 + number}")
    save(tmp_path / "images" / "1_cellar.png", picture(1))  # of one house only
    (tmp_path / "houses.csv").write_text("\n".join(rows) + "\n")
    tree, found = guessed(tmp_path)
    assert tree["data"]["id"] == "house"
    assert tree["data"]["paths"] == {
        "bath": "images/{house}-bath.png",
        "kitchen": "images/{house}_kitchen.png",
        "plans": "plans/{house}.png",
    }
    assert tree["data"]["optional"] == ["plans"]
    assert tree["tasks"] == {"price": {"type": "regression"}}
    assert [tree["modalities"][name].get("aligned") for name in ("bath", "kitchen", "plans")] == [False] * 3
    assert tree["modalities"]["columns"]["columns"] == ["rooms"]
    assert any("plans: files plans/{house}.png; 3 of 20 rows have none" in line for line in found.reasons)


def test_pictures_of_one_size_are_taken_for_one_scene(tmp_path: Path):
    rows = ["id,score"]
    for number in range(8):
        for side in ("left", "right"):
            save(tmp_path / side / f"{number}.png", picture(number))
        rows.append(f"{number},{number}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    tree, _ = guessed(tmp_path)
    assert tree["data"]["paths"] == {"left": "left/{id}.png", "right": "right/{id}.png"}
    assert "aligned" not in tree["modalities"]["left"]


@pytest.mark.parametrize(("name", "kind"), [("nyuv2", "nyuv2"), ("camvid", "camvid"), ("pennfudan", "folder")])
def test_real_data_is_recognised(shared: Path, name: str, kind: str):
    tree = yaml.safe_load(guess(shared / "data" / name).config_text)
    assert tree["data"]["format"] == kind
    assert "segmentation" in str(tree["tasks"])
    load_experiment(tree)


def test_the_houses_are_guessed_whole(shared: Path):
    tree, _ = guessed(shared / "data" / "houses")
    assert list(tree["modalities"]) == ["bathroom", "bedroom", "frontal", "kitchen", "columns"]
    assert tree["modalities"]["columns"]["categories"] == ["zipcode"]
    assert tree["tasks"] == {"price_usd": {"type": "regression", "transform": "log"}}
