"""Training: one loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from weft.balancing.base import Balancing
from weft.config import load_experiment
from weft.engine import checkpoint as checkpoints
from weft.engine import failures
from weft.engine.batch_norm import check_shares, synchronise
from weft.engine.build import build_model, size_multiple
from weft.engine.device import choose_device, move_to
from weft.engine.distributed import ALONE, Gathering, together
from weft.engine.feature_cache import FeatureCache
from weft.engine.interrupt import Signals, until_asked
from weft.engine.journal import Journal
from weft.engine.memory import keep_freed_memory, out_of_memory
from weft.engine.opening import open_data, open_run
from weft.engine.parameters import parameter_groups
from weft.engine.position import Position, seed_step
from weft.engine.precision import choose_precision
from weft.engine.resume import check_setting
from weft.engine.run_folder import RunFolder
from weft.engine.saving import Setting, averaged, restore, to_go_on, to_use
from weft.engine.schedule import Schedule, warmed_up
from weft.engine.step import Balance, Taken, losses_again, take_step
from weft.engine.transfer import take_over
from weft.engine.validation import Validated, validate
from weft.errors import Interrupted, NumericFault
from weft.experiment import Experiment
from weft.types import Batch


def train(
    experiment: Experiment | str | Path,
    *,
    overrides: Sequence[str] = (),
    resume: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Train an experiment; in each of the processes that torchrun starts, which do it together.

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
    with together() as gathering:
        run = open_run(experiment, resume, progress=progress, gathering=gathering)
        Training(experiment, run, gathering).fit()
    return run.path


class Training:
    """One run in progress: everything that `fit` needs, built once.

    Args:
        experiment: what to train.
        run: its folder; where it has a checkpoint, training goes on from there.
        gathering: the processes that train together.
    """

    def __init__(self, experiment: Experiment, run: RunFolder, gathering: Gathering = ALONE) -> None:
        keep_freed_memory()
        self.experiment, self.config, self.run, self.gathering = experiment, experiment.train, run, gathering
        self.device = choose_device(self.config.device, gathering)
        self.data = open_data(experiment, run, gathering)
        self._log(self.data.notes)

        place = gathering.first(lambda: checkpoints.find(run.checkpoints / "last"))
        torch.manual_seed(self.config.seed)
        self.model = build_model(experiment, self.data, pretrained=place is None and gathering.leads)
        self._log(f"{name}: {note}" for name, encoder in self.model.encoders.items() for note in encoder.notes)
        self.taken_over = None
        if place is None and self.config.start_from is not None:
            self.taken_over = take_over(self.model, Path(self.config.start_from))
            self._log(self.taken_over.lines())
        gathering.share_weights(self.model)
        if self.config.sync_batch_norm:
            synchronise(self.model, experiment, self.data, self.device, gathering)
        self.model.train()
        check_shares(self.model, self.config.batch_size, gathering)
        move_to(self.model, self.device)
        self.multiple = size_multiple(self.model)
        groups = parameter_groups(self.model, lr_factors=self.config.lr_factors, layer_decay=self.config.layer_decay)
        self.optimizer: torch.optim.Optimizer = self.config.optimizer(groups)
        for group in self.optimizer.param_groups:
            group["base_lr"] = group["lr"] * group["lr_factor"]
        self.schedule: Schedule = self.config.schedule()
        self.balancing: Balancing = experiment.balancing()
        decay = self.config.ema
        self.average = (
            None
            if decay is None
            else AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        )
        self.position = self._begin() if place is None else self._resume(place)
        self.features = FeatureCache(
            experiment,
            self.data,
            self.model,
            precision=self.position.precision,
            multiple=self.multiple,
            writers=gathering.local_size,
        )
        self._log(self.features.notes)
        self.journal = Journal(run, experiment, self.data, self.model, num_rows=self.position.num_rows)
        if self.config.compile:
            parts = (self.model.encoders, self.model.sharing, self.model.tasks)
            for module in (self.model.fusion, *(module for part in parts for module in part.values())):
                module.compile()

    def fit(self) -> None:
        """Train to the end, evaluating and saving on the way."""
        position, config = self.position, self.config
        self.journal.describe()
        self._write_summary()
        with Signals(launched=self.gathering.size > 1) as signals, self._events() as events:
            while position.epoch < config.epochs and not position.stopped_early:
                self._train_epoch(signals)
                self._end_epoch()
                rows: list[dict[str, Any]] = [self.journal.row_of_epoch(position)]
                evaluated = self._evaluate() if self._evaluates_now() else None
                if evaluated is not None:
                    rows.append(evaluated.row)
                position.epoch, position.step_in_epoch = position.epoch + 1, 0
                self._gather_drops()
                self.journal.write_rows(rows, events)
                self._log(self.features.remarks())
                position.num_rows = len(self.journal.rows)
                if evaluated is not None:
                    self._keep_best(evaluated)
                position.loss_sums, position.loss_counts, position.noted = {}, {}, {}
                self._save("last")
                if config.checkpoint_every is not None and position.epoch % config.checkpoint_every == 0:
                    self._save(f"epoch-{position.epoch:04d}")
                self._write_summary()
                self._leave_if_asked(signals, saved=True)
        self._write_summary()

    # --- one epoch -----------------------------------------------------------------------------------------------

    def _train_epoch(self, signals: Signals) -> None:
        position, config = self.position, self.config
        groups = self.data.steps(
            "train",
            epoch=position.epoch,
            start=position.step_in_epoch,
            accumulate=config.accumulate,
            multiple=self.multiple,
        )
        self.model.train()
        start, shown = time.perf_counter(), time.perf_counter()
        for batches in until_asked(groups, signals):
            self._leave_if_asked(signals)
            found = self.gathering.add({"batches": len(batches), "samples": sum(map(len, batches))})
            if found["batches"]:
                self._take(batches)
                position.num_samples += int(found["samples"])
            position.step_in_epoch += 1  # also where drops left nothing to learn from: resuming counts requests
            now = time.perf_counter()
            position.seconds, start = position.seconds + now - start, now
            if now - shown > 15:  # a sign of life in long epochs
                shown = now
                self.run.log(f"  epoch {position.epoch + 1}: step {position.step_in_epoch}/{self.steps_per_epoch}")
            if config.save_every is not None and position.step % config.save_every == 0:
                self._save("last")
            self._leave_if_asked(signals)

    def _take(self, batches: Sequence[Batch]) -> None:
        try:
            self._step([self.features.fill(self.model, batch.to(self.device)) for batch in batches])
        except torch.OutOfMemoryError as error:
            raise out_of_memory(self.config) from error

    def _step(self, batches: Sequence[Batch]) -> None:
        """One step of the optimiser, and what training takes note of."""
        position, config = self.position, self.config
        self._seed()  # dropout and jitter are functions of the step
        self._set_learning_rates()
        taken = take_step(
            self.model,
            self.optimizer,
            batches,
            balance=self._balance(),
            precision=position.precision,
            clip=config.clip,
            gathering=self.gathering,
        )
        if taken.finite:
            self._learn(taken, batches)
            if self.average is not None:
                self.average.update_parameters(self.model)
        else:
            self._not_finite(batches)
        self.optimizer.zero_grad(set_to_none=True)
        position.step += 1

    def _seed(self) -> None:
        seed_step(self.config.seed, self.position.step, self.device, rank=self.gathering.rank)

    def _balance(self) -> Balance:
        factors = {name: task.weight for name, task in self.experiment.tasks.items()}
        every = self.config.conflict_every
        look = every > 0 and self.position.step % every == 0
        return Balance(self.balancing, self.position.balancing, factors, look)

    def _learn(self, taken: Taken, batches: Sequence[Batch]) -> None:
        """What is noted of a step, and what the balancing rule learns from it."""
        position = self.position
        for task, total in taken.totals.items():
            position.loss_sums[task] = position.loss_sums.get(task, 0.0) + total
            position.loss_counts[task] = position.loss_counts.get(task, 0.0) + taken.counts[task]
        for task, weight in taken.weights.items():
            position.note(f"weight/{task}", weight * self.experiment.tasks[task].weight)
        for (one, other), cosine in (taken.conflict.cosines() if taken.conflict else {}).items():
            position.note(f"cosine/{one}/{other}", cosine)
            position.note(f"conflict/{one}/{other}", float(cosine < 0))
        after: dict[str, float] = {}
        if self.balancing.looks_again and taken.counts:
            self._seed()  # the same dropout as before
            after = losses_again(self.model, batches, precision=position.precision, gathering=self.gathering)
        position.balancing = self.balancing.update(taken.seen, position.balancing, after=after)

    def _end_epoch(self) -> None:
        position = self.position
        losses = {task: total / position.loss_counts[task] for task, total in position.loss_sums.items()}
        position.balancing = self.balancing.end_epoch(losses, position.balancing)

    def _not_finite(self, batches: Sequence[Batch]) -> None:
        position, folder = self.position, self.run.path / "failures"
        message = failures.explain(
            self.model,
            batches,
            folder,
            step=position.step,
            precision=position.precision,
            gathering=self.gathering,
        )
        if self.config.on_nonfinite == "stop":
            error = NumericFault(
                f"{message} The last checkpoint stands. Look at these samples, lower the learning rate, clip the "
                "gradient (train.clip) or leave such steps out (train.on_nonfinite: skip)",
                code="not-finite",
            )
            raise self.gathering.ending(error)
        position.num_skipped += 1
        self.run.log(f"{message} This step is left out ({position.num_skipped} so far)")

    def _set_learning_rates(self) -> None:
        position, config, steps = self.position, self.config, self.steps_per_epoch
        factor = self.schedule.factor(position.epoch + position.step_in_epoch / steps, config.epochs, position.schedule)
        reached = position.epoch + (position.step_in_epoch + 1) / steps  # + 1: a first step at rate 0 would do nothing
        factor = warmed_up(factor, reached, config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        position.lr = self.optimizer.defaults["lr"] * factor

    # --- evaluation and what is written --------------------------------------------------------------------------

    def _evaluates_now(self) -> bool:
        last = self.position.epoch + 1 == self.config.epochs
        due = (self.position.epoch + 1) % self.config.evaluate_every == 0
        return "val" in self.data.counts and (due or last)

    def _evaluate(self) -> Validated:
        return validate(
            averaged(self.model, self.average),
            self.data,
            self.position,
            multiple=self.multiple,
            features=self.features,
            best=self.config.best,
            gathering=self.gathering,
        )

    def _gather_drops(self) -> None:
        """Of the samples that cannot be used each process has found some."""
        if self.experiment.data.on_bad == "drop":
            for found_bad in self.gathering.all(list(self.data.found_bad.values())):
                self.data.take_note(found_bad)

    def _keep_best(self, evaluated: Validated) -> None:
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

    def _begin(self) -> Position:
        def batches() -> Iterator[Batch]:
            groups = self.data.steps("train", epoch=0, start=0, accumulate=1, multiple=self.multiple)
            return (batch for group in groups for batch in group)

        precision, notes = self.gathering.first(
            lambda: choose_precision(self.config.precision, self.model, batches, self.device)
        )
        self._log(notes)
        return Position(precision=precision)

    def _resume(self, place: Path) -> Position:
        checkpoint = checkpoints.load(place)
        position, before = restore(checkpoint, self.model, self.average, self.optimizer, source=str(place))
        now = Setting(torch.get_num_threads(), self.gathering.size)
        self._log(check_setting(before, now, self.model, source=str(place)))
        self.run.log(f"resumed at epoch {position.epoch + 1}, step {position.step_in_epoch}")
        return position

    def _save(self, name: str) -> None:
        def write() -> None:
            if name == "best":
                checkpoint = to_use(self.model, self.average, self.position)
            else:
                setting = Setting(torch.get_num_threads(), self.gathering.size)
                checkpoint = to_go_on(self.model, self.average, self.optimizer, self.position, setting=setting)
            checkpoints.save(checkpoint, self.run.checkpoints / name)

        self.gathering.first(write)

    def _events(self) -> AbstractContextManager[SummaryWriter | None]:
        return SummaryWriter(str(self.run.path)) if self.run.writes else nullcontext()

    def _log(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.run.log(line)

    def _write_summary(self) -> None:
        self.journal.write_summary(
            self.position, device=self.device, taken_over=self.taken_over, num_processes=self.gathering.size
        )

    def _leave_if_asked(self, signals: Signals, *, saved: bool = False) -> None:
        """Save and leave where a signal came, to whichever process."""
        received = self.gathering.largest(signals.received or 0)
        if not received:
            return
        if not saved:
            self._save("last")
        error = Interrupted(
            f"stopped by a signal; saved. Go on with `weft train … --resume {self.run.path}`", signal_number=received
        )
        raise self.gathering.ending(error)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch."""
        return math.ceil(self.data.num_steps("train", training=True) / self.config.accumulate)
