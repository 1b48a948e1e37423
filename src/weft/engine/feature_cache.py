"""Frozen encoders run once: what they give is kept, and taken from there in later epochs and by later runs."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weft.data import frames, geometry
from weft.data.feature_store import FeatureStore
from weft.data.features import FeatureFolder, FeatureReader
from weft.data.memory_folder import MemoryFolder
from weft.data.pipeline import Data
from weft.engine.precision import autocast
from weft.errors import ResourceFault
from weft.experiment import Experiment, FrozenFeatures
from weft.modalities.base import Modality, Preprocessor
from weft.model import Model
from weft.types import Batch, Features

_GIB, _MB = 1 << 30, 1e6


class FeatureCache:
    """Keeps what frozen encoders give for the samples of an experiment.

    From its making on, batches of `data` bring what is kept; `fill` adds what is not.

    Args:
        experiment: says where, and how many versions.
        data: its samples.
        model: its network, with the weights that stay.
        precision: that it computes in, fp32 or bf16.
        multiple: height and width are padded to a multiple of this.
        writers: processes that fill the room together.

    Attributes:
        notes: what is kept where, and what is not and why.
    """

    def __init__(
        self, experiment: Experiment, data: Data, model: Model, *, precision: str, multiple: int, writers: int = 1
    ) -> None:
        self.notes: list[str] = []
        self._config = experiment.train.features
        self._precision = precision
        self._number = self._left_out = self._damaged = 0
        self._folders: dict[str, FeatureFolder] = {}
        frozen = [name for name, encoder in model.encoders.items() if encoder.extract_frozen]
        self._store = _open(self._config, writers) if frozen and self._config.where != "none" else None
        if self._store is None:
            return
        for name in frozen:
            modality = data.modalities[name]
            if modality.geometry.has_pixels and experiment.data.size is None:
                self.notes.append(f"{name}: frozen, and runs in every epoch, as pictures differ in size; set data.size")
                continue
            changes = _changes(experiment, modality, model.preprocessors[name], name)
            pasted = _is_pasted_over(experiment, modality)
            copies = 0 if pasted else self._config.copies  # what is kept is found by the sample's own cell alone
            if changes is not None and not copies:
                why = "objects are pasted over its samples" if pasted else "its samples are changed at random"
                fix = "" if pasted else "; train.features.copies keeps some versions of each"
                self.notes.append(f"{name}: frozen, and runs in every epoch of training, as {why}{fix}")
            recipe = _recipe(experiment, modality, model, name, precision=precision, multiple=multiple)
            folder = self._store.folder(recipe)
            self._folders[name] = FeatureFolder(folder, modality, changes=changes, copies=copies)
        if self._folders:
            held = f"which holds {self._store.used / _MB:.1f} MB of at most {self._store.limit / _GIB:.3g} GiB"
            self.notes.append(
                f"{', '.join(self._folders)}: frozen, so what they give is kept in {self._store.path}, {held}"
            )
            data.use_features(FeatureReader(self._folders))

    @torch.no_grad()
    def fill(self, model: Model, batch: Batch) -> Batch:
        """A batch with the features of all modalities that are kept; those that were not yet are made, and written.

        Args:
            model: the network, in training mode where the samples are changed at random.
            batch: on the device of the network.
        """
        if self._store is None:
            return batch
        features = dict(batch.features)
        for name, slots in batch.slots.items():
            with autocast(batch.device, self._precision):
                features[name] = _extract(model, name, batch)
            for slot, row in zip(slots, features[name].rows(), strict=True):
                written = self._store.write(self._folders[name].path, slot, row.trimmed())
                self._number += written
                self._left_out += not written
                self._damaged += slot.damaged
        return replace(batch, features=features, slots={})

    def remarks(self) -> list[str]:
        """What happened since they were last asked for, to be logged."""
        if self._store is None:
            return []
        said = []
        if self._number:
            said.append(f"features: {self._number} kept; {self._store.path} holds {self._store.used / _MB:.1f} MB")
        if self._left_out:
            limit = f"{self._store.limit / _GIB:.3g} GiB (train.features.limit)"
            said.append(f"features: {self._left_out} found no room in {limit}: their encoders run in every epoch")
        if self._damaged:
            said.append(f"features: {self._damaged} were damaged (their checksum differs) and have been made anew")
        self._number = self._left_out = self._damaged = 0
        return said


def _open(config: FrozenFeatures, writers: int) -> FeatureStore:
    limit = int(config.limit * _GIB)
    if config.where == "memory":
        home = MemoryFolder()
        return FeatureStore(home.path, limit=min(limit, home.room // writers), home=home)
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "weft" / "features"
    folder = Path(config.folder or cache).expanduser()
    try:
        return FeatureStore(folder, limit=limit, writers=writers)
    except OSError as error:
        raise ResourceFault(
            f"the folder {folder} for the features of frozen encoders cannot be used: {error}; choose another with "
            "train.features.folder, or set train.features.where to memory or none",
            code="cache-folder",
        ) from error


def _changes(experiment: Experiment, modality: Modality, preprocessor: Preprocessor, name: str) -> str | None:
    """What decides the random changes of a training sample besides its id and the version; None: there are none."""
    data, kind = experiment.data, modality.geometry
    moves = kind.has_pixels and geometry.is_random(data.augment, data.size)
    picks = kind.has_frames and frames.is_random(data.frames)
    if not moves and not picks and not preprocessor.random and not _is_pasted_over(experiment, modality):
        return None
    alone = "" if kind.aligned else name  # moved by a draw of its own
    return json.dumps([experiment.train.seed, asdict(data.augment), kind.fill, alone])  # a slot names the frames


def _is_pasted_over(experiment: Experiment, modality: Modality) -> bool:
    """Whether objects of other samples may stand in what it shows of a training sample."""
    kind = modality.geometry
    return experiment.data.augment.copy_paste.task is not None and kind.kind == "image" and kind.aligned


def _recipe(
    experiment: Experiment, modality: Modality, model: Model, name: str, *, precision: str, multiple: int
) -> str:
    """A hash of all that decides a modality's features besides the cell and what is random."""
    config = experiment.modalities[name]
    encoder = experiment.modalities[config.share or name].encoder
    assert encoder is not None
    size = experiment.data.size if modality.geometry.has_pixels else None
    padded = size is not None and any(side % multiple for side in size)
    words: list[Any] = [
        version("weft"),
        torch.__version__,
        next(model.parameters()).device.type,
        precision,
        [config.type, dict(config.options), dict(modality.reading)],
        [encoder.type, dict(encoder.options)],
        [size, multiple, modality.geometry.fill] if padded else size,
        list(model.levels.get(name, ())),
    ]
    digest = hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode())
    for module in (model.preprocessors[name], model.encoders[name]):
        for file in _files(module):
            digest.update(file.read_bytes())
        for key, tensor in _fixed(module).items():
            digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _files(module: nn.Module) -> list[Path]:
    """The files with the code of a module's classes, so that a change of it is noticed; torch's has a version."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    written = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins", "abc")]
    return sorted({Path(inspect.getfile(kind)) for kind in written})


def _fixed(module: nn.Module) -> Mapping[str, Tensor]:
    """What training leaves as it is."""
    parameters = {name: tensor for name, tensor in module.named_parameters() if not tensor.requires_grad}
    return {**parameters, **dict(module.named_buffers())}


def _extract(model: Model, name: str, batch: Batch) -> Features:
    """Features (P rows) of a modality; what is random in a row is a function of its slot."""
    if not (model.training and model.preprocessors[name].random):
        return model.extract(name, batch)
    rows = []
    with torch.random.fork_rng([batch.device] if batch.device.type == "cuda" else []):
        for row, slot in enumerate(batch.slots[name]):
            torch.manual_seed(int(slot.name[:15], 16))
            inputs = {name: batch.inputs[name][row : row + 1]}
            lengths = {m: n[row : row + 1] for m, n in batch.lengths.items() if m == name}
            rows.append(model.extract(name, replace(batch, inputs=inputs, lengths=lengths)))
    return Features.join(rows).packed()
