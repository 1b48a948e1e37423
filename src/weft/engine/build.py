"""From an experiment and its data to the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch import nn

from weft import registry
from weft.data.pipeline import Data
from weft.encoders.base import Encoder
from weft.errors import ConfigError
from weft.experiment import Experiment, TaskConfig
from weft.modalities.base import Field
from weft.model import Model
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
    specs = {name: encoder.spec for name, encoder in encoders.items()}
    try:
        fusion = experiment.fusion(specs)
    except ValueError as error:
        raise ConfigError([f"fusion: {error}"]) from error
    views = {**specs, **fusion.specs}
    over = experiment.over or tuple(fusion.specs)
    unknown = [view for view in over if view not in views]
    if unknown:
        raise ConfigError([f"over: no view {view!r}; there are {', '.join(views)}" for view in unknown])
    tasks = build_tasks(experiment.tasks, {view: views[view] for view in over}, data.targets)
    return Model(preprocessors, encoders, fusion, tasks, over=over, decision=experiment.decision())


def build_encoders(experiment: Experiment, data: Data, *, pretrained: bool) -> dict[str, Encoder]:
    """{modality: Encoder}; a shared one stands under every name that uses it."""
    encoders: dict[str, Encoder] = {}
    problems: list[str] = []
    for name, config in experiment.modalities.items():
        if config.share is None and config.encoder is not None:
            try:
                encoders[name] = config.encoder(data.modalities[name].num_channels, pretrained)
            except ValueError as error:
                problems.append(f"modalities.{name}.encoder: {error}")
    for name, config in experiment.modalities.items():
        if config.share is None:
            continue
        own, other = data.modalities[name].num_channels, data.modalities[config.share].num_channels
        if own != other:
            problems.append(
                f"modalities.{name}.encoder.share: {name} has {own} channels and {config.share} has {other}; "
                "set the same number of channels on both, or give each its own encoder"
            )
        elif config.share in encoders:
            encoders[name] = encoders[config.share]
    if problems:
        raise ConfigError(problems)
    return {name: encoders[name] for name in experiment.modalities}


def build_tasks(
    configs: Mapping[str, TaskConfig], views: Mapping[str, FeatureSpec], targets: Mapping[str, Field]
) -> dict[str, Task]:
    """{task: Task}, with a head for each of the views."""
    tasks, problems = {}, []
    for name, config in configs.items():
        part = registry.get("task", config.type)
        own = registry.options_of(part)
        options = {option: value for option, value in config.options.items() if option in own}
        try:
            tasks[name] = registry.Part("task", config.type, options)(views, targets[name])
        except ValueError as error:
            problems.append(f"tasks.{name}: {error}")
    if problems:
        raise ConfigError(problems)
    return tasks


def size_multiple(model: Model) -> int:
    """Height and width of every batch are padded to a multiple of this: what all encoders can live with."""
    return math.lcm(*(encoder.input_spec.multiple for encoder in model.encoders.values()))


def num_parameters(model: Model) -> dict[str, int]:
    """{part: number of parameters}, with a shared encoder counted once, and the total."""
    parts: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for name, encoder in model.encoders.items():
        if id(encoder) not in seen:
            seen.add(id(encoder))
            parts[f"encoders.{name}"] = encoder
    parts["fusion"] = model.fusion
    parts.update({f"tasks.{name}": task for name, task in model.tasks.items()})
    parts["decision"] = model.decision
    counts = {name: _count(part.parameters()) for name, part in parts.items()}
    return {"total": sum(counts.values()), **{name: count for name, count in counts.items() if count}}


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
