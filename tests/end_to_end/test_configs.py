"""Every shipped experiment trains for two steps and is evaluated, with random weights in the place of the hub's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import weft
from tests.data.test_formats_coco import write_coco, write_json
from tests.data.test_formats_digits import write_tree as write_digits
from tests.data.test_formats_voc import write_voc
from tests.encoders.tiny_transformer import tiny_bert

ROOT = Path(__file__).parents[2]
CONFIGS = [*sorted((ROOT / "configs").glob("*.yaml")), ROOT / "src" / "weft" / "demo.yaml"]


#: The thirteen classes of NYU Depth v2.
NAMES_13 = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip


def write_nyuv2(root: Path) -> None:
    """Six training and two test samples in the layout of the data set."""
    generator = np.random.default_rng(0)
    for folder in ("image", "depth", "label"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 9):
        image = generator.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "image" / f"{number:04}.jpg")
        Image.fromarray(generator.integers(20, 250, (96, 128), dtype=np.uint8)).save(
            root / "depth" / f"{number:04}.png"
        )
        Image.fromarray(generator.integers(0, 39, (96, 128), dtype=np.uint8)).save(root / "label" / f"{number:04}.png")
    (root / "train.txt").write_text("\n".join(f"{number:04}" for number in range(1, 7)))
    (root / "test.txt").write_text("0007\n0008")
    rows = [f"{number},thing {number},{number % 13},{NAMES_13[number % 13]}" for number in range(39)]
    (root / "classes.csv").write_text("\n".join(["label,name39,label13,name13", *rows]))


def write_questions(root: Path) -> None:
    """The same frames, and two questions about each."""
    write_nyuv2(root)
    for split, numbers in {"train": range(1, 7), "test": (7, 8)}.items():
        rows = [f"{number:04},{text},{number % 3}" for number in numbers for text in ("how many", "what is it")]
        (root / f"questions_{split}.csv").write_text("\n".join(["image,question,answer", *rows]))


def write_camvid(root: Path) -> None:
    """Six frames to train on and two for validation, of two drives, as large as real ones: rules count pixels."""
    generator = np.random.default_rng(0)
    for split, numbers in {"train": range(6), "val": range(6, 8)}.items():
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number in numbers:
            image, label = (generator.integers(0, high, (240, 320, 3), dtype=np.uint8) for high in (255, 12))
            name = f"drive{number % 2}_{number:04}"
            Image.fromarray(image).save(root / split / f"{name}.jpg")
            Image.fromarray(label[..., 0]).save(root / f"{split}annot" / f"{name}.png")


def write_mvsa(root: Path) -> None:
    """Eight posts to train on and four for validation."""
    generator = np.random.default_rng(0)
    (root / "data").mkdir(parents=True)
    for number in range(12):
        image = generator.integers(0, 255, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "data" / f"{number}.jpg")
        (root / "data" / f"{number}.txt").write_text("the cat sat on the mat"[: 5 + number])
    for split, numbers in {"train": range(8), "val": range(8, 12)}.items():
        rows = [f"{number},{number % 3}" for number in numbers]
        (root / f"ID-label-{split}.txt").write_text("\n".join(["ID,label", *rows]))


def write_chestxray14(root: Path) -> None:
    """Six X-rays of three patients to train on, and two to test on."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows, findings = [header], ("Hernia", "No Finding", "Mass|Nodule")
    for number in range(8):
        image = generator.integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        sex, view = "MF"[number % 2], ("PA", "AP")[number // 2 % 2]
        rows.append(f"{number}.png,{findings[number % 3]},0,{number // 2},{40 + number},{sex},{view}")
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows))
    (root / "train_val_list.txt").write_text("\n".join(f"{number}.png" for number in range(6)))
    (root / "test_list.txt").write_text("6.png\n7.png")


def write_houses(root: Path) -> None:
    """Eight houses with four photographs of two shapes, and their prices."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows = ["house,bedrooms,bathrooms,area_sqft,zipcode,price_usd"]
    for number in range(1, 9):
        for room in ("bathroom", "bedroom", "frontal", "kitchen"):
            image = generator.integers(0, 255, (64, 80, 3), dtype=np.uint8)
            if room == "kitchen":
                image = image.transpose(1, 0, 2)
            Image.fromarray(np.ascontiguousarray(image)).save(root / "images" / f"{number}_{room}.jpg")
        rows.append(f"{number},{number % 4},{number / 2},{900 + 100 * number},{85262 + number % 2},{100_000 * number}")
    (root / "train.csv").write_text("\n".join(rows))


def write_pennfudan(root: Path) -> None:
    """Eight pictures of two people each, but for one of nobody."""
    generator = np.random.default_rng(0)
    for folder in ("PNGImages", "PedMasks"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        image = generator.integers(0, 255, (64, 96, 3), dtype=np.uint8)
        instances = np.zeros((64, 96), np.uint8)
        if number:
            instances[10:50, 4 * number : 4 * number + 20], instances[20:60, 60:80] = 1, 2
        Image.fromarray(image).save(root / "PNGImages" / f"FudanPed{number:05}.jpg")
        Image.fromarray(instances).save(root / "PedMasks" / f"FudanPed{number:05}_mask.png")


def write_panoptic(root: Path) -> None:
    """Four pictures with a person, a dog and a crowd on every other one, two people with points, and two halves."""
    write_coco(root, "train2017", "val2017")
    for place, name in enumerate(("train2017", "val2017")):
        folder = root / "annotations" / f"panoptic_{name}"
        folder.mkdir()
        ids = (9 + 100 * place, 4 + 100 * place)
        images = [{"id": n, "file_name": f"{n:012}.jpg", "height": 4, "width": 6} for n in ids]
        annotations = []
        for image in images:
            halves = np.zeros((4, 6, 3), np.uint8)
            halves[:2, :, 0], halves[2:, :, 0] = 1, 2
            file = image["file_name"].replace(".jpg", ".png")
            Image.fromarray(halves).save(folder / file)
            segments = [{"id": 1, "category_id": 18}, {"id": 2, "category_id": 1}]
            annotations.append({"image_id": image["id"], "file_name": file, "segments_info": segments})
        write_json(root, f"panoptic_{name}", annotations, images=images)
        people = [{"image_id": n, "category_id": 1, "num_keypoints": 2, "area": 4} for n in ids for _ in "ab"]
        for number, person in enumerate(people, 1):
            person |= {"id": number, "bbox": [1, 1, 2, 2], "keypoints": [1, 1, 2, 0, 0, 0, 2, 2, 1]}
        categories = [{"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"]}]
        write_json(root, f"person_keypoints_{name}", people, images=images, categories=categories)


def write_davis(root: Path) -> None:
    """Four sequences of five frames, with something that moves over noise."""
    generator = np.random.default_rng(0)
    for sequence in ("bear", "car", "dog", "swan"):
        noise = generator.integers(0, 255, (48, 80, 3), dtype=np.uint8)
        for frame in range(5):
            mask = np.zeros((48, 80), np.uint8)
            mask[10:30, 8 * frame : 8 * frame + 20] = 255
            drawn = {"JPEGImages": np.where(mask[..., None] > 0, 255, noise), "Annotations": mask, "Motion": mask // 2}
            for folder, pixels in list(drawn.items())[: 2 if frame == 4 else 3]:  # no motion of the last frame
                place = root / folder / "480p" / sequence
                place.mkdir(parents=True, exist_ok=True)
                suffix = "jpg" if folder == "JPEGImages" else "png"
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{frame:05}.{suffix}")


#: What writes a small data set of a format, and the changes that make an experiment of it small; `SET` is its block.
WRITERS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nyuv2": (write_questions, ["data.size=[96, 128]", "data.validation.fraction=0.3"]),
    "camvid": (write_camvid, ["data.size=[48, 64]"]),
    "mvsa": (write_mvsa, ["data.size=[64, 64]"]),
    "table": (write_houses, ["data.size=[64, 64]", "data.validation.fraction=0.3"]),
    "chestxray14": (write_chestxray14, ["data.size=[64, 64]", "data.validation.fraction=0.3"]),
    "folder": (write_pennfudan, ["data.size=[64, 96]", "data.validation.fraction=0.3"]),
    "davis": (write_davis, ["data.size=[48, 80]", "SET.length=3", "SET.stride=1"]),
    "voc": (write_voc, ["data.size=[64, 64]"]),
    "coco": (write_panoptic, ["data.size=[64, 64]"]),
    "digits": (write_digits, ["data.limit=16", "train.batch_size=8"]),  # 28 pixels leave one to a BatchNorm of one row
}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_experiment_runs_for_two_steps(config: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(config.read_text())
    limit = 16 if "missing" in content["data"] else 4  # some must have a label
    overrides = [f"train.output={tmp_path / 'runs'}", "train.epochs=1", "train.batch_size=2", f"data.limit={limit}"]
    overrides += ["train.precision=fp32", "train.device=cpu"]
    for name, modality in content["modalities"].items():
        place, encoder = f"modalities.{name}.encoder", modality["encoder"]
        overrides += [f"{place}.pretrained=false"] if "pretrained" in encoder else []
        overrides += [f"{place}.backbone.pretrained=false"] if "pretrained" in encoder.get("backbone", {}) else []
        if encoder.get("type") == "huggingface":
            overrides += [f"{place}.name=null", f"{place}.weights={tiny_bert()}"]
    sets = {f"data.sets.{name}": one for name, one in content["data"].get("sets", {}).items()}
    for place, one in (sets or {"data": content["data"]}).items():
        if one["format"] in WRITERS:
            write, changes = WRITERS[one["format"]]
            write(tmp_path / place)
            overrides += [f"{place}.root={tmp_path / place}", *(change.replace("SET", place) for change in changes)]
    run = weft.train(config, overrides=overrides, progress=False)
    result = weft.evaluate(run, quick=True, progress=False)
    assert result["samples"] > 0
    assert weft.write_report(run).is_file()


def test_every_shipped_experiment_opens_with_what_it_is() -> None:
    for config in CONFIGS:
        assert config.read_text().startswith("# "), config.name
