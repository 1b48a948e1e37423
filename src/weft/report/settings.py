"""Where the settings of runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weft.report.overview import part_words, words
from weft.report.run import Run

#: Stands for a setting that a run does not have.
ABSENT = object()


def differing_settings(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """{setting: {letter: value}} of the settings that are not the same in all runs.

    A whole part that some run does not have is one setting; where others differ in it follows.
    """
    found = differing({letter: run.experiment for letter, run in runs.items()})
    return {setting: {letter: cells.get(letter, "–") for letter in runs} for setting, cells in found}


def differing(settings: Mapping[str, object], path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """(setting, {name: value}) of those that are not the same for all names, in plain values.

    A part that some do not have is told in few words, and then where it differs among those that have it.
    """
    found = list(settings.values())
    if all(value == found[0] for value in found):
        return
    parts = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    if len(parts) < len(settings):
        yield path, {name: "–" if value is ABSENT else _in_short(value) for name, value in settings.items()}
        if len(parts) < 2:
            return
    for key in dict.fromkeys(key for part in parts.values() for key in part):
        inner = {name: part.get(key, ABSENT) for name, part in parts.items()}
        yield from differing(inner, f"{path}.{key}" if path else str(key))


def _in_short(value: object) -> str:
    """A part by its type, where it has one."""
    return part_words(value) or words(value)
