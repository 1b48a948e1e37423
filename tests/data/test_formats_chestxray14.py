"""ChestX-ray14, from a small tree written after the official description of the files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from weft.config import load_experiment
from weft.data.formats.chestxray14 import FINDINGS, ChestXray14
from weft.data.guess import guess
from weft.data.leaks import find_leaks
from weft.data.pipeline import build_data
from weft.data.splits import with_validation
from weft.errors import DataFault
from weft.experiment import DataConfig, Experiment, ModalityConfig, TaskConfig, TrainConfig, Validation
from weft.registry import Part

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
ROWS = [
    "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,",
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143,",
    "00000002_000.png,No Finding,0,2,81,M,PA,2500,2048,0.171,0.171,",
    "00000003_000.png,Hernia,0,3,011M,F,AP,2582,2991,0.143,0.143,",
    "00000005_000.png,Infiltration|Pleural_Thickening,0,5,411,F,AP,2048,2500,0.168,0.168,",
    "00000006_000.png,No Finding,0,6,073D,F,AP,2048,2500,0.168,0.168,",
]
BOXES = [
    "Image Index,Finding Label,Bbox [x,y,w,h],,,",
    "00000005_000.png,Infiltrate,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661,,,",
    "00000001_000.png,Cardiomegaly,100,200,300,400,,,",
    "00000001_000.png,Cardiomegaly,10,20,30,40,,,",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six X-rays of five patients, the pictures in two of the published folders."""
    root = tmp_path / "cxr"
    for place, row in enumerate(ROWS):
        folder = root / f"images_{1 + place // 3:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 40 * place, np.uint8)).save(folder / row.split(",")[0])
    (root / "Data_Entry_2017.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    (root / "BBox_List_2017.csv").write_text("\n".join(BOXES) + "\n")
    names = [row.split(",")[0] for row in ROWS]
    (root / "train_val_list.txt").write_text("\n".join(names[:4]))
    (root / "test_list.txt").write_text("\n".join(names[4:]) + "\n")
    return root


def rows(root: Path, **options: str) -> dict[str, dict]:
    manifest = ChestXray14(root=str(root), **options).manifest()
    return {manifest.id(place): manifest.row(place) for place in range(len(manifest))}


def test_findings_are_several_labels_of_fourteen_or_none(tree: Path) -> None:
    found = {name: row["findings"] for name, row in rows(tree).items()}
    assert found["00000001_001.png"] == "Cardiomegaly|Emphysema"
    assert found["00000002_000.png"] == ""
    facts = ChestXray14(root=str(tree)).manifest().columns["findings"]
    assert facts.kind == "labels"
    assert facts.facts["classes"] == list(FINDINGS)
    assert len(FINDINGS) == len(set(FINDINGS)) == 14


def test_the_official_lists_give_the_split_and_the_patient_is_the_group(tree: Path) -> None:
    manifest = ChestXray14(root=str(tree)).manifest()
    assert {split: len(manifest.split(split)) for split in manifest.splits} == {"train": 4, "test": 2}
    assert manifest.group == "patient"
    assert manifest.values("patient").to_pylist() == ["1", "1", "2", "3", "5", "6"]
    cut = with_validation(manifest, Validation(by="group", fraction=0.5), group=None, seed=0)
    assert "val" in cut.splits
    assert find_leaks(cut, []) == []


def test_ages_are_years_and_mistakes_are_empty(tree: Path) -> None:
    ages = [row["age"] for row in rows(tree).values()]
    assert ages == [58, 58, 81, pytest.approx(11 / 12), None, pytest.approx(73 / 365.25)]
    notes = ChestXray14(root=str(tree)).manifest().notes
    assert notes == ("1 ages are no number of years, or one above 120; they are left empty",)


def test_sex_view_and_visit_are_columns(tree: Path) -> None:
    row = rows(tree)["00000001_001.png"]
    assert (row["sex"], row["view"], row["follow_up"]) == ("M", "PA", 1)


def test_pictures_are_found_in_the_published_folders_and_in_one(tree: Path) -> None:
    found = {name: row["image"] for name, row in rows(tree).items()}
    assert found["00000001_000.png"] == "images_001/images/00000001_000.png"
    assert found["00000003_000.png"] == "images_002/images/00000003_000.png"
    (tree / "images").mkdir()
    for path in list(tree.glob("images_*/images/*.png")):
        path.rename(tree / "images" / path.name)
    found = {name: row["image"] for name, row in rows(tree).items()}
    assert found["00000003_000.png"] == "images/00000003_000.png"


def test_boxes_are_corners_with_their_finding(tree: Path) -> None:
    found = rows(tree)
    assert found["00000001_000.png"]["boxes"] == [
        {"label": "Cardiomegaly", "box": [100, 200, 400, 600]},
        {"label": "Cardiomegaly", "box": [10, 20, 40, 60]},
    ]
    (box,) = found["00000005_000.png"]["boxes"]
    assert box["label"] == "Infiltration"  # where the boxes say Infiltrate
    assert box["box"] == pytest.approx([225.084745762712, 547.019216763771, 311.8644067796611, 626.2056574417371])
    assert found["00000002_000.png"]["boxes"] is None


def test_what_is_missing_is_counted(tree: Path) -> None:
    (tree / "images_002" / "images" / "00000003_000.png").unlink()
    (tree / "train_val_list.txt").write_text("00000001_000.png\n00000003_000.png\n00000009_000.png\n")
    (tree / "test_list.txt").write_text("00000006_000.png\n")
    manifest = ChestXray14(root=str(tree)).manifest()
    assert len(manifest) == 3
    assert manifest.notes == (
        "3 X-rays are in no list and are left out",
        "1 names in the lists are not in the table",
        "1 of 3 X-rays have no picture here",
        "1 X-rays with boxes are in none of the splits",
    )


def test_without_lists_every_x_ray_is_train(tree: Path) -> None:
    for name in ("train_val_list.txt", "test_list.txt", "BBox_List_2017.csv"):
        (tree / name).unlink()
    manifest = ChestXray14(root=str(tree)).manifest()
    assert manifest.splits == ["train"]
    assert manifest.values("boxes").null_count == 6
    assert "every X-ray is train" in manifest.notes[0]


def test_the_newer_table_comes_first_and_may_have_another_name(tree: Path) -> None:
    newer = [row.replace("058Y", "57").removesuffix(",") for row in ROWS]
    text = "\n".join([HEADER.removesuffix(",").replace("Gender", "Sex"), *newer])
    (tree / "Data_Entry_2017_v2020.csv").write_text(text)
    assert rows(tree)["00000001_000.png"]["age"] == 57
    assert rows(tree, file="Data_Entry_2017.csv")["00000001_000.png"]["age"] == 58


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("Data_Entry_2017.csv", "Image Index,Finding Labels\na.png,Mass\n", "no column 'Follow-up #'"),
        ("Data_Entry_2017.csv", f"{HEADER}\na.png,Masses,0,1,5,M,PA,1,1,1,1,\n", "'Masses' in 'Masses' is no finding"),
        ("Data_Entry_2017.csv", f"{HEADER}\na.png,Mass|No Finding,0,1,5,M,PA,1,1,1,1,\n", "'No Finding' in"),
        ("BBox_List_2017.csv", "a.png,Mass,1,2,3\n", r"line 1: 'a.png,Mass,1,2,3'; a box is written as image"),
        ("BBox_List_2017.csv", "a.png,Mass,1,2,3,wide\n", "line 1"),
        ("BBox_List_2017.csv", "a.png,Lump,1,2,3,4\n", "line 1"),
    ],
)
def test_tables_that_are_not_as_described_are_refused(tree: Path, file: str, content: str, why: str) -> None:
    (tree / file).write_text(content)
    if file.startswith("Data"):
        (tree / "train_val_list.txt").write_text("a.png\n")
    with pytest.raises(DataFault, match=why):
        ChestXray14(root=str(tree)).manifest()


def test_a_folder_without_table_or_pictures_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFault, match=r"has no Data_Entry_2017_v2020\.csv or Data_Entry_2017\.csv"):
        ChestXray14(root=str(tmp_path / "empty")).manifest()
    for folder in list(tree.glob("images_*")):
        folder.rename(tree / f"moved_{folder.name}")
    with pytest.raises(DataFault, match="neither images/ nor images_001/images/"):
        ChestXray14(root=str(tree)).manifest()


def test_batches_hold_fourteen_yes_or_no(tree: Path) -> None:
    experiment = Experiment(
        name="cxr",
        data=DataConfig(
            format=Part("format", "chestxray14", {"root": str(tree)}),
            validation=Validation(by="group", fraction=0.3),
            group="patient",
            workers=0,
        ),
        modalities={"image": ModalityConfig(type="image", column="image", encoder=None, options={"channels": 1})},
        tasks={
            "findings": TaskConfig(type="classification", target="findings", options={"multi_label": True}),
        },
        train=TrainConfig(batch_size=2, device="cpu"),
    )
    (batch,) = build_data(experiment).batches("test")
    assert batch.inputs["image"].shape == (2, 1, 32, 32)
    named = [[FINDINGS[place] for place in row.nonzero().flatten()] for row in batch.targets["findings"]]
    assert named == [["Infiltration", "Pleural_Thickening"], []]


def test_init_knows_the_folder(tree: Path) -> None:
    tree_of = yaml.safe_load(guess(tree).config_text)
    assert (tree_of["data"]["format"], tree_of["data"]["group"]) == ("chestxray14", "patient")
    assert tree_of["data"]["validation"] == {"by": "group"}
    assert tree_of["tasks"] == {"findings": {"type": "classification", "multi_label": True}}
    data = build_data(load_experiment(tree_of))
    assert data.counts["val"]["samples"] > 0


def test_a_hundred_and_twelve_thousand_rows_open_in_about_a_second(tree: Path) -> None:
    for path in tree.glob("images_*/images/*.png"):
        path.unlink()
    names = [f"{number // 4:08d}_{number % 4:03d}.png" for number in range(112_120)]
    table = [
        f"{name},{'Mass|Nodule' if place % 3 else 'No Finding'},{place % 4},{place // 4},{place % 90:03d}Y,F,AP,1,1,1,1"
        for place, name in enumerate(names)
    ]
    (tree / "Data_Entry_2017.csv").write_text("\n".join([HEADER.removesuffix(","), *table]))
    (tree / "train_val_list.txt").write_text("\n".join(names[:86_524]))
    (tree / "test_list.txt").write_text("\n".join(names[86_524:]))
    start = time.process_time()
    manifest = ChestXray14(root=str(tree)).manifest()
    assert time.process_time() - start < 6  # 0.7 s of a core
    assert {split: len(manifest.split(split)) for split in manifest.splits} == {"train": 86_524, "test": 25_596}
