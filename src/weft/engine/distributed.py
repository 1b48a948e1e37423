"""Several processes as one: what they tell each other, behind one small interface that costs a single one nothing."""

from __future__ import annotations

import atexit
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from weft.data.shard import Shard
from weft.errors import ElsewhereFault, ResourceFault, WeftError

T = TypeVar("T")

#: How long a process waits for the others: the first may be fitting, evaluating or writing all the while.
PATIENCE = timedelta(hours=2)

#: How long to look for the last words of a process that is gone.
LAST_WORDS = timedelta(seconds=3)

#: Where these are left.
_KEY = "weft/failed"


class Gathering:
    """The processes that train or evaluate together: this one alone.

    Every method is called by all processes, in the same order.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
        local_rank, local_size: the same among those of this machine.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and decides."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """What this process reads of the data."""
        return Shard(self.rank, self.size, self.local_size)

    def first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, which alone calls it; where it fails there, all fail."""
        return make()

    def all(self, value: T) -> list[T]:
        """The value of every process, by rank."""
        return [value]

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        return number

    def add(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """{name: sum over the processes}; all give the same names in the same order."""
        return dict(numbers)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes of tensors of one shape."""
        return values

    def sum_gradients(
        self, gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]
    ) -> list[Tensor | None]:
        """The sum over the processes of each parameter's gradient; None where no process has one."""
        return list(gradients)

    def average(self, values: Sequence[Tensor]) -> None:
        """Put the mean over the processes in the place of each tensor."""

    def share_weights(self, module: nn.Module) -> None:
        """Give all processes the first one's parameters and buffers."""

    def wait(self) -> None:
        """Go on when all processes are here."""

    def tell(self, error: BaseException) -> None:
        """Leave word of what this process ends with."""

    def ending(self, error: WeftError) -> WeftError:
        """What this process ends with where all end for one reason: the first one says which."""
        return error


#: One process, with nobody to tell.
ALONE = Gathering()


@dataclass(frozen=True)
class _Failed:
    """What `first` hands on in the place of a value."""

    message: str
    exit_code: int


class _Processes(Gathering):
    """Several processes, over torch.distributed: gloo between processors, NCCL between GPUs.

    What is agreed on is small and goes between processors; only gradients and weights go between the devices that they
    are on. A process that is gone is noticed in the next exchange.

    Args:
        store: that the processes found each other by.
        rank, size: of this process, and how many there are.
        local_rank, local_size: the same on this machine.
    """

    def __init__(self, store: dist.Store, *, rank: int, size: int, local_rank: int, local_size: int) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size
        self._store = store

    def first(self, make: Callable[[], T]) -> T:
        said: list[T | _Failed | None] = [None]
        if self.leads:
            try:
                said = [make()]
            except Exception as error:
                with self._exchange():
                    dist.broadcast_object_list([_Failed(str(error), _exit_code(error))])
                raise
        with self._exchange():
            dist.broadcast_object_list(said)
        if isinstance(said[0], _Failed):
            raise self._elsewhere(said[0].message, rank=0, exit_code=said[0].exit_code)
        return said[0]  # type: ignore[return-value]  # what `make` gave

    def all(self, value: T) -> list[T]:
        values: list[T | None] = [None] * self.size
        with self._exchange():
            dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # every place is filled

    def largest(self, number: int) -> int:
        values = torch.tensor(number)
        with self._exchange():
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return int(values)

    def add(self, numbers: Mapping[str, float]) -> dict[str, float]:
        totals = self.sum(torch.tensor(list(numbers.values()), dtype=torch.float64))
        return dict(zip(numbers, totals.tolist(), strict=True))

    def sum(self, values: Tensor) -> Tensor:
        values = values.clone()
        with self._exchange():
            dist.all_reduce(values)
        return values

    def sum_gradients(
        self, gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]
    ) -> list[Tensor | None]:
        if not parameters:
            return []
        number = sum(parameter.numel() for parameter in parameters)
        flat = torch.zeros(number + len(parameters), device=parameters[0].device)
        given = flat[number:]  # how many processes have a gradient of each
        places = list(_places(flat, parameters))
        for index, (place, gradient) in enumerate(zip(places, gradients, strict=True)):
            if gradient is not None:
                place.copy_(gradient)
                given[index] = 1
        with self._exchange():
            dist.all_reduce(flat)
        return [
            torch.empty_like(parameter).copy_(place) if here else None
            for place, parameter, here in zip(places, parameters, given.tolist(), strict=True)
        ]

    def average(self, values: Sequence[Tensor]) -> None:
        if not values:
            return
        flat = torch.cat([value.reshape(-1).float() for value in values])
        with self._exchange():
            dist.all_reduce(flat)
        for value, mean in zip(values, (flat / self.size).split([value.numel() for value in values]), strict=True):
            value.copy_(mean.view_as(value))

    def share_weights(self, module: nn.Module) -> None:
        with torch.no_grad(), self._exchange():
            for tensor in (*module.parameters(), *module.buffers()):
                own = tensor.contiguous()
                dist.broadcast(own, src=0)
                tensor.copy_(own)

    def wait(self) -> None:
        self.largest(0)  # between processors, whatever the network is on

    def tell(self, error: BaseException) -> None:
        if isinstance(error, ElsewhereFault):
            return
        word = {"rank": self.rank, "message": str(error) or type(error).__name__, "exit_code": _exit_code(error)}
        try:
            self._store.compare_set(_KEY, "", json.dumps(word))  # only what was told first counts
        except RuntimeError:  # the store has ended with the process that kept it
            return

    def ending(self, error: WeftError) -> WeftError:
        return error if self.leads else self._elsewhere(str(error), rank=0, exit_code=error.exit_code)

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Around a collective: where it breaks off, another process has ended."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            try:
                self._store.wait([_KEY], LAST_WORDS)
                word = json.loads(self._store.get(_KEY))
            except RuntimeError:
                raise ElsewhereFault(
                    f"rank {self.rank} of {self.size} processes stops, as another has ended without a word; it may "
                    f"have been killed, most often for want of memory ({error}). The last checkpoint stands",
                    exit_code=ResourceFault.exit_code,
                ) from error
            raise self._elsewhere(word["message"], rank=word["rank"], exit_code=word["exit_code"]) from error

    def _elsewhere(self, message: str, *, rank: int, exit_code: int) -> ElsewhereFault:
        return ElsewhereFault(
            f"rank {self.rank} of {self.size} processes stops, as rank {rank} did: {message}", exit_code=exit_code
        )


@contextmanager
def together() -> Iterator[Gathering]:
    """The processes that torchrun started, this one among them; this one alone where it was started by itself.

    What ends one of them ends all: its words are left for the others.

    Raises:
        ResourceFault: the variables that torchrun sets are not all there, or the others cannot be found.
    """
    gathering = _join() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ALONE
    try:
        yield gathering
    except BaseException as error:
        if gathering.size > 1:
            gathering.tell(error)
            atexit.unregister(dist.destroy_process_group)  # it would wait for those that are gone
            if threading.current_thread() is threading.main_thread():
                # the launcher ends all as soon as one has failed: each is to come to its last word and exit code
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise


@cache
def _join() -> Gathering:
    """Find the others; once in the life of a process."""
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ResourceFault(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, so there are several processes, and {', '.join(missing)} "
            "is not set; start them with torchrun, or unset WORLD_SIZE",
            code="launch",
        )
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=PATIENCE))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ResourceFault(f"the processes could not find each other: {error}", code="launch") from error
    atexit.register(dist.destroy_process_group)
    return _Processes(
        store,
        rank=rank,
        size=size,
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
    )


def _places(flat: Tensor, parameters: Sequence[nn.Parameter]) -> Iterator[Tensor]:
    """A stretch of a flat tensor for each parameter, in the shape of it and in the order in which it lies in memory."""
    start = 0
    for parameter in parameters:
        stretch = flat[start : start + parameter.numel()]
        dense = torch.empty_like(parameter, device="meta").stride()  # of a view with gaps, the order without them
        yield stretch.as_strided(parameter.shape, dense)
        start += parameter.numel()


def _exit_code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, WeftError) else 1
