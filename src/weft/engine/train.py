"""Training: one loop, read from top to bottom."""

from __future__ import annotations

import math
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from weft.balancing.base import Balancing
from weft.config import load_experiment
from weft.data.pipeline import build_data
from weft.engine import checkpoint as checkpoints
from weft.engine import failures
from weft.engine.build import build_model, num_parameters, size_multiple
from weft.engine.device import choose_device, describe, peak_memory
from weft.engine.interrupt import Signals
from weft.engine.parameters import parameter_groups
from weft.engine.precision import autocast, fastest_precision
from weft.engine.resume import check_same, run_to_resume
from weft.engine.run_folder import RunFolder
from weft.engine.schedule import Schedule, warmed_up
from weft.engine.score import Figures, score
from weft.engine.transfer import take_over
from weft.errors import Interrupted, NumericFault, ResourceFault
from weft.experiment import Experiment, Inference, TrainConfig
from weft.model import Model
from weft.types import Batch


@dataclass
class Position:
    """Where training stands: all that is not a tensor and that resuming needs.

    Attributes:
        epoch, step_in_epoch: the next step to take.
        step: steps taken.
        loss_sums, loss_counts: of the epoch so far, per task.
        lr: learning rate of the last step.
        balancing, schedule: the states of the two.
        best: the figure that the best checkpoint has, with its epoch; larger is better.
        waited: evaluations since then.
        num_rows: rows of metrics.csv written.
        seconds: spent training.
        num_samples: samples trained on.
        num_skipped: steps left out because something was not finite.
        precision: fp32 or bf16.
        stopped_early: whether the figure no longer rose.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    lr: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_counts: dict[str, float] = field(default_factory=dict)
    balancing: dict[str, float] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    waited: int = 0
    num_rows: int = 0
    seconds: float = 0.0
    num_samples: int = 0
    num_skipped: int = 0
    precision: str = "fp32"
    stopped_early: bool = False


def train(
    experiment: Experiment | str | Path,
    *,
    overrides: Sequence[str] = (),
    resume: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Train an experiment.

    Args:
        experiment: an `Experiment`, or a YAML file.
        overrides: `key=value` over the file.
        resume: a run folder to go on with, or "auto": the newest of this experiment, or a new one.
        progress: print what is logged.

    Returns:
        the run folder.

    Raises:
        ConfigError: the experiment cannot be used.
        DataFault: the data cannot be used.
        NumericFault: a loss or gradient is not finite.
        ResourceFault: memory or disk is lacking.
        Interrupted: a signal came; a checkpoint was saved.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides)
    earlier = run_to_resume(experiment, resume)
    if earlier is not None:
        run = RunFolder(earlier, echo=progress)
        for line in check_same(run, experiment):
            run.log(line)
    else:
        run = RunFolder.create(experiment, echo=progress)
    Training(experiment, run).fit()
    return run.path


class Training:
    """One run in progress: everything that `fit` needs, built once.

    Args:
        experiment: what to train.
        run: its folder; where it has a checkpoint, training goes on from there.
    """

    def __init__(self, experiment: Experiment, run: RunFolder) -> None:
        self.experiment, self.config, self.run = experiment, experiment.train, run
        self.device = choose_device(self.config.device)
        self.data = build_data(experiment, facts=run.read_json("facts.json"))
        run.write_json("facts.json", self.data.facts)
        for note in self.data.notes:
            run.log(note)

        place = checkpoints.find(run.checkpoints / "last")
        torch.manual_seed(self.config.seed)
        self.model = build_model(experiment, self.data, pretrained=place is None)
        self.taken_over = None
        if place is None and self.config.start_from is not None:
            self.taken_over = take_over(self.model, Path(self.config.start_from))
            for line in self.taken_over.lines():
                run.log(line)
        self.model.to(self.device).to(memory_format=torch.channels_last)  # faster for convolutions on every device
        self.multiple = size_multiple(self.model)
        groups = parameter_groups(self.model, lr_factors=self.config.lr_factors, layer_decay=self.config.layer_decay)
        self.optimizer: torch.optim.Optimizer = self.config.optimizer(groups)
        for group in self.optimizer.param_groups:
            group["base_lr"] = group["lr"] * group["lr_factor"]
        self.schedule: Schedule = self.config.schedule()
        self.balancing: Balancing = experiment.balancing()
        self.average = None
        if self.config.ema is not None:
            self.average = AveragedModel(
                self.model, multi_avg_fn=get_ema_multi_avg_fn(self.config.ema), use_buffers=True
            )
        self.rows: list[dict[str, Any]] = []
        if place is None:
            self.position = Position(precision=self._choose_precision())
        else:
            self._restore(checkpoints.load(place))
        if self.config.compile:
            for module in (*self.model.encoders.values(), self.model.fusion, *self.model.tasks.values()):
                module.compile()

    def fit(self) -> None:
        """Train to the end, evaluating and saving on the way."""
        position, config = self.position, self.config
        self._describe()
        with Signals() as signals, SummaryWriter(str(self.run.path)) as events:
            while position.epoch < config.epochs and not position.stopped_early:
                self._train_epoch(signals)
                row = self._row_of_epoch()
                evaluated = self._evaluate() if self._evaluates_now() else None
                position.epoch, position.step_in_epoch = position.epoch + 1, 0
                self._write_rows([row] if evaluated is None else [row, evaluated.row], events)
                if evaluated is not None:
                    self._keep_best(evaluated)
                position.loss_sums, position.loss_counts = {}, {}
                self._save("last")
                if config.checkpoint_every is not None and position.epoch % config.checkpoint_every == 0:
                    self._save(f"epoch-{position.epoch:04d}")
                self._write_summary()
                self._leave_if_asked(signals)
        self._write_summary()

    # --- one epoch -----------------------------------------------------------------------------------------------

    def _train_epoch(self, signals: Signals) -> None:
        position, config = self.position, self.config
        batches = self.data.batches(
            "train",
            epoch=position.epoch,
            training=True,
            start_step=position.step_in_epoch * config.accumulate,
            multiple=self.multiple,
        )
        self.model.train()
        start, shown = time.perf_counter(), time.perf_counter()
        for step_batches in _groups((batch.to(self.device) for batch in batches), config.accumulate):
            try:
                self._step(step_batches)
            except torch.OutOfMemoryError as error:
                raise _out_of_memory(config) from error
            now = time.perf_counter()
            position.seconds, start = position.seconds + now - start, now
            if now - shown > 15:  # a sign of life in long epochs
                shown = now
                self.run.log(f"  epoch {position.epoch + 1}: step {position.step_in_epoch}/{self.steps_per_epoch}")
            if config.save_every is not None and position.step % config.save_every == 0:
                self._save("last")
            if signals.received is not None:
                self._save("last")
                self._leave_if_asked(signals)

    def _step(self, batches: Sequence[Batch]) -> None:
        """One step of the optimiser from one batch, or from several whose gradients are accumulated exactly."""
        position, config = self.position, self.config
        torch.manual_seed(seed_of_step(config.seed, position.step))  # dropout and jitter are functions of the step
        factor = self._lr_factor()
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        position.lr = self.optimizer.defaults["lr"] * factor

        counts = _sum_counts(self.model, batches)
        labelled = [task for task, count in counts.items() if count > 0]
        weights = self.balancing.weights(labelled, position.balancing)
        totals = dict.fromkeys(labelled, 0.0)
        for batch in batches:
            with autocast(self.device, position.precision):
                outputs = self.model(batch)
            losses = self.model.losses(outputs, batch)
            objective = torch.zeros((), device=self.device)
            for task in labelled:
                total, _ = losses[task]
                objective = objective + (weights[task] * self.experiment.tasks[task].weight / counts[task]) * total
                totals[task] += float(total.detach())
            if objective.requires_grad:  # it does not where no task has a label in this batch
                objective.backward()

        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not all(map(math.isfinite, totals.values())) or not math.isfinite(float(norm)):
            self._not_finite(batches)
        else:
            if config.clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, config.clip, norm)
            if labelled:
                self.optimizer.step()
            means = {task: totals[task] / counts[task] for task in labelled}
            position.balancing = self.balancing.update(means, position.balancing)
            for task in labelled:
                position.loss_sums[task] = position.loss_sums.get(task, 0.0) + totals[task]
                position.loss_counts[task] = position.loss_counts.get(task, 0.0) + counts[task]
            if self.average is not None:
                self.average.update_parameters(self.model)
        self.optimizer.zero_grad(set_to_none=True)
        position.step += 1
        position.step_in_epoch += 1
        position.num_samples += sum(len(batch) for batch in batches)

    def _not_finite(self, batches: Sequence[Batch]) -> None:
        found = failures.culprits(self.model, batches, precision=self.position.precision)
        path = failures.keep(batches, self.run.path / "failures", step=self.position.step, found=found)
        named = "; ".join(f"task {task!r}, samples {', '.join(ids)}" for task, ids in found.items())
        message = f"step {self.position.step}: a loss or gradient is not finite: {named or 'not found again'}"
        if self.config.on_nonfinite == "stop":
            raise NumericFault(
                f"{message}. The batch is kept in {path}; the last checkpoint stands. Look at these samples, lower the "
                "learning rate, clip the gradient (train.clip) or leave such steps out (train.on_nonfinite: skip)",
                code="not-finite",
            )
        self.position.num_skipped += 1
        self.run.log(f"{message}; this step is left out ({self.position.num_skipped} so far)")

    def _lr_factor(self) -> float:
        epoch = self.position.epoch + self.position.step_in_epoch / self.steps_per_epoch
        if self.config.warmup:  # a first step at rate 0 would do nothing
            epoch_reached = self.position.epoch + (self.position.step_in_epoch + 1) / self.steps_per_epoch
        else:
            epoch_reached = epoch
        factor = self.schedule.factor(epoch, self.config.epochs, self.position.schedule)
        return warmed_up(factor, epoch_reached, self.config.warmup)

    # --- evaluation and what is written --------------------------------------------------------------------------

    def _evaluates_now(self) -> bool:
        last = self.position.epoch + 1 == self.config.epochs
        due = (self.position.epoch + 1) % self.config.evaluate_every == 0
        return "val" in self.data.counts and (due or last)

    def _evaluate(self) -> Evaluated:
        model = self.model if self.average is None else cast(Model, self.average.module)
        start = time.perf_counter()
        scored = score(
            model,
            self.data,
            "val",
            multiple=self.multiple,
            precision=self.position.precision,
            inference=Inference(),
        )
        figures = {name: scored.figures(name, model.tasks[name]) for name in model.tasks}
        row: dict[str, Any] = {"epoch": self.position.epoch + 1, "step": self.position.step, "split": "val"}
        row["seconds"] = round(time.perf_counter() - start, 3)
        row.update({f"loss/{name}": value for name, value in scored.losses.items()})
        row.update({f"{name}/{figure}": value for name, values in figures.items() for figure, value in values.items()})
        return Evaluated(row=row, figure=figure_to_choose_by(model, figures, self.config.best))

    def _keep_best(self, evaluated: Evaluated) -> None:
        position = self.position
        position.schedule = self.schedule.observe(evaluated.figure, position.schedule)
        if position.best is None or evaluated.figure > position.best["value"]:
            position.best = {"epoch": position.epoch, "figure": self.config.best or "main", "value": evaluated.figure}
            position.waited = 0
            self._save("best")
        else:
            position.waited += 1
            position.stopped_early = position.waited == self.config.early_stopping

    def _row_of_epoch(self) -> dict[str, Any]:
        position = self.position
        row: dict[str, Any] = {"epoch": position.epoch + 1, "step": position.step, "split": "train"}
        row["seconds"] = round(position.seconds, 3)
        row["lr"] = position.lr
        for task, total in position.loss_sums.items():
            row[f"loss/{task}"] = total / position.loss_counts[task]
        weights = self.balancing.weights(self.model.tasks, position.balancing)
        row.update({f"weight/{task}": w * self.experiment.tasks[task].weight for task, w in weights.items()})
        return row

    def _write_rows(self, rows: Sequence[dict[str, Any]], events: SummaryWriter) -> None:
        for row in rows:
            self.rows.append({key: "" if value != value else value for key, value in row.items()})  # NaN: no figure
            for key, value in row.items():
                if key not in ("epoch", "step", "split"):
                    events.add_scalar(f"{row['split']}/{key}", value, row["step"])
            shown = [f"{key} {value:.4g}" for key, value in row.items() if key.startswith("loss/")]
            shown += [
                f"{name}/{task.main_figure} {row[f'{name}/{task.main_figure}']:.4f}"
                for name, task in self.model.tasks.items()
                if f"{name}/{task.main_figure}" in row
            ]
            self.run.log(f"epoch {row['epoch']}/{self.config.epochs} {row['split']}: {', '.join(shown)}")
        self.position.num_rows = len(self.rows)
        self.run.write_rows("metrics.csv", self.rows)
        if self.data.dropped:
            self.run.write_rows("dropped.csv", [asdict(sample) for sample in self.data.dropped])

    def _describe(self) -> None:
        counts = num_parameters(self.model)
        parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if name != "total")
        self.run.log(f"{self.run.path}: {counts['total']:,} parameters ({parts})")
        for split, count in self.data.counts.items():
            present = ", ".join(
                f"{name} {number}" for name, number in {**count["modalities"], **count["targets"]}.items()
            )
            self.run.log(f"{split}: {count['samples']} samples, of these {present}")
        self._write_summary()

    def _write_summary(self) -> None:
        position = self.position
        rate = position.num_samples / position.seconds if position.seconds else None
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
                "device": describe(self.device),
                "precision": position.precision,
                "seed": self.config.seed,
                "parameters": num_parameters(self.model),
                "train": {
                    "epochs_done": position.epoch,
                    "epochs": self.config.epochs,
                    "steps": position.step,
                    "seconds": position.seconds,
                    "images_per_second": rate,
                    "peak_memory_bytes": peak_memory(self.device),
                    "best": position.best,
                    "stopped_early": position.stopped_early,
                    "skipped_steps": position.num_skipped,
                },
                "data": {
                    "format": self.experiment.data.format.type,
                    "counts": self.data.counts,
                    "dropped": len(self.data.dropped),
                    "notes": self.data.notes,
                },
                "taken_over": None if self.taken_over is None else asdict(self.taken_over),
            },
        )

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def _save(self, name: str) -> None:
        """Save a checkpoint; `best` holds what is evaluated and nothing to go on training with."""
        state = asdict(self.position)
        if name == "best":
            weights = self.model if self.average is None else self.average.module
            checkpoint = checkpoints.Checkpoint(weights.state_dict(), {}, state)
        else:
            tensors, others = checkpoints.flatten_optimizer(self.optimizer.state_dict()["state"])
            training = {f"optimizer.{key}": tensor for key, tensor in tensors.items()}
            if self.average is not None:
                training.update({f"average.{key}": tensor for key, tensor in self.average.state_dict().items()})
            state["optimizer"] = others
            state["threads"] = torch.get_num_threads()
            checkpoint = checkpoints.Checkpoint(self.model.state_dict(), training, state)
        checkpoints.save(checkpoint, self.run.checkpoints / name)

    def _restore(self, checkpoint: checkpoints.Checkpoint) -> None:
        state = dict(checkpoint.state)
        others, threads = state.pop("optimizer"), state.pop("threads")
        checkpoints.load_weights(self.model, checkpoint.weights, source=str(self.run.checkpoints / "last"))
        tensors = _below("optimizer.", checkpoint.training)
        self.optimizer.load_state_dict(
            {
                "state": checkpoints.restore_optimizer(tensors, others),
                "param_groups": self.optimizer.state_dict()["param_groups"],
            }
        )
        if self.average is not None:
            average = _below("average.", checkpoint.training)
            checkpoints.load_weights(self.average, average, source=str(self.run.checkpoints / "last"))
        self.position = Position(**state)
        self.rows = [dict(row) for row in self.run.read_rows("metrics.csv")[: self.position.num_rows]]
        if threads != torch.get_num_threads():
            self.run.log(
                f"this run had {threads} threads and has {torch.get_num_threads()} now: it goes on, "
                "but not to the last bit as it would have"
            )
        self.run.log(f"resumed at epoch {self.position.epoch + 1}, step {self.position.step_in_epoch}")

    def _choose_precision(self) -> str:
        if self.config.precision != "auto":
            return self.config.precision
        if self.device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        batch = next(iter(self.data.batches("train", training=True, multiple=self.multiple))).to(self.device)
        choice, seconds = fastest_precision(self.model, batch)
        measured = ", ".join(f"{precision} {time * 1000:.0f} ms" for precision, time in seconds.items())
        self.run.log(f"precision: {choice} (a step takes {measured})")
        return choice

    def _leave_if_asked(self, signals: Signals) -> None:
        if signals.received is not None:
            raise Interrupted(
                f"stopped by a signal; saved. Go on with `weft train … --resume {self.run.path}`",
                signal_number=signals.received,
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch."""
        return math.ceil(self.data.num_steps("train", training=True) / self.config.accumulate)


@dataclass(frozen=True)
class Evaluated:
    """A row of metrics.csv and the figure that the best checkpoint is chosen by (larger is better)."""

    row: dict[str, Any]
    figure: float


def figure_to_choose_by(model: Model, figures: Mapping[str, Figures], best: str | None) -> float:
    """The figure `task/figure`, or the mean of the tasks' main figures; negated where smaller is better.

    A figure that could not be told (NaN) counts as the worst.
    """
    chosen = [best.split("/", 1)] if best else [[name, task.main_figure] for name, task in model.tasks.items()]
    values = []
    for name, figure in chosen:
        higher = model.tasks[name].higher_is_better[figure.split("/")[0]]
        value = figures[name][figure]
        values.append(-math.inf if math.isnan(value) else value if higher else -value)
    return sum(values) / len(values)


def seed_of_step(seed: int, step: int) -> int:
    """The seed of everything random in a step, so that resuming needs no state of a random generator."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9) % 2**63  # odd constants spread the bits


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    while group := list(islice(batches, size)):
        yield group


def _sum_counts(model: Model, batches: Sequence[Batch]) -> dict[str, float]:
    counts = [model.counts(batch) for batch in batches]
    return {task: sum(float(count[task]) for count in counts) for task in model.tasks}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _out_of_memory(config: TrainConfig) -> ResourceFault:
    half = max(1, config.batch_size // 2)
    return ResourceFault(
        f"out of memory at batch_size {config.batch_size}; try train.batch_size={half} "
        f"train.accumulate={config.accumulate * math.ceil(config.batch_size / half)}, which keeps the effective batch",
        code="out-of-memory",
    )
