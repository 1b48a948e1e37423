"""Predicting with a trained run: one sample from Python, or a manifest to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from weft import registry
from weft.data.manifest import Manifest
from weft.engine.loading import LoadedRun, load_run
from weft.engine.pictures import answer_sample, row_of
from weft.errors import DataFault, WeftError, did_you_mean
from weft.tasks.exchange import Origin


class Predictor:
    """A trained run as a function from inputs to answers. Any of its modalities may be left out.

    Args:
        run: a run folder.
        checkpoint: best, last, or the name of another.
        device: where to compute; by default as in training.

    Example:
        >>> predictor = Predictor("runs/rooms/20261121-101500")  # doctest: +SKIP
        >>> answers = predictor(image="kitchen.jpg", depth="kitchen.png")  # doctest: +SKIP
        >>> answers["rooms"].shape  # doctest: +SKIP
        (39, 240, 320)
    """

    def __init__(self, run: Path | str, *, checkpoint: str = "best", device: str | None = None) -> None:
        # no data set is opened: what was fitted in training is all that is needed
        self._loaded = load_run(run, checkpoint=checkpoint, device=device, manifest=no_samples())

    @property
    def loaded(self) -> LoadedRun:
        """The run with its network."""
        return self._loaded

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray | None]:
        """{task: one row of its `predict`}, None where nothing that the task reads was given.

        Args:
            inputs: {modality: a file or an array as the modality reads it, a text, or a row {column: value}}, at least
                one.

        Raises:
            WeftError: an unknown modality, none at all, or an input that cannot be read.
        """
        loaded = self._loaded
        sample = loaded.data.sample_from(inputs)
        answers = answer_sample(loaded, sample)
        return {
            name: row_of(loaded, name, prediction, sample) if bool(prediction.answered[0]) else None
            for name, prediction in answers.items()
        }


def predict(
    run: Path | str,
    *,
    inputs: Mapping[str, Any] | None = None,
    manifest: Path | str | None = None,
    split: str | None = None,
    out: Path | str | None = None,
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    progress: bool = True,
) -> Path:
    """Write answers in each task's exchange format.

    Tables of many samples in the folder are begun anew, files of single samples are replaced.

    Args:
        run: a run folder.
        inputs: one sample, {modality: file, text or row}.
        manifest: a table of samples (CSV, JSON lines or Parquet) with the modalities' columns.
        split: a split of the run's own data.
        out: folder to write to; by default `predictions/` of the run.
        checkpoint: best, last, or the name of another.
        overrides: `key=value` over the run's experiment.
        progress: print what is logged.

    Returns:
        the folder.

    Raises:
        WeftError: not exactly one of inputs, manifest and split was given, or something cannot be read.
    """
    if sum(source is not None for source in (inputs, manifest, split)) != 1:
        raise WeftError("give one of: inputs of one sample, a manifest, or a split of the run's data", code="usage")
    if inputs is not None:
        predictor = Predictor(run, checkpoint=checkpoint)
        loaded = predictor.loaded
        samples = iter([loaded.data.sample_from(inputs)])
    else:
        table = None if manifest is None else _read_table(Path(manifest))
        loaded = load_run(run, checkpoint=checkpoint, overrides=overrides, manifest=table, echo=progress)
        if table is not None:
            _refuse_without_columns(loaded, table, Path(str(manifest)))
        samples = loaded.data.samples(split or "predict")
    folder = Path(out) if out is not None else loaded.run.path / "predictions"
    number = 0
    for sample in samples:
        if not number:  # not before: where nothing can be read, the answers of an earlier run stay
            _begin_tables(loaded, folder)
        numbers = () if sample.frames is None else sample.frames.numbers.tolist()
        origin = Origin(sample.id, sample.original_size, sample.size, numbers)
        for name, prediction in answer_sample(loaded, sample).items():
            task_folder = folder / name
            task_folder.mkdir(parents=True, exist_ok=True)
            if bool(prediction.answered[0]):
                row = row_of(loaded, name, prediction, sample)
                loaded.model.tasks[name].write(row, origin, task_folder)
                for what, text in loaded.model.tasks[name].told(row) if inputs is not None else ():
                    loaded.run.log(f"{name}: {f'{what} {text}'.strip()}")
            else:
                loaded.run.log(f"{sample.id}: {name} has no answer, nothing that it reads is present")
        number += 1
    for dropped in loaded.data.dropped:
        loaded.run.log(f"{dropped.id}: left out, {dropped.reason}")
    loaded.run.log(f"{number} samples answered in {folder}")
    return folder


def _begin_tables(loaded: LoadedRun, folder: Path) -> None:
    for name, task in loaded.model.tasks.items():
        for table in task.tables:
            (folder / name / table).unlink(missing_ok=True)


def _read_table(path: Path) -> Manifest:
    """A table of samples to predict, whatever splits it names."""
    table = registry.Part("format", "table", {"root": str(path.parent), "file": path.name})().manifest()
    return table.with_split(["predict"] * len(table))


def _refuse_without_columns(loaded: LoadedRun, table: Manifest, path: Path) -> None:
    """A table may lack some of the modalities; one that lacks all has other columns than is meant."""
    wanted = [modality.source(name) for name, modality in loaded.experiment.modalities.items()]
    if not any(column in table.names for column in wanted):
        had = [name for name in table.names if name not in ("id", "split")]
        hints = "".join(did_you_mean(name, wanted) for name in had)
        raise DataFault(
            f"{path} has none of the columns {', '.join(wanted)}, which the network answers from; it has "
            f"{', '.join(had) or 'no others'}{hints}",
            code="no-columns",
        )


def no_samples() -> Manifest:
    """A table without rows, for what needs no data."""
    return Manifest(pa.table({"id": pa.array([], pa.string()), "split": pa.array([], pa.string())}), Path.cwd(), {})
