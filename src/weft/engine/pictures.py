"""Samples for the report: what went in, where the fusion looked, the truth, the answers and where they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.collate import Sample
from weft.engine import inference as looking
from weft.engine.attention import Looked, looked_at
from weft.engine.evidence import worth_explaining
from weft.engine.film import Film, attention_of
from weft.engine.loading import LoadedRun
from weft.engine.precision import autocast
from weft.engine.step_shares import of_parts
from weft.modalities.base import Field
from weft.tasks.base import Task
from weft.types import Batch, Features, Prediction

#: What tasks draw on where a sample has no pixels: size (W, H) and colour.
PLAIN_SIZE, PLAIN_COLOUR = (240, 120), (238, 238, 238)


@dataclass(frozen=True)
class Chosen:
    """Samples to draw.

    Attributes:
        number: so many, evenly spread over the split.
        worst: {task: ids}.
        examples: {task: ids} for which the answers from each modality alone are told too.
    """

    number: int
    worst: Mapping[str, Sequence[str]] = field(default_factory=dict)
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)


def draw_samples(
    loaded: LoadedRun, split: str, folder: Path, *, chosen: Chosen, keep: Sequence[str]
) -> list[dict[str, Any]]:
    """Draw samples below `folder/pictures`.

    Args:
        loaded: the run.
        split: of its data.
        folder: of the evaluation.
        chosen: which samples.
        keep: modalities the answers may use.

    Returns:
        one entry per sample, as `evaluation.json` holds them; paths are relative to `folder`.
    """
    (folder / "pictures").mkdir(exist_ok=True)
    ids = loaded.data.ids(split)
    places = np.unique(np.linspace(0, len(ids) - 1, min(chosen.number, len(ids))).astype(int))
    spread = [ids[place] for place in places]
    special = [sample for by_task in (chosen.worst, chosen.examples) for group in by_task.values() for sample in group]
    entries = []
    for place, sample in enumerate(loaded.data.select(split, dict.fromkeys([*spread, *special]))):
        example_of = [task for task, samples in chosen.examples.items() if sample.id in samples]
        entry = _Drawing(loaded, sample, folder, f"{place:02d}").entry(keep, alone=example_of)
        entry["spread"] = sample.id in spread
        entry["worst_of"] = [task for task, samples in chosen.worst.items() if sample.id in samples]
        entry["example_of"] = example_of
        entries.append(entry)
    return entries


def answer_sample(loaded: LoadedRun, sample: Sample) -> dict[str, Prediction]:
    """{task: Prediction} of one row for one sample, from all modalities that it has."""
    return _Seen.of(loaded, sample).answers()


def row_of(loaded: LoadedRun, task: str, prediction: Prediction, sample: Sample) -> np.ndarray:
    """The only row of a prediction as an array, with the padding of dense ones cut off."""
    value = prediction.value[0].float().cpu().numpy()
    if looking.is_dense(loaded.model.tasks[task]):
        height, width = sample.size
        value = value[..., :height, :width]
    return value


@dataclass(frozen=True)
class _Seen:
    """One sample as a batch, encoded in every way it is looked at."""

    loaded: LoadedRun
    batch: Batch
    looks: list[looking.Seen]

    @classmethod
    @torch.inference_mode()
    def of(cls, loaded: LoadedRun, sample: Sample) -> _Seen:
        device = next(loaded.model.parameters()).device
        batch = loaded.data.collate([sample], multiple=loaded.multiple).to(device)
        looks = looking.encode(
            loaded.model,
            batch,
            loaded.data.modalities,
            inference=loaded.experiment.inference,
            multiple=loaded.multiple,
            precision=loaded.precision,
        )
        return cls(loaded, batch, looks)

    @torch.inference_mode()
    def answers(self, keep: Sequence[str] | None = None) -> dict[str, Prediction]:
        """From the modalities in `keep`, all by default."""
        kept = None if keep is None else frozenset(keep)
        return looking.answer(
            self.loaded.model, self.looks, self.batch.size, precision=self.loaded.precision, keep=kept
        )

    @torch.inference_mode()
    def explained(self, keep: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Features]]:
        """What the fusion explains of the sample as it is, whatever is averaged for its answer; and its features."""
        model = self.loaded.model
        with autocast(self.batch.device, self.loaded.precision):
            features = looking.kept(model.encode(self.batch), frozenset(keep))
            return model.fusion.explain(features), features


@dataclass(frozen=True)
class _Drawing:
    """Draws one sample; its files begin with `name`."""

    loaded: LoadedRun
    sample: Sample
    folder: Path
    name: str

    def entry(self, keep: Sequence[str], *, alone: Sequence[str]) -> dict[str, Any]:
        """All there is to show; of the tasks in `alone` also the answers from each modality by itself."""
        modalities, inputs = self.loaded.data.modalities, self.sample.inputs
        texts = {m: lines for m, value in inputs.items() if (lines := modalities[m].describe(value))}
        stills = {m: value for m, value in inputs.items() if m not in texts and not modalities[m].geometry.has_frames}
        pictures = {m: modalities[m].draw(value) for m, value in stills.items()}
        seen = _Seen.of(self.loaded, self.sample)
        explained, features = seen.explained(keep) if worth_explaining(self.loaded.model, keep) else ({}, {})
        background = self._background(pictures)
        answers = seen.answers(keep)
        values = {m: value for m, value in inputs.items() if m in keep and (m in stills or m in texts)}
        looked = looked_at(explained, features, modalities, values, pictures, seen.batch.size)
        tasks = self.loaded.model.tasks
        film = Film(
            self.sample,
            modalities,
            tasks,
            background,
            attention_of(explained, features),
            seen.batch.size,
            of_parts(explained),
        )
        rows = {name: self._row(name, one) for name, one in answers.items() if bool(one.answered[0])}
        return {
            "id": self.sample.id,
            "inputs": {m: self._save(picture, f"in-{m}") for m, picture in pictures.items()},
            "texts": texts,
            "looked": {m: self._looked(m, one) for m, one in looked.items()},
            "tasks": {
                name: self._answer(name, rows.get(name), background)
                for name, task in tasks.items()
                if not task.field.geometry.has_frames
            },
            "film": film.drawn(rows, self._save),
            "alone": {task: self._alone(task, seen, keep) for task in alone},
        }

    def _row(self, name: str, prediction: Prediction) -> np.ndarray:
        return row_of(self.loaded, name, prediction, self.sample)

    def _background(self, pictures: Mapping[str, Image.Image]) -> Image.Image:
        """The first picture that shows the sample's scene; a plain one where there is none."""
        for modality, picture in pictures.items():
            geometry = self.loaded.data.modalities[modality].geometry
            if geometry.kind == "image" and geometry.aligned:
                return picture.convert("RGB")
        height, width = self.sample.size
        return Image.new("RGB", (width, height) if height and width else PLAIN_SIZE, PLAIN_COLOUR)

    def _answer(self, name: str, row: np.ndarray | None, background: Image.Image) -> dict[str, Any]:
        """Truth, prediction and error: each a path, lines of text, or None."""
        task, target = self.loaded.model.tasks[name], self.sample.targets.get(name)
        drawn: dict[str, Any] = {"truth": None, "prediction": None, "error": None}
        if target is not None:
            drawn["truth"] = _lines(task.field, target) or self._save(
                task.draw_truth(target, background), f"{name}-truth"
            )
        if row is not None:
            drawn["prediction"] = _lines(task, row) or self._save(task.draw(row, background), f"{name}-answer")
            error = None if target is None else task.draw_error(row, target, background)
            if error is not None:
                drawn["error"] = self._save(error, f"{name}-error")
        return drawn

    def _alone(self, name: str, seen: _Seen, keep: Sequence[str]) -> dict[str, list[list[str]]]:
        """{modality: lines} of the answers from one modality at a time."""
        answers = {modality: seen.answers([modality])[name] for modality in keep}
        return {
            modality: _lines(self.loaded.model.tasks[name], self._row(name, prediction))
            for modality, prediction in answers.items()
            if bool(prediction.answered[0])
        }

    def _looked(self, modality: str, looked: Looked) -> dict[str, Any]:
        picture = None if looked.picture is None else self._save(looked.picture, f"looked-{modality}")
        return {"what": looked.what, "share": looked.share, "words": looked.words, "picture": picture}

    def _save(self, picture: Image.Image, what: str) -> str:
        path = f"pictures/{self.name}-{what}.png"
        picture.save(self.folder / path)
        return path


def _lines(part: Field | Task, value: np.ndarray) -> list[list[str]]:
    """What a field or a task says of a value, for JSON."""
    return [[name, text] for name, text in part.describe(value)]
