"""What a column is, judged by some of its cells or files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.audiofile import SOUNDS, Header, header
from weft.data.clipfile import open_clip
from weft.data.declared import SEPARATOR
from weft.data.listing import RASTERS
from weft.data.rasterfile import Raster, open_raster
from weft.data.text.files import COMMON, read_text
from weft.data.text.splitting import UNSPACED
from weft.data.videofile import VIDEOS
from weft.modalities.base import BadCell

#: Files that are opened, and cells that are looked at.
_FILES = 24
_CELLS = 1000

#: A single-channel file with at most this many different values is taken for labels.
_LABEL_VALUES = 40

#: Class names of a column are few: at most so many, and repeated.
_MAX_CLASSES = 200

#: Longest side that pictures are used at.
_LARGEST = 512

#: Words with a space between, or two characters of a script that needs none.
_SEVERAL_WORDS = re.compile(f"\\S\\s+\\S|[{UNSPACED}]{{2}}")

_RESNET: dict[str, Any] = {"type": "timm", "name": "resnet18", "pretrained": False}

#: Kinds of columns that can be a modality, and the encoder that is written for each.
ENCODERS: dict[str, dict[str, Any]] = {
    "image": _RESNET,
    "depth": _RESNET,
    "audio": {"type": "conv_rnn"},
    "video": {"type": "frames", "backbone": _RESNET},
    "text": {"type": "text_rnn"},
    "table": {"type": "table_mlp"},
}


@dataclass(frozen=True)
class ColumnGuess:
    """What a column seems to be.

    Attributes:
        kind: image, depth, audio, video, masks (of its frames), text, table (a row of several columns), label, class,
            labels, boxes, points, number, path, nothing.
        reason: why.
        declared: what the data format must be told of it.
        options: of the modality; its encoder, where that is not the usual one of `ENCODERS`.
        task: {type, options} where it is something to learn.
        size: (height, width) to bring pictures to, where theirs differ or are large.
    """

    kind: str
    reason: str
    declared: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        tasks = {"label": "segmentation", "masks": "video_segmentation", "class": "classification"}
        if self.task is None and self.kind in tasks:
            object.__setattr__(self, "task", {"type": tasks[self.kind]})

    @property
    def is_input(self) -> bool:
        """Whether it can be a modality."""
        return self.kind in ENCODERS


def of_cells(cells: pa.ChunkedArray, root: Path) -> ColumnGuess:
    """Judge a column of a table."""
    given = cells.drop_null().slice(0, _CELLS).to_pylist()
    if not given:
        return ColumnGuess("nothing", "empty everywhere; left out")
    texts = [value for value in given if isinstance(value, str)]
    clips = [root / text for text in texts if len(text) < 1000 and is_clip(root / text)]
    named_once = len(set(clips)) > 0.5 * len(clips)  # names of classes can be those of folders
    if len(clips) > 0.5 * len(given) and named_once and not any(".." in path.parts for path in clips):
        return of_clips(clips)
    there = [root / text for text in texts if len(text) < 1000 and _is_file(root, text)]
    if len(there) > 0.5 * len(given):
        share = f"{100 * len(there) / len(given):.0f} % of its values are files"
        if there[0].suffix.lower() == ".txt":
            return _of_text_files(there, share)
        if there[0].suffix.lower() not in (*RASTERS, *SOUNDS):
            return ColumnGuess("path", f"{share} ({there[0].suffix}), of a kind that is not guessed; left out")
        guess = of_files(there, name=there[0].parent.name)
        return ColumnGuess(
            guess.kind, f"{share}; {guess.reason}", guess.declared, guess.options, guess.task, guess.size
        )
    if not texts and isinstance(given[0], list):
        return _of_lists(given)
    if texts and _is_json(texts):
        return ColumnGuess(
            "points", "lists of numbers as JSON are taken for points [x, y, visible]", task={"type": "location"}
        )
    return _of_words(cells, given)


def of_files(paths: Sequence[Path], *, name: str) -> ColumnGuess:
    """Judge raster or sound files by some of them.

    Args:
        paths: the files.
        name: of the folder or column, where only a name can tell.
    """
    places = np.unique(np.linspace(0, len(paths) - 1, min(_FILES, len(paths))).astype(int))
    if paths[0].suffix.lower() in SOUNDS:
        return _of_sounds([paths[place] for place in places])
    rasters: list[Raster] = []
    for place in places:
        try:
            rasters.append(open_raster(paths[place]))
        except BadCell:
            continue  # `weft data` names every file that cannot be read
    if not rasters:
        return ColumnGuess("path", f"none of {len(places)} files could be read; left out")
    grey = all(raster.pixels.ndim == 2 for raster in rasters)
    exact = not any(raster.lossy for raster in rasters)
    if grey and exact:
        return _of_grey(rasters, name)
    if exact and all(raster.mode.startswith("colour") for raster in rasters):
        colours = {tuple(colour) for raster in rasters for colour in _colours(raster)}
        if len(colours) <= _LABEL_VALUES:
            return _of_colours(sorted(colours), len(rasters))
    channels = {1 if raster.pixels.ndim == 2 else raster.pixels.shape[2] for raster in rasters}
    kinds = ", ".join(sorted({f"{raster.pixels.dtype} {raster.mode}" for raster in rasters}))
    count = max(channels) if max(channels) not in (2, 4) else (3 if max(channels) == 4 else 1)
    options = {} if count == 3 else {"channels": count}
    return ColumnGuess("image", f"pictures ({kinds})", options=options, size=_size_of(rasters))


def is_clip(path: Path) -> bool:
    """Whether it is a video file, by its name, or a folder with pictures in it."""
    try:
        if path.is_dir():
            return any(entry.suffix.lower() in RASTERS for entry in path.iterdir())
        return path.suffix.lower() in VIDEOS and path.is_file()
    except (OSError, ValueError):
        return False  # a text that cannot even be a name


def of_clips(paths: Sequence[Path]) -> ColumnGuess:
    """Judge video files, or folders of frames, by some of them."""
    places = np.unique(np.linspace(0, len(paths) - 1, min(_FILES, len(paths))).astype(int))
    lengths: list[int] = []
    sizes: list[tuple[int, int]] = []
    for place in places:
        try:
            clip = open_clip(paths[place])
            first = next(iter(clip.frames([0])))
            pixels = first if isinstance(first, np.ndarray) else open_raster(first).pixels
        except BadCell:
            continue  # `weft data` names every clip that cannot be read
        lengths.append(len(clip.timeline))
        sizes.append(pixels.shape[:2])
    if not lengths:
        return ColumnGuess("path", f"none of {len(places)} clips could be read; left out")
    reason = f"clips of {min(lengths)} to {max(lengths)} frames; 8 are taken of each, at random in training"
    return ColumnGuess("video", reason, {"kind": "video"}, size=_size(sizes))


def _of_sounds(paths: Sequence[Path]) -> ColumnGuess:
    """Sounds are brought to the rate that most of them have."""
    headers: list[Header] = []
    for path in paths:
        try:
            headers.append(header(path))
        except BadCell:
            continue  # `weft data` names every file that cannot be read
    if not headers:
        return ColumnGuess("path", f"none of {len(paths)} files could be read; left out")
    rates = Counter(found.sample_rate for found in headers)
    rate = rates.most_common(1)[0][0]
    seconds = [found.num_frames / found.sample_rate for found in headers]
    length = f"{min(seconds):.3g} to {max(seconds):.3g} s"
    reason = f"sounds of {length} at {', '.join(f'{one} Hz' for one in sorted(rates))}; sample_rate {rate} is taken"
    return ColumnGuess("audio", reason, {"kind": "audio"}, {"sample_rate": rate})


def _of_grey(rasters: Sequence[Raster], name: str) -> ColumnGuess:
    """One channel, stored without loss: labels, depth or a grey picture."""
    kind = rasters[0].pixels.dtype
    values = np.unique(np.concatenate([np.unique(raster.pixels) for raster in rasters]))
    palette = all(raster.mode == "palette" for raster in rasters)
    most = max(len(np.unique(raster.pixels)) for raster in rasters)
    if kind.kind != "f" and (palette or most <= _LABEL_VALUES) and not _sounds_like_depth(name):
        return _of_labels(values.astype(int).tolist(), len(rasters), palette)
    if kind.kind == "f":
        return ColumnGuess(
            "depth",
            f"{kind} in one channel is taken for depth in metres; check",
            {"kind": "depth"},
            size=_size_of(rasters),
        )
    if kind == np.uint8 and not _sounds_like_depth(name):
        reason = f"8 bits in one channel with up to {most} different values in a file: a grey picture"
        return ColumnGuess("image", reason, options={"channels": 1}, size=_size_of(rasters))
    scale = 0.04 if kind == np.uint8 else 0.001
    why = f"{8 * kind.itemsize} bits in one channel, up to {int(values.max())}, are taken for depth of unknown unit:"
    unit = f"metres_per_unit {scale} is assumed, so that the farthest is {scale * int(values.max()):.3g} m; check"
    declared = {"kind": "depth", "metres_per_unit": scale}
    return ColumnGuess("depth", f"{why} {unit}", declared, size=_size_of(rasters))


def _of_labels(values: list[int], num_files: int, palette: bool) -> ColumnGuess:
    shown = ", ".join(str(value) for value in values[:12]) + (", …" if len(values) > 12 else "")
    what = "a palette" if palette else "one channel"
    reason = f"{what} with {len(values)} different values ({shown}) in {num_files} files: a label map"
    if values in ([0, 255], [0, 1]):
        declared = {"kind": "label", "classes": {"0": "background", str(values[1]): "object"}}
        return ColumnGuess("label", f"{reason} of two classes, named background and object", declared)
    if 255 in values:
        reason += "; 255 is taken for pixels without a label"
    names = "the classes are the values found in train until you name them"
    return ColumnGuess("label", f"{reason}; {names}", {"kind": "label", "ignore": 255})


def _of_colours(colours: Sequence[tuple[int, ...]], num_files: int) -> ColumnGuess:
    codes = ["#" + "".join(f"{value:02x}" for value in colour[:3]) for colour in colours]
    names = [f"class_{number}" for number in range(len(codes))]
    declared = {"kind": "label", "classes": names, "colours": dict(zip(names, codes, strict=True))}
    reason = (
        f"{len(codes)} different colours in {num_files} files: labels in colours; name the classes, add lacking ones"
    )
    return ColumnGuess("label", reason, declared)


def _of_words(cells: pa.ChunkedArray, given: list[Any]) -> ColumnGuess:
    """Numbers, class names, several names, or text."""
    pieces = [piece for value in given if isinstance(value, str) for piece in value.split(SEPARATOR)]
    if len(pieces) > len(given) and len(set(pieces)) <= min(_MAX_CLASSES, len(pieces) // 2):
        reason = f"names with {SEPARATOR} between them: several labels a sample"
        task = {"type": "classification", "multi_label": True}
        return ColumnGuess("labels", reason, {"kind": "labels"}, task=task)
    different = len(pc.unique(cells.drop_null()))
    words = [str(value) for value in given]
    longest = max(len(word) for word in words)
    repeated = different <= max(2, len(cells) // 4) and 2 <= different <= _MAX_CLASSES
    if all(_is_number(word) for word in words) and not (repeated and all(_is_whole(word) for word in words)):
        return ColumnGuess("number", f"numbers, {different} different ones; left out")
    if repeated and longest <= 60:
        some = ", ".join(sorted(set(words))[:6])
        return ColumnGuess(
            "class", f"{different} different values in {len(cells)} rows ({some}): classes", {"kind": "class"}
        )
    if different < 2:
        return ColumnGuess("nothing", f"the same value everywhere ({words[0][:40]!r}); left out")
    several = sum(bool(_SEVERAL_WORDS.search(word)) for word in words)
    if several <= 0.5 * len(words):
        reason = f"{different} different words, such as {words[0][:40]!r}, are taken for names or codes; left out"
        return ColumnGuess("nothing", reason)
    return ColumnGuess("text", f"{different} different texts of up to {longest} letters")


def _of_text_files(paths: Sequence[Path], share: str) -> ColumnGuess:
    """Text files, in the first of the usual encodings that fits all that are looked at."""
    some = paths[:: max(1, len(paths) // _FILES)][:_FILES]
    for encoding in COMMON:
        try:
            texts = [read_text(path, encoding) for path in some]
        except BadCell:
            continue
        letters = max(map(len, texts))
        reason = f"{share}; texts of up to {letters} letters, whose bytes fit {encoding}; check the encoding"
        options = {"file": True, **({} if encoding == "utf-8" else {"encoding": encoding})}
        return ColumnGuess("text", reason, options=options)
    return ColumnGuess("path", f"{share} (.txt) that are no texts; left out")


def _of_lists(given: list[Any]) -> ColumnGuess:
    items = [item for value in given for item in value]
    if items and all(isinstance(item, list) for item in items):
        return ColumnGuess("points", "lists of lists are taken for points [x, y, visible]", task={"type": "location"})
    task = {"type": "classification", "multi_label": True}
    return ColumnGuess("labels", "lists: several labels a sample", {"kind": "labels"}, task=task)


def _size_of(rasters: Sequence[Raster]) -> tuple[int, int] | None:
    return _size([(raster.pixels.shape[0], raster.pixels.shape[1]) for raster in rasters])


def _size(shapes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """A size for all, where they differ or are large: the median shape, sides a multiple of 32."""
    sizes = np.array(shapes)
    if (sizes == sizes[0]).all() and sizes.max() <= _LARGEST:
        return None
    height, width = np.median(sizes, axis=0)
    scale = min(1.0, _LARGEST / max(height, width))
    return max(32, round(height * scale / 32) * 32), max(32, round(width * scale / 32) * 32)


def _colours(raster: Raster) -> np.ndarray:
    """(n, 3) different colours, at most a few more than labels have."""
    return np.unique(raster.pixels[..., :3].reshape(-1, 3), axis=0)[: _LABEL_VALUES + 1]


def _sounds_like_depth(name: str) -> bool:
    return any(word in name.lower() for word in ("depth", "disp", "range", "distance"))


def _is_file(root: Path, text: str) -> bool:
    try:
        return ".." not in Path(text).parts and (root / text).is_file()
    except (OSError, ValueError):
        return False  # a text that cannot even be a name


def _is_json(texts: Sequence[str]) -> bool:
    try:
        found = [json.loads(text) for text in texts[:20]]
    except ValueError:
        return False
    return all(isinstance(value, list | dict) for value in found)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_whole(word: str) -> bool:
    return word.removeprefix("-").isdigit()
