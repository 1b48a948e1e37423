"""For `weft init`: the layouts of public data sets that have a format of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from weft.data.formats import chestxray14, mvsa
from weft.data.guess_column import ENCODERS, ColumnGuess
from weft.data.guess_table import Layout
from weft.data.manifest import SPLITS, usual_split

_RASTER = ColumnGuess("image", "pictures")
#: Pictures of the web: of any size.
_PICTURES = ColumnGuess("image", "pictures of different sizes", size=(512, 512))
_LABEL = ColumnGuess("label", "label maps with the data set's own classes")
_BOXES = ColumnGuess("boxes", "boxes with the data set's own classes", task={"type": "detection"})


def known_layout(root: Path) -> Layout | None:
    """The first layout that a folder has; None where it has none of them."""
    looks: tuple[Callable[[Path], Layout | None], ...] = (
        _nyuv2,
        _camvid,
        _davis,
        _voc,
        _coco,
        _mvsa,
        _chestxray14,
        _digits,
    )
    return next((found for look in looks if (found := look(root)) is not None), None)


def _nyuv2(root: Path) -> Layout | None:
    if not (all((root / name).is_dir() for name in ("image", "depth", "label")) and (root / "classes.csv").is_file()):
        return None
    columns = {"image": _RASTER, "depth": ColumnGuess("depth", "depth in the data set's own unit"), "label": _LABEL}
    return Layout({"format": "nyuv2"}, columns, ["image/, depth/, label/ and classes.csv: laid out as nyuv2"])


def _camvid(root: Path) -> Layout | None:
    if not ((root / "train").is_dir() and (root / "trainannot").is_dir()):
        return None
    columns = {"image": _RASTER, "label": _LABEL}
    return Layout({"format": "camvid"}, columns, ["train/ and trainannot/: laid out as camvid"])


def _davis(root: Path) -> Layout | None:
    tops = [root / name for name in ("JPEGImages", "Annotations")]
    resolutions = [path.name for path in sorted(tops[0].glob("*p")) if (tops[1] / path.name).is_dir()]
    if not resolutions:
        return None
    maps = {"type": "frame_maps", "backbone": dict(ENCODERS["image"])}
    layout = Layout({"format": "davis"}, {"clip": ColumnGuess("video", "its windows", options={"encoder": maps})})
    if "480p" not in resolutions:
        layout.format["resolution"] = resolutions[0]
    layout.columns["masks"] = ColumnGuess("masks", "background and object")
    layout.reasons.append(f"JPEGImages/{resolutions[0]}/ and Annotations/{resolutions[0]}/: laid out as davis")
    return layout


def _voc(root: Path) -> Layout | None:
    """Of VOC2012, or of a folder of several years, such as VOCdevkit, the newest."""
    years = [root, *sorted((one for one in root.iterdir() if re.fullmatch(r"VOC\d{4}", one.name)), reverse=True)]
    here = [one for one in years if (one / "JPEGImages").is_dir() and (one / "ImageSets").is_dir()]
    if not here:
        return None
    year = here[0]
    lists = {one: _splits_of(year / "ImageSets" / one) for one in ("Main", "Segmentation")}
    masks = lists["Segmentation"] and any((year / "SegmentationClass").glob("*.png"))
    boxes = lists["Main"] and any((year / "Annotations").glob("*.xml"))
    if not (boxes or masks):
        return None
    chosen = "Main" if boxes else "Segmentation"
    layout = Layout({"format": "voc"}, {"image": _PICTURES}, below=str(year.relative_to(root)))
    layout.reasons.append(f"JPEGImages/ and ImageSets/{chosen}/: laid out as voc, in {year.name}")
    if len(here) > 1:
        layout.reasons.append(f"{', '.join(one.name for one in here[1:])} lies beside it: give its own folder for that")
    layout.format["lists"] = chosen
    if lists[chosen] != {split: split for split in lists[chosen]}:
        layout.format["names"] = lists[chosen]
    if boxes:
        layout.columns["boxes"] = _BOXES
    if masks:
        layout.columns["label"] = _LABEL
    if masks and boxes:
        layout.reasons.append("most pictures of Main have no mask; `lists: Segmentation` is those that do")
    return layout


def _splits_of(lists: Path) -> dict[str, str]:
    """{split: its list}; trainval where there is nothing else to learn from."""
    found = {split: split for split in SPLITS if (lists / f"{split}.txt").is_file()}
    if "train" not in found and (lists / "trainval.txt").is_file():
        found = {"train": "trainval"} | {split: name for split, name in found.items() if split != "val"}
    return found


def _coco(root: Path) -> Layout | None:
    """By the files whose pictures are there: instances as boxes, panoptic ones as masks."""
    files = {kind: _named(root, kind) for kind in ("instances", "panoptic")}
    files = {kind: names for kind, names in files.items() if "train" in names}
    if not files:
        return None
    kind, names = next(iter(files.items()))
    said = ", ".join(f"{name}/ with annotations/{kind}_{name}.json" for name in names.values())
    layout = Layout({"format": "coco"}, {"image": _PICTURES}, [f"{said}: laid out as coco"])
    if any(split == "test" or not name.startswith(f"{split}20") for split, name in names.items()):
        layout.format["names"] = names
    if "instances" in files:
        layout.columns["boxes"] = _BOXES
        layout.reasons.append("`masks: instances` adds `label`, the same objects as a class per pixel")
    else:
        layout.format["read"] = []
    panoptic = files.get("panoptic") == names
    layout.format["masks"] = "panoptic" if panoptic else "none"
    if panoptic:
        layout.columns["label"] = _LABEL
    return layout


def _named(root: Path, kind: str) -> dict[str, str]:
    """{split: how it is called in the files of a kind}, of the splits whose pictures are there, the newest of each."""
    found: dict[str, str] = {}
    for path in sorted((root / "annotations").glob(f"{kind}_*.json")):
        name = path.stem.removeprefix(f"{kind}_")
        split = usual_split(re.sub(r"[\W_]*\d+$", "", name))
        if split in SPLITS and (root / name).is_dir():
            found[split] = name
    return {split: found[split] for split in SPLITS if split in found}


def _mvsa(root: Path) -> Layout | None:
    lists = (root / mvsa.OFFICIAL).is_file() or any(root.glob("ID-label-*.txt"))
    if not ((root / "data").is_dir() and lists):
        return None
    columns = {
        "text": ColumnGuess("text", "the sentence of a post"),
        "image": ColumnGuess("image", "its picture", size=(224, 224)),
        "label": ColumnGuess("class", "its sentiment: positive, neutral or negative"),
    }
    format_ = {"format": "mvsa", "validation": {"by": "stratified", "stratify": "label"}}
    return Layout(format_, columns, ["data/ and lists of labels: laid out as mvsa"])


def _chestxray14(root: Path) -> Layout | None:
    if not any((root / name).is_file() for name in chestxray14.ENTRIES):
        return None
    columns = {
        "image": ColumnGuess("image", "X-rays of the chest", options={"channels": 1}, size=(224, 224)),
        "findings": ColumnGuess(
            "labels", "any of fourteen findings", task={"type": "classification", "multi_label": True}
        ),
    }
    reason = "Data_Entry_2017.csv: laid out as chestxray14; X-rays of one patient belong together (data.group)"
    return Layout({"format": "chestxray14"}, columns, [reason], group="patient")


def _digits(root: Path) -> Layout | None:
    if not ((root / "recordings").is_dir() and any(root.glob("*images-idx3-ubyte*"))):
        return None
    columns = {
        "image": ColumnGuess("image", "handwritten digits, 28 x 28", options={"channels": 1}),
        "audio": ColumnGuess("audio", "spoken digits"),
        "digit": ColumnGuess("class", "the ten digits"),
    }
    return Layout({"format": "digits"}, columns, ["recordings/ and idx files of pictures: laid out as digits"])
