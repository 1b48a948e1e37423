"""How often training samples come where several data sets are mixed by stated shares."""

from __future__ import annotations

import numpy as np

from weft.data.manifest import Manifest
from weft.errors import DataFault


def at_shares(manifest: Manifest, train: np.ndarray, rates: np.ndarray | None) -> np.ndarray | None:
    """(n,) how often each training sample comes in an epoch, so that every data set has its share; None: once.

    An epoch stays as long as it was. Within a set, samples keep the proportions that `rates` gives them.

    Args:
        manifest: all splits.
        train: (n,) rows of the training split.
        rates: (n,) how often each comes without shares; None: once.

    Raises:
        DataFault: a set with a share has no training sample.
    """
    shares = [one.share for one in manifest.sets if one.share is not None]
    if not shares:
        return rates
    rates = np.ones(len(train)) if rates is None else rates
    places = manifest.take(train).set_places()
    own = np.bincount(places, rates, minlength=len(shares))
    empty = [one.name for one, weight in zip(manifest.sets, own, strict=True) if weight == 0]
    if empty:
        raise DataFault(
            f"the set {empty[0]} has a share of the training, and no training sample; leave it out, or name a split of "
            "it train",
            code="no-samples",
        )
    wanted = np.array(shares) / sum(shares) * rates.sum()
    scaled: np.ndarray = rates * (wanted / own)[places]
    return scaled
