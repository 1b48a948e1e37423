"""Training: one loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from weft.balancing.base import Balancing
from weft.config import load_experiment
from weft.data.pipeline import build_data
from weft.engine import checkpoint as checkpoints
from weft.engine import failures
from weft.engine.build import build_model, size_multiple
from weft.engine.device import choose_device
from weft.engine.interrupt import Signals
from weft.engine.journal import Journal
from weft.engine.memory import keep_freed_memory
from weft.engine.parameters import parameter_groups
from weft.engine.position import Position, seed_of_step
from weft.engine.precision import autocast, fastest_precision
from weft.engine.resume import check_same, run_to_resume
from weft.engine.run_folder import RunFolder
from weft.engine.saving import averaged, restore, to_go_on, to_use
from weft.engine.schedule import Schedule, warmed_up
from weft.engine.score import Figures, score
from weft.engine.transfer import take_over
from weft.errors import Interrupted, NumericFault, ResourceFault
from weft.experiment import Experiment, Inference, TrainConfig
from weft.model import Model
from weft.types import Batch


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
        keep_freed_memory()
        self.experiment, self.config, self.run = experiment, experiment.train, run
        self.device = choose_device(self.config.device)
        self.data = build_data(experiment, facts=run.read_json("facts.json"))
        run.write_json("facts.json", self.data.facts)
        for note in self.data.notes:
            run.log(note)

        place = checkpoints.find(run.checkpoints / "last")
        torch.manual_seed(self.config.seed)
        self.model = build_model(experiment, self.data, pretrained=place is None)
        for name, encoder in self.model.encoders.items():
            for note in encoder.notes:
                run.log(f"{name}: {note}")
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
        if place is None:
            self.position = Position(precision=self._choose_precision())
        else:
            self.position = self._resume(place)
        self.journal = Journal(run, experiment, self.data, self.model, num_rows=self.position.num_rows)
        if self.config.compile:
            for module in (*self.model.encoders.values(), self.model.fusion, *self.model.tasks.values()):
                module.compile()

    def fit(self) -> None:
        """Train to the end, evaluating and saving on the way."""
        position, config = self.position, self.config
        self.journal.describe()
        self._write_summary()
        with Signals() as signals, SummaryWriter(str(self.run.path)) as events:
            while position.epoch < config.epochs and not position.stopped_early:
                self._train_epoch(signals)
                weights = self.balancing.weights(self.model.tasks, position.balancing)
                rows = [self.journal.row_of_epoch(position, weights)]
                evaluated = self._evaluate() if self._evaluates_now() else None
                if evaluated is not None:
                    rows.append(evaluated.row)
                position.epoch, position.step_in_epoch = position.epoch + 1, 0
                self.journal.write_rows(rows, events)
                position.num_rows = len(self.journal.rows)
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

        first, *others = batches
        first_losses = self._losses(first)
        counts = _sum_counts(self.model, batches) if others else _counts_of(first_losses)
        labelled = [task for task, count in counts.items() if count > 0]
        weights = self.balancing.weights(labelled, position.balancing)
        totals = dict.fromkeys(labelled, 0.0)
        for losses in chain([first_losses], map(self._losses, others)):
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

    def _losses(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """{task: (sum, count)} of a batch."""
        with autocast(self.device, self.position.precision):
            outputs = self.model(batch)
        return self.model.losses(outputs, batch)

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
        model = averaged(self.model, self.average)
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

    # --- parts of the set-up -------------------------------------------------------------------------------------

    def _resume(self, place: Path) -> Position:
        checkpoint = checkpoints.load(place)
        position, threads = restore(checkpoint, self.model, self.average, self.optimizer, source=str(place))
        if threads != torch.get_num_threads():
            self.run.log(
                f"this run had {threads} threads and has {torch.get_num_threads()} now: it goes on, "
                "but not to the last bit as it would have"
            )
        self.run.log(f"resumed at epoch {position.epoch + 1}, step {position.step_in_epoch}")
        return position

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

    def _save(self, name: str) -> None:
        if name == "best":
            checkpoint = to_use(self.model, self.average, self.position)
        else:
            checkpoint = to_go_on(self.model, self.average, self.optimizer, self.position)
        checkpoints.save(checkpoint, self.run.checkpoints / name)

    def _write_summary(self) -> None:
        self.journal.write_summary(self.position, device=self.device, taken_over=self.taken_over)

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


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    while group := list(islice(batches, size)):
        yield group


def _counts_of(losses: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    return {task: float(count) for task, (_, count) in losses.items()}


def _sum_counts(model: Model, batches: Sequence[Batch]) -> dict[str, float]:
    counts = [model.counts(batch) for batch in batches]
    return {task: sum(float(count[task]) for count in counts) for task in model.tasks}


def _out_of_memory(config: TrainConfig) -> ResourceFault:
    half = max(1, config.batch_size // 2)
    return ResourceFault(
        f"out of memory at batch_size {config.batch_size}; try train.batch_size={half} "
        f"train.accumulate={config.accumulate * math.ceil(config.batch_size / half)}, which keeps the effective batch",
        code="out-of-memory",
    )
