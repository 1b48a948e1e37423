"""Files that answers are written to: names from sample ids, rows of a table, sidecars."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.spreadsheet import Cell, quoted

#: Not in a file name: separators, the escape itself, control characters, and a dot in front.
_UNSAFE = re.compile(r"[/\\%:*?\"<>|\x00-\x1f\x7f]|^\.")


@dataclass(frozen=True)
class Origin:
    """The sample that an answer is of, as files know it.

    Attributes:
        id: of the sample.
        size: (H, W) of its own images: dense answers and coordinates are written at this size.
        working_size: (H, W) of the sample as the model saw it, without padding: what predicted coordinates refer to.
        numbers: of the frames that were taken, in what they were taken from; empty where nobody says: from 0 on.
    """

    id: str
    size: tuple[int, int]
    working_size: tuple[int, int]
    numbers: Sequence[int] = ()

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) from coordinates that the model answers to those of the sample's own images."""
        return self.size[1] / self.working_size[1], self.size[0] / self.working_size[0]


def answer_path(folder: Path, sample: str, suffix: str) -> Path:
    """The file of a sample's answer: the id as it is, but for characters that cannot be in a name, as %XX.

    The folder is made. Two ids never share a file, and no id leads out of the folder.

    Example:
        >>> answer_path(Path("/tmp"), "scene 1/../7", ".png").name
        'scene 1%2F..%2F7.png'
    """
    folder.mkdir(parents=True, exist_ok=True)
    return folder / (_UNSAFE.sub(lambda found: f"%{ord(found.group()):02X}", sample) + suffix)


def add_row(path: Path, header: Sequence[str], row: Sequence[Cell]) -> None:
    """Append a row to a CSV table, which is begun with its header where it is not there yet.

    Texts that a spreadsheet would take for formulas (ids, names of classes) are put behind an apostrophe.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow([quoted(cell) for cell in header])
        writer.writerow([quoted(cell) for cell in row])


def write_sidecar(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file that says what the files beside it mean; an existing one is left alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
