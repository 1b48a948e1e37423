"""Weights of classes: given by name or in order, or from how often each occurs in training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from weft.errors import did_you_mean
from weft.losses.base import TargetFacts
from weft.registry import Range

#: A factor on the loss of a class.
Weight = Annotated[float, Range(0)]

#: {class: weight}, classes that are not named weighing 1; a weight each, in order; or how they follow from the counts.
ClassWeights = dict[str, Weight] | list[Weight] | Literal["inverse", "effective"]

#: The same of the positive term of labels.
PositiveWeights = dict[str, Weight] | list[Weight] | Literal["inverse"]

#: β of the effective number of entries.
Beta = Annotated[float, Range(0, 1, open_high=True)]


def weights_of(given: ClassWeights | None, target: TargetFacts, *, beta: float | None) -> Tensor | None:
    """(K,) float32, or None where all classes weigh the same.

    inverse: n / (K · n_k), for n entries in training of which n_k are of class k. effective: in proportion to
    (1 − β) / (1 − β^n_k), so that an entry of the training split weighs 1 on average. A class that never occurs in
    training weighs 1.

    Args:
        given: what the options say.
        target: its classes, and their counts where weights follow from them.
        beta: β of effective; None: 1 − 1 / m for a mean of m entries a class, so that classes rarer than the mean weigh
            almost as by inverse, and commoner ones almost alike.

    Raises:
        ValueError: a name that is no class, a wrong number of weights, nothing but zeros, or no counts.

    Reference: Cui et al., CVPR 2019, arXiv:1901.05555, eq. 2 and section 4.1.
    """
    if beta is not None and given != "effective":
        raise ValueError("beta is of `class_weights: effective`; leave it out, or say so")
    if given is None:
        return None
    if not isinstance(given, str):
        return _given("class_weights", given, target)
    counts = _counts("class_weights", target)
    total, num_classes = sum(counts), len(counts)
    if given == "inverse":
        weights = [total / (num_classes * count) if count else 1.0 for count in counts]
    else:
        beta = max(0.0, 1 - num_classes / total) if beta is None else beta
        shares = [1 / _effective_number(count, beta) if count else 0.0 for count in counts]
        scale = total / sum(count * share for count, share in zip(counts, shares, strict=True))
        weights = [scale * share if share else 1.0 for share in shares]
    return torch.tensor(weights, dtype=torch.float32)


def positive_weights_of(given: PositiveWeights | None, target: TargetFacts) -> Tensor | None:
    """(K,) float32, or None where all weigh 1. inverse: negatives over positives; 1 for a label that has only one.

    A negative is an entry of which it is known that it does not have the label: those of a data set that did not
    annotate it are neither.

    Raises:
        ValueError: a name that is no label, a wrong number of weights, nothing but zeros, or no counts.
    """
    if given is None:
        return None
    if not isinstance(given, str):
        return _given("pos_weight", given, target)
    counts = _counts("pos_weight", target)
    known = target.known or (target.num_counted,) * len(counts)
    weights = [(of - count) / count if 0 < count < of else 1.0 for count, of in zip(counts, known, strict=True)]
    return torch.tensor(weights, dtype=torch.float32)


def _effective_number(count: int, beta: float) -> float:
    """(1 − β^n) / (1 − β), exactly where β is near 1."""
    return -math.expm1(count * math.log(beta)) / (1 - beta) if beta else 1.0


def _given(option: str, given: Mapping[str, float] | list[float], target: TargetFacts) -> Tensor:
    names = target.classes
    if isinstance(given, Mapping):
        if any(name not in names for name in given):
            raise ValueError(unknown_classes(option, given, names))
        weights = [given.get(name, 1.0) for name in names]
    else:
        weights = list(given)
        if len(weights) != len(names):
            raise ValueError(f"{option} has {len(weights)} numbers for {len(names)} classes; give one each")
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or not any(weights):
        raise ValueError(f"{option} is {weights}; weights are finite, not below 0, and one at least is above")
    return torch.tensor(weights, dtype=torch.float32)


def unknown_classes(option: str, given: Iterable[str], names: Sequence[str]) -> str:
    """What is said of an option that names classes, where some are none: all of these, each with the nearest."""
    unknown = [name for name in dict.fromkeys(given) if name not in names]
    said = ", ".join(map(repr, unknown)) + (", which is no class" if len(unknown) == 1 else ", which are no classes")
    hints = "".join(did_you_mean(name, names) for name in unknown)
    return f"{option} names {said}; there are {', '.join(names)}{hints}"


def _counts(option: str, target: TargetFacts) -> tuple[int, ...]:
    if not sum(target.counts):
        raise ValueError(
            f"{option} follows from how often each class occurs in training, which is not known here; give the numbers"
        )
    return target.counts
