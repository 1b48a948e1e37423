"""Decoded cells kept between epochs: raw arrays in files, on disk or in a folder of shared memory."""

from __future__ import annotations

import fcntl
import hashlib
import multiprocessing
import os
import shutil
import struct
import tempfile
import weakref
from pathlib import Path

import numpy as np

from weft import experiment
from weft.errors import ResourceFault
from weft.modalities.base import Field, Resolve

_GIB = 1 << 30

#: First bytes of an entry; a change of the layout changes them, and older entries are then decoded again.
_MAGIC = b"weft1"
_HEADER = struct.Struct("<5s3s4I")  # magic, numpy type code, number of axes, up to three lengths

#: Shared memory that is left to others (the loader's workers pass batches through it).
_SPARE = 0.5


class Cache:
    """Decoded cells by file identity and everything that decides how it is decoded.

    Safe with several processes: an entry is written to a name of its own and then renamed. What does not fit is decoded
    each time; nothing is thrown out during a run.

    Args:
        folder: where the entries are; None: nothing is kept.
        limit: bytes.
        private: the folder is this run's own, so a cell's name is identity enough.
    """

    def __init__(self, folder: Path | None, *, limit: int = 0, private: bool = False) -> None:
        self.folder = folder
        self.limit = limit
        self.private = private
        used = 0 if folder is None else sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
        self._used = multiprocessing.Value("q", used)

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return int(self._used.value)

    def read(self, field: Field, key: str, cell: str, resolve: Resolve) -> np.ndarray:
        """What `field.read(cell, resolve)` gives, from the cache where it is there.

        Args:
            field: reads the cell.
            key: everything besides the cell that decides what reading gives.
            cell: in the manifest.
            resolve: what the cell stands for.

        Raises:
            BadCell: the cell cannot be used. Bad cells are never kept.
        """
        if self.folder is None:
            return field.read(cell, resolve)
        if self.private:
            identity = f"{key}\0{cell}"
        else:
            source = resolve(cell)
            if isinstance(source, np.ndarray):  # made, not read: it has no date by which a change would be seen
                return field.read(cell, lambda _: source)
            try:
                status = source.stat()
            except OSError:
                return field.read(cell, resolve)  # which says what is wrong with it
            identity = f"{key}\0{source}\0{status.st_mtime_ns}\0{status.st_size}"
        path = self.folder / hashlib.blake2b(identity.encode(), digest_size=20).hexdigest()
        value = _load(path)
        if value is None:
            value = field.read(cell, resolve)
            self._store(path, value)
        return value

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
    shared = Path("/dev/shm")
    parent = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(parent)
    room = int(shutil.disk_usage(parent).free * _SPARE)
    notes = []
    if room < limit:
        notes.append(
            f"the memory cache may take {room / _GIB:.1f} GiB of the {config.limit:g} asked: {parent} has no more"
        )
    folder = Path(tempfile.mkdtemp(prefix="weft-cache-", dir=parent))
    lock = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(
        lock, fcntl.LOCK_EX
    )  # held while the run lives: without it the folder is a killed run's, and is removed
    cache = Cache(folder, limit=min(limit, room), private=True)
    weakref.finalize(cache, _remove, folder, lock, os.getpid())
    return cache, notes


def _full(folder: Path, limit: int) -> str:
    return (
        f"the disk cache {folder} has reached its limit of {limit / _GIB:g} GiB; what is not in it is decoded each time"
    )


def _remove(folder: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker ends with a copy of this, and the folder is not its own
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of runs that were killed: nobody holds their lock."""
    for path in parent.glob("weft-cache-*.lock"):
        try:
            lock = os.open(path, os.O_RDWR)
        except OSError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
        finally:
            os.close(lock)


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
