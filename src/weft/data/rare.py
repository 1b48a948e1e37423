"""What training does about rare classes: how often samples come, and what is pasted over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weft.data.class_counts import ClassCounts, count_classes
from weft.data.copypaste import Paster
from weft.data.inspection import class_names
from weft.data.manifest import Manifest
from weft.data.order import epoch_length
from weft.data.sampling.base import Sampling
from weft.data.sources import Source
from weft.errors import ConfigError, DataFault, did_you_mean, first_few
from weft.experiment import CopyPaste, DataConfig
from weft.metrics.imbalance import rarest
from weft.modalities.base import Field


@dataclass(frozen=True)
class Remedies:
    """What is done about rare classes in training; nothing by default.

    Attributes:
        rates: (n,) how often each training sample comes in an epoch, on average; None: once.
        paste: puts objects over samples; None: nothing is pasted.
        counts: {task: what the training samples hold of its classes} of the tasks that were looked at.
        facts: JSON-able: with them masks are not read again.
        notes: what is worth logging.
    """

    rates: np.ndarray | None = None
    paste: Paster | None = None
    counts: Mapping[str, ClassCounts] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_remedies(
    config: DataConfig,
    manifest: Manifest,
    train: np.ndarray,
    inputs: Mapping[str, Source],
    targets: Mapping[str, Source],
    *,
    seed: int,
    facts: Mapping[str, Any],
) -> Remedies:
    """Count the classes that a rule of sampling or copy-paste goes by, and follow it.

    Args:
        config: of the data.
        manifest: all splits.
        train: rows of the training split.
        inputs, targets: the fields by name, fitted.
        seed: of everything random.
        facts: of an earlier run, `Remedies.facts`.

    Raises:
        ConfigError: a task without classes or masks, an unknown class, something that cannot be pasted.
        DataFault: no training sample holds a class that is asked for, or a label cannot be read.
    """
    sampling: Sampling | None = None if config.sampling is None else config.sampling()
    pasting = config.augment.copy_paste
    asked = {"data.sampling.task": None if sampling is None else sampling.task}
    asked["data.augment.copy_paste.task"] = pasting.task
    _refuse_without_classes(asked, targets)
    if pasting.task is not None:
        _refuse_what_cannot_move(pasting.task, inputs, targets)
    samples = manifest.take(train)
    counts = {}
    for task in dict.fromkeys(task for task in asked.values() if task is not None):
        known = ClassCounts.of_facts(facts.get(task, {}), samples)
        counts[task] = known or count_classes(targets[task], samples, on_bad=config.on_bad)
    notes: list[str] = []
    rates = None
    if sampling is not None and config.sampling is not None:
        rates = rates_of(sampling, counts[sampling.task])
        notes += _said(config.sampling.type, sampling, rates, counts[sampling.task])
    paste = None
    if pasting.task is not None:
        paste = _paster(pasting, counts[pasting.task], manifest, train, inputs, targets, seed)
        names = ", ".join(counts[pasting.task].classes[number] for number in paste.classes)
        notes.append(
            f"copy_paste: {names} of {len(paste.rows)} training samples, put over others with probability "
            f"{pasting.probability:g}"
        )
    kept = {task: held.as_facts(samples) for task, held in counts.items() if targets[task].field.decodes}
    return Remedies(rates, paste, counts, kept, tuple(notes))


def rates_of(sampling: Sampling, held: ClassCounts) -> np.ndarray:
    """(n,) how often each training sample comes in an epoch, on average; those without a label once.

    Raises:
        DataFault: no sample holds any of the classes.
    """
    held = held.at_least(sampling.min_pixels)
    if not len(held.label):
        raise DataFault(
            f"data.sampling: no training sample holds any of the classes of {sampling.task} "
            f"({first_few(held.classes)}), with min_pixels {sampling.min_pixels}; take a smaller min_pixels, or leave "
            "data.sampling out",
            code="no-classes",
        )
    rates = np.where(held.labelled, sampling.rates(held), 0)
    if sampling.keep_length:
        rates *= held.num_labelled / rates.sum()
    return np.where(held.labelled, rates, 1.0)


def amounts_of(targets: Mapping[str, Field], counts: Mapping[str, ClassCounts]) -> dict[str, dict[str, int]]:
    """{task: {class: what the training split has of it}} of the tasks whose classes were counted.

    Args:
        targets: the fields, fitted: some count their classes when they are.
        counts: of the tasks that a remedy goes by.
    """
    found: dict[str, dict[str, int]] = {}
    for name, target in targets.items():
        amounts = counts[name].amounts.tolist() if name in counts else target.facts.get("counts", ())
        if amounts:
            found[name] = dict(zip(class_names(target), amounts, strict=True))
    return found


def _refuse_without_classes(asked: Mapping[str, str | None], targets: Mapping[str, Source]) -> None:
    having = [name for name, source in targets.items() if class_names(source.field)]
    problems = [
        f"{place}: {task} has no classes to go by; tasks that have: {', '.join(having) or 'none'}"
        for place, task in asked.items()
        if task is not None and task not in having
    ]
    if problems:
        raise ConfigError(problems)


def _refuse_what_cannot_move(task: str, inputs: Mapping[str, Source], targets: Mapping[str, Source]) -> None:
    """Pasting needs masks, and nothing in the sample that speaks of its objects in another way."""
    place, problems = "data.augment.copy_paste", []
    if targets[task].field.geometry.kind != "label":
        masks = [name for name, source in targets.items() if source.field.geometry.kind == "label"]
        there = first_few(masks) or "none"
        problems.append(f"{place}.task: {task} has no masks to cut objects out by; tasks that have: {there}")
    for name, source in inputs.items():
        if source.field.geometry.kind == "sequence":
            problems.append(
                f"{place}: {name} is a text, a sound or another sequence that belongs to the whole sample, and would "
                "not know of a pasted object; leave copy_paste or the modality out"
            )
        if source.field.geometry.has_frames:
            problems.append(
                f"{place}: {name} is a clip, and an object cut out of one picture does not move in it; leave "
                "copy_paste or the modality out"
            )
    for name, source in targets.items():
        if source.field.geometry.kind not in ("image", "label", "none"):
            problems.append(
                f"{place}: {name} has {source.field.geometry.kind}, and a mask does not say which of its pixels are "
                "one object, nor what a pasted one hides of another; leave copy_paste or the task out"
            )
    if problems:
        raise ConfigError(problems)


def _paster(
    pasting: CopyPaste,
    held: ClassCounts,
    manifest: Manifest,
    train: np.ndarray,
    inputs: Mapping[str, Source],
    targets: Mapping[str, Source],
    seed: int,
) -> Paster:
    """Who can give what to whom."""
    assert pasting.task is not None
    classes = np.array(_chosen(pasting, held), np.int64)
    held = held.at_least(pasting.min_pixels)
    given = np.isin(held.label, classes)
    places, which = np.unique(held.sample[given], return_inverse=True)
    holds = np.zeros((len(places), len(classes)), bool)
    holds[which, np.argmax(held.label[given][:, None] == classes, axis=1)] = True
    lacking = [held.classes[number] for number, donors in zip(classes, holds.sum(0), strict=True) if not donors]
    if lacking or not len(places):
        raise DataFault(
            f"data.augment.copy_paste: no training sample has {pasting.min_pixels} pixels or more of "
            f"{first_few(lacking) or 'any class'}; take a smaller min_pixels, or leave the class out",
            code="no-classes",
        )
    donors = manifest.take(train[places])
    return Paster(
        task=pasting.task,
        classes=classes,
        probability=pasting.probability,
        rows=train[places],
        holds=holds,
        inputs={
            name: donors.present(source.column)
            for name, source in inputs.items()
            if source.field.geometry.kind in ("image", "label") and source.field.geometry.aligned
        },
        targets={
            name: donors.present(source.column)
            for name, source in targets.items()
            if source.field.geometry.kind in ("image", "label")
        },
        seed=seed,
    )


def _chosen(pasting: CopyPaste, held: ClassCounts) -> list[int]:
    """Numbers of the classes that are pasted."""
    if pasting.classes == "rare":
        return rarest(held.amounts)
    problems = []
    for index, name in enumerate(pasting.classes):
        if name not in held.classes:
            hint = did_you_mean(name, held.classes) or f"; there are {first_few(held.classes)}"
            problems.append(f"data.augment.copy_paste.classes[{index}]: {pasting.task} has no class {name!r}{hint}")
    if not pasting.classes:
        problems.append(f"data.augment.copy_paste.classes: empty; there are {first_few(held.classes)}, and rare")
    if problems:
        raise ConfigError(problems)
    return [held.classes.index(name) for name in dict.fromkeys(pasting.classes)]


def _said(name: str, sampling: Sampling, rates: np.ndarray, held: ClassCounts) -> Iterator[str]:
    own = rates[held.labelled]
    text = (
        f"sampling: {name} by {sampling.task}: an epoch has {epoch_length(rates)} samples of the {len(rates)} of "
        f"train, each of them {own.min():.3g} to {own.max():.3g} times"
    )
    if not held.labelled.all():
        text += f"; {int((~held.labelled).sum())} have no label for it and come once"
    yield text
    absent = [one for one, count in zip(held.classes, held.samples, strict=True) if not count]
    if absent:
        yield f"sampling: no training sample holds {first_few(absent)}, so no sampling brings it"
