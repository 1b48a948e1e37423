"""From an experiment and its data to the network."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from weft import registry
from weft.data.pipeline import Data
from weft.decision.base import Decision
from weft.engine.encoders import build_encoders
from weft.errors import ConfigError
from weft.experiment import Experiment
from weft.modalities.base import Field
from weft.model import Model
from weft.sharing.base import Sharing
from weft.tasks.base import Task
from weft.types import FeatureSpec


def build_model(experiment: Experiment, data: Data, *, pretrained: bool = True) -> Model:
    """The network that an experiment describes.

    Args:
        experiment: what to build.
        data: its modalities and targets, fitted.
        pretrained: load the pretrained weights that encoders name; False where trained ones are loaded next.

    Raises:
        ConfigError: parts that cannot work together, each with the reason.
    """
    encoders = build_encoders(experiment, data, pretrained=pretrained)
    preprocessors = {name: data.modalities[name].preprocessor(encoder.input_spec) for name, encoder in encoders.items()}
    strides = _strides_read(experiment)
    levels = {name: encoder.spec.levels_for(strides) for name, encoder in encoders.items() if encoder.spec.has_maps}
    specs = {
        name: encoder.spec.only(levels[name]) if name in levels else encoder.spec for name, encoder in encoders.items()
    }
    try:
        fusion = experiment.fusion(specs)
    except ValueError as error:
        raise ConfigError([f"fusion: {error}"]) from error
    tasks = build_tasks(experiment, {**specs, **fusion.specs}, tuple(fusion.specs), data.targets)
    decisions = build_decisions(experiment, tasks)
    sharing = build_sharing(experiment, tasks, {**specs, **fusion.specs})
    return Model(preprocessors, encoders, fusion, tasks, decisions=decisions, levels=levels, sharing=sharing)


def build_tasks(
    experiment: Experiment, views: Mapping[str, FeatureSpec], default: tuple[str, ...], targets: Mapping[str, Field]
) -> dict[str, Task]:
    """{task: Task}, with a head for each of the views that it reads; `default` are those where nothing is said."""
    tasks, problems = {}, []
    for name, config in experiment.tasks.items():
        over = config.over or experiment.over or default
        unknown = [view for view in over if view not in views]
        problems += [f"tasks.{name}: no view {view!r}; there are {', '.join(views)}" for view in unknown]
        if unknown:
            continue
        own = registry.options_of(registry.get("task", config.type))
        options = {option: value for option, value in config.options.items() if option in own}
        try:
            tasks[name] = registry.Part("task", config.type, options)(
                {view: views[view] for view in over}, targets[name]
            )
        except ValueError as error:
            problems.append(f"tasks.{name}: {error}")
    if problems:
        raise ConfigError(problems)
    return tasks


def build_decisions(experiment: Experiment, tasks: Mapping[str, Task]) -> dict[str, Decision]:
    """{task: Decision} over the views that the task reads."""
    decisions, problems = {}, []
    for name, task in tasks.items():
        try:
            decisions[name] = experiment.decision(tuple(task.heads), task.answer)
        except ValueError as error:
            problems.append(f"decision: {error} (task {name!r})")
    if problems:
        raise ConfigError(problems)
    return decisions


def build_sharing(
    experiment: Experiment, tasks: Mapping[str, Task], views: Mapping[str, FeatureSpec]
) -> dict[str, Sharing]:
    """{task: Sharing} of the views that the task reads."""
    sharing, problems = {}, []
    for name, task in tasks.items():
        try:
            sharing[name] = experiment.sharing({view: views[view] for view in task.heads})
        except ValueError as error:
            problems.append(f"sharing: {error} (task {name!r})")
    if problems:
        raise ConfigError(problems)
    return sharing


def _strides_read(experiment: Experiment) -> tuple[int, ...] | None:
    """The strides of the finer maps that some task reads, besides the deepest; None: all."""
    read: set[int] = set()
    for config in experiment.tasks.values():
        task: type[Task] = registry.get("task", config.type)  # type: ignore[assignment]  # every task is a class
        strides = task.strides_read(config.options)
        if strides is None:
            return None
        read |= set(strides)
    return tuple(sorted(read))


def size_multiple(model: Model) -> int:
    """Height and width of every batch are padded to a multiple of this: what all encoders can live with."""
    return math.lcm(*(encoder.input_spec.multiple for encoder in model.encoders.values()))


def num_parameters(model: Model) -> dict[str, int]:
    """{part: number of parameters}, with those that are shared counted with the first that has them, and the total."""
    parts: dict[str, nn.Module] = {f"encoders.{name}": encoder for name, encoder in model.encoders.items()}
    parts["fusion"] = model.fusion
    parts.update({f"sharing.{name}": sharing for name, sharing in model.sharing.items()})
    parts.update({f"tasks.{name}": task for name, task in model.tasks.items()})
    parts.update({f"decisions.{name}": decision for name, decision in model.decisions.items()})
    counts: dict[str, int] = {}
    seen: set[nn.Parameter] = set()
    for name, part in parts.items():
        own = set(part.parameters()) - seen
        counts[name] = sum(parameter.numel() for parameter in own)
        seen |= own
    return {"total": sum(counts.values()), **{name: count for name, count in counts.items() if count}}
