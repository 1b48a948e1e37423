"""What `weft data` finds: faults, figures of every column, and how they are said."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from weft.metrics.imbalance import effective_number, imbalance_ratio, rarest

#: Heading of the shares that classes are expected to have in a training epoch.
IN_EPOCH = "in an epoch"

#: Faults of one kind in one column that are printed; the file lists all.
_SHOWN = 3


@dataclass(frozen=True)
class Fault:
    """Something in the data that training would refuse.

    Attributes:
        code: a stable short name.
        split, id: the sample; "" where it is not one.
        column: the column; "" where it is not one.
        message: the file, what was found, what is allowed and the fix.
    """

    code: str
    split: str
    id: str
    column: str
    message: str


@dataclass
class Figures:
    """What was seen of one column in one split.

    Attributes:
        kind: how its values move: image, label, points, clip, … or none.
        samples: rows of the split.
        present: those with a cell.
        sizes: how many of each (H, W), of image-like values.
        channels: how many files of each mode or number of channels.
        low, high: smallest and largest value.
        known: share of values that are known, where some mean that they are not; else 1.
        classes: {class: pixels or samples}.
        holding: {class: samples that have any of it}.
        unlabelled: pixels, or frames, without a label.
        not_finite: values that are NaN or infinite in the files.
        lengths: shortest and longest sequence, or fewest and most frames taken of a clip; (0, 0) where there is none.
        remarks: how many cells are changed by a declared rule, or suspect, in what way.
    """

    kind: str
    samples: int = 0
    present: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf
    num_values: int = 0
    num_known: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    holding: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0
    not_finite: int = 0
    lengths: tuple[int, int] = (0, 0)
    remarks: Counter[str] = field(default_factory=Counter)

    @property
    def known(self) -> float:
        """Share of values that are known."""
        return self.num_known / self.num_values if self.num_values else 1.0

    def add(self, other: Figures) -> None:
        """What was seen of further samples."""
        self.samples += other.samples
        self.present += other.present
        self.sizes += other.sizes
        self.channels += other.channels
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.num_values += other.num_values
        self.num_known += other.num_known
        self.classes += other.classes
        self.holding += other.holding
        self.unlabelled += other.unlabelled
        self.not_finite += other.not_finite
        if other.lengths[0]:
            shortest = min(self.lengths[0] or other.lengths[0], other.lengths[0])
            self.lengths = (shortest, max(self.lengths[1], other.lengths[1]))
        self.remarks += other.remarks


@dataclass
class Inspection:
    """All that was found; as text it is for a terminal.

    Attributes:
        name: of the experiment.
        counts: {split: samples}.
        figures: {modality or task: {split: Figures}}.
        classes: {modality or task: names of its classes}, where it has classes.
        sampled: {task: {class: its expected share in a training epoch}} of the task that data.sampling goes by.
        faults: what training would refuse.
        warnings: what it would warn of.
        notes: what is worth knowing.
        folder: where the page, the list of faults and the pictures are; None: nowhere.
        pictures: {split: file of sample pictures, relative to the folder}.
    """

    name: str
    counts: dict[str, int]
    folder: Path | None
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    classes: dict[str, Sequence[str]] = field(default_factory=dict)
    sampled: dict[str, dict[str, float]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def grouped(self) -> dict[tuple[str, str, str], list[Fault]]:
        """{("fault" or "warning", column, code): all of them}, faults first, then the most frequent."""
        groups: dict[tuple[str, str, str], list[Fault]] = defaultdict(list)
        for level, found in (("fault", self.faults), ("warning", self.warnings)):
            for fault in found:
                groups[level, fault.column, fault.code].append(fault)
        return dict(sorted(groups.items(), key=lambda pair: (pair[0][0], -len(pair[1]))))

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """(column, split, cells, sizes, values) for the table of columns."""
        for name, by_split in self.figures.items():
            for split, figures in by_split.items():
                yield name, split, f"{figures.present}/{figures.samples}", _sizes(figures), _values(figures)

    def balance(self, name: str) -> Iterator[tuple[str, dict[str, float]]]:
        """(class, {split: its share of what is labelled}) of a column with classes; where sampling goes by them, also
        its expected share in an epoch.
        """
        totals = {split: figures.classes.total() for split, figures in self.figures[name].items()}
        for one in self.classes[name]:
            of_one = {split: figures.classes[one] for split, figures in self.figures[name].items()}
            shares = {split: amount / max(totals[split], 1) for split, amount in of_one.items()}
            if name in self.sampled:
                shares[IN_EPOCH] = self.sampled[name][one]
            yield one, shares

    def holding(self, name: str) -> dict[str, int]:
        """{class: training samples that have any of it} of a column with classes."""
        train = self.figures[name].get("train", Figures(""))
        return {one: train.holding[one] for one in self.classes[name]}

    def imbalance(self, name: str) -> str:
        """How uneven the classes of a column are in the training split; "" where none of them occurs there."""
        train = self.figures[name].get("train", Figures(""))
        amounts = [train.classes[one] for one in self.classes[name]]
        if not any(amounts):
            return ""
        rare = ", ".join(self.classes[name][number] for number in rarest(amounts))
        return (
            f"imbalance ratio {imbalance_ratio(amounts):.3g} (largest to smallest), effective number "
            f"{effective_number(amounts):.3g} of {sum(amount > 0 for amount in amounts)} classes; rarest third: {rare}"
        )

    def _lines(self) -> Iterator[str]:
        counted = ", ".join(f"{split} {count}" for split, count in self.counts.items())
        yield f"{self.name}: {sum(self.counts.values())} samples ({counted})"
        yield ""
        yield from aligned([("column", "split", "cells", "size", "values"), *self.rows()])
        for name in self.classes:
            balance, holding = dict(self.balance(name)), self.holding(name)
            yield ""
            table = [
                (one, *(f"{100 * share:.2f} %" for share in shares.values()), str(holding[one]))
                for one, shares in balance.items()
            ]
            columns = next(iter(balance.values()), {})
            yield from aligned([(f"{name}: class", *columns, "train samples"), *table])
            if uneven := self.imbalance(name):
                yield f"{name} in train: {uneven}"
        if self.notes:
            yield ""
            yield from (f"note: {note}" for note in self.notes)
        yield ""
        for (level, column, code), found in self.grouped().items():
            yield f"{level} {code} in {column or 'the data'}, {len(found)} times:"
            for fault in found[:_SHOWN]:
                yield f"  {' '.join(part for part in (fault.split, fault.id) if part)}: {fault.message}"
            if len(found) > _SHOWN:
                yield f"  and {len(found) - _SHOWN} more, all of them in {self._file('faults.csv')}"
        yield "no faults" if self.ok else f"{len(self.faults)} faults"
        if self.folder is not None:
            yield f"page: {self._file('index.html')}"

    def _file(self, name: str) -> str:
        return f"{name} (where --out says)" if self.folder is None else str(self.folder / name)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of a table as lines with columns of one width."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _sizes(figures: Figures) -> str:
    """The sizes (width x height, as people say them), the most frequent first, and the channels; or the lengths."""
    low, high = figures.lengths
    frames = f"{low} frames" if low == high else f"{low} to {high} frames"
    if low and not figures.sizes:
        return frames if figures.kind == "frames" else f"{low} to {high} long"
    common = [frames] if low else []
    common += [f"{width}x{height}" for (height, width), _ in figures.sizes.most_common(2)]
    if len(figures.sizes) > 2:
        common.append(f"{len(figures.sizes) - 2} more")
    return ", ".join(common) + (f" {'/'.join(sorted(figures.channels))}" if figures.channels else "")


def _values(figures: Figures) -> str:
    if not figures.present:
        return "absent"
    if figures.kind in ("label", "clip_label", "frames"):
        every = figures.classes.total() + figures.unlabelled
        return f"{len(+figures.classes)} classes, {100 * figures.unlabelled / max(every, 1):.1f} % unlabelled"
    if figures.classes:
        return f"{len(+figures.classes)} classes"
    if not np.isfinite(figures.low):
        return "nothing known"
    known = f", {100 * figures.known:.1f} % known" if figures.num_known < figures.num_values else ""
    return f"{figures.low:.4g} to {figures.high:.4g}{known}"


def class_names(known: object) -> tuple[str, ...]:
    """Names of the classes that a field knows, from its attribute `classes`, else from its facts; () for others."""
    found = getattr(known, "classes", None) or getattr(known, "facts", {}).get("classes", ())
    return tuple(str(name) for name in found)


def totals(figures: Mapping[str, Figures]) -> Figures:
    """One column over all splits."""
    every = Figures(next(iter(figures.values())).kind)
    for part in figures.values():
        every.add(part)
    return every
