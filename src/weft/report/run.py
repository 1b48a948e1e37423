"""A run, its evaluations and their tasks, as the report sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weft.metrics.curves import Curves
from weft.report.findings import Agreement, Bin, FusionShares, PartShares, Picture
from weft.report.numbers import Interval, Style, listed, style_of
from weft.report.steps import StepShares
from weft.types import Records


@dataclass(frozen=True)
class Subset:
    """A task's figures with only some modalities given.

    Attributes:
        key: the modalities joined by "+", as files are named.
        modalities: those that were given.
        count: samples that were labelled and answered.
        no_answer: labelled samples for which the task had nothing to read.
        figures: by name.
    """

    key: str
    modalities: tuple[str, ...]
    count: int
    no_answer: int
    figures: Mapping[str, Interval]


@dataclass(frozen=True)
class TaskResult:
    """All that an evaluation says of one task.

    Attributes:
        corruptions: {modality: {kind: {severity: value of the main figure}}}.
        absent: {modality: value without it} on the samples that were corrupted.
        subgroups: {column: {value: (number of samples, main figure)}}.
        confusion: (K, K) counts, rows truth and columns prediction; (0, 0) where the task has none.
        worst: ids, worst first.
        colours: {class: (red, green, blue)} of the pictures, empty where classes have no colours.
        declared: units and directions that the evaluation states for figures, see `style_of`.
        decision: {view: its share in the decision rule}, empty where views have no fixed shares.
        shares: what the fusion gave to each modality, by part of the samples.
        agreement: which modalities are right alone, None where answers are not right or wrong.
        reliability: answers by the probability they were given with, empty where none is given.
        curves: lines that say more than a figure does, such as precision against recall.
        counts: {class: (how many there are, how many were answered)}, empty where nothing is counted.
    """

    name: str
    type: str
    main_figure: str
    classes: tuple[str, ...]
    subsets: Mapping[str, Subset]
    corruptions: Mapping[str, Mapping[str, Mapping[float, float]]]
    absent: Mapping[str, float]
    subgroups: Mapping[str, Mapping[str, tuple[int, Interval]]]
    confusion: np.ndarray
    worst: tuple[str, ...]
    colours: Mapping[str, tuple[int, ...]]
    declared: Mapping[str, Mapping[str, object]]
    decision: Mapping[str, float]
    shares: tuple[PartShares, ...]
    agreement: Agreement | None
    reliability: tuple[Bin, ...]
    curves: tuple[Curves, ...]
    counts: Mapping[str, tuple[int, int]]

    def style(self, figure: str) -> Style:
        """How one of its figures is written."""
        return style_of(figure, self.declared)

    @property
    def main_style(self) -> Style:
        """How its main figure is written."""
        return self.style(self.main_figure)

    def main(self, key: str) -> Interval:
        """The main figure with the modalities of a subset; unknown where that subset was not scored."""
        subset = self.subsets.get(key)
        return subset.figures.get(self.main_figure, Interval(math.nan)) if subset else Interval(math.nan)


@dataclass(frozen=True)
class Evaluation:
    """One split, scored.

    Attributes:
        without: modalities that were left out everywhere; `modalities` are the others.
        full: the key of all modalities together.
        num_corrupted: samples that the corruptions were measured on.
        groups: {sample id: group}, empty where samples stand alone.
        fusion: what the fusion gave to each modality, None where it had nothing to say.
        over_time: where in time each of its parts looked, on average.
        notes: what the data layer found worth telling when the split was scored.
    """

    folder: Path
    split: str
    without: tuple[str, ...]
    checkpoint: str
    samples: int
    seconds: float
    images_per_second: float
    seeds: int
    interval: str
    modalities: tuple[str, ...]
    full: str
    tasks: Mapping[str, TaskResult]
    pictures: tuple[Picture, ...]
    num_corrupted: int
    groups: Mapping[str, str]
    fusion: FusionShares | None
    over_time: StepShares
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """The split, and what was left out."""
        return self.split + (f" without {listed(list(self.without))}" if self.without else "")

    def all_but(self, modality: str) -> str:
        """The key of all modalities but one."""
        return "+".join(name for name in self.modalities if name != modality)

    def records(self, task: str, key: str) -> Records:
        """What was kept per sample of one task and subset; empty where nothing was."""
        path = self.folder / "records" / f"{task}__{key}.npz"
        if not path.is_file():
            return Records()
        with np.load(path, allow_pickle=False) as arrays:
            parts = {name: arrays[name] for name in arrays.files}
        return Records(
            ids=[str(sample) for sample in parts.pop("ids")],
            rows={name.removeprefix("rows/"): a for name, a in parts.items() if name.startswith("rows/")},
            totals={name.removeprefix("totals/"): a for name, a in parts.items() if name.startswith("totals/")},
        )


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        experiment: the resolved configuration as plain values.
        experiment_text: the same file as it is.
        summary: summary.json, {} where training has not written it yet.
        metrics: the rows of metrics.csv: {column: text}.
        dropped: the rows of dropped.csv: {column: text}.
        evaluations: by the name of their folder (`test`, `test-without-depth`): whole ones first, test first.
    """

    folder: Path
    experiment: Mapping[str, Any]
    experiment_text: str
    summary: Mapping[str, Any]
    metrics: tuple[Mapping[str, str], ...]
    dropped: tuple[Mapping[str, str], ...]
    evaluations: Mapping[str, Evaluation]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.summary.get("name") or self.experiment.get("name") or self.folder.parent.name)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the experiment's order."""
        return tuple(self.experiment.get("tasks") or {})

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the experiment's order."""
        return tuple(self.experiment.get("modalities") or {})
