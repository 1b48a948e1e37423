"""Near-duplicates: samples that hold the same text, or the same picture, and so belong together in a split."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

#: Two samples, by their places.
Pair = tuple[int, int]

#: Pictures are the same where at most so many of the 128 bits of their hashes differ. They are compared where so many
#: of the 128 steps between neighbours are larger than two grey levels: plain ones look all alike.
MAX_BITS, MIN_STEPS = 8, 48

#: Texts of fewer words are not compared: "good morning" is no sign that two posts are one.
MIN_WORDS = 3

#: What is left out of a text before it is compared: the mark of a repeated post, names, links, which may be cut off.
_NOISE = re.compile(r"^rt\b|@\w+|https?:?/*\S*|\bht?t?$")

#: Pictures that are compared with all others at once.
_ROWS = 1024

#: Part of the key under which hashes are kept: another number, and all are taken again.
_VERSION = 1


def same_texts(texts: Iterable[str | None]) -> list[Pair]:
    """Pairs that link all samples of equal texts: small letters, without names of users, links and signs."""
    pairs: list[Pair] = []
    firsts: dict[str, int] = {}
    for place, text in enumerate(texts):
        said = _NOISE.sub(" ", unicodedata.normalize("NFKC", text or "").casefold().strip())
        words = re.findall(r"\w+", said)
        first = firsts.setdefault(" ".join(words), place)
        if first != place and len(words) >= MIN_WORDS:
            pairs.append((first, place))
    return pairs


def same_pictures(files: Sequence[Path | None]) -> tuple[list[Pair], tuple[str, ...]]:
    """(pairs of pictures that look the same, notes).

    Pictures are compared by which of two neighbours is brighter on a grid of 9 × 9. Those hashes are kept in the user's
    cache folder, and taken again when a file has changed.

    Args:
        files: the pictures; None, and what cannot be read, is not compared.
    """
    hashes, notes = _kept(files)
    places = np.flatnonzero(hashes.any(1))
    signs = 1 - 2 * np.unpackbits(hashes[places], axis=1).astype(np.float32)
    pairs: list[Pair] = []
    for start in range(0, len(places), _ROWS):
        bits_apart = (128 - signs[start : start + _ROWS] @ signs[start:].T) / 2
        first, second = np.nonzero(np.triu(bits_apart <= MAX_BITS, k=1))
        pairs += zip(places[start + first].tolist(), places[start + second].tolist(), strict=True)
    return pairs, notes


def joined(ids: Sequence[str], pairs: Iterable[Pair]) -> list[str]:
    """For each sample the id of the first one that it is linked with, directly or through others; its own if none."""
    leader = list(range(len(ids)))

    def first_of(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for one, other in pairs:
        low, high = sorted((first_of(one), first_of(other)))
        leader[high] = low
    return [ids[first_of(place)] for place in range(len(ids))]


def difference_hash(path: Path | None) -> np.ndarray:
    """(16,) uint8, the 128 bits of a picture; all zero where it is too plain to compare, or cannot be read."""
    if path is None:
        return np.zeros(16, np.uint8)
    try:
        with Image.open(path) as picture:
            picture.draft("L", (32, 32))  # JPEG is decoded at an eighth of its size where that is enough
            grid = np.asarray(picture.convert("L").resize((9, 9), Image.Resampling.BOX), np.int16)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # training will name it
        return np.zeros(16, np.uint8)
    across, down = np.diff(grid[:8], axis=1), np.diff(grid[:, :8], axis=0)
    steps = np.concatenate([across.ravel(), down.ravel()])
    if (np.abs(steps) > 2).sum() < MIN_STEPS:
        return np.zeros(16, np.uint8)
    return np.packbits(steps > 0)


def _kept(files: Sequence[Path | None]) -> tuple[np.ndarray, tuple[str, ...]]:
    """((n, 16) uint8 hashes, notes), from the file that an earlier call has left where no picture has changed since."""
    stamps = [None if path is None else _stamp(path) for path in files]
    key = hashlib.blake2b(json.dumps([_VERSION, stamps]).encode(), digest_size=16).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "weft", "hashes", f"{key}.npy")
    if cache.is_file():
        return np.load(cache, allow_pickle=False), ()
    with ThreadPoolExecutor() as pool:  # decoding lets go of the interpreter
        hashes = np.stack([*pool.map(difference_hash, files), np.zeros(16, np.uint8)])[:-1]
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            part = Path(folder, cache.name)
            np.save(part, hashes)
            part.replace(cache)  # in one step: hashes cut off half-way are never seen
    except OSError as error:
        return hashes, (f"the pictures' hashes could not be kept and are taken again each time: {error}",)
    return hashes, ()


def _stamp(path: Path) -> list[object]:
    try:
        found = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), found.st_size, found.st_mtime_ns]
