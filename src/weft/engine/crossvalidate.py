"""Cross-validation: an experiment trained once for every fold, each fold scored by the network that never saw it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from weft.config import load_experiment
from weft.data.splits import FOLD
from weft.engine.evaluate import evaluate
from weft.engine.pooling import EVALUATION, FoldRun, pool, summary_lines
from weft.engine.resume import MAY_CHANGE
from weft.engine.run_folder import RunFolder
from weft.engine.train import train
from weft.errors import Interrupted, WeftError
from weft.experiment import Experiment


def crossvalidate(
    experiment: Experiment | str | Path,
    *,
    overrides: Sequence[str] = (),
    folds: int = 5,
    repeats: int = 1,
    inner: float = 0.1,
    with_val: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train and score every fold of an experiment, and write what they say together.

    The folds are cut as `data.validation` says (`by`, `stratify`, and the group column), and set apart from training.
    Within a fold the checkpoint is chosen by the data's own `val`, where that is not divided too, or else by a part of
    the samples outside the fold; never by the fold. A repeat is another division and another start: its seed is
    `train.seed` plus its number, so experiments with the same seed have the same folds and can be compared in pairs.

    What is done is not done again: the same call goes on where an earlier one stopped, and one with more `repeats` adds
    to it.

    Args:
        experiment: an `Experiment`, or a YAML file.
        overrides: `key=value` over the file.
        folds: k.
        repeats: how often the samples are divided anew.
        inner: share of the samples outside the fold that chooses the checkpoint, where no `val` does; 0: none, the
            last checkpoint is scored.
        with_val: divide `val` together with `train`.
        progress: print what is logged.

    Returns:
        what `crossvalidation.json` holds, with its `folder` below `train.output`.

    Raises:
        ConfigError: the experiment cannot be used.
        DataFault: the data cannot be used, or cannot be divided so.
        Interrupted: a signal came; a checkpoint was saved.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides)
    if repeats < 1:
        raise WeftError(f"{repeats} repeats were asked for; give one or more", code="usage")
    plan = _Plan(experiment, folds, repeats, inner, ("train", "val") if with_val else ("train",))
    if not (plan.folder / "experiment.yaml").is_file():
        RunFolder.create(experiment, echo=False, path=plan.folder)
    whole = RunFolder(plan.folder, echo=progress)
    for repeat, fold in plan.runs():
        run = plan.run(repeat, fold)
        if not (run / EVALUATION / "evaluation.json").is_file():
            whole.log(f"repeat {repeat + 1} of {repeats}, fold {fold + 1} of {folds}: {run}")
            _do(plan.experiment_of(repeat, fold), run, progress=progress)
    result = pool(whole, [FoldRun(plan.run(repeat, fold), repeat, fold) for repeat, fold in plan.runs()])
    for line in summary_lines(result):
        whole.log(line)
    return result


@dataclass(frozen=True)
class _Plan:
    """What is divided how, and where each fold's run lies."""

    experiment: Experiment
    folds: int
    repeats: int
    inner: float
    divide: tuple[str, ...]

    def runs(self) -> Iterator[tuple[int, int]]:
        """(repeat, fold) of every run, in order."""
        return product(range(self.repeats), range(self.folds))

    @property
    def folder(self) -> Path:
        """The folder of the whole: its name follows from all that the result depends on but the number of repeats."""
        settings = _without(self.experiment.resolved, MAY_CHANGE)
        words = json.dumps([settings, self.folds, self.inner, self.divide], sort_keys=True, default=str)
        digest = hashlib.blake2b(words.encode(), digest_size=4).hexdigest()
        below = Path(self.experiment.train.output, self.experiment.name, "crossvalidation")
        return below / f"{self.folds}-folds-{digest}"

    def run(self, repeat: int, fold: int) -> Path:
        return self.folder / f"repeat-{repeat}-fold-{fold}"

    def experiment_of(self, repeat: int, fold: int) -> Experiment:
        """The experiment that trains without a fold."""
        changes = {
            "data.validation.folds": self.folds,
            "data.validation.fold": fold,
            "data.validation.inner": self.inner,
            "data.validation.divide": f"[{', '.join(self.divide)}]",
            "train.seed": self.experiment.train.seed + repeat,
        }
        return load_experiment(self.experiment.resolved, [f"{key}={value}" for key, value in changes.items()])


def _without(settings: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Nested settings without those at dotted paths."""
    here = {path for path in paths if "." not in path}
    below = [path.partition(".") for path in paths]
    return {
        key: _without(value, [rest for head, _, rest in below if head == key and rest])
        if isinstance(value, Mapping)
        else value
        for key, value in settings.items()
        if key not in here
    }


def _do(experiment: Experiment, run: Path, *, progress: bool) -> None:
    """Train without a fold, going on where a run began, and score it."""
    if not (run / "experiment.yaml").is_file():
        RunFolder.create(experiment, echo=False, path=run)
    try:
        train(experiment, resume=run, progress=progress)
    except Interrupted as error:
        raise Interrupted(
            "stopped by a signal; saved. The same command goes on where this one stopped",
            signal_number=error.exit_code - 128,
        ) from error
    evaluate(run, split=FOLD, quick=True, progress=progress)
    if (run / "checkpoints" / "best").is_dir():
        shutil.rmtree(run / "checkpoints" / "last", ignore_errors=True)  # only to go on by, and nothing is left to do
