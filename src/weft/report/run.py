"""A run folder as the report reads it: nothing but its files is looked at."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from weft.errors import WeftError
from weft.metrics.curves import Curves
from weft.report import findings
from weft.report.findings import Agreement, Bin, FusionShares, PartShares, Picture
from weft.report.numbers import Interval, Style, listed, style_of
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


def read_run(folder: Path) -> Run:
    """Read a run folder; what has not been written yet is empty.

    Raises:
        WeftError: it is not a run folder, or one of its files is broken.
    """
    source = folder / "experiment.yaml"
    if not source.is_file():
        raise WeftError(
            f"{folder} is not a run folder: it has no experiment.yaml; give the folder that `weft train` printed",
            code="not-a-run",
        )
    text = source.read_text(encoding="utf-8")
    try:
        experiment = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WeftError(f"{source} is not YAML: {error}; restore it or train again", code="broken-run") from error
    evaluations = [read_evaluation(path.parent) for path in sorted(folder.glob("evaluation/*/evaluation.json"))]
    preferred = {"test": 0, "val": 1}
    evaluations.sort(key=lambda one: (len(one.without), preferred.get(one.split, 2), one.folder.name))
    return Run(
        folder=folder,
        experiment=experiment if isinstance(experiment, dict) else {},
        experiment_text=text,
        summary=_json(folder / "summary.json"),
        metrics=_csv(folder / "metrics.csv"),
        dropped=_csv(folder / "dropped.csv"),
        evaluations={evaluation.folder.name: evaluation for evaluation in evaluations},
    )


def read_evaluation(folder: Path) -> Evaluation:
    """Read `evaluation/<split>`.

    Raises:
        WeftError: evaluation.json is broken.
    """
    path = folder / "evaluation.json"
    data = _json(path)
    try:
        return Evaluation(
            folder=folder,
            split=str(data["split"]),
            without=tuple(data.get("without") or ()),
            checkpoint=str(data.get("checkpoint", "")),
            samples=int(data["samples"]),
            seconds=_number(data.get("seconds")),
            images_per_second=_number(data.get("images_per_second")),
            seeds=int(data.get("seeds", 1)),
            interval=str(data.get("interval", "")),
            modalities=tuple(data["modalities"]),
            full=str(data["full"]),
            tasks={name: _task(name, task) for name, task in data["tasks"].items()},
            pictures=tuple(findings.picture(entry) for entry in data.get("pictures") or ()),
            num_corrupted=int(data.get("corrupted_samples", data["samples"])),
            groups={str(sample): str(group) for sample, group in (data.get("groups") or {}).items()},
            fusion=findings.fusion_shares(data.get("fusion")),
            notes=tuple(str(note) for note in data.get("notes") or ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeftError(
            f"{path} is not what `weft evaluate` writes ({error!r}); run it again", code="broken-run"
        ) from error


def _task(name: str, data: Mapping[str, Any]) -> TaskResult:
    main = str(data["main_figure"])
    declared = {base: dict(said) for base, said in (data.get("figures") or {}).items()}
    declared.setdefault(main, {}).setdefault("higher_is_better", bool(data["higher_is_better"]))
    corruptions = {
        modality: {kind: {float(p["severity"]): _number(p["value"]) for p in points} for kind, points in kinds.items()}
        for modality, kinds in (data.get("corruptions") or {}).items()
    }
    subgroups = {
        column: {str(value): (int(entry["count"]), _interval(entry)) for value, entry in values.items()}
        for column, values in (data.get("subgroups") or {}).items()
    }
    return TaskResult(
        name=name,
        type=str(data.get("type", "")),
        main_figure=main,
        classes=tuple(str(label) for label in data.get("classes") or ()),
        subsets={key: _subset(key, entry) for key, entry in data["subsets"].items()},
        corruptions=corruptions,
        absent={str(m): _number(value) for m, value in (data.get("corruptions_absent") or {}).items()},
        subgroups=subgroups,
        confusion=np.asarray(data["confusion"], dtype=float) if data.get("confusion") else np.zeros((0, 0)),
        worst=tuple(str(sample) for sample in data.get("worst") or ()),
        colours=_colours(data),
        declared=declared,
        decision={str(view): _number(share) for view, share in (data.get("decision") or {}).items()},
        shares=findings.part_shares(data.get("shares") or []),
        agreement=findings.agreement(data.get("agreement")),
        reliability=findings.reliability(data.get("reliability")),
        curves=findings.curves(data.get("curves") or []),
    )


def _colours(data: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    colours = data.get("colours") or {}
    return {str(name): tuple(int(level) for level in colour) for name, colour in colours.items()}


def _subset(key: str, data: Mapping[str, Any]) -> Subset:
    return Subset(
        key=key,
        modalities=tuple(key.split("+")),
        count=int(data["count"]),
        no_answer=int(data.get("no_answer", 0)),
        figures={name: _interval(entry) for name, entry in data["figures"].items()},
    )


def _number(value: object) -> float:
    """A JSON number; null is NaN, since strict JSON has no NaN."""
    return float(value) if isinstance(value, (int, float, str)) else math.nan


def _interval(data: Mapping[str, Any]) -> Interval:
    return Interval(_number(data.get("value")), _number(data.get("low")), _number(data.get("high")))


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeftError(f"{path} is not JSON: {error}; run the step that writes it again", code="broken-run") from error
    return data if isinstance(data, dict) else {}


def _csv(path: Path) -> tuple[Mapping[str, str], ...]:
    """Rows by column. A last row cut short by a kill is left out."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(row for row in csv.DictReader(file) if None not in row and None not in row.values())
