"""How figures are named and written for a person: units, digits, percentages, what is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: Between a number and its unit: they stay on one line.
SPACE = "\u00a0"
MINUS = "\u2212"
ABSENT = "absent in this split"


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; NaN where the samples cannot tell it."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether the samples could tell it."""
        return not math.isnan(self.value)

    @property
    def has_range(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))


@dataclass(frozen=True)
class Style:
    """How one figure is written.

    Attributes:
        unit: "%" for a fraction in [0, 1], which is written as a percentage; else the unit of the value or "".
        higher_is_better: whether larger is better.
        title: its name for a person.
        meaning: one sentence for those who do not know it, or "".
        decimals: digits behind the point; None: as many as its size asks for.
    """

    unit: str
    higher_is_better: bool
    title: str
    meaning: str = ""
    decimals: int | None = None

    @property
    def difference_unit(self) -> str:
        """Differences of percentages are in percentage points."""
        return "points" if self.unit == "%" else self.unit

    @property
    def heading(self) -> str:
        """The title with its unit, for the head of a column."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def difference_heading(self) -> str:
        """The title with the unit of a difference."""
        return f"{self.title}, {self.difference_unit}" if self.unit else self.title


_FRACTIONS = {
    "mIoU": ("mIoU", "Mean over the classes of intersection ÷ union, counted over all pixels of the split."),
    "IoU": ("IoU", "Intersection ÷ union of predicted and true pixels, counted over the whole split."),
    "pixel_accuracy": ("pixel accuracy", "Share of labelled pixels whose class is right."),
    "accuracy": ("accuracy", "Share of samples whose answer is right."),
    "balanced_accuracy": ("balanced accuracy", "Mean over the classes of recall: rare classes count as much."),
    "precision": ("precision", "Of what was predicted as a class, the share that is it."),
    "recall": ("recall", "Of what is a class, the share that was found."),
    "F1": ("F1", "Harmonic mean of precision and recall."),
    "AUROC": ("AUROC", "Chance that a positive sample scores above a negative one; 50 % is guessing."),
    "average_precision": ("average precision", "Area below the precision-recall curve."),
    "AP": ("AP", "Average precision; of boxes COCO's, the mean over classes and over overlaps of 0.5, 0.55, … 0.95."),
    "AP50": ("AP at 0.5", "Average precision where a box is right from an overlap of 0.5 on."),
    "AP75": ("AP at 0.75", "Average precision where a box is right from an overlap of 0.75 on."),
    "AP_small": ("AP, small", "Average precision of objects of up to 32 × 32 pixels."),
    "AP_medium": ("AP, medium", "Average precision of objects between 32 × 32 and 96 × 96 pixels."),
    "AP_large": ("AP, large", "Average precision of objects from 96 × 96 pixels on."),
    "VOC_AP": ("VOC AP", "Pascal VOC's average precision since 2010, at an overlap of 0.5."),
    "exact_match": ("exact match", "Share of samples whose labels are all right."),
    "mean_class_accuracy": ("mean class accuracy", "Mean over the classes of recall: rare classes count as much."),
    "J&F_mean": ("J&F mean", "Mean of the region measure J and the boundary measure F, over the clips."),
    "J_mean": ("J mean", "Intersection ÷ union of an object on a frame: mean over frames, then over clips."),
    "J_recall": ("J recall", "Share of the frames of a clip with J above 50 %: mean over clips."),
    "F_mean": ("F mean", "How well the boundary of an object on a frame is met: mean over frames, then over clips."),
    "F_recall": ("F recall", "Share of the frames of a clip with F above 50 %: mean over clips."),
    "consistency": (
        "consistency",
        "Overlap of a frame's answer with that to the frame before, carried along by motion.",
    ),
    "visibility_accuracy": ("visibility accuracy", "Share of points rightly said to be visible or hidden."),
    "PCK": ("PCK", "Share of the visible points that are found: no farther from their place than `within` pixels."),
    "box_IoU": ("box IoU", "Mean over the visible boxes of intersection ÷ union."),
    "delta_1.25": ("δ < 1.25", "Share of pixels whose ratio to the truth is within 1.25 either way."),
    "delta_1.25^2": ("δ < 1.25²", "Share of pixels whose ratio to the truth is within 1.25² either way."),
    "delta_1.25^3": ("δ < 1.25³", "Share of pixels whose ratio to the truth is within 1.25³ either way."),
}
_NUMBERS = {
    "MAE": ("MAE", "", False, "Mean absolute error."),
    "RMSE": ("RMSE", "", False, "Root of the mean squared error."),
    "MSE": ("MSE", "", False, "Mean squared error."),
    "PSNR": ("PSNR", "dB", True, "Peak signal-to-noise ratio."),
    "R2": ("R²", "", True, "Share of the variance that is explained: 1 is perfect, 0 no better than the mean."),
    "count_error": ("count error", "objects", False, "How far the number of boxes is from the number of objects."),
    "abs_rel": ("absolute relative error", "", False, "Mean of the absolute error ÷ the truth."),
    "ECE": ("calibration error", "%", False, "Expected calibration error: mean gap of said probability and truth."),
    "J_decay": ("J decay", "%", False, "J in the first quarter of a clip less J in the last: mean over clips."),
    "F_decay": ("F decay", "%", False, "F in the first quarter of a clip less F in the last: mean over clips."),
    "ODS": ("ODS", "", True, "F at the one threshold that is best for all samples: optimal data-set scale."),
    "OIS": ("OIS", "", True, "F with each sample at the threshold that is best for it: optimal image scale."),
    "loss": ("loss", "", False, "The mean loss that training lowers."),
}
#: The figure per class that a figure over all classes is made of, where the names do not tell.
_PER_CLASS = {
    "mIoU": "IoU",
    "pixel_accuracy": "IoU",
    "accuracy": "recall",
    "balanced_accuracy": "recall",
    "J&F_mean": "J_mean",
}
_ENDINGS = {"_macro": " (macro)", "_micro": " (micro)", "_weighted": " (weighted)", "_log": " of the logarithm"}
#: Figures whose size says nothing of how many digits are worth reading.
_DECIMALS = {"R2": 3}


def base_of(figure: str) -> str:
    """The part before the first "/": `IoU` of `IoU/chair`."""
    return figure.split("/", 1)[0]


def per_class_of(figure: str) -> str:
    """The figure per class that belongs to one over all classes: `IoU` to `mIoU`, `F1` to `F1_macro`."""
    stem = next((figure.removesuffix(ending) for ending in _ENDINGS if figure.endswith(ending)), figure)
    return _PER_CLASS.get(stem, stem)


def style_of(figure: str, declared: Mapping[str, Mapping[str, object]] | None = None) -> Style:
    """How a figure is written.

    Args:
        figure: its name, such as `mIoU`, `F1_macro` or `IoU/chair`.
        declared: what the evaluation says of figures, by the part of the name before "/": `{"MAE": {"unit": "px",
            "higher_is_better": False}}`; goes before what is known of the name.
    """
    base = base_of(figure)
    ending = next((ending for ending in _ENDINGS if base.endswith(ending)), "")
    stem = base.removesuffix(ending)
    if stem in _FRACTIONS:
        title, meaning = _FRACTIONS[stem]
        unit, higher = "%", True
    elif stem in _NUMBERS:
        title, unit, higher, meaning = _NUMBERS[stem]
    else:
        title, unit, higher, meaning = stem.replace("_", " "), "", True, ""
    said = (declared or {}).get(base, {})
    return Style(
        unit=str(said.get("unit", unit)),
        higher_is_better=bool(said.get("higher_is_better", higher)),
        title=title + _ENDINGS.get(ending, ""),
        meaning=meaning,
        decimals=_DECIMALS.get(stem),
    )


def plain(value: float) -> str:
    """A number with about three significant digits: 0.0123, 1.23, 123, 12 300."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size >= 1000 or value == 0:
        text = f"{value:,.0f}".replace(",", "\u202f")
    elif size >= 0.001:
        text = f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"
    else:
        text = f"{value:.1e}"
    return text.replace("-", MINUS)


def amount(value: float, style: Style) -> str:
    """The number alone, for a column whose head names the unit; fractions times 100 with one digit."""
    if math.isnan(value):
        return "–"
    if style.unit == "%":
        return f"{100 * value:.1f}".replace("-", MINUS)
    return plain(value) if style.decimals is None else f"{value:.{style.decimals}f}".replace("-", MINUS)


def full(value: float, style: Style) -> str:
    """The number with its unit: `31.2 %`."""
    return amount(value, style) + (SPACE + style.unit if style.unit and not math.isnan(value) else "")


def signed(value: float, style: Style) -> str:
    """A difference with its sign, without a unit: `+4.2`. What rounds to zero carries no sign."""
    text = amount(abs(value), style)
    if math.isnan(value) or not any(digit in text for digit in "123456789"):
        return text
    return ("+" if value > 0 else MINUS) + text


def span(interval: Interval, style: Style) -> str:
    """The interval alone: `28.9 to 33.4`, or nothing."""
    if not interval.has_range:
        return ""
    return f"{amount(interval.low, style)} to {amount(interval.high, style)}"


def signed_span(interval: Interval, style: Style) -> str:
    """The interval of a difference: `+1.1 to +7.3`, or nothing."""
    if not interval.has_range:
        return ""
    return f"{signed(interval.low, style)} to {signed(interval.high, style)}"


def count(number: float) -> str:
    """A whole number in groups of three digits."""
    return f"{number:,.0f}".replace(",", "\u202f")


def large(number: float) -> str:
    """A number of parameters: `4.38 M`."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{SPACE}{letter}"
    return count(number)


def size(num_bytes: float) -> str:
    """An amount of memory: `1.9 GiB`."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if num_bytes >= limit:
            return f"{num_bytes / limit:.1f}{SPACE}{unit}"
    return f"{num_bytes:.0f}{SPACE}B"


def duration(seconds: float) -> str:
    """A time: `26 min 10 s`."""
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s" if seconds < 10 else f"{seconds:.0f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{SPACE}h {minutes}{SPACE}min"
    return f"{minutes}{SPACE}min {rest}{SPACE}s"


def listed(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
