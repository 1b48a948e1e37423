"""Predicting on a live stream of frames: the state is an argument and a result, and does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weft.data.collate import Sample
from weft.engine.loading import LoadedRun, load_run
from weft.engine.pictures import row_of
from weft.engine.precision import autocast
from weft.engine.predict import no_samples
from weft.errors import WeftError
from weft.experiment import Inference
from weft.modalities.base import Modality
from weft.model import Model
from weft.tasks.base import Task
from weft.types import Batch, Features, Memory, Prediction


@dataclass(frozen=True)
class StreamState:
    """All that a stream knows: hand it to the next step. One state may be gone on from in several ways.

    Attributes:
        known: {modality: Features} of what was given from the start.
        encoders: {modality: what its encoder carries on}, of those that come in steps.
        fusion: what the fusion carries on; None before the first step.
    """

    known: Mapping[str, Features]
    encoders: Mapping[str, Memory] = field(default_factory=dict)
    fusion: Memory | None = None


class StreamingPredictor:
    """A trained run over a live stream: frame after frame in, an answer after each.

    After every frame the answers are those that `Predictor` gives for the clip up to there: of a task for the whole
    clip what it says so far, of one that answers every frame what it says of this frame. That holds where nothing looks
    ahead: a fusion with `causal: true`, encoders of clips likewise. Everything else is refused, with the reason.

    Hand in the frames at the rate at which training took them.

    Args:
        run: a run folder.
        checkpoint: best, last, or the name of another.
        device: where to compute; by default as in training.
        overrides: `key=value` over the run's experiment.

    Raises:
        WeftError: the run cannot be loaded, or something in it cannot stream.

    Example:
        >>> predictor = StreamingPredictor("runs/gestures/20261121-101500")  # doctest: +SKIP
        >>> state = predictor.start(picture="hall.jpg")  # doctest: +SKIP
        >>> for frame in camera:  # doctest: +SKIP
        ...     answers, state = predictor.step(state, clip=frame)
    """

    def __init__(
        self,
        run: Path | str,
        *,
        checkpoint: str = "best",
        device: str | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self._loaded = load_run(run, checkpoint=checkpoint, device=device, overrides=overrides, manifest=no_samples())
        modalities = self._loaded.data.modalities
        reasons = refusals(self._loaded.model, modalities, self._loaded.experiment.inference)
        if reasons:
            raise WeftError(
                "\n".join(["this run cannot stream:", *(f"  {line}" for line in reasons)]), code="no-stream"
            )
        self._timed = tuple(stepped(self._loaded.model, modalities))

    @property
    def loaded(self) -> LoadedRun:
        """The run with its network."""
        return self._loaded

    @torch.inference_mode()
    def start(self, **known: Any) -> StreamState:
        """A state before the first frame.

        Args:
            known: what is known from the start, as `Predictor` takes it; what is not given is absent.

        Raises:
            WeftError: a modality that comes frame by frame, an unknown one, or an input that cannot be read.
        """
        wrong = [name for name in known if name in self._timed]
        if wrong:
            raise WeftError(f"{', '.join(wrong)} comes frame by frame: give it to `step`", code="no-modality")
        model, data = self._loaded.model, self._loaded.data
        sample = data.sample_from(known) if known else Sample("stream", {}, {}, (0, 0), (0, 0))
        batch = self._collated(sample)
        with autocast(batch.device, self._loaded.precision):
            features = {m: model.encode_one(m, batch) for m in model.encoders if m not in self._timed}
        return StreamState(features)

    @torch.inference_mode()
    def step(self, state: StreamState, **frames: Any) -> tuple[dict[str, np.ndarray | None], StreamState]:
        """The answers after one more frame, and the state to go on from.

        Args:
            state: of `start`, or of the last step. It is left as it is.
            frames: {modality: one frame}, a picture file or an array (H, W, C), one at least; what is not given is
                absent in this step.

        Returns:
            {task: its answer}, None where nothing that it reads is there; and the next state.

        Raises:
            WeftError: a modality that does not come frame by frame, none at all, or a frame that cannot be read.
        """
        wrong = [name for name in frames if name not in self._timed]
        if wrong or not frames:
            given = f"{', '.join(wrong)} is not among them" if wrong else "none was given"
            raise WeftError(f"frame by frame come {', '.join(self._timed)}; {given}", code="no-modality")
        clips = {name: one[None] if isinstance(one, np.ndarray) else one for name, one in frames.items()}
        sample = self._loaded.data.sample_from(clips)
        batch = self._collated(sample)
        with autocast(batch.device, self._loaded.precision):
            predictions, after = step(self._loaded.model, batch, state, self._timed)
        tasks = self._loaded.model.tasks
        answers = {
            name: _now(tasks[name], row_of(self._loaded, name, prediction, sample))
            if bool(prediction.answered[0])
            else None
            for name, prediction in predictions.items()
        }
        return answers, after

    def answers(self, frames: Iterable[Mapping[str, Any]], **known: Any) -> Iterator[dict[str, np.ndarray | None]]:
        """The answers after every one of some frames, each {modality: frame}; see `start` and `step`."""
        state = self.start(**known)
        for one in frames:
            answers, state = self.step(state, **one)
            yield answers

    def _collated(self, sample: Sample) -> Batch:
        device = next(self._loaded.model.parameters()).device
        return self._loaded.data.collate([sample], multiple=self._loaded.multiple).to(device)


def step(
    model: Model, batch: Batch, state: StreamState, timed: Sequence[str]
) -> tuple[dict[str, Prediction], StreamState]:
    """{task: Prediction} of one more frame of some streams, and the next state.

    Args:
        model: whose parts can all stream; in evaluation mode.
        batch: one frame of the modalities in `timed`.
        state: of the last step.
        timed: the modalities that come in steps; the others are those of the state.
    """
    features, memories = dict(state.known), dict(state.encoders)
    for name in timed:
        encoder, present, levels = model.encoders[name], batch.present[name], model.levels.get(name)
        if bool(present.any()):
            inputs = model.preprocessors[name](batch.inputs[name])
            one, memories[name] = encoder.step(inputs, memories.get(name))
            features[name] = (one if levels is None else one.only(levels)).scatter(present)
        else:
            spec = encoder.spec if levels is None else encoder.spec.only(levels)
            features[name] = spec.empty(len(batch), batch.size, like=torch.zeros((), device=batch.device))
    features = {name: features[name] for name in model.encoders}
    views, memory = model.fusion.step(features, state.fusion)
    outputs = model.heads(model.shown({**features, **views}, batch.size))
    return model.answer(outputs), StreamState(state.known, memories, memory)


def stepped(model: Model, modalities: Mapping[str, Modality]) -> list[str]:
    """The modalities that come frame by frame: clips, and what the fusion takes in steps."""
    return [m for m in model.encoders if modalities[m].geometry.has_frames or m in model.fusion.timed]


def refusals(model: Model, modalities: Mapping[str, Modality], inference: Inference) -> list[str]:
    """Why a network cannot stream, a line for each reason; empty where it can."""
    timed = stepped(model, modalities)
    found = [] if timed else ["no modality comes frame by frame; train it on clips"]
    if model.fusion.cannot_stream is not None:
        found.append(f"fusion: {model.fusion.cannot_stream}")
    for name in timed:
        reason = model.encoders[name].cannot_stream
        if reason is not None and not modalities[name].geometry.has_frames:
            reason += "; where it is given whole before the first frame, name it in `fusion.known`"
        if reason is not None:
            found.append(f"modalities.{name}: {reason}")
        elif model.fusion.gives_fused and name not in model.fusion.timed:
            found.append(f"modalities.{name}: it is a clip, and the fusion takes it as known from the start")
    if inference != Inference():
        found.append("inference: a stream looks once at every frame; override it with its defaults")
    for name, task in model.tasks.items():
        found += [
            f"tasks.{name}: {reason}" for view in model.over[name] if (reason := _refusal(model, task, view, timed))
        ]
    return found


def _refusal(model: Model, task: Task, view: str, timed: Sequence[str]) -> str | None:
    """Why a task cannot answer step by step from a view; None where it can."""
    known = view in model.encoders and view not in timed
    if known or _answers_frames(task):
        return None
    if task.need != "vector":
        return f"it answers once from all frames of {view}; one that answers every frame can"
    if view in timed and model.encoders[view].spec.has_maps:
        return f"{view} has no summary of the frames so far; let the task read `fused`, or give it an encoder `frames`"
    return None


def _answers_frames(task: Task) -> bool:
    """Whether its answers have an entry for each frame."""
    return task.field.geometry.has_frames


def _now(task: Task, row: np.ndarray) -> np.ndarray:
    """The answer itself: of a task that answers every frame, (K, T, ...), that of the one there is."""
    return row[:, 0] if _answers_frames(task) else row
