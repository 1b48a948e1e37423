"""What `weft predict` is given on the command line: `--image a.jpg --text "a red chair" --row age=63,sex=F`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

#: What may be given in part, as `a.mp4#t=2,5`.
_HAVE_PARTS = ("clip", "sound")


def read_inputs(run: Path, words: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """({modality: a file, a text or a row}, the `key=value` overrides) of a command line.

    Args:
        run: a run folder.
        words: `--NAME VALUE` or `--NAME=VALUE` for modalities of the run, and `key=value` between them.

    Raises:
        UsageError: an unknown modality, one without a value or given twice, a file that is not there, a broken row.
    """
    inputs: dict[str, Any] = {}
    overrides = []
    cells = modality_cells(run) if any(word.startswith("--") for word in words) else {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            if "=" not in word:
                raise click.UsageError(f"{word!r} stands alone; write --MODALITY {word}, or KEY=VALUE")
            overrides.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        one_of("option", name, list(cells), shown="--")
        if not equals:
            value = next(rest, "")
        if not value and cells[name] != "value":
            raise click.UsageError(f"--{name} needs a {cells[name]}")
        if name in inputs:
            raise click.UsageError(f"--{name} is given twice")
        inputs[name] = _value(name, value, cells[name])
    return inputs, tuple(overrides)


def modality_cells(run: Path) -> dict[str, str]:
    """{modality of the run: what a person gives for it}: file, clip, sound, value or row; without importing torch."""
    from weft import schema as schemas
    from weft.config import load_experiment

    modalities = load_experiment(run / "experiment.yaml").modalities
    schema = schemas.with_registered(schemas.shipped())
    return {
        name: schemas.part_schema(schema, "modality", one.type).get("x-cell", "file")
        for name, one in modalities.items()
    }


def one_of(what: str, name: str, names: Sequence[str], *, shown: str = "") -> None:
    """Refuse a name that is not among `names`, with the nearest that is.

    Raises:
        UsageError: it is not.
    """
    if name in names:
        return
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {shown}{near[0]}?" if near else f"there are {', '.join(shown + one for one in names)}"
    raise click.UsageError(f"there is no {what} {shown}{name}; {hint}")


def _value(name: str, value: str, cell: str) -> Any:
    if cell == "value":
        return value
    if cell == "row":
        return _row(name, value)
    whole = _whole(name, value) if cell in _HAVE_PARTS else value
    path = Path(whole)
    if not path.is_file() and not (cell == "clip" and path.is_dir()):
        raise click.UsageError(f"--{name}: there is no file {whole!r}")
    return path if whole == value else value


def _whole(name: str, value: str) -> str:
    """The file or folder of which `a.mp4#t=2,5` is a part."""
    if "#" not in value:
        return value
    from weft.data.clipcell import split_cell  # it imports torch
    from weft.modalities.base import BadCell

    try:
        return split_cell(value)[0]
    except BadCell as error:
        raise click.UsageError(f"--{name}: {error}") from error


def _row(name: str, value: str) -> dict[str, Any]:
    """{column: value} of `a=1,b=x` or of a JSON object."""
    if value.lstrip().startswith("{"):
        try:
            row: dict[str, Any] = json.loads(value)
            return row
        except json.JSONDecodeError as error:
            raise click.UsageError(f"--{name}: {value} is not JSON: {error}") from error
    pairs = [pair.partition("=") for pair in value.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise click.UsageError(f"--{name}: {value!r} was given; write column=value,column=value or a JSON object")
    return {column.strip(): text.strip() for column, _, text in pairs}
