"""The bootstrap: intervals of figures over samples, or over groups of samples that belong together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from weft.types import Records

#: Share of the resamples within an interval.
LEVEL = 0.95


def intervals(
    records: Records,
    figures: Callable[[Records], dict[str, float]],
    *,
    additive: bool = False,
    groups: Mapping[str, str] | None = None,
    number: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """{figure: {value, low, high}}, each with its 95 % percentile interval.

    Args:
        records: the samples.
        figures: the figures of records.
        additive: they follow from the sums of the rows, see `Task.additive`.
        groups: {sample id: group}: whole groups are resampled; a sample without a group is one of its own.
        number: of resamples.
        seed: of the draws.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    values = figures(records)
    drawn = np.full((number, len(values)), math.nan)
    if len(records):
        labels = [(groups or {}).get(sample, "") for sample in records.ids]
        for row, part in enumerate(resampled(records, draws(labels, number, seed=seed), additive=additive)):
            drawn[row] = list(figures(part).values())
    low, high = percentiles(drawn, LEVEL)
    return {
        name: {"value": value, "low": low[column], "high": high[column]}
        for column, (name, value) in enumerate(values.items())
    }


def align(first: Records, second: Records) -> tuple[Records, Records]:
    """Both with the samples that both have, in the order of the first."""
    place = {sample: index for index, sample in enumerate(second.ids)}
    both = [(index, place[sample]) for index, sample in enumerate(first.ids) if sample in place]
    index = np.asarray(both, dtype=np.int64).reshape(-1, 2)
    return first.take(index[:, 0]), second.take(index[:, 1])


def draws(groups: Sequence[str], num_resamples: int, *, seed: int) -> Iterator[np.ndarray]:
    """Indices of resampled samples: as many groups as there are, with replacement, each with all its samples.

    A single group says nothing of how much others would differ: there is no draw of it, and no interval follows.

    Args:
        groups: the group of every sample; "" is a sample that is a group of its own.
        num_resamples: how many draws.
        seed: of the draws.
    """
    members: dict[tuple[str, int], list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault((group, -1) if group else ("", index), []).append(index)
    units = [np.asarray(indices) for indices in members.values()]
    if len(units) < 2:
        return
    random = np.random.default_rng(seed)
    for _ in range(num_resamples):
        chosen = random.integers(0, len(units), len(units))
        yield chosen if len(units) == len(groups) else np.concatenate([units[unit] for unit in chosen])


def resampled(records: Records, indices: Iterable[np.ndarray], *, additive: bool) -> Iterator[Records]:
    """Records of each draw of `draws`; with `additive` one row that holds the sums, which is many times cheaper."""
    if not additive:
        yield from map(records.take, indices)
        return
    flat = {name: rows.reshape(len(rows), -1).astype(np.float64) for name, rows in records.rows.items()}
    for index in indices:
        times = np.bincount(index, minlength=len(records)).astype(np.float64)
        sums = {name: times @ rows for name, rows in flat.items()}
        yield Records(["sum"], {name: sums[name].reshape(1, *rows.shape[1:]) for name, rows in records.rows.items()})


def percentiles(drawn: np.ndarray, level: float) -> tuple[list[float], list[float]]:
    """Low and high ends of every column of `drawn` (resamples, figures).

    A figure that a resample could not tell (NaN) is left out of that resample; one that fewer than half of the
    resamples could tell has no interval.
    """
    low, high = [], []
    for column in drawn.T:
        known = column[~np.isnan(column)]
        enough = 2 * len(known) >= len(column) and len(known) > 0
        ends = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if enough else (math.nan, math.nan)
        low.append(float(ends[0]))
        high.append(float(ends[1]))
    return low, high
