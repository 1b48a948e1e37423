"""Evaluating a run: scores with intervals for every subset of the modalities, corruptions, subgroups and pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.pipeline import Data
from weft.engine.distributed import together
from weft.engine.evidence import Shares, agreement, example_ids
from weft.engine.feature_cache import FeatureCache
from weft.engine.loading import LoadedRun, load_run
from weft.engine.pictures import Chosen, draw_samples
from weft.engine.score import Scored, score, subsets_of
from weft.errors import WeftError
from weft.metrics.bootstrap import align, intervals
from weft.metrics.curves import with_bands
from weft.model import Model
from weft.tasks.base import Task
from weft.types import Records

#: Samples that have their modalities corrupted, roughly; resamples of a bootstrap for all modalities and for subsets.
CORRUPTED_SAMPLES, RESAMPLES, SUBSET_RESAMPLES = 48, 1000, 200


def evaluate(
    run: Path | str,
    *,
    split: str | None = None,
    without: Sequence[str] = (),
    checkpoint: str = "best",
    quick: bool = False,
    num_pictures: int = 8,
    overrides: Sequence[str] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Score a run on a split and write `evaluation/<split>/` into its folder.

    In each of the processes that torchrun starts: they share the samples, and the first one writes.

    Args:
        run: a run folder.
        split: by default test, or val where there is no test split.
        without: modalities to leave out everywhere; the result is written beside the full one.
        checkpoint: best, last, or the name of another.
        quick: only the figures from all modalities: no subsets, corruptions or pictures.
        num_pictures: samples to draw besides the worst.
        overrides: `key=value` over the run's experiment (`data.root=…`).
        progress: print what is logged.

    Returns:
        what `evaluation.json` holds.

    Raises:
        WeftError: the run, the split or a modality does not exist.
    """
    with together() as gathering:
        loaded = load_run(run, checkpoint=checkpoint, overrides=overrides, echo=progress, gathering=gathering)
        split = split or ("test" if "test" in loaded.data.counts else "val")
        if split not in loaded.data.counts:
            raise WeftError(f"there is no split {split!r}; there are {', '.join(loaded.data.counts)}", code="no-split")
        kept = _kept(loaded.model, without)
        features = FeatureCache(
            loaded.experiment,
            loaded.data,
            loaded.model,
            precision=loaded.precision,
            multiple=loaded.multiple,
            writers=gathering.local_size,
        )
        shares = Shares(loaded.model, kept, precision=loaded.precision)
        scored = score(
            loaded.model,
            loaded.data,
            split,
            multiple=loaded.multiple,
            precision=loaded.precision,
            inference=loaded.experiment.inference,
            features=features,
            subsets=[kept] if quick else subsets_of(kept),
            corruption_limit=0 if quick or without else CORRUPTED_SAMPLES,
            observe=None if quick else shares.observe,
            gathering=gathering,
        )
        shares.gather(gathering)
        for found_bad in gathering.all(list(loaded.data.found_bad.values())):
            loaded.data.take_note(found_bad)
        return gathering.first(
            lambda: _write(
                loaded,
                scored,
                shares,
                kept=kept,
                without=without,
                checkpoint=checkpoint,
                num_pictures=None if quick else num_pictures,
            )
        )


def _write(
    loaded: LoadedRun,
    scored: Scored,
    shares: Shares,
    *,
    kept: Sequence[str],
    without: Sequence[str],
    checkpoint: str,
    num_pictures: int | None,
) -> dict[str, Any]:
    """Write what was found into the run folder; no pictures where their number is None."""
    split = scored.split
    folder = "evaluation/" + split + ("" if not without else "-without-" + "-".join(without))
    target = loaded.run.path / folder
    shutil.rmtree(target, ignore_errors=True)
    (target / "records").mkdir(parents=True)
    groups = loaded.data.groups(split)
    result: dict[str, Any] = {
        "split": split,
        "checkpoint": checkpoint,
        "without": list(without),
        "samples": scored.num_samples,
        "seconds": scored.seconds,
        "images_per_second": scored.num_timed / scored.seconds if scored.seconds else None,
        "seeds": 1,
        "interval": f"95 % bootstrap over {'groups' if groups else 'samples'}, {RESAMPLES} resamples "
        f"({SUBSET_RESAMPLES} for subsets of the modalities)",
        "modalities": list(kept),
        "full": scored.full,
        "groups": groups,
        "corrupted_samples": scored.num_corrupted,
        "fusion": shares.summary(),
        "over_time": shares.over_time(),
        "tasks": {
            name: {
                **_task_result(loaded, name, task, scored, groups),
                "decision": loaded.model.decisions[name].explain() if len(loaded.model.over[name]) > 1 else {},
                "shares": shares.by_answer(task, scored.records[name][scored.full]),
                "agreement": agreement(task, scored.records[name], kept, scored.full),
            }
            for name, task in loaded.model.tasks.items()
        },
        "notes": loaded.data.notes,
        "pictures": [],
    }
    for name, by_subset in scored.records.items():
        for subset, records in by_subset.items():
            write_records(target / "records" / f"{name}__{subset}.npz", records)
    if num_pictures is not None:
        chosen = Chosen(
            num_pictures,
            worst={name: task["worst"][:3] for name, task in result["tasks"].items()},
            examples={name: example_ids(task["agreement"]) for name, task in result["tasks"].items()},
        )
        result["pictures"] = draw_samples(loaded, split, target, chosen=chosen, keep=kept)
    loaded.run.write_json(f"{folder}/evaluation.json", result)
    for line in _summary_lines(result):
        loaded.run.log(line)
    if loaded.data.dropped:
        loaded.run.log(f"{len(loaded.data.dropped)} samples could not be used; see dropped.csv")
    return result


def write_records(path: Path, records: Records) -> None:
    """Write records as arrays, without pickling."""
    arrays = {f"rows/{name}": values for name, values in records.rows.items()}
    arrays.update({f"totals/{name}": values for name, values in records.totals.items()})
    arrays["ids"] = np.array(records.ids, dtype=np.str_)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # its stubs take the names for `allow_pickle`


def read_records(path: Path) -> Records:
    """Read what `write_records` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return Records(
            ids=stored["ids"].tolist(),
            rows={name.removeprefix("rows/"): stored[name] for name in stored.files if name.startswith("rows/")},
            totals={name.removeprefix("totals/"): stored[name] for name in stored.files if name.startswith("totals/")},
        )


def _kept(model: Model, without: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in without if name not in model.encoders]
    if unknown:
        raise WeftError(
            f"there is no modality {', '.join(map(repr, unknown))} to leave out; there are {', '.join(model.encoders)}",
            code="no-modality",
        )
    kept = tuple(name for name in model.encoders if name not in without)
    if not kept:
        raise WeftError("without all its modalities the network has nothing to answer from; leave out fewer")
    return kept


def _task_result(
    loaded: LoadedRun, name: str, task: Task, scored: Scored, groups: Mapping[str, str] | None
) -> dict[str, Any]:
    by_subset = scored.records[name]
    records = by_subset[scored.full]
    main = task.main_figure
    badness = task.badness(records) if len(records) else np.zeros(0)
    confusion = records.totals.get("confusion")
    reliability = task.reliability(records) if len(records) else None
    counts = task.counts(records) if len(records) else {}
    units = task.units()
    return {
        "type": loaded.experiment.tasks[name].type,
        "main_figure": main,
        "higher_is_better": task.higher_is_better[main.split("/")[0]],
        "classes": list(task.field.facts["classes"]) if "classes" in task.field.facts else None,
        "figures": {
            figure: {"higher_is_better": higher} | ({"unit": units[figure]} if figure in units else {})
            for figure, higher in task.higher_is_better.items()
        },
        "colours": task.colours(),
        "loss": scored.losses.get(name),
        "subsets": {
            subset: {
                "count": len(part),
                "no_answer": scored.no_answer[name][subset],
                "figures": intervals(
                    part,
                    task.figures,
                    additive=task.additive,
                    groups=groups,
                    number=RESAMPLES if subset == scored.full else SUBSET_RESAMPLES,
                ),
            }
            for subset, part in by_subset.items()
            if len(part)
        },
        "corruptions": _corruption_result(name, task, scored),
        "corruptions_absent": _absent_result(name, task, scored),
        "subgroups": _subgroup_result(loaded.data, scored.split, records, task),
        "confusion": None if confusion is None else confusion.tolist(),
        "reliability": None if reliability is None else asdict(reliability),
        "curves": _curves(task, records, groups),
        "counts": {label: {"actual": actual, "answered": answered} for label, (actual, answered) in counts.items()},
        "worst": [records.ids[index] for index in np.argsort(-badness, kind="stable")[:12]],
    }


def _curves(task: Task, records: Records, groups: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """The task's curves with their bands; none of no samples."""
    if not len(records):
        return []
    drawn = with_bands(task.curves, records, additive=task.additive, groups=groups, number=SUBSET_RESAMPLES)
    return [asdict(curves) for curves in drawn]


def _corruption_result(name: str, task: Task, scored: Scored) -> dict[str, dict[str, list[dict[str, float]]]]:
    result: dict[str, dict[str, list[dict[str, float]]]] = {}
    for (modality, kind, severity), by_task in scored.corrupted.items():
        if len(by_task[name]):
            value = task.figures(by_task[name])[task.main_figure]
            result.setdefault(modality, {}).setdefault(kind, []).append({"severity": severity, "value": value})
    return result


def _absent_result(name: str, task: Task, scored: Scored) -> dict[str, float]:
    """{modality: main figure without it}, on the samples that were corrupted, so that the two can be compared."""
    result: dict[str, float] = {}
    for (modality, _, severity), by_task in scored.corrupted.items():
        rest = "+".join(other for other in scored.full.split("+") if other != modality)
        if severity == 0 and modality not in result and rest in scored.records[name]:
            without, _ = align(scored.records[name][rest], by_task[name])
            if len(without):
                result[modality] = task.figures(without)[task.main_figure]
    return result


def _subgroup_result(data: Data, split: str, records: Records, task: Task) -> dict[str, dict[str, dict[str, float]]]:
    result: dict[str, dict[str, dict[str, float]]] = {}
    for column, values in data.subgroups(split).items():
        members: dict[str, list[int]] = {}
        for index, sample in enumerate(records.ids):
            members.setdefault(values[sample], []).append(index)
        result[column] = {}
        for value, indices in sorted(members.items()):
            part = records.take(np.array(indices))
            figure = intervals(
                part,
                lambda records: {"main": task.figures(records)[task.main_figure]},
                additive=task.additive,
                number=SUBSET_RESAMPLES,
            )
            result[column][value] = {"count": len(part), **figure["main"]}
    return result


def _summary_lines(result: Mapping[str, Any]) -> list[str]:
    speed = f", {result['images_per_second']:.1f} a second" if result["images_per_second"] else ""
    lines = [f"{result['split']}: {result['samples']} samples{speed}"]
    for name, task in result["tasks"].items():
        for subset, scored in task["subsets"].items():
            figure = scored["figures"][task["main_figure"]]
            lines.append(
                f"  {name} from {subset}: {task['main_figure']} {figure['value']:.4f} "
                f"[{figure['low']:.4f}, {figure['high']:.4f}] on {scored['count']} samples"
                + (f", {scored['no_answer']} without an answer" if scored["no_answer"] else "")
            )
    return lines
