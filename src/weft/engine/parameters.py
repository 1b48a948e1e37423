"""Which parameter learns at which rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from weft.encoders.base import Encoder
from weft.errors import ConfigError
from weft.model import Model


def parameter_groups(model: Model, *, lr_factors: Mapping[str, float], layer_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser, one per learning-rate factor, with the factor under `lr_factor`.

    A parameter's factor is its encoder's `lr_factor` (and those of the encoders around that), times `layer_decay` for
    every stage between it and the encoder's output, times the entry of `lr_factors` with the longest prefix of its
    name; what is shared has a name in every modality that shares it.

    Raises:
        ConfigError: an entry of `lr_factors` that no parameter's name begins with.
    """
    own = _encoder_factors(model, layer_decay)
    groups: dict[float, list[nn.Parameter]] = {}
    used: set[str] = set()
    for parameter, names in _names(model).items():
        prefixes = [p for p in lr_factors if any(name == p or name.startswith(p + ".") for name in names)]
        used.update(prefixes)
        if not parameter.requires_grad:
            continue
        factor = own.get(parameter, 1.0) * (lr_factors[max(prefixes, key=len)] if prefixes else 1.0)
        groups.setdefault(factor, []).append(parameter)
    unused = [prefix for prefix in lr_factors if prefix not in used]
    if unused:
        parts = sorted({".".join(name.split(".")[:2]) for name, _ in model.named_parameters()})
        raise ConfigError(
            [
                f"train.lr_factors.{p}: no parameter's name begins so; names begin with {', '.join(parts)}"
                for p in unused
            ]
        )
    return [{"params": parameters, "lr_factor": factor} for factor, parameters in groups.items()]


def _encoder_factors(model: Model, layer_decay: float) -> dict[nn.Parameter, float]:
    factors: dict[nn.Parameter, float] = {}
    for encoder in model.encoders.values():
        own: dict[nn.Parameter, float] = dict.fromkeys(encoder.parameters(), 1.0)
        for part in encoder.modules():
            if isinstance(part, Encoder):
                for parameter in part.parameters():
                    own[parameter] *= part.lr_factor
        stages = encoder.layers()
        for index, stage in enumerate(stages):
            for parameter in stage.parameters():
                own[parameter] *= layer_decay ** (len(stages) - 1 - index)
        factors.update(own)
    return factors


def _names(model: Model) -> dict[nn.Parameter, list[str]]:
    """{parameter: its names}, in the order of the first ones."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return names
