"""What the validation part says after an epoch, and by which of its figures a checkpoint is chosen."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weft.data.pipeline import Data
from weft.engine.distributed import Gathering
from weft.engine.feature_cache import FeatureCache
from weft.engine.position import Position
from weft.engine.score import Figures, Scored, score
from weft.errors import ConfigError, did_you_mean
from weft.experiment import Inference
from weft.model import Model


@dataclass(frozen=True)
class Validated:
    """A row of metrics.csv and the figure that the best checkpoint is chosen by (larger is better)."""

    row: dict[str, Any]
    figure: float


def validate(
    model: Model,
    data: Data,
    position: Position,
    *,
    multiple: int,
    features: FeatureCache,
    best: str | None,
    gathering: Gathering,
) -> Validated:
    """Score the validation part, and let the tasks tune by it what they do not learn.

    Args:
        model: the network.
        data: its data.
        position: where training stands.
        multiple: height and width are padded to a multiple of this.
        features: of frozen encoders.
        best: the figure to choose by, `task/figure`; None: the mean of the tasks' main figures.
        gathering: the processes; the first one takes the figures, for all.
    """
    start = time.perf_counter()
    scored = score(
        model,
        data,
        "val",
        multiple=multiple,
        precision=position.precision,
        inference=Inference(),
        features=features,
        gathering=gathering,
    )
    for name, task in model.tasks.items():
        if len(scored.records[name][scored.full]):
            task.tune(scored.records[name][scored.full])
    return gathering.first(lambda: _figures(model, scored, position, start=start, best=best))


def _figures(model: Model, scored: Scored, position: Position, *, start: float, best: str | None) -> Validated:
    figures = {name: scored.figures(name, model.tasks[name]) for name in model.tasks}
    row: dict[str, Any] = {"epoch": position.epoch + 1, "step": position.step, "split": "val"}
    row["seconds"] = round(time.perf_counter() - start, 3)
    row.update({f"loss/{name}": value for name, value in scored.losses.items()})
    row.update({f"{name}/{figure}": value for name, values in figures.items() for figure, value in values.items()})
    return Validated(row=row, figure=figure_to_choose_by(model, figures, best))


def figure_to_choose_by(model: Model, figures: Mapping[str, Figures], best: str | None) -> float:
    """The figure `task/figure`, or the mean of the tasks' main figures; negated where smaller is better.

    A task of which the part holds no label has no figures, and no say. A figure that could not be told (NaN) counts as
    the worst, as where there is none at all.

    Raises:
        ConfigError: there is no such figure.
    """
    chosen = [best.split("/", 1)] if best else [[name, task.main_figure] for name, task in model.tasks.items()]
    values = []
    for name, figure in chosen:
        told = figures[name]
        if not told:
            continue
        if figure not in told:
            hint = did_you_mean(figure, told)
            raise ConfigError([f"train.best: {name} has no figure {figure!r}; there are {', '.join(told)}{hint}"])
        higher = model.tasks[name].higher_is_better[figure.split("/")[0]]
        values.append(-math.inf if math.isnan(told[figure]) else told[figure] if higher else -told[figure])
    return sum(values) / len(values) if values else -math.inf
