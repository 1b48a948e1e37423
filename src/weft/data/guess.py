"""`weft init`: look at a folder, guess how it is laid out and what its columns are, and write it down to be checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weft.data.audiofile import SOUNDS
from weft.data.guess_column import ENCODERS, ColumnGuess, is_clip, of_clips, of_files
from weft.data.guess_known import known_layout
from weft.data.guess_table import Layout, table_of_files, table_of_rows
from weft.data.listing import RASTERS, by_stem, folder
from weft.data.manifest import SPLITS, usual_split
from weft.errors import DataFault

#: Endings of files that can be cells.
_FILES = (*RASTERS, *SOUNDS)


@dataclass(frozen=True)
class Guess:
    """A configuration and why it is as it is.

    Attributes:
        config_text: YAML, with the reasons in front as comments.
        reasons: one line each.
    """

    config_text: str
    reasons: list[str]


def guess(path: Path | str) -> Guess:
    """Guess an experiment for a folder of data. Nothing is written.

    Args:
        path: the folder: a public data set as it is published, a table, class folders, or parallel folders.

    Raises:
        DataFault: nothing in it is known, or there is nothing to learn.
    """
    root = folder(path)
    looks: list[Callable[[Path], Layout | None]] = [
        known_layout,
        table_of_files,
        _clip_folders,
        _class_folders,
        _parallel,
        table_of_rows,
    ]
    layout = next((found for look in looks if (found := look(root)) is not None), None)
    if layout is None:
        raise DataFault(
            f"{root} has neither a table (.csv, .tsv, .jsonl, .parquet) of files, texts or columns with one to learn, "
            "nor folders of pictures, sounds or clips that are classes or are paired by name; see docs/data-formats.md "
            "for what is read",
            code="no-layout",
        )
    layout.format["root"] = str(Path(path, layout.below))
    reasons = [*layout.reasons, *(f"{name}: {column.reason}" for name, column in layout.columns.items())]
    return _written(root, layout, reasons)


def _clip_folders(root: Path) -> Layout | None:
    """Folders of video files, or of folders of frames: classes."""
    splits = [name for name in _folders(root) if usual_split(name) in SPLITS]
    base = root / splits[0] if splits else root
    clips: dict[str, list[Path]] = {}
    for name in _folders(base):
        parts = [path for path in sorted((base / name).iterdir()) if usual_split(path.name) not in SPLITS]
        if found := [path for path in parts if is_clip(path)]:
            clips[name] = found
    scenes = [{path.name for path in found if path.is_dir()} for found in clips.values()]
    if len(clips) < 2 or set.intersection(*scenes):
        return None  # folders with folders of the same names are columns, not classes
    counts = ", ".join(f"{name} {len(found)}" for name, found in list(clips.items())[:6])
    columns = {
        "clip": of_clips([path for found in clips.values() for path in found[:3]]),
        "label": ColumnGuess("class", f"{len(clips)} folders of clips are classes: {counts}"),
    }
    reasons = [f"{' and '.join(splits)}: folders named as splits"] if splits else []
    return Layout({"format": "clips"}, columns, reasons)


def _class_folders(root: Path) -> Layout | None:
    """Folders of pictures or sounds that share no names: classes."""
    splits = [name for name in _folders(root) if usual_split(name) in SPLITS]
    base = root / splits[0] if splits else root
    files = {name: by_stem(base / name, endings=_FILES) for name in _folders(base)}
    files = {name: found for name, found in files.items() if found}
    if len(files) < 2 or len(_endings(files)) > 1:
        return None
    counts = ", ".join(f"{name} {len(found)}" for name, found in list(files.items())[:6])
    some = [base / name / file for name, found in files.items() for file in list(found.values())[:3]]
    guess = of_files(some, name="image")
    columns = {
        "audio" if guess.kind == "audio" else "image": guess,
        "label": ColumnGuess("class", f"{len(files)} folders that share no file names are classes: {counts}"),
    }
    reasons = [f"{' and '.join(splits)}: folders named as splits"] if splits else []
    return Layout({"format": "folder"}, columns, reasons)


def _parallel(root: Path) -> Layout | None:
    """Folders whose files have the same names: columns."""
    splits = [name for name in _folders(root) if usual_split(name) in SPLITS]
    base = root / splits[0] if splits else root
    pictures: dict[str, list[Path]] = {}
    stems: dict[str, dict[str, str]] = {}
    for name in _folders(base):
        inside = next((part for part in _folders(base / name) if usual_split(part) in SPLITS), "")
        files = by_stem(base / name / inside, endings=_FILES)
        if files:
            stems[name] = files
            pictures[name] = [base / name / inside / file for file in files.values()]
    if not pictures:
        return None
    endings = _endings(stems)
    layout = Layout({"format": "folder", "columns": {}}, {})
    layout.reasons.append(f"{', '.join(endings)}: folders whose files have the same names are columns, paired by name")
    for name, ending in endings.items():
        column = layout.columns[name] = of_files(pictures[name], name=name)
        where = f"{name}/*{ending}{pictures[name][0].suffix}" if ending else name
        layout.format["columns"][name] = {"folder": where, **column.declared} if column.declared else where
    lists = {split: f"{split}.txt" for split in SPLITS if (root / f"{split}.txt").is_file()}
    if lists and not splits:
        layout.format["lists"] = lists
        layout.reasons.append(f"{', '.join(lists.values())}: lists of the splits")
    return layout


def _endings(folders: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """{folder: what its names have after those of the largest folder}, of the folders that are paired with it."""
    largest = max(folders, key=lambda name: len(folders[name]))
    endings = {largest: ""}
    for name, files in folders.items():
        if name == largest:
            continue
        example = next(iter(files))
        start = max((stem for stem in folders[largest] if example.startswith(stem)), key=len, default=None)
        if start is None:
            start = next((stem for stem in files if stem in folders[largest]), None)
            ending = ""
        else:
            ending = example[len(start) :]
        partners = {f"{stem}{ending}" for stem in folders[largest]}
        if start is not None and len(partners & set(files)) > 0.5 * len(files):
            endings[name] = ending
    return {name: endings[name] for name in folders if name in endings}


def _folders(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _written(root: Path, layout: Layout, reasons: list[str]) -> Guess:
    """The configuration of a layout."""
    inputs = {name: column for name, column in layout.columns.items() if column.is_input}
    targets = {name: column for name, column in layout.columns.items() if column.task}
    if not targets and len(inputs) > 1 and any(column.kind == "depth" for column in inputs.values()):
        depth = next(name for name, column in inputs.items() if column.kind == "depth")
        targets[depth] = ColumnGuess("depth", "", task={"type": "pixel_regression"})
        del inputs[depth]
        reasons.append(f"{depth}: no labels were found, so the task is to tell it from the rest")
    if not inputs or not targets:
        lacking = (
            "nothing that can be an input (pictures, depth, sounds, texts or columns)"
            if not inputs
            else "nothing to learn (labels, depth, numbers)"
        )
        said = "".join(f"\n  {reason}" for reason in reasons)
        raise DataFault(f"{root} has {lacking}; what was found:{said}", code="no-layout")
    data: dict[str, Any] = dict(layout.format)
    sizes = [column.size for column in inputs.values() if column.size]
    if sizes:
        data["size"] = list(max(sizes))
        reasons.append(f"size {data['size']}: pictures differ in size or are large; the model sees them at this size")
    if any(column.kind == "video" and column.declared for column in inputs.values()):
        data["frames"] = {"sampling": "random", "count": 8}
    if layout.group:
        data["group"] = layout.group
        data["validation"] = {"by": "group"}
    tree: dict[str, Any] = {"name": _name(root.resolve().name), "data": data, "modalities": {}, "tasks": {}}
    for column, known in inputs.items():
        entry: dict[str, Any] = {"type": known.kind, **known.options}
        entry.setdefault("encoder", dict(ENCODERS[known.kind]))
        tree["modalities"][_name(column)] = entry if _name(column) == column else {**entry, "column": column}
    for column, known in targets.items():
        task = dict(known.task or {})
        tree["tasks"][_name(column)] = task if _name(column) == column else {**task, "target": column}
    if len(inputs) > 1:
        tree["fusion"] = "concat"
    if any(ENCODERS[column.kind].get("pretrained") is False for column in inputs.values()):
        reasons.append(
            "encoders: resnet18 from random weights; `pretrained: true` fetches weights and usually does better"
        )
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    header = "".join(f"# {line}\n" for reason in reasons for line in reason.splitlines())
    return Guess(
        f"# Guessed from the files; check every line, then: weft check FILE, weft data FILE\n{header}{text}", reasons
    )


def _name(column: str) -> str:
    """A name for a modality, task or experiment: letters, digits and underscores."""
    return re.sub(r"\W+", "_", column).strip("_") or "data"
