"""What was trained on what: data, model, settings, machine, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from weft.report import numbers
from weft.report.run import Evaluation, Run
from weft.schema import shipped


@dataclass(frozen=True)
class CountRow:
    """One row of the table of samples: a text per split, such as `1 449 (92 %)`."""

    kind: str
    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """One part of the model: a title, what it is made of, and its number of parameters."""

    title: str
    detail: str
    parameters: str


@dataclass(frozen=True)
class Overview:
    """The section, as texts.

    Attributes:
        splits: heads of the table of samples.
        counts: its rows.
        notes: what the data layer found worth telling.
        inputs, middle, outputs: the model from left to right.
        total_parameters: of the model.
        settings, machine: (name, value) pairs.
        taken_over: what came from an earlier run, "" for nothing.
    """

    splits: tuple[str, ...]
    counts: tuple[CountRow, ...]
    data_format: str
    notes: tuple[str, ...]
    inputs: tuple[Box, ...]
    middle: tuple[Box, ...]
    outputs: tuple[Box, ...]
    total_parameters: str
    settings: tuple[tuple[str, str], ...]
    machine: tuple[tuple[str, str], ...]
    taken_over: str


def overview(run: Run) -> Overview:
    """Everything about the training that needs no evaluation."""
    data = run.summary.get("data") or {}
    inputs, middle, outputs = _model(run)
    parameters = run.summary.get("parameters") or {}
    return Overview(
        splits=tuple(data.get("counts") or {}),
        counts=_counts(data.get("counts") or {}, run),
        data_format=words(data.get("format") or ""),
        notes=tuple(str(note) for note in data.get("notes") or ()),
        inputs=inputs,
        middle=middle,
        outputs=outputs,
        total_parameters=numbers.large(parameters["total"]) if "total" in parameters else "",
        settings=_settings(run),
        machine=_machine(run),
        taken_over=_taken_over(run.summary.get("taken_over") or {}),
    )


def _taken_over(parts: Mapping[str, Any]) -> str:
    """What came from an earlier run, in a sentence; the numbers count tensors."""
    if not parts:
        return ""
    names = {"taken": "taken over", "new": "new here", "unused": "not used"}
    said = [f"{words(parts[key])} {name}" for key, name in names.items() if parts.get(key)]
    return f"Started from {parts.get('source', 'an earlier run')}, tensors by part: {'; '.join(said)}."


def words(value: object) -> str:
    """A plain value in words: `{a: 1, size: [2, 3]}` is `a 1, size 2 × 3`."""
    if isinstance(value, Mapping):
        if not value:
            return "none"
        return ", ".join(f"{key} {words(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        is_size = value and all(isinstance(inner, int) for inner in value)
        return (" × " if is_size else ", ").join(words(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) else str(value)


def part_words(value: object) -> str:
    """A configured part in a few words: its type, and its `name`, or else the last part of where its weights lie."""
    if not isinstance(value, Mapping):
        return words(value)
    heads = [str(value[key]) for key in ("type", "name") if isinstance(value.get(key), str)]
    if "name" not in value or value["name"] is None:
        heads += [PurePath(str(value["weights"])).name] if isinstance(value.get("weights"), str) else []
    return " · ".join(heads)


def _counts(counts: Mapping[str, Mapping[str, Any]], run: Run) -> tuple[CountRow, ...]:
    if not counts:
        return ()
    rows = [CountRow("", "samples", tuple(numbers.count(split["samples"]) for split in counts.values()))]
    for kind, key, names in (("given", "modalities", run.modalities), ("labelled", "targets", run.tasks)):
        for name in names:
            cells = tuple(_share((split.get(key) or {}).get(name, 0), split["samples"]) for split in counts.values())
            rows.append(CountRow(kind, name, cells))
    return tuple(rows)


def _share(number: int, total: int) -> str:
    if number == total:
        return "all"
    percent = 100 * number / max(total, 1)
    return f"{numbers.count(number)} ({percent:.0f}{numbers.SPACE}%)" if number else "none"


def _model(run: Run) -> tuple[tuple[Box, ...], tuple[Box, ...], tuple[Box, ...]]:
    parameters = run.summary.get("parameters") or {}
    experiment = run.experiment

    def size(key: str) -> str:
        return numbers.large(parameters[key]) if parameters.get(key) else ""

    inputs = []
    for name, modality in (experiment.get("modalities") or {}).items():
        modality = modality or {}
        shared = modality.get("share") or (modality.get("encoder") or {}).get("share")
        detail = f"encoder of {shared}" if shared else part_words(modality.get("encoder") or modality.get("type", name))
        dropout = modality.get("dropout") or 0
        hidden = f", hidden in {100 * dropout:g}{numbers.SPACE}% of training samples" if dropout else ""
        inputs.append(Box(name, detail + hidden, size(f"encoders.{name}")))
    middle = [Box(part_words(experiment.get("fusion") or "none"), "fusion", size("fusion"))]
    shared = sum(number for part, number in parameters.items() if part.startswith("sharing."))
    if shared:
        middle.append(Box(part_words(experiment.get("sharing")), "sharing", numbers.large(shared)))
    if _decides(experiment):
        learned = sum(number for part, number in parameters.items() if part.startswith("decisions."))
        rule = part_words(experiment.get("decision") or "mean")
        middle.append(Box(rule, "decision", numbers.large(learned) if learned else ""))
    outputs = []
    for name, task in (experiment.get("tasks") or {}).items():
        task = task or {}
        parts = [part_words(task.get("type", name)), *(part_words(task[k]) for k in ("decoder", "loss") if task.get(k))]
        outputs.append(Box(name, " · ".join(parts), size(f"tasks.{name}")))
    return tuple(inputs), tuple(middle), tuple(outputs)


def _decides(experiment: Mapping[str, Any]) -> bool:
    """Whether a task reads several views, so that a decision rule combines their answers."""
    fusion = experiment.get("fusion") or "none"
    name = str(fusion.get("type")) if isinstance(fusion, Mapping) else str(fusion)
    fused = shipped()["$defs"].get(f"fusion.{name}", {}).get("x-gives_fused", True)
    default = experiment.get("over") or (("fused",) if fused else experiment.get("modalities") or ())
    return any(len((task or {}).get("over") or default) > 1 for task in (experiment.get("tasks") or {}).values())


def _settings(run: Run) -> tuple[tuple[str, str], ...]:
    experiment = run.experiment
    train = experiment.get("train") or {}
    data = experiment.get("data") or {}
    optimizer = train.get("optimizer") or {}
    schedule = train.get("schedule") or {}
    batch = words(train.get("batch_size", ""))
    if (train.get("accumulate") or 1) > 1:
        batch += f" × {train['accumulate']} accumulated"
    named = {
        "Input size": words(data["size"]) + " pixels" if data.get("size") else "as it comes",
        "Augmentation": _set_options(_augmentation(data.get("augment") or {})),
        "Batch": batch,
        "Optimiser": _with_options(optimizer),
        "Schedule": _with_options(schedule),
        "Warm-up": f"{train['warmup']:g} epoch{'s' if train['warmup'] > 1 else ''}" if train.get("warmup") else "",
        "Task balancing": part_words(experiment.get("balancing") or "fixed"),
        "Averaged weights": f"EMA {train['ema']:g}" if train.get("ema") else "",
        "Gradient clipping": f"norm {train['clip']:g}" if train.get("clip") else "",
        "Early stopping": f"after {train['early_stopping']} evaluations" if train.get("early_stopping") else "",
        "At test time": _set_options(experiment.get("inference") or {}, usual={"scales": [1.0], "overlap": 0.5}),
        "Seed": words(run.summary.get("seed", train.get("seed", ""))),
    }
    return tuple((name, value) for name, value in named.items() if value)


def _augmentation(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without pasting where no task says what is pasted."""
    pasting = options.get("copy_paste") or {}
    return {key: value for key, value in options.items() if key != "copy_paste" or pasting.get("task")}


def _with_options(part: object) -> str:
    if not isinstance(part, Mapping):
        return words(part)
    rest = {key: value for key, value in part.items() if key not in ("type", "name") and _is_set(value)}
    return ", ".join([part_words(part), *(f"{key} {words(value)}" for key, value in rest.items())])


def _set_options(options: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> str:
    shown = {k: v for k, v in options.items() if _is_set(v) and v != (usual or {}).get(k)}
    return ", ".join(key if value is True else f"{key} {words(value)}" for key, value in shown.items())


def _is_set(value: object) -> bool:
    """Whether an option does something: not empty, not off."""
    return value is not None and value is not False and value not in (0, "", [], {})


def _machine(run: Run) -> tuple[tuple[str, str], ...]:
    summary = run.summary
    train = summary.get("train") or {}
    peak = train.get("peak_memory_bytes")
    named = {
        "Machine": words(summary.get("machine") or ""),
        "Device": words(summary.get("device") or ""),
        "Precision": words(summary.get("precision") or ""),
        "Time": numbers.duration(train["seconds"]) if train.get("seconds") else "",
        "Training": _length(train),
        "Speed in training": f"{numbers.plain(train['images_per_second'])} samples/s"
        if train.get("images_per_second")
        else "",
        "Peak memory": numbers.size(peak) if peak else "",
        "Versions": ", ".join(f"{name} {summary[name]}" for name in ("weft", "torch") if summary.get(name)),
    }
    return tuple((name, value) for name, value in named.items() if value)


def _length(train: Mapping[str, Any]) -> str:
    if "epochs_done" not in train:
        return ""
    stopped = ", stopped early" if train.get("stopped_early") else ""
    return f"{numbers.count(train['epochs_done'])} epochs, {numbers.count(train.get('steps', 0))} steps{stopped}"


def evaluation_facts(evaluation: Evaluation) -> str:
    """One sentence under the results: what was scored, how fast, what the intervals are."""
    groups = f" in {len(set(evaluation.groups.values()))} groups" if evaluation.groups else ""
    text = f"{numbers.count(evaluation.samples)} samples{groups} of the {evaluation.split} split"
    if evaluation.checkpoint:
        text += f", checkpoint “{evaluation.checkpoint}”"
    if evaluation.images_per_second == evaluation.images_per_second:  # NaN where it was not measured
        text += f", {numbers.plain(evaluation.images_per_second)} samples/s"
    seeds = f"{evaluation.seeds} seeds" if evaluation.seeds > 1 else "one seed"
    interval = f"; intervals: {evaluation.interval}" if evaluation.interval else ""
    unanswered = any(subset.no_answer for task in evaluation.tasks.values() for subset in task.subsets.values())
    worth = " What a modality is worth is measured on the samples that have an answer without it." if unanswered else ""
    return f"{text}; {seeds}{interval}.{worth}"
