"""What a run writes down while it trains: metrics.csv, event files, dropped.csv, log.txt and summary.json."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from weft.data.pipeline import Data
from weft.engine.build import num_parameters
from weft.engine.device import describe, peak_memory
from weft.engine.position import Position
from weft.engine.run_folder import RunFolder
from weft.engine.transfer import TakenOver
from weft.experiment import Experiment
from weft.model import Model

#: Columns of metrics.csv that say where a row belongs and are no measurement.
_PLACE = ("epoch", "step", "split")


class Journal:
    """The writing hand of a run.

    Args:
        run: its folder.
        experiment: what is trained.
        data: its data.
        model: its network.
        num_rows: rows of metrics.csv that count; those that an interrupted run wrote after its checkpoint do not.
    """

    def __init__(self, run: RunFolder, experiment: Experiment, data: Data, model: Model, *, num_rows: int) -> None:
        self.run, self.experiment, self.data, self.model = run, experiment, data, model
        self.rows: list[dict[str, Any]] = [dict(row) for row in run.read_rows("metrics.csv")[:num_rows]]
        self.parameters = num_parameters(model)

    def describe(self) -> None:
        """Log what is trained on what."""
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parameters.items() if name != "total")
        self.run.log(f"{self.run.path}: {self.parameters['total']:,} parameters ({parts})")
        for split, count in self.data.counts.items():
            given = {**count["modalities"], **count["targets"]}
            present = ", ".join(f"{name} {number}" for name, number in given.items())
            self.run.log(f"{split}: {count['samples']} samples, of these {present}")

    def row_of_epoch(self, position: Position) -> dict[str, Any]:
        """The row of an epoch's training."""
        row: dict[str, Any] = {"epoch": position.epoch + 1, "step": position.step, "split": "train"}
        row["seconds"] = round(position.seconds, 3)
        row["lr"] = position.lr
        for task, total in position.loss_sums.items():
            row[f"loss/{task}"] = total / position.loss_counts[task]
        for column, (total, number) in position.noted.items():
            row[column] = total / number
            if column.startswith("conflict/"):  # a share of few steps, not of every one: say of how many
                row[column.replace("conflict", "looks", 1)] = int(number)
        for task, decision in self.model.decisions.items():
            row.update({f"decision/{task}/{view}": share for view, share in decision.explain().items()})
        return row

    def write_rows(self, rows: Sequence[Mapping[str, Any]], events: SummaryWriter | None) -> None:
        """Add rows to metrics.csv, the event files (where this process writes them) and the log."""
        for row in rows:
            self.rows.append({key: "" if value != value else value for key, value in row.items()})  # NaN: no figure
            for key, value in row.items():
                if key not in _PLACE and events is not None:
                    events.add_scalar(f"{row['split']}/{key}", value, row["step"])
            shown = [f"{key} {value:.4g}" for key, value in row.items() if key.startswith("loss/")]
            for name, task in self.model.tasks.items():
                main = f"{name}/{task.main_figure}"
                shown += [f"{main} {row[main]:.4f}"] if main in row else []
            epochs = self.experiment.train.epochs
            self.run.log(f"epoch {row['epoch']}/{epochs} {row['split']}: {', '.join(shown)}")
        self.run.write_rows("metrics.csv", self.rows)
        if self.data.dropped:
            self.run.write_rows("dropped.csv", [asdict(sample) for sample in self.data.dropped])

    def write_summary(
        self, position: Position, *, device: torch.device, taken_over: TakenOver | None, num_processes: int
    ) -> None:
        """Write summary.json: what ran where, how far, how fast, on how much data."""
        config = self.experiment.train
        self.run.write_json(
            "summary.json",
            {
                "name": self.experiment.name,
                "created": self.run.path.name,
                "command": shlex.join(sys.argv),
                "weft": version("weft"),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
                "device": describe(device),
                "processes": num_processes,
                "precision": position.precision,
                "seed": config.seed,
                "parameters": self.parameters,
                "train": {
                    "epochs_done": position.epoch,
                    "epochs": config.epochs,
                    "steps": position.step,
                    "seconds": position.seconds,
                    "images_per_second": position.num_samples / position.seconds if position.seconds else None,
                    "peak_memory_bytes": peak_memory(device),
                    "best": position.best,
                    "stopped_early": position.stopped_early,
                    "skipped_steps": position.num_skipped,
                },
                "data": {
                    "format": self.experiment.data.format.type,
                    "counts": self.data.counts,
                    "class_counts": self.data.class_counts,
                    "dropped": len(self.data.dropped),
                    "notes": self.data.notes,
                },
                "taken_over": None if taken_over is None else asdict(taken_over),
            },
        )
