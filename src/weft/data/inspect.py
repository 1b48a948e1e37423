"""`weft data`: read and decode everything once, as training would, and say all that is wrong and how much there is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from weft.boxes import CLASS
from weft.data import frames
from weft.data.checks import check_columns, check_labels, field_notes, given_away, joined, missing_notes, usable_rows
from weft.data.fit import Fitter, target_options
from weft.data.found_classes import found_classes
from weft.data.inspect_page import write_faults, write_page, write_pictures
from weft.data.inspection import Fault, Figures, Inspection, class_names, totals
from weft.data.leaks import find_leaks
from weft.data.manifest import Manifest
from weft.data.rare import open_remedies
from weft.data.rasterfile import header, open_raster
from weft.data.sources import BadColumn, Source, common_size, extent, row_timeline, source_of
from weft.data.splits import with_validation
from weft.data.timeline import Timeline
from weft.errors import ConfigError, DataFault
from weft.experiment import Experiment, Frames, ModalityConfig, TaskConfig
from weft.modalities.base import BadCell, Field, Resolve

#: Endings of files whose numbers may be NaN or infinite.
_FLOATING = (".npy", ".tif", ".tiff")

#: Samples that are in work at once, for each thread.
_AHEAD = 16

Progress = Callable[[int, int], None]


def inspect(experiment: Experiment, out: Path | str | None = None, *, progress: Progress | None = None) -> Inspection:
    """Read every cell that an experiment uses, with the experiment's own modalities and targets.

    Args:
        experiment: whose data is looked at.
        out: folder for `index.html`, `faults.csv` and pictures of samples; it is made. None: nothing is written.
        progress: told (samples done, samples in all) now and then.

    Returns:
        counts, figures, faults and notes; `ok` is False where training would refuse something.

    Raises:
        ConfigError: a column is not in the data.
        DataFault: the table or folder itself cannot be read.
    """
    config = experiment.data
    manifest = config.format().manifest().with_roots(config.roots)
    check_columns(experiment, manifest)
    faults: list[Fault] = []
    try:
        manifest = with_validation(manifest, config.validation, group=config.group, seed=experiment.train.seed)
    except DataFault as error:
        faults.append(Fault(error.code, "train", "", "", str(error)))
    manifest = joined(experiment, manifest)
    sources = _sources(experiment, manifest, faults)
    counts = {split: len(manifest.split(split)) for split in manifest.splits}
    found = Inspection(experiment.name, counts, None if out is None else Path(out), faults=faults)
    found.notes += [*manifest.notes, *given_away(experiment)]
    _whole(experiment, manifest, found)
    _read_all(manifest, sources, config.frames, found, progress)
    found.classes = {name: names for name, source in sources.items() if (names := class_names(source.field))}
    found.notes += _said(found, sources)
    _sampled(experiment, manifest, sources, found)
    if found.folder is not None:
        found.folder.mkdir(parents=True, exist_ok=True)
        found.pictures = write_pictures(manifest, sources, config.frames, found.folder)
        write_faults(found, found.folder / "faults.csv")
        write_page(found, found.folder / "index.html")
    return found


def _sources(experiment: Experiment, manifest: Manifest, faults: list[Fault]) -> dict[str, Source]:
    """{modality or task: its field, fitted}; a field that cannot be made is a fault and left out.

    A target has the name of its task; where a modality has that name too, `target NAME`.
    """
    train = np.flatnonzero(np.asarray(manifest.values("split").to_numpy(), object) == "train")
    fitter = Fitter(manifest, train, {}, replace(experiment.data, on_bad="drop"), experiment.train.seed)
    sources: dict[str, Source] = {}

    def add(
        shown: str,
        name: str,
        given: ModalityConfig | TaskConfig,
        options: Mapping[str, Any],
        make: Callable[[], Mapping[str, Field]],
    ) -> None:
        try:
            (field,) = make().values()
        except DataFault as error:
            faults.append(Fault(error.code, "train", "", shown, str(error)))
        else:
            sources[shown] = source_of(manifest, experiment.data.format, name, given, field, options=options)

    for name, modality in experiment.modalities.items():
        if modality.share is not None:  # alone, it has the encoder that it shares
            modality = replace(modality, share=None, encoder=experiment.modalities[modality.share].encoder)
        one = replace(experiment, modalities={name: modality})
        add(name, name, modality, modality.options, lambda one=one: fitter.modalities(one))  # type: ignore[misc]
    for name, task in experiment.tasks.items():
        one = replace(experiment, tasks={name: task})
        shown = f"target {name}" if name in experiment.modalities else name
        add(shown, name, task, target_options(task), lambda one=one: fitter.targets(one))  # type: ignore[misc]
    return sources


def _whole(experiment: Experiment, manifest: Manifest, found: Inspection) -> None:
    """What is seen without decoding: no samples, no labels, no inputs, leaks."""
    columns = [modality.source(name) for name, modality in experiment.modalities.items()]
    if not found.counts.get("train"):
        had = ", ".join(found.counts) or "none"
        found.faults.append(Fault("no-samples", "train", "", "", f"there is no training sample; the splits are {had}"))
    else:
        try:
            check_labels(experiment, manifest.split("train"))
        except DataFault as error:
            found.faults.append(Fault(error.code, "train", "", "", str(error)))
    _, dropped = usable_rows(manifest, columns, None)
    if dropped:
        names = ", ".join(sample.id for sample in dropped[:5]) + (", …" if len(dropped) > 5 else "")
        found.notes.append(f"{len(dropped)} samples have none of the modalities and are left out: {names}")
    leaks = found.faults if experiment.data.strict else found.warnings
    for leak in find_leaks(manifest, columns, group=experiment.data.group):
        sample, split = leak.samples[1]
        leaks.append(Fault("leak", split, sample, leak.column, str(leak)))


def _sampled(experiment: Experiment, manifest: Manifest, sources: Mapping[str, Source], found: Inspection) -> None:
    """What sampling and copy-paste make of the training split; what training would refuse of them, or because there is
    nothing to learn, is a fault.
    """
    shown = {name: f"target {name}" if name in experiment.modalities else name for name in experiment.tasks}
    inputs = {name: sources[name] for name in experiment.modalities if name in sources}
    targets = {name: sources[known] for name, known in shown.items() if known in sources}
    config = replace(experiment.data, on_bad="drop")
    rows, _ = usable_rows(manifest, [source.column for source in inputs.values()], None)
    if not len(rows.get("train", ())) or len(targets) < len(shown):
        return  # told already
    try:
        remedies = open_remedies(config, manifest, rows["train"], inputs, targets, seed=experiment.train.seed, facts={})
        found_classes(targets, manifest.take(rows["train"]), remedies.counts, on_bad=config.on_bad)
    except (ConfigError, DataFault) as error:
        found.faults.append(Fault(error.code, "train", "", "", str(error)))
        return
    found.notes += remedies.notes
    if config.sampling is not None and remedies.rates is not None:
        task = config.sampling.options["task"]
        amounts = remedies.counts[task].amounts_at(remedies.rates)
        shares = (amounts / max(amounts.sum(), 1)).tolist()
        found.sampled[shown[task]] = dict(zip(remedies.counts[task].classes, shares, strict=True))


@dataclass
class _Seen:
    """What one sample showed."""

    split: str
    figures: dict[str, Figures]
    faults: list[Fault]


def _read_all(
    manifest: Manifest, sources: Mapping[str, Source], taken: Frames, found: Inspection, progress: Progress | None
) -> None:
    """Every sample into the figures and faults, in manifest order."""
    for name in sources:
        found.figures[name] = {split: Figures(sources[name].field.geometry.kind) for split in found.counts}
    for done, seen in enumerate(_in_threads(manifest, sources, taken), start=1):
        for name, figures in seen.figures.items():
            found.figures[name][seen.split].add(figures)
        found.faults += seen.faults
        if progress is not None and (done % 100 == 0 or done == len(manifest)):
            progress(done, len(manifest))


def _in_threads(manifest: Manifest, sources: Mapping[str, Source], taken: Frames) -> Iterator[_Seen]:
    """Decoders let go of Python's lock, so threads are enough; a window of samples bounds the memory."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(manifest), workers * _AHEAD):
            window = range(start, min(start + workers * _AHEAD, len(manifest)))
            yield from pool.map(lambda index: _look(manifest, sources, taken, index), window)


def _look(manifest: Manifest, sources: Mapping[str, Source], taken: Frames, index: int) -> _Seen:
    """Read all cells of one sample, of clips the frames that evaluation takes."""
    row, place = manifest.row(index), manifest.set_of(index)
    resolve = manifest.resolver(place)
    sample, split = str(row["id"]), str(row["split"])
    seen = _Seen(split, {}, [])
    read: list[tuple[Source, str, np.ndarray]] = []
    known, lost = _frames(manifest, sources, taken, index, seen)
    for name, whole in sources.items():
        source = whole.of(place)
        cell = row.get(source.column)
        figures = seen.figures[name] = Figures(source.field.geometry.kind, samples=1, present=int(cell is not None))
        if cell is None or (lost and source.field.geometry.has_frames):
            continue
        try:
            value = source.field.read_frames(cell, resolve, known)
            figures.remarks.update(source.field.remarks(cell, resolve))
        except BadCell as error:
            seen.faults.append(Fault(error.code, split, sample, name, str(error)))
            continue
        read.append((source, name, value))
        _count(figures, whole.field, value)
        figures.holding = Counter(dict.fromkeys(+figures.classes, 1))
        if source.field.geometry.kind == "image" and isinstance(cell, str):
            _look_at_file(figures, cell, resolve)
    try:
        shapes = [(source, name, extent(source, value)) for source, name, value in read]
        size = common_size(shapes, {name: str(row[source.column]) for source, name, _ in read})
    except BadColumn as error:
        names = {source.column: name for source, name, _ in read}
        seen.faults.append(Fault(error.code, split, sample, names[error.column], str(error)))
        return seen
    seen.faults += [
        fault for source, name, value in read for fault in _outside(source, name, value, size, sample, split)
    ]
    return seen


def _frames(
    manifest: Manifest, sources: Mapping[str, Source], taken: Frames, index: int, seen: _Seen
) -> tuple[Timeline | None, bool]:
    """(the frames that are taken of a sample, whether they cannot be told, which is then a fault in `seen`)."""
    row, place = manifest.row(index), manifest.set_of(index)
    column = ""
    try:
        whole = row_timeline(sources, row, manifest, place)
        if whole is None:
            return None, False
        column, timeline = whole
        return frames.choose(timeline, taken), False
    except BadCell as error:
        column = error.column if isinstance(error, BadColumn) else column
        name = next((name for name, source in sources.items() if source.column == column), column)
        seen.faults.append(Fault(error.code, seen.split, str(row["id"]), name, str(error)))
        return None, True


def _count(figures: Figures, field: Field, value: np.ndarray) -> None:
    """Sizes, ranges and classes of one decoded value."""
    kind, names = field.geometry.kind, class_names(field)
    if field.geometry.has_pixels:
        figures.sizes[field.geometry.size_of(value)] += 1
    if kind == "sequence" or field.geometry.has_frames:
        figures.lengths = (len(value), len(value))
    if kind in ("label", "clip_label", "frames"):
        counts = dict(zip(*(part.tolist() for part in np.unique(value, return_counts=True)), strict=True))
        figures.classes = Counter({names[number]: n for number, n in counts.items() if 0 <= number < len(names)})
        figures.unlabelled = int(value.size - figures.classes.total())
        return
    if kind == "boxes":
        figures.classes = Counter(names[int(number)] for number in value[:, CLASS])
    elif names and value.dtype.kind in "iu" and value.ndim == 0:
        figures.classes[names[int(value)]] += 1
    elif names and value.shape == (len(names),):
        figures.classes = Counter({name: int(one > 0) for name, one in zip(names, value, strict=True)})
    elif value.dtype.kind in "iuf" and value.size:
        values = value[value[..., 2] > 0][..., :2] if kind in ("points", "clip_points") else value
        known = values[field.geometry.known(values)]
        figures.num_values, figures.num_known = int(values.size), int(known.size)
        if known.size:
            figures.low, figures.high = float(known.min()), float(known.max())


def _look_at_file(figures: Figures, cell: str, resolve: Resolve) -> None:
    """Colour mode of a picture, and numbers that are not finite where the file can hold them."""
    path = resolve(cell)
    if isinstance(path, Path) and path.suffix.lower() not in _FLOATING:
        figures.channels[header(path)[1]] += 1
        return
    pixels = open_raster(path).pixels
    figures.channels[f"{pixels.dtype}x{pixels.shape[2] if pixels.ndim == 3 else 1}"] += 1
    if pixels.dtype.kind == "f":
        figures.not_finite = int((~np.isfinite(pixels)).sum())


def _outside(
    source: Source, name: str, value: np.ndarray, size: tuple[int, int] | None, sample: str, split: str
) -> Iterator[Fault]:
    """Values that cannot be meant for a picture of this size, and visible points that are not in it."""
    if size is None:
        return
    try:
        source.field.placed(value, size)
    except BadCell as error:
        yield Fault(error.code, split, sample, name, str(error))
    if source.field.geometry.kind != "points" or value.ndim != 2:
        return
    height, width = size
    wrong = (value[:, 2] > 0) & ((value[:, :2] < 0).any(1) | (value[:, 0] > width) | (value[:, 1] > height))
    if wrong.any():
        x, y = value[np.flatnonzero(wrong)[0], :2]
        yield Fault(
            "point-outside",
            split,
            sample,
            name,
            f"{int(wrong.sum())} of {int((value[:, 2] > 0).sum())} visible points lie outside the picture of "
            f"{width}x{height}, the first at x {x:g}, y {y:g}; give [x, y, visible] in pixels from the upper left",
        )


def _said(found: Inspection, sources: Mapping[str, Source]) -> Iterator[str]:
    """What the figures give cause to say."""
    yield from field_notes({name: source.field for name, source in sources.items()})
    present = {
        split: {
            "samples": count,
            "modalities": {},
            "targets": {name: by_split[split].present for name, by_split in found.figures.items()},
        }
        for split, count in found.counts.items()
    }
    yield from missing_notes(present)
    for name, by_split in found.figures.items():
        every = totals(by_split)
        if every.not_finite:
            yield f"{name}: {every.not_finite} pixels are NaN or infinite and count as not known"
        yield from (f"{name}: {count} of {every.present}: {remark}" for remark, count in every.remarks.most_common())
        if len(every.channels) > 1:
            modes = ", ".join(f"{mode} {count}" for mode, count in every.channels.most_common())
            yield f"{name}: files of several kinds, converted by rule: {modes}"
        train = by_split.get("train")
        if name in found.classes and train is not None and train.present:
            absent = [one for one in found.classes[name] if not train.classes[one]]
            if absent:
                yield f"{name}: {len(absent)} classes never occur in train: {', '.join(absent[:10])}"
