"""Lines beside figures, as an evaluation keeps them for the report."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Curves:
    """Lines over the same axes.

    Attributes:
        name: what they show.
        x_label, y_label: of the axes, with units.
        lines: {what a line is of: its points (x, y)}.
        points: {name: (x, y)} places to be marked; one with the name of a line is a place on that line.
        about: what those on lines are.
    """

    name: str
    x_label: str
    y_label: str
    lines: dict[str, list[tuple[float, float]]]
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    about: str = ""
