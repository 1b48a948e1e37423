"""Evidence of what each modality did, beside figures: what the fusion gave to it, and which samples it gets right."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weft.engine import inference as looking
from weft.engine.distributed import Gathering
from weft.engine.likeness import Likeness
from weft.engine.precision import autocast
from weft.engine.step_shares import STEPS, TIME, StepShares
from weft.metrics.bootstrap import align
from weft.model import Model
from weft.tasks.base import Task
from weft.types import Batch, Records

#: Keys of `Fusion.explain` that begin so say what comes from each token, and no shares of modalities.
ATTENTION = "attention/"
#: Keys that begin so say what one part of a fusion looked at.
PART = "part/"
#: Ends of the range of shares over the samples, in percent.
SPREAD = (10, 90)
#: Samples that are drawn of each kind.
NUM_EXAMPLES = 2


class Shares:
    """What a fusion gave to each modality, collected sample by sample.

    Args:
        model: whose fusion explains itself; of one that has nothing to say there is nothing to show.
        keep: modalities that it gets.
        precision: that it computes in.
    """

    def __init__(self, model: Model, keep: Sequence[str], *, precision: str) -> None:
        self._model, self._keep, self._precision = model, frozenset(keep), precision
        self._modalities = tuple(model.encoders)
        self._parts: list[Records] = []
        self._likeness = Likeness([m for m in self._modalities if m in self._keep])
        self._steps = StepShares()

    def observe(self, batch: Batch, looks: Sequence[looking.Seen]) -> None:
        """Take in a batch: the mean over the ways it was looked at."""
        if not worth_explaining(self._model, self._keep):
            return
        features = [looking.kept(look.features, self._keep) for look in looks]
        with autocast(batch.present[self._modalities[0]].device, self._precision):
            explained = [self._model.fusion.explain(one) for one in features]
            compared = self._model.fusion.compared(features[0])
        self._likeness.observe(compared, {m: one.present for m, one in features[0].items()})
        self._steps.observe(explained)
        levels = [level for level in explained[0] if not level.startswith((ATTENTION, TIME)) and level != STEPS]
        if not levels or len(self._keep) < 2:
            return
        rows = {
            level: torch.stack([per_sample(one[level], len(batch)) for one in explained]).mean(0) for level in levels
        }
        rows["present"] = torch.stack([features[0][m].present for m in self._modalities], dim=1)
        self._parts.append(Records(list(batch.ids), {name: values.cpu().numpy() for name, values in rows.items()}))

    def gather(self, gathering: Gathering) -> None:
        """Take in what all processes have seen, batch by batch in turns, as they were given out."""
        parts = gathering.all(self._parts)
        self._parts = [part for turn in zip_longest(*parts) for part in turn if part is not None]
        self._likeness.gather(gathering)
        self._steps.gather(gathering)

    def records(self) -> Records:
        """Rows by level and part, (n, M) in the order of the modalities, and `present`, (n, M) bool."""
        return Records.merge(self._parts)

    def summary(self) -> dict[str, Any] | None:
        """See `share_summary`; with `likeness`, see `Likeness.summary`."""
        shares = share_summary(self.records(), self._modalities)
        return None if shares is None else {**shares, "likeness": self._likeness.summary()}

    def over_time(self) -> dict[str, Any]:
        """See `StepShares.summary`."""
        return self._steps.summary()

    def by_answer(self, task: Task, records: Records) -> list[dict[str, Any]]:
        """See `shares_by_answer`."""
        return shares_by_answer(task, records, self.records(), self._modalities)


def worth_explaining(model: Model, keep: Collection[str]) -> bool:
    """Whether there is anything to tell of where a fusion looked: among several modalities, or in time."""
    return len(keep) > 1 or any(modality in model.fusion.timed for modality in keep)


def per_sample(explained: Tensor, num_rows: int) -> Tensor:
    """(B, M) float32 from (B * T, M, ...): the mean over frames and places."""
    num_modalities = explained.shape[1]
    return explained.float().reshape(num_rows, -1, num_modalities, explained[0, 0].numel()).mean((1, 3))


def share_summary(shares: Records, modalities: Sequence[str]) -> dict[str, Any] | None:
    """What the fusion gave to each modality, over the samples that have it beside another one.

    Args:
        shares: of `Shares.records`.
        modalities: names of its columns.

    Returns:
        {"sums_to_one": whether the shares of a sample do, "levels": {level: {modality: {count, mean, low, high}}},
        "parts": the same of what each part of the fusion looked at, over the samples in which it saw anything} with the
        10th and the 90th percentile; None where the fusion has nothing to say.
    """
    levels = _levels(shares)
    if not levels:
        return None
    return {
        "sums_to_one": all(bool(np.allclose(values.sum(1), 1, atol=1e-3)) for values in levels.values()),
        "levels": {
            level: {
                modality: _spread(values[rows, column])
                for column, modality in enumerate(modalities)
                if (rows := _contested(shares, column)).any()
            }
            for level, values in levels.items()
        },
        "parts": {
            name.removeprefix(PART): {
                modality: _spread(values[rows, column])
                for column, modality in enumerate(modalities)
                if (rows := _contested(shares, column) & values.any(1)).any()
            }
            for name, values in shares.rows.items()
            if name.startswith(PART)
        },
    }


def shares_by_answer(task: Task, records: Records, shares: Records, modalities: Sequence[str]) -> list[dict[str, Any]]:
    """The mean over the levels of what each modality got, for right and wrong answers and for each class.

    Where answers are not simply right or wrong, the better and the worse half of them stand for these.

    Args:
        task: whose answers.
        records: its records from all modalities.
        shares: of `Shares.records`.
        modalities: names of its columns.

    Returns:
        [{"kind": "answers" or "class", "name", "count", "modalities": {modality: mean}}]; a modality that no sample
        of the part has beside another one is left out.
    """
    answered, shared = align(records, shares)
    levels = _levels(shared)
    if not levels or not len(answered):
        return []
    mean = np.mean(list(levels.values()), axis=0)
    parts = [("answers", name, members) for name, members in _by_quality(task, answered).items()]
    parts += [("class", name, members) for name, members in task.classes_of(answered).items()]
    return [
        {
            "kind": kind,
            "name": name,
            "count": int(members.sum()),
            "modalities": {
                modality: float(mean[rows, column].mean())
                for column, modality in enumerate(modalities)
                if (rows := members & _contested(shared, column)).any()
            },
        }
        for kind, name, members in parts
        if members.any()
    ]


def agreement(
    task: Task, by_subset: Mapping[str, Records], modalities: Sequence[str], full: str
) -> dict[str, Any] | None:
    """Which modalities are right alone, and whether all together are.

    Args:
        task: whose answers.
        by_subset: its records by subset.
        modalities: two or more.
        full: the subset of all of them.

    Returns:
        {"count": samples that every modality and all together could answer, "together", "any_alone": how many are
        right together, and from at least one modality alone, "rows": [{"which", "modality", "right", "wrong"}],
        "examples": [{"kind", "modality", "ids"}]}. `which` is none, only (with its modality), several or all of the
        modalities that are right alone. None where answers are not simply right or wrong, or nothing can be compared.
    """
    if len(modalities) < 2 or any(not len(by_subset.get(key, Records())) for key in (*modalities, full)):
        return None
    common = set.intersection(*(set(by_subset[key].ids) for key in (*modalities, full)))
    ids = [sample for sample in by_subset[full].ids if sample in common]
    right = {key: _right(task, by_subset[key], ids) for key in (*modalities, full)}
    together, alone = right[full], [right[modality] for modality in modalities]
    if together is None or not ids:
        return None
    marks = np.stack([one for one in alone if one is not None], axis=1)
    kinds = _kinds(marks, modalities)
    return {
        "count": len(ids),
        "together": int(together.sum()),
        "any_alone": int(marks.any(1).sum()),
        "rows": [
            {
                "which": which,
                "modality": modality,
                "right": int((members & together).sum()),
                "wrong": int((members & ~together).sum()),
            }
            for (which, modality), members in kinds.items()
        ],
        "examples": _examples(kinds, together, ids),
    }


def _kinds(marks: np.ndarray, modalities: Sequence[str]) -> dict[tuple[str, str | None], np.ndarray]:
    """{(which, modality): (n,) bool} from (n, M) bool: every sample is in one of them."""
    number = marks.sum(1)
    kinds: dict[tuple[str, str | None], np.ndarray] = {("none", None): number == 0}
    kinds.update({("only", m): (number == 1) & marks[:, column] for column, m in enumerate(modalities)})
    if len(modalities) > 2:
        kinds["several", None] = (number > 1) & (number < len(modalities))
    kinds["all", None] = number == len(modalities)
    return kinds


def example_ids(found: Mapping[str, Any] | None) -> list[str]:
    """The samples that `agreement` names as examples."""
    return [] if found is None else [sample for example in found["examples"] for sample in example["ids"]]


def _examples(
    kinds: Mapping[tuple[str, str | None], np.ndarray], together: np.ndarray, ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Samples that only one modality gets right, only all together, and none at all."""
    chosen = {("only", m): members for (which, m), members in kinds.items() if which == "only"}
    chosen["together", None] = kinds["none", None] & together
    chosen["none", None] = kinds["none", None] & ~together
    return [
        {"kind": kind, "modality": modality, "ids": [ids[place] for place in _spread_out(members)]}
        for (kind, modality), members in chosen.items()
        if members.any()
    ]


def _spread_out(members: np.ndarray) -> np.ndarray:
    """Places of a few members, evenly over the split."""
    places = np.flatnonzero(members)
    return places[np.unique(np.linspace(0, len(places) - 1, min(NUM_EXAMPLES, len(places))).astype(int))]


def _right(task: Task, records: Records, ids: Sequence[str]) -> np.ndarray | None:
    place = {sample: index for index, sample in enumerate(records.ids)}
    return task.right(records.take(np.array([place[sample] for sample in ids], np.int64)))


def _by_quality(task: Task, records: Records) -> dict[str, np.ndarray]:
    right = task.right(records)
    if right is not None:
        return {"right": right, "wrong": ~right}
    badness = task.badness(records)
    better = badness <= np.median(badness)
    return {"better half": better, "worse half": ~better}


def _levels(shares: Records) -> dict[str, np.ndarray]:
    return {name: values for name, values in shares.rows.items() if name != "present" and not name.startswith(PART)}


def _contested(shares: Records, column: int) -> np.ndarray:
    """(n,) bool: samples that have a modality beside another one, so that there is something to share."""
    present = shares.rows["present"]
    return present[:, column] & (present.sum(1) > 1)


def _spread(values: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(values, SPREAD)
    return {"count": len(values), "mean": float(values.mean()), "low": float(low), "high": float(high)}
