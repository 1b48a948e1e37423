"""Decoded cells kept between epochs: raw arrays in files, on disk or in a folder of shared memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import struct
from pathlib import Path

import numpy as np

from weft import experiment
from weft.data.clipcell import split_cell
from weft.data.memory_folder import MemoryFolder
from weft.data.timeline import Timeline
from weft.errors import ResourceFault
from weft.modalities.base import Field, Resolve

_GIB = 1 << 30

#: First bytes of an entry; a change of the layout changes them, and older entries are then decoded again.
_MAGIC = b"weft1"
_HEADER = struct.Struct("<5s3s4I")  # magic, numpy type code, number of axes, up to three lengths


class Cache:
    """Decoded cells by file identity and everything that decides how it is decoded; of clips every frame by itself.

    Safe with several processes: an entry is written to a name of its own and then renamed. What does not fit is decoded
    each time; nothing is thrown out during a run.

    Args:
        folder: where the entries are; None: nothing is kept.
        limit: bytes.
        home: keeps a folder of this run's own alive: there a cell's name is identity enough.
    """

    def __init__(self, folder: Path | None, *, limit: int = 0, home: MemoryFolder | None = None) -> None:
        self.folder = folder
        self.limit = limit
        self.home = home
        used = 0 if folder is None else sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
        self._used = multiprocessing.Value("q", used)

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return int(self._used.value)

    def read(self, field: Field, key: str, cell: str, resolve: Resolve, frames: Timeline | None = None) -> np.ndarray:
        """What `field.read_frames(cell, resolve, frames)` gives, from the cache where it is there.

        Of a clip those frames are decoded that are not there: windows that overlap, and what chance takes in another
        epoch, share what they have in common.

        Args:
            field: reads the cell.
            key: everything besides the cell that decides what reading gives.
            cell: in the manifest.
            resolve: what the cell stands for.
            frames: that are taken of the sample.

        Raises:
            BadCell: the cell cannot be used. Bad cells are never kept.
        """
        if self.folder is None:
            return field.read_frames(cell, resolve, frames)
        if self.home is not None:
            identity = f"{key}\0{split_cell(cell)[0]}"
        else:
            source = resolve(cell)
            if isinstance(source, np.ndarray):  # made, not read: it has no date by which a change would be seen
                return field.read_frames(cell, lambda _: source, frames)
            try:
                identity = f"{key}\0{source}\0{_state(source)}"
            except OSError:
                return field.read_frames(cell, resolve, frames)  # which says what is wrong with it
        if field.geometry.has_frames and frames is not None:
            return self._read_clip(identity, field, cell, resolve, frames)
        path = self._path(f"{identity}\0{split_cell(cell)[1]}")
        value = _load(path)
        if value is None:
            value = field.read_frames(cell, resolve, frames)
            self._store(path, value)
        return value

    def _read_clip(self, identity: str, field: Field, cell: str, resolve: Resolve, frames: Timeline) -> np.ndarray:
        """(T, ...) of a clip, each frame by number and time."""
        paths = [
            self._path(f"{identity}\0{number}\0{time:.6f}")
            for number, time in zip(frames.numbers, frames.times, strict=True)
        ]
        values = [_load(path) for path in paths]
        lacking = np.array([place for place, value in enumerate(values) if value is None], int)
        if len(lacking):
            for place, value in zip(lacking, field.read_frames(cell, resolve, frames.at(lacking)), strict=True):
                values[place] = value
                self._store(paths[place], value)
        return np.stack([value for value in values if value is not None])

    def _path(self, identity: str) -> Path:
        assert self.folder is not None
        return self.folder / hashlib.blake2b(identity.encode(), digest_size=20).hexdigest()

    def _store(self, path: Path, value: np.ndarray) -> None:
        code = value.dtype.str.encode()
        if value.ndim > 3 or len(code) != 3:
            return
        size = _HEADER.size + value.nbytes
        with self._used.get_lock():
            if self._used.value + size > self.limit:
                return
            self._used.value += size
        header = _HEADER.pack(_MAGIC, code, value.ndim, *value.shape, *[0] * (3 - value.ndim))
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(header)
                file.write(np.ascontiguousarray(value).data)
            part.replace(path)
        except OSError:  # the disk is full: what is not kept is decoded again, and the room stays counted as used
            part.unlink(missing_ok=True)


def _state(source: Path) -> str:
    """By what a change of a file is seen, or of any file of a folder."""
    if not source.is_dir():
        status = source.stat()
        return f"{status.st_mtime_ns}\0{status.st_size}"
    with os.scandir(source) as entries:
        states = sorted((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in entries)
    return hashlib.blake2b(repr(states).encode(), digest_size=20).hexdigest()


def open_cache(config: experiment.Cache) -> tuple[Cache, list[str]]:
    """The cache that an experiment asks for, and what is worth saying about it.

    Raises:
        ResourceFault: its folder cannot be made.
    """
    limit = int(config.limit * _GIB)
    if config.where == "none":
        return Cache(None), []
    if config.where == "disk":
        folder = Path(config.folder or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "weft").expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceFault(
                f"the cache folder {folder} cannot be made: {error}; choose another with data.cache.folder",
                code="cache-folder",
            ) from error
        cache = Cache(folder, limit=limit)
        return cache, [_full(folder, limit)] if cache.used >= 0.9 * limit else []
    home = MemoryFolder()
    notes = []
    if home.room < limit:
        notes.append(
            f"the memory cache may take {home.room / _GIB:.1f} GiB of the {config.limit:g} asked: "
            f"{home.path.parent} has no more"
        )
    return Cache(home.path, limit=min(limit, home.room), home=home), notes


def _full(folder: Path, limit: int) -> str:
    return (
        f"the disk cache {folder} has reached its limit of {limit / _GIB:g} GiB; what is not in it is decoded each time"
    )


def _load(path: Path) -> np.ndarray | None:
    """An entry, or None where there is none or it is not whole."""
    try:
        with path.open("rb", buffering=0) as file:
            header = file.read(_HEADER.size)
            if len(header) != _HEADER.size or header[:5] != _MAGIC:
                return None
            _, code, num_axes, *lengths = _HEADER.unpack(header)
            value = np.empty(lengths[:num_axes], np.dtype(code.decode()))
            read = file.readinto(value.reshape(-1).view(np.uint8).data) if value.size else 0
            return value if read == value.nbytes else None
    except FileNotFoundError:
        return None
