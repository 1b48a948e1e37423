"""The whole network on one page: preprocess → encoders → fusion → sharing → a head per task and view → decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from weft.decision.base import Decision
from weft.encoders.base import Encoder
from weft.fusion.base import Fusion
from weft.modalities.base import Preprocessor
from weft.sharing.base import Sharing
from weft.tasks.base import Task
from weft.types import Batch, Features, Prediction


@dataclass(frozen=True)
class Outputs:
    """What the heads say.

    Attributes:
        logits: {task: {view: (P, ...)}}, the rows in which the view is present.
        present: {view: (B,)} bool.
    """

    logits: dict[str, dict[str, Tensor]]
    present: dict[str, Tensor]


@dataclass(frozen=True)
class Views:
    """What the heads read: where encoders and fusion end, and the tasks part.

    Attributes:
        features: {view: Features} of the views that some task reads, only their P present rows; without those views
            that are present in no row.
        present: {view: (B,)} bool.
        size: (H, W) of the batch's images: dense logits have this size.
    """

    features: dict[str, Features]
    present: dict[str, Tensor]
    size: tuple[int, int]


class Model(nn.Module):
    """One network from many modalities for many tasks.

    Args:
        preprocessors: {modality: module} raw input (P, ...) → normalised float input.
        encoders: {modality: Encoder}; an encoder given under two names is shared.
        fusion: built from the encoders' specs.
        tasks: {task: Task}, built from the specs of the views that it reads: of the fusion, or modalities by name.
        decisions: {task: Decision}, which combines the task's predictions of several views into one.
        levels: {modality: places in its pyramid} that the tasks read; the others are neither fused nor decoded. A
            modality that is not in it keeps all.
        sharing: {task: Sharing}, what it makes of the views before its heads read them. A task that is not in it reads
            them as they are.

    Attributes:
        over: {task: the views that it reads}.
    """

    def __init__(
        self,
        preprocessors: Mapping[str, Preprocessor],
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        tasks: Mapping[str, Task],
        *,
        decisions: Mapping[str, Decision],
        levels: Mapping[str, Sequence[int]] | None = None,
        sharing: Mapping[str, Sharing] | None = None,
    ) -> None:
        super().__init__()
        # to a type checker these are mappings of what they hold; to torch they are modules
        self.preprocessors = cast(Mapping[str, Preprocessor], nn.ModuleDict(preprocessors))
        self.encoders = cast(Mapping[str, Encoder], nn.ModuleDict(encoders))
        self.fusion = fusion
        self.sharing = cast(Mapping[str, Sharing], nn.ModuleDict(sharing))
        self.tasks = cast(Mapping[str, Task], nn.ModuleDict(tasks))
        self.decisions = cast(Mapping[str, Decision], nn.ModuleDict(decisions))
        self.over = {name: tuple(task.heads) for name, task in tasks.items()}
        self.levels = dict(levels or {})

    def encode(self, batch: Batch) -> dict[str, Features]:
        """{modality: Features}. Only rows that are present reach an encoder."""
        return {name: self.encode_one(name, batch) for name in self.encoders}

    def encode_one(self, name: str, batch: Batch) -> Features:
        """One modality's features, absent in the rows in which it is; of a pyramid the levels that are read."""
        encoder, preprocessor, levels = self.encoders[name], self.preprocessors[name], self.levels.get(name)
        present = batch.present[name]
        if not bool(present.any()):
            spec = encoder.spec if levels is None else encoder.spec.only(levels)
            return spec.empty(len(batch), batch.size, like=torch.zeros((), device=present.device))
        if name in batch.features:
            features = encoder.finish(batch.features[name])
        elif encoder.extract_frozen and not (self.training and preprocessor.random):
            features = encoder.finish(self.extract(name, batch))
        else:
            lengths = batch.lengths.get(name)
            inputs = preprocessor(batch.inputs[name])
            features = encoder(inputs, None if lengths is None else preprocessor.lengths(lengths))
        return (features if levels is None else features.only(levels)).scatter(present)

    @torch.no_grad()
    def extract(self, name: str, batch: Batch) -> Features:
        """What the frozen network of a modality gives for its P rows, before anything that is trained.

        Sequences of one length are seen together, without padding, so that a row's features depend on nothing else in
        the batch: they are the same whether they are taken from a store or made anew.
        """
        encoder, preprocessor, levels = self.encoders[name], self.preprocessors[name], self.levels.get(name)
        inputs, lengths = batch.inputs[name], batch.lengths.get(name)
        if lengths is None:
            features = encoder.extract(preprocessor(inputs))
        else:
            alike = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique()]
            features = Features.join(
                [
                    encoder.extract(preprocessor(inputs[rows, : lengths[rows[0]]]), preprocessor.lengths(lengths[rows]))
                    for rows in alike
                ]
            )
            features = features.trimmed().select(torch.cat(alike).argsort())
        return (features if levels is None else features.only(levels)).packed()

    def decode(self, features: dict[str, Features], size: tuple[int, int]) -> Outputs:
        """Fuse, then every task's heads on the views it reads, on the rows in which these are present.

        Args:
            features: {modality: Features} of `encode`.
            size: (H, W) of the batch's images: dense logits have this size.
        """
        return self.heads(self.views(features, size))

    def views(self, features: dict[str, Features], size: tuple[int, int]) -> Views:
        """Fuse: what the heads read of the features that `encode` gives."""
        return self.shown({**features, **self.fusion(features)}, size)

    def shown(self, views: Mapping[str, Features], size: tuple[int, int]) -> Views:
        """What the heads read of the modalities' features and the fusion's views."""
        read = {name: views[name] for name in dict.fromkeys(view for over in self.over.values() for view in over)}
        rows = {
            name: view if bool(view.present.all()) else view.select(view.present)
            for name, view in read.items()
            if bool(view.present.any())
        }
        return Views(rows, {name: view.present for name, view in read.items()}, size)

    def heads(self, views: Views) -> Outputs:
        """Every task's head on every view it reads; none for places in a picture where there is no picture."""
        logits: dict[str, dict[str, Tensor]] = {task: {} for task in self.tasks}
        read = {name: self.read_by(name, views) for name in self.tasks}
        for view in views.features:
            for name, task in self.tasks.items():
                if view in read[name]:
                    logits[name][view] = task(read[name][view], view=view, size=views.size)
        return Outputs(logits, views.present)

    def read_by(self, name: str, views: Views) -> dict[str, Features]:
        """{view: Features}, what the heads of a task read: nothing where they need a picture and there is none."""
        if self.tasks[name].need == "maps" and 0 in views.size:
            return {}
        shared = {view: features for view, features in views.features.items() if view in self.over[name]}
        return self.sharing[name](shared) if name in self.sharing else shared

    def own_modules(self, name: str) -> tuple[nn.Module, ...]:
        """What belongs to one task alone; the others share all else."""
        modules = (self.sharing[name],) if name in self.sharing else ()
        return (*modules, self.tasks[name], self.decisions[name])

    def forward(self, batch: Batch) -> Outputs:
        """Logits of every task and view for a batch."""
        return self.decode(self.encode(batch), batch.size)

    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """{task: (sum, count)} over the labelled rows of every view; (0, 0) where a task has no label in the batch.

        Where a decision rule learns, the combined answer of every labelled row counts as one view more. Its gradient
        ends at the rule: what a head learns depends on its own view alone.
        """
        losses = {}
        for name, task in self.tasks.items():
            labelled, target = batch.labelled[name], batch.targets[name]
            total = labelled.new_zeros((), dtype=torch.float32)
            count = total
            answers = [(logits, outputs.present[view]) for view, logits in outputs.logits[name].items()]
            if self.decisions[name].learns and answers:
                answers.append(self._combined_logits(name, outputs, batch.size))
            for logits, present in answers:
                rows = present & labelled
                if not bool(rows.any()):
                    continue
                view_sum, view_count = task.loss(_some(logits, rows[present]), _some(target, rows[labelled]))
                total, count = total + view_sum, count + view_count
            losses[name] = (total, count)
        return losses

    def _combined_logits(self, name: str, outputs: Outputs, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Logits (P, ...) of what the views of a task say together, and (B,) bool: the P rows that any of them has."""
        task = self.tasks[name]
        logits = {view: view_logits.detach() for view, view_logits in task.alike(outputs.logits[name]).items()}
        prediction = self._combine(name, replace(outputs, logits={name: logits}))
        return task.logits_of(prediction.value[prediction.answered], size=size), prediction.answered

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """{task: count} that `losses` will return, from presence and targets alone: for accumulation over batches."""
        any_present = torch.stack(list(batch.present.values())).any(0)
        counts = {}
        for name, task in self.tasks.items():
            labelled = batch.labelled[name]
            count = labelled.new_zeros((), dtype=torch.float32)
            seen = [batch.present.get(view, any_present) for view in self.over[name]]
            if self.decisions[name].learns:
                seen.append(torch.stack(seen).any(0))
            for present in seen:
                rows = present & labelled
                if bool(rows.any()):
                    count = count + task.count(batch.targets[name][rows[labelled]])
            counts[name] = count
        return counts

    def answer(self, outputs: Outputs) -> dict[str, Prediction]:
        """{task: Prediction} of all the rows, the views' answers combined by the decision rule."""
        return {name: self._combine(name, outputs) for name in self.tasks}

    def predict(self, batch: Batch) -> dict[str, Prediction]:
        """{task: Prediction} for a batch."""
        return self.answer(self(batch))

    def _combine(self, name: str, outputs: Outputs) -> Prediction:
        task, over, logits = self.tasks[name], self.over[name], outputs.logits[name]
        if not logits:
            none = outputs.present[over[0]]
            return Prediction(none.new_zeros(len(none), dtype=torch.float32), torch.zeros_like(none))
        predictions = {}
        for view, view_logits in logits.items():
            rows, here = task.predict(view_logits), outputs.present[view]
            if not bool(here.all()):  # dense answers are large: no copy where all rows are there
                full = rows.new_zeros(len(here), *rows.shape[1:])
                rows = full.index_copy(0, here.nonzero().squeeze(1), rows)
            predictions[view] = rows
        seen = {view: outputs.present[view] for view in predictions}
        answered = torch.stack(list(seen.values())).any(0)
        if len(over) == 1:  # nothing to combine
            return Prediction(predictions[over[0]], answered)
        return Prediction(self.decisions[name](predictions, seen), answered)


def _some(tensor: Tensor, rows: Tensor) -> Tensor:
    """Some of the rows, `rows` (P,) bool; the tensor itself where they are all: copies of maps and back take time."""
    return tensor if bool(rows.all()) else tensor[rows]
