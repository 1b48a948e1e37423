"""From the modalities of an experiment to their encoders, some of which use one network together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weft.data.pipeline import Data
from weft.encoders.base import Encoder
from weft.errors import ConfigError
from weft.experiment import Experiment, ModalityConfig


def build_encoders(experiment: Experiment, data: Data, *, pretrained: bool) -> dict[str, Encoder]:
    """{modality: Encoder}; one that is shared stands under every name that uses it, or within the encoder there.

    Args:
        experiment: says which.
        data: its modalities, fitted.
        pretrained: load the pretrained weights that encoders name.

    Raises:
        ConfigError: options that cannot be built, or modalities that cannot share, each with the reason.
    """
    encoders: dict[str, Encoder] = {}
    problems: list[str] = []
    in_order = sorted(experiment.modalities.items(), key=lambda item: bool(_borrowed(item[1])))  # lenders first
    for name, config in in_order:
        path, borrowed = f"modalities.{name}.encoder", _borrowed(config)
        differing = [f"{path}.{option}: {why}" for option, why in _differences(name, borrowed, data)]
        problems += differing
        if differing or not set(borrowed.values()) <= set(encoders):  # what is wrong there has been said
            continue
        modality = data.modalities[name]
        try:
            if config.encoder is None:
                encoders[name] = encoders[borrowed["share"]].lent_to(modality.kind, modality.num_channels)
            else:
                lent = {option.removesuffix(".share"): encoders[other] for option, other in borrowed.items()}
                encoders[name] = config.encoder(modality.num_channels, pretrained, modality.facts, **lent)
        except ValueError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ConfigError(problems)
    return {name: encoders[name] for name in experiment.modalities}


def _borrowed(config: ModalityConfig) -> dict[str, str]:
    """{option: the modality whose encoder stands there}: `share`, or of its own encoder `backbone.share`."""
    if config.encoder is None:
        return {} if config.share is None else {"share": config.share}
    options = config.encoder.options.items()
    return {
        f"{name}.share": value["share"] for name, value in options if isinstance(value, Mapping) and "share" in value
    }


def _differences(name: str, borrowed: Mapping[str, str], data: Data) -> Iterator[tuple[str, str]]:
    """(option, why a modality cannot use the encoder of the other that is named there)."""
    own = data.modalities[name]
    for option, lender in borrowed.items():
        other = data.modalities[lender]
        if own.num_channels != other.num_channels:
            yield (
                option,
                f"{name} has {own.num_channels} channels and {lender} has {other.num_channels}; set the same number of "
                "channels on both, or give each its own encoder",
            )
        elif not own.means_as(other):
            yield (
                option,
                f"equal values of {name} and {lender} do not mean the same, as each was fitted by itself; give each "
                "its own encoder",
            )
