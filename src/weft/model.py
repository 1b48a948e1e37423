"""The whole network on one page: preprocess → encoders → fusion → a head per task and view → decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.fusion.base import Fusion
from weft.tasks.base import Task
from weft.types import Batch, Features, Prediction

Decide = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Outputs:
    """What the heads say.

    Attributes:
        logits: {task: {view: (P, ...)}}, the rows in which the view is present.
        present: {view: (B,)} bool.
    """

    logits: dict[str, dict[str, Tensor]]
    present: dict[str, Tensor]


class Model(nn.Module):
    """One network from many modalities for many tasks.

    Args:
        preprocessors: {modality: module} raw input (P, ...) → normalised float input.
        encoders: {modality: Encoder}; an encoder given under two names is shared.
        fusion: built from the encoders' specs.
        tasks: {task: Task}, built from the specs of the views in `over`.
        over: the views that the tasks read: of the fusion, or modalities by name.
        decision: combines a task's predictions of several views into one.
    """

    def __init__(
        self,
        preprocessors: Mapping[str, nn.Module],
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        tasks: Mapping[str, Task],
        *,
        over: Iterable[str],
        decision: nn.Module,
    ) -> None:
        super().__init__()
        self.preprocessors = nn.ModuleDict(preprocessors)
        # to a type checker these are mappings of what they hold; to torch they are modules
        self.encoders = cast(Mapping[str, Encoder], nn.ModuleDict(encoders))
        self.fusion = fusion
        self.tasks = cast(Mapping[str, Task], nn.ModuleDict(tasks))
        self.over = tuple(over)
        self.decision = decision

    def encode(self, batch: Batch) -> dict[str, Features]:
        """{modality: Features}. Only rows that are present reach an encoder."""
        return {name: self.encode_one(name, batch) for name in self.encoders}

    def encode_one(self, name: str, batch: Batch) -> Features:
        """One modality's features, absent in the rows in which it is."""
        encoder = self.encoders[name]
        present = batch.present[name]
        if bool(present.any()):
            return encoder(self.preprocessors[name](batch.inputs[name])).scatter(present)
        return encoder.spec.empty(len(batch), batch.size, like=torch.zeros((), device=present.device))

    def decode(self, features: dict[str, Features], size: tuple[int, int]) -> Outputs:
        """Fuse, then every task's head on every view it reads, on the rows in which the view is present.

        Args:
            features: {modality: Features} of `encode`.
            size: (H, W) of the batch's images: dense logits have this size.
        """
        views = {**features, **self.fusion(features)}
        views = {name: views[name] for name in self.over}
        logits: dict[str, dict[str, Tensor]] = {task: {} for task in self.tasks}
        for name, view in views.items():
            if not bool(view.present.any()):
                continue
            rows = view if bool(view.present.all()) else view.select(view.present)
            for task_name, task in self.tasks.items():
                logits[task_name][name] = task(rows, view=name, size=size)
        return Outputs(logits, {name: view.present for name, view in views.items()})

    def forward(self, batch: Batch) -> Outputs:
        """Logits of every task and view for a batch."""
        return self.decode(self.encode(batch), batch.size)

    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """{task: (sum, count)} over the labelled rows of every view; (0, 0) where a task has no label in the batch."""
        losses = {}
        for name, task in self.tasks.items():
            zero = batch.labelled[name].new_zeros((), dtype=torch.float32)
            total, count = zero, zero
            for view, logits in outputs.logits[name].items():
                present, labelled = outputs.present[view], batch.labelled[name]
                rows = present & labelled
                if not bool(rows.any()):
                    continue
                view_sum, view_count = task.loss(logits[rows[present]], batch.targets[name][rows[labelled]])
                total, count = total + view_sum, count + view_count
            losses[name] = (total, count)
        return losses

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """{task: count} that `losses` will return, from presence and targets alone: for accumulation over batches."""
        any_present = torch.stack(list(batch.present.values())).any(0)
        counts = {}
        for name, task in self.tasks.items():
            labelled = batch.labelled[name]
            count = labelled.new_zeros((), dtype=torch.float32)
            for view in self.over:
                rows = batch.present.get(view, any_present) & labelled
                if bool(rows.any()):
                    count = count + task.count(batch.targets[name][rows[labelled]])
            counts[name] = count
        return counts

    def answer(self, outputs: Outputs) -> dict[str, Prediction]:
        """{task: Prediction} of all the rows, the views' answers combined by the decision rule."""
        return {name: self._combine(task, outputs.logits[name], outputs.present) for name, task in self.tasks.items()}

    def predict(self, batch: Batch) -> dict[str, Prediction]:
        """{task: Prediction} for a batch."""
        return self.answer(self(batch))

    def _combine(self, task: Task, logits: dict[str, Tensor], present: dict[str, Tensor]) -> Prediction:
        if not logits:
            none = next(iter(present.values()))
            return Prediction(none.new_zeros(len(none), dtype=torch.float32), torch.zeros_like(none))
        predictions = {}
        for view, view_logits in logits.items():
            rows, here = task.predict(view_logits), present[view]
            if not bool(here.all()):  # dense answers are large: no copy where all rows are there
                full = rows.new_zeros(len(here), *rows.shape[1:])
                rows = full.index_copy(0, here.nonzero().squeeze(1), rows)
            predictions[view] = rows
        seen = {view: present[view] for view in predictions}
        answered = torch.stack(list(seen.values())).any(0)
        if len(self.over) == 1:  # nothing to combine
            return Prediction(predictions[self.over[0]], answered)
        return Prediction(self.decision(predictions, seen), answered)
