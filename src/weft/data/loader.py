"""Batches made ahead of their use: by a thread of this process, or by worker processes. What comes out is the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from weft.data.collate import Sample, collate
from weft.data.dataset import Key, SampleReader
from weft.data.sources import Dropped
from weft.errors import ResourceFault
from weft.modalities.base import Field, Modality
from weft.types import Batch

#: Batches that are made ahead, per worker.
AHEAD = 2

#: Seconds without a batch after which a worker is taken for hung.
PATIENCE = 600

#: Seconds between looks at whether the workers are alive.
_LOOK = 2


@dataclass(frozen=True)
class Request:
    """Which samples make a batch.

    Attributes:
        keys: of the samples.
        multiple: height and width are padded up to a multiple of this.
        smallest: a batch of fewer samples is not made.
        stored: leave out what frozen encoders need not see again.
    """

    keys: tuple[Key, ...]
    multiple: int = 1
    smallest: int = 1
    stored: bool = True


@dataclass(frozen=True)
class Loaded:
    """What came of a request.

    Attributes:
        batch: of the samples that can be used; None where they are too few.
        dropped: those that cannot.
    """

    batch: Batch | None
    dropped: tuple[Dropped, ...]

    def pin_memory(self) -> Loaded:
        """The same in page-locked memory."""
        return self if self.batch is None else replace(self, batch=self.batch.pin_memory())


class BatchReader(Dataset[Loaded]):
    """Batches by `Request`.

    Args:
        reader: of single samples.
        modalities, targets: how their values are stacked.
    """

    def __init__(self, reader: SampleReader, modalities: Mapping[str, Modality], targets: Mapping[str, Field]) -> None:
        self.reader = reader
        self.modalities = modalities
        self.targets = targets

    def __getitem__(self, request: Request) -> Loaded:
        found = self.reader.batch(request.keys, stored=request.stored)
        samples = [sample for sample in found if isinstance(sample, Sample)]
        dropped = tuple(sample for sample in found if isinstance(sample, Dropped))
        if len(samples) < request.smallest:
            return Loaded(None, dropped)
        return Loaded(collate(samples, self.modalities, self.targets, multiple=request.multiple), dropped)


class Loader:
    """Answers requests in their order.

    Args:
        batches: makes them.
        workers: processes; 0: a thread of this one.
        pin: put them in page-locked memory.
    """

    def __init__(self, batches: BatchReader, *, workers: int, pin: bool) -> None:
        self.batches = batches
        self.workers = workers
        self.pin = pin
        self._pool: _Pool | None = None

    def run(self, requests: Iterable[Request]) -> Generator[Loaded, None, None]:
        """What comes of each request.

        Raises:
            ResourceFault: a worker was killed or hangs.
        """
        if self.workers == 0:
            return self._by_thread(requests)
        if self._pool is None or self._pool.broken:
            self._pool = _Pool(self.batches, workers=self.workers, pin=self.pin, persistent=True)
        pool = self._pool
        if pool.busy:  # somebody reads a second split while a first is being read: processes of its own
            pool = _Pool(self.batches, workers=self.workers, pin=self.pin, persistent=False)
        return pool.run(requests)

    def use(self, reader: SampleReader) -> None:
        """Read samples in another way; worker processes are started anew."""
        self.close()
        self.batches = BatchReader(reader, self.batches.modalities, self.batches.targets)

    def close(self) -> None:
        """Let the worker processes go; another run starts new ones."""
        self._pool = None

    def _by_thread(self, requests: Iterable[Request]) -> Generator[Loaded, None, None]:
        # decoding, warping and copying release the interpreter's lock, so one thread is enough to overlap with the
        # step; OpenCV's own threads would only take the cores from it
        cv2.setNumThreads(0)
        thread = ThreadPoolExecutor(1, thread_name_prefix="weft-loader")
        waiting: deque[Future[Loaded]] = deque()
        try:
            for request in requests:
                waiting.append(thread.submit(self._make, request))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)

    def _make(self, request: Request) -> Loaded:
        loaded = self.batches[request]
        return loaded.pin_memory() if self.pin else loaded


class _Requests:
    """The requests of one run as a sampler, remembering which were handed out and not yet answered."""

    def __init__(self) -> None:
        self.source: Iterable[Request] = ()
        self.waiting: deque[Request] = deque()

    def __iter__(self) -> Iterator[Request]:
        for request in self.source:
            self.waiting.append(request)
            yield request


class _Pool:
    """Worker processes that stay from epoch to epoch.

    Attributes:
        busy: a run is going on.
        broken: a worker is lost; nothing more comes.
    """

    def __init__(self, batches: BatchReader, *, workers: int, pin: bool, persistent: bool) -> None:
        self.batches = batches
        self.busy = self.broken = False
        self._requests = _Requests()
        self._loader: DataLoader[Loaded] = DataLoader(
            batches,
            sampler=self._requests,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pin,
            timeout=_LOOK,
            worker_init_fn=_start_worker,
            prefetch_factor=AHEAD,
            persistent_workers=persistent,
            generator=torch.Generator(),  # or the loader would draw from the global one, and change what follows
        )

    def run(self, requests: Iterable[Request]) -> Generator[Loaded, None, None]:
        """What comes of each request; ends with `broken` set where a worker is lost."""
        self.busy = True
        self._requests.source = requests
        self._requests.waiting.clear()
        try:
            batches = self._start()
            while (loaded := self._next(batches)) is not None:
                self._requests.waiting.popleft()
                yield loaded
        finally:
            self.busy = False

    def _start(self) -> Iterator[Loaded]:
        # torch would raise in the middle of whatever is being done when a worker dies; it is found soon enough below
        before = signal.getsignal(signal.SIGCHLD)
        batches = iter(self._loader)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)
        return batches

    def _next(self, batches: Iterator[Loaded]) -> Loaded | None:
        """The next batch, or None after the last."""
        since = time.monotonic()
        while True:
            try:
                return next(batches, None)
            except (RuntimeError, EOFError, ConnectionError) as error:
                if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader"):
                    raise
                hung = "timed out" in str(error)
                if hung and time.monotonic() - since < PATIENCE:
                    continue
                self.broken = True
                raise ResourceFault(self._explain(hung), code="loader-worker") from error

    def _explain(self, hung: bool) -> str:
        manifest = self.batches.reader.manifest
        rows = [key.row for request in self._requests.waiting for key in request.keys]
        ids = [manifest.id(row) for row in rows[:1] + rows[1:][-1:]]
        what = f"gave nothing for {PATIENCE} seconds" if hung else "was killed, most often for want of memory"
        where = f"among the {len(rows)} samples from {ids[0]} to {ids[-1]}" if ids else "before its first sample"
        return (
            f"a process that reads samples {what}, {where}; use fewer data.workers, a smaller cache or batch, or look "
            "at those files with `weft data`"
        )


def auto_workers(beside: int = 1) -> int:
    """Processes for this machine: none where the network needs the few cores, else half of them, at most 8.

    Args:
        beside: networks that share the machine.
    """
    cores = len(os.sched_getaffinity(0)) // beside
    return 0 if cores < 4 else min(8, cores // 2)


def _as_it_is(loaded: Any) -> Any:
    return loaded


def _start_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    cv2.setNumThreads(0)  # one process is one thread: the processes are the parallelism
