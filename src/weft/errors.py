"""The errors a user can meet, each with its exit code; the command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

#: The end of a message about a sample that cannot be used.
ONE_OF_SOME = "`weft data` lists all such faults; to leave such samples out, set data.on_bad to drop"


class WeftError(Exception):
    """The user's mistake, in words: what was given, what is allowed, what to do.

    Attributes:
        exit_code: of the command line.
        code: a stable short name of the fault, such as "truncated-image".
    """

    exit_code = 1

    def __init__(self, message: str, *, code: str = "mistake") -> None:
        super().__init__(message)
        self.code = code


class DataFault(WeftError):
    """The data cannot be used as it is."""

    exit_code = 3


class NumericFault(WeftError):
    """A loss, gradient or weight is not finite."""

    exit_code = 4


class ResourceFault(WeftError):
    """Memory, disk or a device is lacking."""

    exit_code = 5


class Interrupted(WeftError):
    """Stopped by a signal after saving a checkpoint; 128 + the signal's number."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message, code="interrupted")
        self.exit_code = 128 + signal_number


class ElsewhereFault(WeftError):
    """Another of the processes has ended; the message repeats its words, and the exit code is its own."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message, code="elsewhere")
        self.exit_code = exit_code


class ConfigError(WeftError):
    """A configuration that cannot be used, with all its problems.

    Attributes:
        problems: one line each, with the path and where possible the line in the file.
    """

    exit_code = 2

    def __init__(self, problems: list[str], *, source: str = "configuration") -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {line}" for line in problems)]), code="config")


def all_of(faults: Sequence[DataFault]) -> DataFault:
    """Several faults as one; the first ten are told."""
    if len(faults) == 1:
        return faults[0]
    lines = [f"{len(faults)} faults:", *(f"  {fault}" for fault in faults[:10])]
    rest = [f"  and {len(faults) - 10} more"] if len(faults) > 10 else []
    return DataFault("\n".join([*lines, *rest]), code=faults[0].code)


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """The end of a message that refuses a name: "; did you mean …?" with the nearest of some; empty where none is."""
    near = get_close_matches(name, list(names), n=1) if isinstance(name, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def first_few(names: Sequence[str]) -> str:
    """Names for a message: the first ten of them."""
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
