"""The run folder: where a run writes what it was, what it measured and what it made."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from weft.config import load_experiment, to_yaml
from weft.errors import WeftError
from weft.experiment import Experiment
from weft.spreadsheet import quoted


class RunFolder:
    """A run's files. See the README's section on the run folder for what is in it.

    Args:
        path: the folder; it must be one that `create` made.
        echo: also print what is logged.
        writes: of several processes one writes; in the others nothing is written or printed.
    """

    def __init__(self, path: Path | str, *, echo: bool = False, writes: bool = True) -> None:
        self.path = Path(path)
        self.echo = echo
        self.writes = writes
        if not (self.path / "experiment.yaml").is_file():
            raise WeftError(
                f"{self.path} is not a run folder: it has no experiment.yaml; give a folder that `weft train` wrote",
                code="no-run",
            )

    @classmethod
    def create(cls, experiment: Experiment, *, echo: bool, path: Path | None = None) -> RunFolder:
        """A new folder: `path`, or by default one below the experiment's `train.output`, named by the time."""
        begun = path is not None  # such a folder may be there from a start that was killed at once
        path = path or cls._named_by_time(experiment)
        path.mkdir(parents=True, exist_ok=begun)
        temporary = path / "experiment.yaml.new"
        temporary.write_text(to_yaml(experiment), encoding="utf-8")
        os.replace(temporary, path / "experiment.yaml")
        return cls(path, echo=echo)

    @staticmethod
    def _named_by_time(experiment: Experiment) -> Path:
        parent = Path(experiment.train.output) / experiment.name
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        path, attempt = parent / stamp, 1
        while path.exists():  # two runs within one second
            attempt += 1
            path = parent / f"{stamp}-{attempt}"
        return path

    def experiment(self, overrides: Sequence[str] = ()) -> Experiment:
        """The experiment as it was run, with overrides (another `data.root`, say)."""
        return load_experiment(self.path / "experiment.yaml", overrides)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def log(self, message: str) -> None:
        """A line of `log.txt`, and of the terminal."""
        if not self.writes:
            return
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {message}\n")
        if self.echo:
            print(message, flush=True)

    def write_json(self, name: str, content: Any) -> Path:
        """Write a JSON file whole or not at all; numbers that are not finite become null."""
        path = self.path / name
        if not self.writes:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(json.dumps(plain(content), indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, path)
        return path

    def read_json(self, name: str) -> Any:
        """Read a JSON file of this run; None where it is not there."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a CSV whole or not at all; the columns are all that any row has, in order of appearance.

        Texts that a spreadsheet would take for formulas are put behind an apostrophe.
        """
        if not self.writes:
            return
        columns = list(dict.fromkeys(column for row in rows for column in row))
        temporary = self.path / (name + ".new")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({k: "" if cell is None else quoted(cell) for k, cell in row.items()} for row in rows)
        os.replace(temporary, self.path / name)

    def read_rows(self, name: str) -> list[dict[str, str]]:
        """Read a CSV of this run; nothing where it is not there. Empty cells are left out."""
        path = self.path / name
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [{column: cell for column, cell in row.items() if cell != ""} for row in csv.DictReader(file)]


def newest_run(experiment: Experiment) -> Path | None:
    """The newest run folder of an experiment that has a checkpoint or at least began; None where there is none."""
    parent = Path(experiment.train.output) / experiment.name
    runs = [path for path in sorted(parent.glob("*")) if (path / "experiment.yaml").is_file()]
    return runs[-1] if runs else None


def plain(content: Any) -> Any:
    """`content` for JSON: tuples as lists, NumPy scalars as numbers, numbers that are not finite as None."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if hasattr(content, "tolist"):  # NumPy and torch
        return plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, Path):
        return str(content)
    return content
