"""Whether there is anything to learn: a training split without a single object, and classes that it never shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from weft.data.class_counts import ClassCounts, count_classes
from weft.data.inspection import class_names
from weft.data.manifest import Manifest
from weft.data.sources import Source
from weft.errors import DataFault, first_few

#: Labelled training samples that are looked at: all in most sets of labels and boxes, and few masks, which are decoded.
_CELLS, _MASKS = 20_000, 64


def found_classes(
    targets: Mapping[str, Source], samples: Manifest, counted: Mapping[str, ClassCounts], *, on_bad: str
) -> list[str]:
    """What the training split shows of the classes of each task: remarks on what it lacks.

    Where there are many samples, some of them are looked at, evenly spread: then only that all are empty is told.

    Args:
        targets: by task.
        samples: the training split.
        counted: {task: what all samples hold} of those that were counted before.
        on_bad: error, or drop: a cell that cannot be read is told of when its turn comes.

    Raises:
        DataFault: of all samples that are labelled for a task, none holds anything of any class; or a cell cannot be
            read, with `on_bad` error.
    """
    notes = []
    for task, source in targets.items():
        if not class_names(source.field) or source.field.geometry.has_frames:
            continue
        held, whole = counted.get(task), True
        if held is None:
            labelled = np.flatnonzero(samples.present(source.column))
            most = _MASKS if source.field.decodes else _CELLS
            whole = len(labelled) <= most
            some = labelled if whole else labelled[np.linspace(0, len(labelled) - 1, most).astype(np.int64)]
            held = count_classes(source, samples.take(some), on_bad=on_bad)
        notes += _remarks(task, source.column, held, whole=whole)
    return notes


def _remarks(task: str, column: str, held: ClassCounts, *, whole: bool) -> list[str]:
    if not held.num_labelled or not held.classes:
        return []
    absent = [name for name, count in zip(held.classes, held.samples.tolist(), strict=True) if not count]
    if len(absent) < len(held.classes):
        if not (absent and whole):
            return []
        return [
            f"{task}: no training sample shows {first_few(absent)}, {len(absent)} of {len(held.classes)} classes: what "
            "is never shown is not learned"
        ]
    said = f"{held.num_labelled} training samples are labelled for {task} (column {column!r}), and none of them shows"
    if whole:
        raise DataFault(
            f"{said} anything of its classes ({first_few(held.classes)}): there is nothing to learn; check that the "
            "column holds the labels, or leave the task out",
            code="nothing-to-learn",
        )
    return [f"{task}: of {held.num_labelled} labelled training samples that were looked at none shows any class"]
