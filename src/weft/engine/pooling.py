"""What the folds of a cross-validation say together, written as one run's evaluation is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.splits import FOLD
from weft.engine.evaluate import RESAMPLES, read_records, write_records
from weft.engine.reporting import tasks_of
from weft.engine.run_folder import RunFolder
from weft.errors import DataFault
from weft.metrics.bootstrap import intervals
from weft.report.bootstrap import Scored
from weft.report.folds import FILE, REPEAT
from weft.types import Records

#: Where a run keeps what it says of its fold, and the whole what all folds say.
EVALUATION = Path("evaluation", FOLD)

#: What an evaluation says of a task that does not depend on the fold.
_SAME_IN_ALL = ("type", "main_figure", "higher_is_better", "classes", "figures", "colours")


@dataclass(frozen=True)
class FoldRun:
    """A run that was trained without a fold and has scored it.

    Attributes:
        path: its folder.
        repeat, fold: which, from 0.
    """

    path: Path
    repeat: int
    fold: int

    @cached_property
    def evaluation(self) -> Mapping[str, Any]:
        """What it says of its fold."""
        content: Mapping[str, Any] = RunFolder(self.path).read_json(str(EVALUATION / "evaluation.json"))
        return content

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """What it says of its training."""
        content: Mapping[str, Any] = RunFolder(self.path).read_json("summary.json")
        return content

    @cached_property
    def records(self) -> dict[str, Records]:
        """{task: what was kept per sample}."""
        folder, full = self.path / EVALUATION / "records", self.evaluation["full"]
        return {name: read_records(folder / f"{name}__{full}.npz") for name in self.evaluation["tasks"]}

    def name_of(self, sample: str) -> str:
        """A name that tells this repeat's answer to a sample from those of the others."""
        return f"{sample}@{self.repeat + 1}" if self.repeat else sample

    @property
    def digest(self) -> str:
        """Equal where two runs have scored the same samples."""
        ids = sorted({sample for records in self.records.values() for sample in records.ids})
        return hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest()


def pool(whole: RunFolder, runs: Sequence[FoldRun]) -> dict[str, Any]:
    """Write `crossvalidation.json`, and `evaluation/fold/` as if one run had scored all samples.

    A figure has its mean and standard deviation over the folds, and its value over all samples with an interval by
    resampling them. With repeats a sample is answered several times; its answers are resampled together.

    Args:
        whole: the folder of the cross-validation.
        runs: of every fold of every repeat.

    Returns:
        what `crossvalidation.json` holds.

    Raises:
        DataFault: folds have different classes.
    """
    tasks = tasks_of(runs[0].path)
    results = {name: _result(name, task, runs) for name, task in tasks.items()}
    (whole.path / EVALUATION / "records").mkdir(parents=True, exist_ok=True)
    for name in results:
        file = f"{name}__{runs[0].evaluation['full']}.npz"
        write_records(whole.path / EVALUATION / "records" / file, _merged(name, runs))
    whole.write_json(str(EVALUATION / "evaluation.json"), _as_evaluation(runs, results))
    whole.write_json("summary.json", _as_summary(runs))
    repeats = len({run.repeat for run in runs})
    counts = runs[0].summary["data"]["counts"]
    content = {
        "name": whole.experiment().name,
        "folder": str(whole.path),
        "folds": len(runs) // repeats,
        "repeats": repeats,
        "samples": sum(run.evaluation["samples"] for run in runs) // repeats,
        "checkpoint": f"chosen by {counts['val']['samples']} samples outside the fold" if "val" in counts else "last",
        "tasks": {
            name: {"main_figure": result["main_figure"], "count": result["count"], "figures": result["figures"]}
            for name, result in results.items()
        },
        "runs": [
            {
                "run": run.path.name,
                "repeat": run.repeat,
                "fold": run.fold,
                "samples": run.evaluation["samples"],
                "digest": run.digest,
                "figures": {name: results[name]["by_fold"][place] for name in results},
            }
            for place, run in enumerate(runs)
        ],
    }
    whole.write_json(FILE, content)
    return content


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The main figures for a person.

    Args:
        result: what `crossvalidation.json` holds.
    """
    times = f"{result['repeats']} × " if result["repeats"] > 1 else ""
    lines = [f"{result['folder']}: {result['samples']} samples in {times}{result['folds']} folds"]
    for name, task in result["tasks"].items():
        figure = task["figures"][task["main_figure"]]
        lines.append(
            f"  {name}: {task['main_figure']} {figure['mean']:.4f}, standard deviation {figure['std']:.4f} over "
            f"{figure['folds']} folds; of all samples {figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"
        )
    return [*lines, f"  checkpoint of each fold: {result['checkpoint']}"]


def _result(name: str, task: Scored, runs: Sequence[FoldRun]) -> dict[str, Any]:
    """One task: figures by fold, over the folds and of all samples."""
    said = [run.evaluation["tasks"][name] for run in runs]
    tables = sorted({json.dumps(one["classes"]) for one in said})
    if len(tables) > 1:
        raise DataFault(
            f"task {name!r} has other classes in one fold than in another, {tables[0]} and {tables[1]}; name them all "
            "in the task's `classes`",
            code="class-unknown",
        )
    by_fold = [task.figures(run.records[name]) if len(run.records[name]) else {} for run in runs]
    merged = _merged(name, runs)
    pooled = intervals(merged, task.figures, groups=_groups(runs), number=RESAMPLES)
    full = runs[0].evaluation["full"]
    return {
        "main_figure": said[0]["main_figure"],
        "by_fold": by_fold,
        "count": len(merged),
        "no_answer": sum(one["subsets"].get(full, {}).get("no_answer", 0) for one in said),
        "figures": {figure: {**_over_folds(figure, by_fold), **values} for figure, values in pooled.items()},
        "pooled": pooled,
        "confusion": merged.totals.get("confusion"),
    }


def _over_folds(figure: str, by_fold: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean, standard deviation (of a sample) and number of the folds that can tell a figure."""
    found = [value for figures in by_fold if not math.isnan(value := figures.get(figure, math.nan))]
    return {
        "mean": float(np.mean(found)) if found else math.nan,
        "std": float(np.std(found, ddof=1)) if len(found) > 1 else math.nan,
        "folds": len(found),
    }


def _merged(name: str, runs: Sequence[FoldRun]) -> Records:
    """All answers, each with its repeat."""
    parts = []
    for run in runs:
        records = run.records[name]
        rows = {**records.rows, REPEAT: np.full(len(records), run.repeat)}
        parts.append(replace(records, ids=[run.name_of(sample) for sample in records.ids], rows=rows))
    return Records.merge(parts)


def _groups(runs: Sequence[FoldRun]) -> dict[str, str] | None:
    """{answer: what is resampled with it}: the sample's group, or the sample; None where each answer stands alone."""
    if all(run.repeat == 0 and not run.evaluation["groups"] for run in runs):
        return None
    groups: dict[str, str] = {}
    for run in runs:
        known = run.evaluation["groups"] or {}
        for records in run.records.values():
            groups.update({run.name_of(sample): known.get(sample, sample) for sample in records.ids})
    return groups


def _as_evaluation(runs: Sequence[FoldRun], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All folds as the evaluation of one run, so that they compare as runs do."""
    first, groups = runs[0].evaluation, _groups(runs)
    seconds, samples = (sum(run.evaluation[key] for run in runs) for key in ("seconds", "samples"))
    return {
        **{key: first[key] for key in ("split", "checkpoint", "without", "modalities", "full")},
        "samples": samples,
        "seconds": seconds,
        "images_per_second": samples / seconds if seconds else None,
        "seeds": len({run.repeat for run in runs}),
        "interval": f"95 % bootstrap over {'groups' if groups else 'samples'} of all folds, {RESAMPLES} resamples",
        "groups": groups,
        "corrupted_samples": 0,
        "tasks": {
            name: {
                **{key: first["tasks"][name][key] for key in _SAME_IN_ALL},
                "subsets": {
                    first["full"]: {
                        "count": result["count"],
                        "no_answer": result["no_answer"],
                        "figures": result["pooled"],
                    }
                },
                "confusion": result["confusion"],
            }
            for name, result in results.items()
        },
    }


def _as_summary(runs: Sequence[FoldRun]) -> dict[str, Any]:
    """What all trainings took together."""
    train = [run.summary["train"] for run in runs]
    return {
        **{key: runs[0].summary[key] for key in ("name", "created", "weft", "torch", "device", "parameters")},
        "train": {
            "epochs_done": sum(one["epochs_done"] for one in train),
            "seconds": sum(one["seconds"] for one in train),
        },
    }
