"""A run folder as training and evaluation would leave it, made of invented numbers, and the tasks to score it with."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw

from weft.types import Records

EVIL = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(1)"
# fmt: off
NYU = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor_mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower_curtain", "box", "whiteboard", "person", "night_stand",
    "toilet", "sink", "lamp", "bathtub", "bag",
)
# fmt: on
CLASSES = (*NYU, EVIL, FORMULA, "otherprop")
SCENES = ("kitchen", "bedroom", "office", "bathroom", "living room")
POINTS = ("nearest corner", "vanishing point")
#: The share of the truth that each modality brings to each task of the fake.
STRENGTH = {"image": 0.55, "depth": 0.35, "thermal": 0.05}


class SegmentationScores:
    """Scores records with rows `overlap` and `union`, each (n, K), as a segmentation task would."""

    def figures(self, records: Records) -> dict[str, float]:
        overlap, union = records.rows["overlap"].sum(0), records.rows["union"].sum(0)
        iou = np.where(union > 0, overlap / np.where(union > 0, union, 1), math.nan)
        mean = float(np.nanmean(iou)) if np.isfinite(iou).any() else math.nan
        share = float(overlap.sum() / max(union.sum(), 1))
        return {"mIoU": mean, "pixel_accuracy": share} | {
            f"IoU/{name}": float(value) for name, value in zip(CLASSES, iou, strict=True)
        }


class AccuracyScores:
    """Scores records with the rows `correct`, (n,), and `label`, (n,)."""

    def figures(self, records: Records) -> dict[str, float]:
        correct, label = records.rows["correct"].astype(float), records.rows["label"]
        of_class = {
            f"recall/{name}": float(correct[label == k].mean()) if (label == k).any() else math.nan
            for k, name in enumerate(SCENES)
        }
        known = [value for value in of_class.values() if not math.isnan(value)]
        return {"accuracy": float(correct.mean()), "balanced_accuracy": float(np.mean(known))} | of_class


class DistanceScores:
    """Scores records with the row `distance`, (n, 2), in pixels."""

    def figures(self, records: Records) -> dict[str, float]:
        distance = records.rows["distance"]
        each = {f"MAE/{name}": float(value) for name, value in zip(POINTS, distance.mean(0), strict=True)}
        return {"MAE": float(distance.mean())} | each


TASKS = {"rooms": SegmentationScores(), "scene": AccuracyScores(), "corners": DistanceScores()}
TYPES = {"rooms": "segmentation", "scene": "classification", "corners": "location"}
MAIN = {"rooms": "mIoU", "scene": "accuracy", "corners": "MAE"}


def make_run(
    folder: Path,
    *,
    modalities: Sequence[str] = ("image", "depth"),
    tasks: Sequence[str] = ("rooms", "scene"),
    num_samples: int = 60,
    skill: float = 0.0,
    groups: bool = False,
    pictures: int = 4,
    evaluated: bool = True,
    seed: int = 0,
    name: str = "nyuv2_rgbd",
) -> Path:
    """Write a whole run folder.

    Args:
        folder: to write.
        modalities, tasks: some of those this file knows.
        num_samples: in the test split.
        skill: added to how good the run is; 0.1 is clearly better.
        groups: whether the samples come in groups.
        pictures: samples with pictures.
        evaluated: whether the test split has been scored.
        seed: of the invented numbers that are not the same for every run.
        name: of the experiment.
    """
    folder.mkdir(parents=True)
    _experiment(folder, modalities, tasks, name, seed)
    _summary(folder, modalities, tasks, name, seed)
    _metrics(folder, tasks, skill, seed)
    (folder / "dropped.csv").write_text(
        "id,split,column,code,reason\n"
        "0412,train,image,truncated-image,image file is truncated (12 bytes not processed)\n"
        f"0977,train,depth,truncated-image,{EVIL}\n"
    )
    if evaluated:
        _evaluation(folder / "evaluation" / "test", modalities, tasks, num_samples, skill, groups, pictures, seed)
    return folder


def _experiment(folder: Path, modalities: Sequence[str], tasks: Sequence[str], name: str, seed: int) -> None:
    experiment = {
        "name": name,
        "data": {"format": {"type": "nyuv2", "root": "data/nyuv2"}, "size": [240, 320], "augment": {"flip": 0.5}},
        "modalities": {
            m: {
                "type": "image" if m == "image" else "depth",
                "encoder": {"type": "timm", "name": "mobilenetv2_100", "pretrained": True},
                "dropout": 0.2 if m != "image" else 0.0,
            }
            for m in modalities
        },
        "fusion": {"type": "rectify", "levels": [3, 4]},
        "tasks": {
            t: {"type": TYPES[t], "target": t, "weight": 1.0}
            | ({"decoder": {"type": "deeplabv3plus"}, "loss": {"type": "cross_entropy"}} if t == "rooms" else {})
            for t in tasks
        },
        "balancing": {"type": "uncertainty"},
        "train": {
            "epochs": 30,
            "batch_size": 8,
            "accumulate": 2,
            "optimizer": {"type": "adamw", "lr": 0.0005, "weight_decay": 0.01},
            "schedule": {"type": "poly", "power": 0.9},
            "warmup": 1.0,
            "ema": 0.999,
            "clip": 1.0,
            "seed": seed,
        },
        "inference": {"flip": True, "scales": [1.0], "overlap": 0.5, "window": None},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))


def _summary(folder: Path, modalities: Sequence[str], tasks: Sequence[str], name: str, seed: int) -> None:
    parts = {f"encoders.{m}": 1_811_712 for m in modalities} | {"fusion": 934_160}
    parts |= {f"tasks.{t}": 812_440 if t == "rooms" else 6_405 for t in tasks}
    counts = {
        split: {
            "samples": number,
            "modalities": {m: number if m == "image" else round(0.93 * number) for m in modalities},
            "targets": {t: number if t == "rooms" else round(0.6 * number) for t in tasks},
        }
        for split, number in (("train", 676), ("val", 119), ("test", 654))
    }
    summary = {
        "name": name,
        "created": "20261120-140500",
        "weft": "0.1.0",
        "torch": "2.15.0",
        "machine": "x86_64, 2 threads",
        "device": "cpu",
        "precision": "bf16",
        "seed": seed,
        "parameters": {"total": sum(parts.values())} | parts,
        "train": {
            "epochs_done": 30,
            "steps": 1260,
            "seconds": 1570.4,
            "images_per_second": 12.92,
            "peak_memory_bytes": 2_345_678_901,
            "best": {"epoch": 26, "figure": "main", "value": 0.334},
            "stopped_early": False,
            "skipped_steps": 1,
        },
        "data": {
            "format": "nyuv2",
            "counts": counts,
            "dropped": 2,
            "notes": ["119 samples in 10 blocks were held out for validation."],
        },
        "taken_over": None,
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def _metrics(folder: Path, tasks: Sequence[str], skill: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, 31):
        progress = epoch / 30
        for split in ("train", "val"):
            row: dict[str, object] = {"epoch": epoch, "step": epoch * 42, "split": split, "seconds": 52.1}
            row["lr"] = 0.0005 * (1 - progress) ** 0.9 + 1e-6 if split == "train" else ""
            for index, task in enumerate(tasks):
                decay = math.exp(-3.5 * progress)
                loss = 0.4 + (0.25 if split == "val" else 0) + 3.2 * decay + 0.04 * random.standard_normal()
                row[f"loss/{task}"] = loss if index == 0 else loss / 40
                row[f"weight/{task}"] = 1 + (0.8 * progress if index else -0.3 * progress) if split == "train" else ""
                value = (0.33 + skill) * (1 - decay) + 0.008 * random.standard_normal()
                value = 9 * decay + 3 if task == "corners" else value
                row[f"{task}/{MAIN[task]}"] = value if split == "val" else ""
                if task == "rooms":
                    row["rooms/pixel_accuracy"] = value + 0.3 if split == "val" else ""
                    row["rooms/IoU/wall"] = value + 0.3 if split == "val" else ""
            rows.append(row)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def subsets_of(modalities: Sequence[str]) -> list[str]:
    """Every subset as a key, the largest first."""
    sizes = range(len(modalities), 0, -1)
    return ["+".join(chosen) for size in sizes for chosen in itertools.combinations(modalities, size)]


def make_records(task: str, key: str, *, num_samples: int, skill: float, seed: int) -> Records:
    """Records of a subset: what is hard is the same sample for every subset and every run."""
    strength = 0.05 + skill + sum(STRENGTH[modality] for modality in key.split("+"))
    shared = np.random.default_rng(7)
    own = np.random.default_rng([seed, len(key)])
    ids = [f"{index:04d}" for index in range(num_samples)]
    ease = shared.beta(4, 4, num_samples)
    chance = np.clip(strength * (0.35 + 0.6 * ease) + 0.02 * own.standard_normal(num_samples), 0.01, 0.99)
    if task == "rooms":
        frequency = shared.dirichlet(np.full(len(CLASSES), 0.4)) * 76_800
        union = np.round(shared.gamma(0.6, 1, (num_samples, len(CLASSES))) * frequency).astype(np.int64)
        union[:, [31, 36]] = 0  # two classes are not in this split
        overlap = np.round(union * chance[:, None] * shared.uniform(0.3, 1.0, len(CLASSES))).astype(np.int64)
        return Records(ids, {"overlap": overlap, "union": union}, {"confusion": _confusion(union, overlap)})
    if task == "scene":
        label = shared.integers(0, len(SCENES), num_samples)
        correct = shared.random(num_samples) < 0.3 + 0.7 * chance
        wrong = (label + 1 + shared.integers(0, len(SCENES) - 1, num_samples)) % len(SCENES)
        confusion = np.zeros((len(SCENES), len(SCENES)))
        np.add.at(confusion, (label, np.where(correct, label, wrong)), 1)
        return Records(ids, {"correct": correct, "label": label}, {"confusion": confusion})
    return Records(ids, {"distance": shared.gamma(2.0, 4.0, (num_samples, 2)) * (1.15 - chance)[:, None]})


def _confusion(union: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """(K, K) with the right diagonal, the rest spread over a few other classes."""
    right, missed = overlap.sum(0), (union - overlap).sum(0)
    spread = np.random.default_rng(3).dirichlet(np.full(len(right), 0.08), len(right))
    np.fill_diagonal(spread, 0)
    return np.diag(right) + np.round(spread * missed[:, None])


def _interval(value: float, width: float) -> dict[str, float | None]:
    if math.isnan(value):
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - width, "high": value + width}


def _evaluation(
    folder: Path,
    modalities: Sequence[str],
    tasks: Sequence[str],
    num_samples: int,
    skill: float,
    groups: bool,
    pictures: int,
    seed: int,
) -> None:
    (folder / "records").mkdir(parents=True)
    (folder / "pictures").mkdir()
    ids = [f"{index:04d}" for index in range(num_samples)]
    entries = {}
    for task in tasks:
        records = {
            key: make_records(task, key, num_samples=num_samples, skill=skill, seed=seed)
            for key in subsets_of(modalities)
        }
        for key, one in records.items():
            save_records(folder / "records" / f"{task}__{key}.npz", one)
        entries[task] = task_entry(task, records, modalities)
    data = {
        "split": "test",
        "checkpoint": "best",
        "samples": num_samples,
        "seconds": 31.0,
        "images_per_second": 21.1,
        "without": [],
        "seeds": 1,
        "corrupted_samples": num_samples,
        "groups": None,
        "interval": f"95 % bootstrap over {'groups' if groups else 'samples'}, 1000 resamples",
        "modalities": list(modalities),
        "full": "+".join(modalities),
        "tasks": entries,
        "pictures": [
            _picture_entry(folder, ids[i], modalities, tasks, [tasks[i % len(tasks)]] if i >= pictures // 2 else [], i)
            for i in range(pictures)
        ],
    }
    if groups:
        data["groups"] = {sample: f"room {index // 6}" for index, sample in enumerate(ids)}
    (folder / "evaluation.json").write_text(json.dumps(data))


def save_records(path: Path, records: Records) -> None:
    """As the engine keeps them."""
    rows = {f"rows/{name}": values for name, values in records.rows.items()}
    totals = {f"totals/{name}": values for name, values in records.totals.items()}
    np.savez(path, ids=np.asarray(records.ids), **rows, **totals)


def task_entry(task: str, records: Mapping[str, Records], modalities: Sequence[str]) -> dict[str, object]:
    full = "+".join(modalities)
    scored = {key: TASKS[task].figures(one) for key, one in records.items()}
    main = {key: figures[MAIN[task]] for key, figures in scored.items()}
    width = 0.022 if task != "corners" else 0.4
    fall = {"noise": 0.5, "blur": 0.3, "pixel_dropout": 0.8, "shift": 0.2}
    worse = {m: main.get("+".join(x for x in modalities if x != m), main[full] / 2) - main[full] for m in modalities}
    confusion = records[full].totals.get("confusion")
    entry: dict[str, object] = {
        "type": TYPES[task],
        "main_figure": MAIN[task],
        "higher_is_better": task != "corners",
        "classes": {"rooms": list(CLASSES), "scene": list(SCENES), "corners": None}[task],
        "subsets": {
            key: {
                "count": len(records[key]),
                "no_answer": 0 if "image" in key else 3,
                "figures": {name: _interval(value, width) for name, value in figures.items()},
            }
            for key, figures in scored.items()
        },
        "corruptions": {
            m: {
                kind: [{"severity": s, "value": main[full] + worse[m] * part * s / 3 * 1.3} for s in (1, 2, 3)]
                for kind, part in fall.items()
            }
            for m in modalities
        },
        "subgroups": {
            "light": {
                value: {"count": number} | _interval(main[full] + shift, 2 * width)
                for value, number, shift in (("day", 41, 0.03), ("lamp", 15, -0.02), ("dark", 4, -0.11))
            },
            "room": {
                "kitchen": {"count": 30} | _interval(main[full], width),
                "other": {"count": 30} | _interval(math.nan, 0),
            },
        },
        "confusion": confusion.tolist() if confusion is not None else None,
        "worst": list(records[full].ids[-4:]),
    }
    if task == "rooms":
        entry["colours"] = {name: [37 * k % 256, 91 * k % 256, 151 * k % 256] for k, name in enumerate(CLASSES)}
    if task == "corners":
        entry["figures"] = {"MAE": {"unit": "px", "higher_is_better": False}}
    return entry


def _picture_entry(
    folder: Path, sample: str, modalities: Sequence[str], tasks: Sequence[str], worst_of: list[str], seed: int
) -> dict[str, object]:
    def save(name: str, picture: Image.Image) -> str:
        picture.save(folder / "pictures" / name)
        return f"pictures/{name}"

    photo, depth, mask, guess, error = scene_pictures(seed)
    drawn = {"image": photo, "depth": depth, "thermal": depth.rotate(180)}
    inputs = {m: save(f"{sample}-{m}.png", drawn[m]) for m in modalities}
    kinds: dict[str, dict[str, str | None]] = {}
    for task in tasks:
        if task == "rooms":
            trio = {"truth": mask, "prediction": guess, "error": error}
            kinds[task] = {kind: save(f"{sample}-{task}-{kind}.png", picture) for kind, picture in trio.items()}
        else:
            answer = {"truth": None, "prediction": save(f"{sample}-{task}-prediction.png", photo), "error": None}
            kinds[task] = answer
    return {"id": sample, "inputs": inputs, "tasks": kinds, "worst_of": worst_of}


def scene_pictures(seed: int) -> list[Image.Image]:
    """An invented room: photograph, depth, mask, prediction, error; each 320 × 240."""
    random = np.random.default_rng(seed)
    photo, mask, guess = (Image.new("RGB", (320, 240), c) for c in ((196, 186, 170), (0, 114, 178), (0, 114, 178)))
    depth = Image.fromarray(np.tile(np.linspace(220, 40, 240, dtype=np.uint8)[:, None], (1, 320))).convert("RGB")
    palette = [(213, 94, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (86, 180, 233)]
    for index in range(6):
        x, y, w, h = (int(v) for v in random.integers((0, 60, 40, 30), (260, 200, 130, 110)))
        box = (x, y, x + w, y + h)
        near = (x + 6, y + 4, x + w + 9, y + h - 5)
        ImageDraw.Draw(photo).rectangle(box, fill=tuple(int(v) for v in random.integers(60, 220, 3)))
        ImageDraw.Draw(depth).rectangle(box, fill=(int(30 * index + 40),) * 3)
        ImageDraw.Draw(mask).rectangle(box, fill=palette[index % 5])
        ImageDraw.Draw(guess).rectangle(near, fill=palette[index % 5])
    noisy = np.clip(np.asarray(photo, dtype=int) + random.normal(0, 9, (240, 320, 3)), 0, 255).astype(np.uint8)
    wrong = np.any(np.asarray(mask) != np.asarray(guess), axis=2)
    error = np.where(wrong[..., None], np.uint8([213, 60, 30]), (np.asarray(photo) // 2 + 90).astype(np.uint8))
    return [Image.fromarray(noisy), depth, mask, guess, Image.fromarray(error.astype(np.uint8))]
