"""The result in sentences, from the numbers alone."""

from __future__ import annotations

from weft.report import numbers
from weft.report.run import Evaluation
from weft.report.worth import TaskWorth, Worth


def verdict(evaluation: Evaluation, worths: list[TaskWorth]) -> list[str]:
    """One or two sentences per task: what is reached with everything, and what each modality is worth."""
    return [_sentence(evaluation, worth, first=index == 0) for index, worth in enumerate(worths)]


def _sentence(evaluation: Evaluation, worth: TaskWorth, *, first: bool) -> str:
    task, style = worth.task, worth.task.main_style
    if not worth.full.known:
        return f"The {evaluation.split} split cannot tell how well {task.name} is solved: it has no label for it."
    value = numbers.full(worth.full.value, style)
    reached = f"{value} {style.title}" if style.unit == "%" else f"{value} ({style.title})"
    several = len(evaluation.modalities) > 1
    if first:
        given = numbers.listed(list(evaluation.modalities))
        verb = "together reach" if several else "alone reaches"
        text = f"{given[:1].upper()}{given[1:]} {verb} {reached} on {task.name}"
    else:
        text = f"On {task.name}, {'they reach' if several else 'it reaches'} {reached}"
    if not worth.modalities:
        return text + "."
    if len(worth.modalities) == len(evaluation.modalities) == 2:
        added = min(worth.modalities, key=lambda one: one.gain.value)  # the one that is worth less is the addition
        without = numbers.full(added.without.value, style)
        return f"{text}; without {added.modality}, {without}: {_gains(worth, [added])}."
    ranked = sorted(worth.modalities, key=lambda one: -one.gain.value)
    return f"{text}; {_gains(worth, ranked)}."


def _gains(worth: TaskWorth, ranked: list[Worth]) -> str:
    """`image is worth 22.3 points and depth 14.2 points; thermal makes no difference beyond noise (…)`."""
    style = worth.task.main_style

    def size(one: Worth) -> str:
        unit = numbers.SPACE + style.difference_unit if style.difference_unit else ""
        return numbers.amount(abs(one.gain.value), style) + unit

    clear = [one for one in ranked if one.gain.known and one.conclusion != "within noise"]
    parts = []
    for verb, chosen in (
        ("is worth", [one for one in clear if one.gain.value >= 0]),
        ("costs", [one for one in clear if one.gain.value < 0]),
    ):
        if chosen:
            rest = [f"{one.modality} {size(one)}" for one in chosen[1:]]
            parts.append(numbers.listed([f"{chosen[0].modality} {verb} {size(chosen[0])}", *rest]))
    for one in ranked:
        if one.conclusion == "within noise":
            change = f"{numbers.signed(one.gain.value, style)}, {numbers.signed_span(one.gain, style)}"
            parts.append(f"{one.modality} makes no difference beyond noise ({change})")
        elif not one.gain.known:
            parts.append(f"what {one.modality} is worth cannot be told")
    return "; ".join(parts)
