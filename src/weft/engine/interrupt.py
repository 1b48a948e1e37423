"""SIGINT and SIGTERM: finish the step, save, leave; a second signal leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any

from weft.errors import ResourceFault
from weft.types import Batch


class Signals:
    """A context in which the first signal only sets `received`.

    Args:
        launched: by something that sends a signal to all processes and again to each, and ends them by itself when they
            take too long: then further ones change nothing.

    Attributes:
        received: the number of the signal that came, or None.
    """

    def __init__(self, *, launched: bool = False) -> None:
        self.received: int | None = None
        self._launched = launched
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python does not allow handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if not self._launched:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()


def until_asked(groups: Iterable[list[Batch]], signals: Signals) -> Iterator[list[Batch]]:
    """The groups; a last one of nothing where a signal ended what reads them together with this process."""
    try:
        yield from groups
    except ResourceFault:
        if signals.received is None:
            raise
        yield []
