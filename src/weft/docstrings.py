"""Docstrings as help: the summary of a part and the text of each of its options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any


def summary_of(part: Callable[..., Any]) -> str:
    """The paragraphs of a docstring before the first section, and the reference wherever it stands."""
    text = inspect.cleandoc(part.__doc__ or "")
    head = re.split(r"^(?:Args|Attributes|Returns|Raises|Yields|Example|Examples|Note|Reference):", text, flags=re.M)[0]
    references = re.findall(r"^Reference: (.*(?:\n\S.*)*)", text, flags=re.M)
    paragraphs = [*head.strip().split("\n\n"), *(f"Reference: {reference}" for reference in references)]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def help_of(part: Callable[..., Any]) -> dict[str, str]:
    """{option: help} of the `Args:` section of a docstring; a class adds to those of its bases."""
    found: dict[str, str] = {}
    for source in reversed(part.__mro__) if inspect.isclass(part) else [part]:
        found |= arguments_of(source.__doc__ or "")
    return found


def arguments_of(docstring: str) -> dict[str, str]:
    """{name: text} of an `Args:` section: entries indented by four, their further lines by more."""
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in inspect.cleandoc(docstring).splitlines():
        if not line.startswith(" "):
            inside = line == "Args:" or (inside and not line)
            continue
        if not inside:
            continue
        entry = re.fullmatch(r"    (\w+(?:, \w+)*)(?: \([^)]*\))?: (.*)", line)
        if entry:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2].strip())
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found
