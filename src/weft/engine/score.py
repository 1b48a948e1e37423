"""Scoring a split: every task on every subset of the modalities, in one pass over the data."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import torch

from weft.data.pipeline import Data
from weft.engine import inference as looking
from weft.engine.corruptions import SEVERITIES, corrupt
from weft.engine.precision import autocast
from weft.experiment import Inference
from weft.model import Model, Outputs
from weft.tasks.base import Task
from weft.types import Batch, Prediction, Records

Figures = Mapping[str, float]
Subset = tuple[str, ...]
#: Called with every batch and each way it was looked at.
Observe = Callable[[Batch, Sequence[looking.Seen]], None]


@dataclass
class Scored:
    """What a pass over a split found.

    Attributes:
        split: its name.
        num_samples: how many were seen.
        seconds: how long the answers from all modalities took (reading included, other subsets not).
        records: {task: {subset: Records}}, subsets as `name_of` writes them.
        no_answer: {task: {subset: samples that could not be answered}}.
        losses: {task: mean loss} from the first subset.
        corrupted: {(modality, corruption, severity): {task: Records}}; severity 0 is the clean one.
    """

    split: str
    num_samples: int = 0
    seconds: float = 0.0
    records: dict[str, dict[str, Records]] = field(default_factory=dict)
    no_answer: dict[str, dict[str, int]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    corrupted: dict[tuple[str, str, int], dict[str, Records]] = field(default_factory=dict)
    full: str = ""

    def figures(self, name: str, task: Task, subset: str | None = None) -> dict[str, float]:
        """A task's figures from a subset of the modalities, by default all."""
        return task.figures(self.records[name][subset or self.full])


def name_of(subset: Sequence[str]) -> str:
    """A subset's name: the modalities joined by "+", in the experiment's order."""
    return "+".join(subset)


def subsets_of(modalities: Sequence[str], *, most: int = 5, num_random: int = 16, seed: int = 0) -> list[Subset]:
    """The subsets to score, all modalities first.

    All 2^M - 1 up to `most` modalities; beyond, the single ones, all but one, and `num_random` others.
    """
    names = list(modalities)
    if len(names) <= most:
        return [subset for size in range(len(names), 0, -1) for subset in combinations(names, size)]
    chosen = [tuple(names), *combinations(names, len(names) - 1)]
    generator = random.Random(seed)
    while len(chosen) < 1 + len(names) + num_random:
        size = generator.randint(2, len(names) - 2)
        subset = tuple(sorted(generator.sample(names, size), key=names.index))
        if subset not in chosen:
            chosen.append(subset)
    return [*chosen, *((name,) for name in names)]


@torch.inference_mode()
def score(
    model: Model,
    data: Data,
    split: str,
    *,
    multiple: int,
    precision: str,
    inference: Inference,
    subsets: Sequence[Subset] | None = None,
    corruption_limit: int = 0,
    observe: Observe | None = None,
) -> Scored:
    """Score a split.

    Args:
        model: the network; it is put into evaluation mode and back.
        data: its data.
        split: which of its splits.
        multiple: height and width are padded to a multiple of this.
        precision: fp32 or bf16.
        inference: what is averaged at test time.
        subsets: of the modalities, all of them first; by default only all.
        corruption_limit: corrupt the modalities on the first so many samples of a fixed order; 0: not at all.
        observe: what else looks at the encoded batches; its time is not counted.
    """
    training = model.training
    model.eval()
    subsets = subsets or [tuple(model.encoders)]
    scored = Scored(split, full=name_of(subsets[0]))
    parts: dict[str, dict[str, list[Records]]] = {task: {name_of(s): [] for s in subsets} for task in model.tasks}
    spoilt: dict[tuple[str, str, int], dict[str, list[Records]]] = {}
    scored.no_answer = {task: {name_of(subset): 0 for subset in subsets} for task in model.tasks}
    sums = dict.fromkeys(model.tasks, 0.0)
    counts = dict.fromkeys(model.tasks, 0.0)
    device = next(model.parameters()).device
    start = time.perf_counter()
    for batch in data.batches(split, multiple=multiple):
        batch = batch.to(device)
        seen = looking.encode(
            model, batch, data.modalities, inference=inference, multiple=multiple, precision=precision
        )
        for subset in subsets:
            outputs = looking.decode(model, seen, precision=precision, keep=frozenset(subset))
            answers = looking.combine(model, seen, outputs, batch.size)
            _record(model, batch, answers, {task: parts[task][name_of(subset)] for task in model.tasks})
            for task, prediction in answers.items():
                scored.no_answer[task][name_of(subset)] += len(batch) - int(prediction.answered.sum())
            if subset == subsets[0]:
                _add_losses(model, batch, seen, outputs, sums, counts)
                scored.seconds += time.perf_counter() - start
        if observe is not None:
            observe(batch, seen)
        if scored.num_samples < corruption_limit:
            _corrupt_and_record(model, data, batch, seen, precision, spoilt)
        scored.num_samples += len(batch)
        start = time.perf_counter()
    scored.records = {
        task: {subset: Records.merge(records) for subset, records in by_subset.items()}
        for task, by_subset in parts.items()
    }
    scored.corrupted = {
        key: {task: Records.merge(records) for task, records in by_task.items()} for key, by_task in spoilt.items()
    }
    scored.losses = {task: sums[task] / counts[task] for task in sums if counts[task]}
    model.train(training)
    return scored


def _record(model: Model, batch: Batch, answers: Mapping[str, Prediction], parts: Mapping[str, list[Records]]) -> None:
    for name, prediction in answers.items():
        labelled = batch.labelled[name]
        rows = labelled & prediction.answered
        ids = [sample for sample, row in zip(batch.ids, rows.tolist(), strict=True) if row]
        if ids:
            value, target = prediction.value, batch.targets[name]
            if len(ids) < len(batch):  # dense answers are large: no copy where all rows are scored
                value, target = value[rows], target[rows[labelled]]
            parts[name].append(model.tasks[name].records(value, target, ids))


def _add_losses(
    model: Model,
    batch: Batch,
    seen: Sequence[looking.Seen],
    outputs: Sequence[Outputs],
    sums: dict[str, float],
    counts: dict[str, float],
) -> None:
    """Losses of the batch as it is; they are not defined on averages over looks."""
    plain = next((said for one, said in zip(seen, outputs, strict=True) if one.look.batch is batch), None)
    if plain is None:
        return
    for name, (total, count) in model.losses(plain, batch).items():
        sums[name] += float(total)
        counts[name] += float(count)


def _corrupt_and_record(
    model: Model,
    data: Data,
    batch: Batch,
    seen: Sequence[looking.Seen],
    precision: str,
    spoilt: dict[tuple[str, str, int], dict[str, list[Records]]],
) -> None:
    """Every corruption of every image-like modality; only the corrupted one is encoded again."""
    plain = next((one for one in seen if one.look.batch is batch), None)
    if plain is None:
        return
    clean = looking.answer(model, [plain], batch.size, precision=precision)
    for modality, field_of in data.modalities.items():
        if field_of.geometry.kind != "image" or not bool(batch.present[modality].any()):
            continue
        for kind in SEVERITIES:
            for severity in (0, 1, 2, 3):
                answers = clean
                if severity:
                    inputs = corrupt(
                        batch.inputs[modality], kind, severity, unknown=field_of.geometry.unknown, seed=severity
                    )
                    spoiled = replace(batch, inputs={**batch.inputs, modality: inputs})
                    with autocast(inputs.device, precision):
                        features = {**plain.features, modality: model.encode_one(modality, spoiled)}
                    answers = looking.answer(
                        model, [replace(plain, features=features)], batch.size, precision=precision
                    )
                by_task = spoilt.setdefault((modality, kind, severity), {task: [] for task in model.tasks})
                _record(model, batch, answers, by_task)
