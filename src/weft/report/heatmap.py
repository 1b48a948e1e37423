"""The confusion matrix as a picture, and its largest confusions in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from weft.report.numbers import count

#: More classes than this cannot be read; the most frequent ones are shown.
MAX_CLASSES = 60
#: Up to so many classes the percentages are written into the cells.
MAX_WRITTEN = 12
MAX_LETTERS = 20


@dataclass(frozen=True)
class Mistake:
    """One cell off the diagonal: `share` of what is `truth` was taken for `prediction`."""

    truth: str
    prediction: str
    share: float
    number: float


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """(K, K) every row divided by its sum; rows of absent classes are NaN."""
    totals = confusion.sum(1, keepdims=True)
    return np.where(totals > 0, confusion / np.where(totals > 0, totals, 1), np.nan)


def largest_mistakes(confusion: np.ndarray, classes: Sequence[str], *, limit: int = 10) -> list[Mistake]:
    """The confusions that cost most: by the number they hold, not by share, in which rare classes would lead."""
    shares = row_shares(confusion)
    wrong = confusion * (1 - np.eye(len(confusion)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    places = [(int(i) // len(confusion), int(i) % len(confusion)) for i in order]
    return [
        Mistake(classes[row], classes[column], float(shares[row, column]), float(wrong[row, column]))
        for row, column in places
        if wrong[row, column] > 0
    ]


def shown_classes(confusion: np.ndarray) -> list[int]:
    """The classes of the picture, in their own order: all, or the most frequent in the truth."""
    frequency = confusion.sum(1)
    most = np.argsort(-frequency, kind="stable")[:MAX_CLASSES]
    return sorted(int(index) for index in most)


def heat_map(confusion: np.ndarray, classes: Sequence[str], *, label: str) -> Markup:
    """The matrix, rows truth and columns prediction, coloured by the share of the row.

    Right answers and mistakes have different hues. Cells say their value when pointed at.

    Args:
        confusion: (K, K) counts.
        classes: the K names.
        label: what a screen reader says of it.
    """
    index = shown_classes(confusion)
    shares = row_shares(confusion)[np.ix_(index, index)]
    counts = confusion[np.ix_(index, index)]
    names = [classes[i] for i in index]
    cell = int(min(44, max(14, 600 / len(names))))
    margin = 14 + int(6.3 * min(MAX_LETTERS, max(len(name) for name in names)))
    side = cell * len(names)
    parts = [
        f'<svg class="heat" viewBox="0 0 {margin + side + 2} {margin + side + 2}" '
        f'width="{margin + side + 2}" height="{margin + side + 2}" role="img" '
        f'aria-label="{escape(label)}">',
        f'<rect class="frame" x="{margin}" y="{margin}" width="{side}" height="{side}"/>',
        f'<text class="axis" x="{margin - 8}" y="{margin - 8}" text-anchor="end">truth ↓ prediction →</text>'
        if margin > 130
        else "",
        *_names(names, margin, cell),
    ]
    for row, column in np.argwhere(counts > 0):
        verb = "found" if row == column else f"taken for {names[column]}"
        share = float(shares[row, column])
        title = f"{names[row]} {verb}: {100 * share:.1f} % ({count(counts[row, column])})"
        parts.append(_cell(row, column, share, title, margin, cell))
        if len(names) <= MAX_WRITTEN:
            parts.append(_written(row, column, share, margin, cell))
    return Markup("".join([*parts, "</svg>"]))


def _names(names: Sequence[str], margin: int, cell: int) -> list[str]:
    parts = []
    for place, name in enumerate(names):
        short = name if len(name) <= MAX_LETTERS else name[: MAX_LETTERS - 1] + "…"
        middle = margin + cell * (place + 0.5)
        text = f"<title>{escape(name)}</title>{escape(short)}"
        parts.append(f'<text class="tick" x="{margin - 6}" y="{middle + 3.5:.1f}" text-anchor="end">{text}</text>')
        parts.append(
            f'<text class="tick" transform="translate({middle + 3.5:.1f} {margin - 6}) rotate(-90)">{text}</text>'
        )
    return parts


def _cell(row: int, column: int, share: float, title: str, margin: int, cell: int) -> str:
    opacity = max(0.04, float(np.sqrt(share)))  # the root lets a share of 5 % still be seen
    kind = "right" if row == column else "wrong"
    return (
        f'<rect class="{kind}" x="{margin + cell * column}" y="{margin + cell * row}" width="{cell - 1}" '
        f'height="{cell - 1}" fill-opacity="{opacity:.2f}"><title>{escape(title)}</title></rect>'
    )


def _written(row: int, column: int, share: float, margin: int, cell: int) -> str:
    strong = " strong" if share > 0.35 else ""
    return (
        f'<text class="written{strong}" x="{margin + cell * (column + 0.5):.1f}" '
        f'y="{margin + cell * (row + 0.5) + 4:.1f}" text-anchor="middle">{100 * share:.0f}</text>'
    )
