"""Changes of an experiment's content, named as keyword arguments can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changed(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content, in which `train__epochs` stands for `train: {epochs: …}`: the same object, changed."""
    for path, value in changes.items():
        place = content
        *above, last = path.split("__")
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return content
