"""Parts of a data set that have the same shares of every class, and no group in two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.manifest import Manifest
from weft.errors import DataFault

#: Weight of a part's number of samples beside those of its classes: it decides between parts that are else equal.
_SIZE = 1e-6


def stratified_parts(counts: np.ndarray, shares: Sequence[float], order: np.ndarray) -> np.ndarray:
    """(G,) the part that each group goes to, one after the other, the largest first.

    A group goes where it leaves the parts nearest to their shares of every class: to the part f with the smallest
    increase of Σ_c (n_fc − p_f N_c)² / (p_f N_c²), where part f has the share p_f and n_fc samples of class c, of which
    there are N_c. With equal shares and groups of one sample, parts differ by one sample of a class at most.

    Args:
        counts: (G, K) samples of each class in each group.
        shares: of the parts, which add up to one.
        order: (G,) the groups in an order by chance, which decides among groups of one size.

    Reference: the greedy rule is that of scikit-learn's StratifiedGroupKFold, with squares for standard deviations.
    """
    counts = np.concatenate([counts, counts.sum(1, keepdims=True)], 1).astype(np.float64)
    weights = 1 / np.maximum(counts.sum(0), 1) ** 2
    weights[-1] *= _SIZE
    share = np.asarray(shares)
    filled = np.zeros((len(share), counts.shape[1]))
    parts = np.empty(len(counts), np.int64)
    for group in order[np.argsort(-counts[order, -1], kind="stable")]:
        part = int(np.argmin((2 * filled + counts[group]) @ (weights * counts[group]) / share))
        parts[group] = part
        filled[part] += counts[group]
    return parts


def class_counts(samples: Manifest, column: str, groups: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """((G, K) samples of each class in each group, the K classes); "" is no label, or none of several.

    Args:
        samples: the samples.
        column: of classes, or of several labels a sample.
        groups: (n,) group number of each sample.

    Raises:
        DataFault: there is no such column, or it holds fractions.
    """
    values = samples.values(column)
    if pa.types.is_floating(values.type) or (pa.types.is_nested(values.type) and not pa.types.is_list(values.type)):
        raise DataFault(
            f"validation.stratify is {column!r}, whose values are {values.type}; give a column of classes",
            code="no-validation",
        )
    places = np.arange(len(samples))
    several = column in samples.columns and samples.columns[column].kind == "labels"
    if several and not pa.types.is_list(values.type):
        values = pc.split_pattern(values, "|")
    if pa.types.is_list(values.type):
        places = np.asarray(pc.list_parent_indices(values.combine_chunks()))
        values = pc.list_flatten(values)
    encoded = pc.fill_null(pc.cast(values, pa.string()), "").combine_chunks().dictionary_encode()
    classes = encoded.dictionary.to_pylist()
    cells = groups[places] * len(classes) + np.asarray(encoded.indices)
    counted = np.bincount(cells, minlength=(groups.max() + 1) * len(classes))
    return counted.reshape(-1, len(classes)), classes
