"""Bootstrap intervals over samples, or over groups of samples that belong together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from weft.types import Records

Figures = dict[str, float]


def resamples(ids: Sequence[str], groups: Mapping[str, str] | None, *, number: int, seed: int) -> list[np.ndarray]:
    """`number` index arrays, each drawing as many units (samples, or whole groups) as there are, with replacement."""
    generator = np.random.default_rng(seed)
    if not groups:
        return [generator.integers(0, len(ids), len(ids)) for _ in range(number)]
    members: dict[str, list[int]] = {}
    for index, sample in enumerate(ids):
        members.setdefault(groups[sample], []).append(index)
    units = [np.array(indices) for indices in members.values()]
    return [np.concatenate([units[i] for i in generator.integers(0, len(units), len(units))]) for _ in range(number)]


def intervals(
    records: Records,
    figures: Callable[[Records], Figures],
    *,
    groups: Mapping[str, str] | None = None,
    number: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """{figure: {value, low, high}} with the 95 % percentile interval of the bootstrap.

    Resamples in which a figure cannot be told are left out of its interval.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = figures(records)
    if len(records) == 0 or number == 0:
        return {name: {"value": value, "low": np.nan, "high": np.nan} for name, value in values.items()}
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for index in resamples(records.ids, groups, number=number, seed=seed):
        for name, value in figures(records.take(index)).items():
            drawn[name].append(value)
    result = {}
    for name, value in values.items():
        told = np.array(drawn[name])
        told = told[~np.isnan(told)]
        low, high = np.percentile(told, [2.5, 97.5]) if len(told) else (np.nan, np.nan)
        result[name] = {"value": value, "low": float(low), "high": float(high)}
    return result
