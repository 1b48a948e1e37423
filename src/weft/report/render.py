"""Fills the page templates: everything is escaped, style and script are inside, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weft.report import numbers


def render(template: str, values: Mapping[str, object]) -> str:
    """A template of this package with its values, style sheet and script."""
    folder = files("weft.report") / "templates"
    style = (folder / "style.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("weft.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["n"] = numbers
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template(template).render(
        **values,
        style_sheet=Markup(style),
        script=Markup(script),
        # The browser itself refuses to fetch anything, or to run any script but the page's own.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )


def write_whole(path: Path, text: str) -> Path:
    """Write a text so that the file is never seen half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
    return path
