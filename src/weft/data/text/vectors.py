"""Word vectors in the text layouts of word2vec and GloVe: a word and its numbers in each line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from weft.errors import WeftError


def width_of(path: Path) -> int:
    """Numbers of a vector.

    Raises:
        WeftError: the file is missing, or has no vectors.
    """
    for _, _, numbers in _lines(path):
        return len(numbers)
    raise WeftError(f"{path} holds no word vectors; each line is a word and its numbers, with spaces between")


def read_vectors(path: Path, words: Sequence[str]) -> dict[str, np.ndarray]:
    """{word: (D,) float32} of those of the words that the file has, as they are written or else in lower case.

    Raises:
        WeftError: a line is not a word and D finite numbers.
    """
    exact, lower = set(words), {word.lower(): word for word in reversed(words)}
    width = width_of(path)
    found: dict[str, np.ndarray] = {}
    for place, word, numbers in _lines(path):
        wanted = word if word in exact else lower.get(word.lower())
        if wanted is None or (wanted in found and wanted != word):
            continue
        try:
            vector = np.array(numbers, np.float32)
        except ValueError as error:
            raise WeftError(f"{path}, line {place}: the vector of {word!r} is not all numbers") from error
        if len(vector) != width or not np.isfinite(vector).all():
            raise WeftError(f"{path}, line {place}: {word!r} has {len(vector)} numbers, allowed: {width} finite ones")
        found[wanted] = vector
    return found


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(line from 1, word, its numbers as written); word2vec's first line, which counts, is passed over."""
    width: int | None = None
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for place, line in enumerate(file, start=1):
                parts = line.rstrip().split(" ")
                if place == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                    width = int(parts[1])
                    continue
                if len(parts) <= (width or 1):
                    numbers = f"its {width} numbers" if width else "its numbers"
                    raise WeftError(f"{path}, line {place}: {line[:40]!r} was read; allowed: a word and {numbers}")
                width = len(parts) - 1 if width is None else width
                yield place, " ".join(parts[:-width]), parts[-width:]  # a word may have spaces in it
    except FileNotFoundError as error:
        raise WeftError(f"the word vectors {path} are not there; give the path of a file") from error
    except UnicodeDecodeError as error:
        raise WeftError(
            f"{path} is no text in utf-8, and word vectors are read as text; write word2vec's binary files as text"
        ) from error
