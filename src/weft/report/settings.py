"""Where the settings of runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weft.report.overview import words
from weft.report.run import Run

#: Stands for a setting that a run does not have.
ABSENT = object()


def differing_settings(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """{setting: {letter: value}} of the settings that are not the same in all runs.

    A whole part that some run does not have is one setting.
    """
    return dict(differing({letter: run.experiment for letter, run in runs.items()}))


def differing(settings: Mapping[str, object], path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """(setting, {name: value}) of those that are not the same for all names, in plain values."""
    found = list(settings.values())
    if all(value == found[0] for value in found):
        return
    parts = {letter: value for letter, value in settings.items() if isinstance(value, Mapping)}
    if len(parts) < len(settings):
        yield path, {letter: "–" if value is ABSENT else words(value) for letter, value in settings.items()}
        return
    for key in dict.fromkeys(key for part in parts.values() for key in part):
        inner = {letter: part.get(key, ABSENT) for letter, part in parts.items()}
        yield from differing(inner, f"{path}.{key}" if path else str(key))
