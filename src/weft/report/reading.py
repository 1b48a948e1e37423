"""A run folder read: nothing but its files is looked at."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from weft.errors import WeftError
from weft.report import findings
from weft.report.numbers import Interval
from weft.report.run import Evaluation, Run, Subset, TaskResult
from weft.report.steps import of_split


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
            over_time=of_split(data.get("over_time")),
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
        counts={str(c): (int(n["actual"]), int(n["answered"])) for c, n in (data.get("counts") or {}).items()},
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
