"""A folder in memory that ends with its run, however that ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

#: Shared memory that is left to others (the loader's workers pass batches through it).
_SPARE = 0.5


class MemoryFolder:
    """A folder of shared memory, or of temporary files where there is none; it lives as long as this object.

    Folders of runs that were killed are removed by the next one.

    Attributes:
        path: the folder.
        room: bytes that it may take.
    """

    def __init__(self) -> None:
        shared = Path("/dev/shm")
        parent = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
        _sweep(parent)
        self.room = int(shutil.disk_usage(parent).free * _SPARE)
        self.path = Path(tempfile.mkdtemp(prefix="weft-cache-", dir=parent))
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        # held while the run lives: without it the folder is a killed run's, and is removed
        fcntl.flock(lock, fcntl.LOCK_EX)
        weakref.finalize(self, _remove, self.path, lock, os.getpid())


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
