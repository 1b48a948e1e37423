"""Scoring a split: every task on every subset of the modalities, in one pass over the data."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import numpy as np
import torch

from weft.data.pipeline import Data
from weft.engine import inference as looking
from weft.engine.corruptions import SEVERITIES, corrupt
from weft.engine.distributed import ALONE, Gathering
from weft.engine.feature_cache import FeatureCache
from weft.engine.precision import autocast
from weft.experiment import Inference
from weft.modalities.base import Modality
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
        seconds: how long the answers from all modalities took (reading included, other subsets not), of the batches
            of which no encoder was spared; of several processes, in the one that took longest.
        num_timed: how many samples these have.
        records: {task: {subset: Records}}, subsets as `name_of` writes them.
        no_answer: {task: {subset: samples that could not be answered}}.
        losses: {task: mean loss} from the first subset.
        corrupted: {(modality, corruption, severity): {task: Records}} of some of the samples; severity 0 is the clean
            one.
        num_corrupted: how many samples these are.
    """

    split: str
    num_samples: int = 0
    seconds: float = 0.0
    num_timed: int = 0
    records: dict[str, dict[str, Records]] = field(default_factory=dict)
    no_answer: dict[str, dict[str, int]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    corrupted: dict[tuple[str, str, int], dict[str, Records]] = field(default_factory=dict)
    num_corrupted: int = 0
    full: str = ""

    def figures(self, name: str, task: Task, subset: str | None = None) -> dict[str, float]:
        """A task's figures from a subset of the modalities, by default all; none where no sample could be scored."""
        records = self.records[name][subset or self.full]
        return task.figures(records) if len(records) else {}


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
    features: FeatureCache | None = None,
    subsets: Sequence[Subset] | None = None,
    corruption_limit: int = 0,
    observe: Observe | None = None,
    gathering: Gathering = ALONE,
) -> Scored:
    """Score a split. Of several processes each looks at some of the batches, and all learn what all have found.

    Args:
        model: the network; it is put into evaluation mode and back.
        data: its data.
        split: which of its splits.
        multiple: height and width are padded to a multiple of this.
        precision: fp32 or bf16.
        inference: what is averaged at test time.
        features: of frozen encoders; used where nothing is averaged, since they are of the samples as they are.
        subsets: of the modalities, all of them first; by default only all.
        corruption_limit: corrupt the modalities on about so many samples, in batches spread over the split; 0: not at
            all.
        observe: what else looks at the encoded batches of this process; its time is not counted.
        gathering: the processes.
    """
    training = model.training
    model.eval()
    subsets = subsets or [tuple(model.encoders)]
    tally = _Tally(model, precision=precision)
    spoiled = spread(data.num_steps(split, training=False), data.counts[split]["samples"], corruption_limit)
    averages = inference != Inference()
    whole = range(data.num_steps(split, training=False)) if averages or features is None else spoiled
    device = next(model.parameters()).device
    start = time.perf_counter()
    for place, batch in data.places(split, multiple=multiple, whole=whole):
        batch = batch.to(device)
        stored = bool(batch.features)
        if features is not None:
            batch = features.fill(model, batch)
        seen = looking.encode(
            model, batch, data.modalities, inference=inference, multiple=multiple, precision=precision
        )
        found = tally.begin(place, batch)
        outputs = tally.answer(batch, seen, subsets[0])
        plain = next((pair for pair in zip(seen, outputs, strict=True) if pair[0].look.batch is batch), None)
        if plain is not None:  # losses are not defined on averages over looks
            tally.add_losses(batch, plain[1])
        if not stored:
            found.seconds, found.num_timed = time.perf_counter() - start, len(batch)
        for subset in subsets[1:]:
            tally.answer(batch, seen, subset)
        if observe is not None:
            observe(batch, seen)
        if plain is not None and place in spoiled:
            tally.corrupt(batch, data.modalities, *plain)
        start = time.perf_counter()
    model.train(training)
    return _merged(split, gathering.all(tally.found), tasks=tuple(model.tasks), subsets=subsets)


def spread(num_batches: int, num_samples: int, limit: int) -> frozenset[int]:
    """Places of as many batches as about `limit` samples take, spread evenly: neighbours are often alike."""
    number = min(num_batches, math.ceil(limit * num_batches / max(1, num_samples)))
    return frozenset(np.linspace(0, num_batches - 1, number).round().astype(int).tolist())


@dataclass
class _Found:
    """What one batch told.

    Attributes:
        place: of the batch among all of the split.
        num_samples: in it.
        seconds, num_timed, num_corrupted: as in `Scored`.
        records: {subset: {task: Records}}.
        no_answer: {subset: {task: samples}}.
        losses: {task: (sum, count)}.
        corrupted: as in `Scored`.
    """

    place: int
    num_samples: int
    seconds: float = 0.0
    num_timed: int = 0
    num_corrupted: int = 0
    records: dict[str, dict[str, Records]] = field(default_factory=dict)
    no_answer: dict[str, dict[str, int]] = field(default_factory=dict)
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)
    corrupted: dict[tuple[str, str, int], dict[str, Records]] = field(default_factory=dict)


class _Tally:
    """What this process has found so far, batch by batch.

    Args:
        model: the network.
        precision: fp32 or bf16.
    """

    def __init__(self, model: Model, *, precision: str) -> None:
        self.model = model
        self.precision = precision
        self.found: list[_Found] = []

    def begin(self, place: int, batch: Batch) -> _Found:
        """What follows is of this batch."""
        self.found.append(_Found(place, len(batch)))
        return self.found[-1]

    def answer(self, batch: Batch, seen: list[looking.Seen], subset: Subset) -> list[Outputs]:
        """Answer from a subset of the modalities and record it; returns what the heads said of every look."""
        outputs = looking.decode(self.model, seen, precision=self.precision, keep=frozenset(subset))
        answers = looking.combine(self.model, seen, outputs, batch.size)
        self.found[-1].records[name_of(subset)] = _records(self.model, batch, answers)
        self.found[-1].no_answer[name_of(subset)] = {
            task: len(batch) - int(prediction.answered.sum()) for task, prediction in answers.items()
        }
        return outputs

    def add_losses(self, batch: Batch, outputs: Outputs) -> None:
        """Add the losses of a batch as it is."""
        losses = self.model.losses(outputs, batch)
        self.found[-1].losses = {name: (float(total), float(count)) for name, (total, count) in losses.items()}

    def corrupt(self, batch: Batch, modalities: Mapping[str, Modality], plain: looking.Seen, outputs: Outputs) -> None:
        """Every corruption of every image-like modality, beside none; only the corrupted one is encoded again.

        Args:
            batch: the samples.
            modalities: how they are read.
            plain: the batch as it is, encoded.
            outputs: what the heads say of it.
        """
        self.found[-1].num_corrupted = len(batch)
        clean = _records(self.model, batch, looking.combine(self.model, [plain], [outputs], batch.size))
        for modality, field_of in modalities.items():
            kind_of = field_of.geometry
            if kind_of.kind not in ("image", "clip") or kind_of.vectors or not bool(batch.present[modality].any()):
                continue
            for kind, severity in product(SEVERITIES, (0, 1, 2, 3)):
                records = clean
                if severity:
                    stills = batch.inputs[modality].flatten(0, -4)  # of clips every frame
                    changed = corrupt(stills, kind, severity, unknown=kind_of.unknown, seed=severity)
                    inputs = changed.view_as(batch.inputs[modality])
                    spoiled = replace(batch, inputs={**batch.inputs, modality: inputs})
                    records = _records(self.model, batch, self._answer_spoiled(spoiled, modality, plain))
                self.found[-1].corrupted[modality, kind, severity] = records

    def _answer_spoiled(self, spoiled: Batch, modality: str, plain: looking.Seen) -> dict[str, Prediction]:
        with autocast(spoiled.inputs[modality].device, self.precision):
            features = {**plain.features, modality: self.model.encode_one(modality, spoiled)}
        seen = [replace(plain, features=features)]
        return looking.answer(self.model, seen, spoiled.size, precision=self.precision)


def _merged(
    split: str, found: Sequence[Sequence[_Found]], *, tasks: Sequence[str], subsets: Sequence[Subset]
) -> Scored:
    """What all processes have found, in the order of the samples: as if one had seen them all."""
    parts = sorted((one for process in found for one in process), key=lambda one: one.place)
    names = [name_of(subset) for subset in subsets]
    sums = {task: [sum(one.losses.get(task, (0.0, 0.0))[i] for one in parts) for i in (0, 1)] for task in tasks}
    spoiled = dict.fromkeys(key for one in parts for key in one.corrupted)
    return Scored(
        split,
        num_samples=sum(one.num_samples for one in parts),
        seconds=max(sum(one.seconds for one in process) for process in found),
        num_timed=sum(one.num_timed for one in parts),
        records={
            task: {
                name: Records.merge([o.records[name][task] for o in parts if task in o.records[name]]) for name in names
            }
            for task in tasks
        },
        no_answer={task: {name: sum(one.no_answer[name][task] for one in parts) for name in names} for task in tasks},
        losses={task: total / count for task, (total, count) in sums.items() if count},
        corrupted={
            key: {
                task: Records.merge([one.corrupted[key][task] for one in parts if task in one.corrupted.get(key, ())])
                for task in tasks
            }
            for key in spoiled
        },
        num_corrupted=sum(one.num_corrupted for one in parts),
        full=names[0],
    )


def _records(model: Model, batch: Batch, answers: Mapping[str, Prediction]) -> dict[str, Records]:
    """{task: Records} of the rows that are labelled and answered; a task without such a row is not in it."""
    records = {}
    for name, prediction in answers.items():
        labelled = batch.labelled[name]
        rows = labelled & prediction.answered
        ids = [sample for sample, row in zip(batch.ids, rows.tolist(), strict=True) if row]
        if ids:
            value, target = prediction.value, batch.targets[name]
            if len(ids) < len(batch):  # dense answers are large: no copy where all rows are scored
                value, target = value[rows], target[rows[labelled]]
            records[name] = model.tasks[name].records(value, target, ids)
    return records
