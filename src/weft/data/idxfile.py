"""The idx files of MNIST: a header of whole numbers, then bytes; packed by gzip or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from weft.errors import DataFault

#: Bytes that a file may hold once unpacked: twenty times those of MNIST.
_MAX_BYTES = 1 << 30

#: The only type of number that MNIST and its relatives use.
_UNSIGNED_BYTE = 8


@lru_cache(maxsize=4)
def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """The whole array of an idx file of unsigned bytes, read-only; kept for the next who asks.

    Args:
        path: the file, packed by gzip or not, whatever its name.
        num_axes: that it must have: 3 for pictures (N, H, W), 1 for labels (N,).

    Raises:
        DataFault: missing, not such a file, or shorter or longer than its header says.

    Reference: LeCun, Cortes, Burges, The MNIST database of handwritten digits: the IDX file format.
    """
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] != _UNSIGNED_BYTE or start[3] != num_axes:
                raise DataFault(
                    f"{path} begins with {start.hex(' ')}; an idx file of unsigned bytes with {num_axes} axes begins "
                    f"with 00 00 08 {num_axes:02x}",
                    code="wrong-type",
                )
            axes = file.read(4 * num_axes)
            shape = struct.unpack(f">{len(axes) // 4}I", axes[: len(axes) // 4 * 4])
            size = math.prod(shape)
            if size > _MAX_BYTES:
                raise DataFault(f"{path} declares {shape} values; at most {_MAX_BYTES} are read", code="too-large")
            content = file.read(size + 1)
    except FileNotFoundError as error:
        raise DataFault(f"{path} does not exist", code="missing-file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataFault(f"{path} cannot be read: {error}; copy it again", code="truncated-file") from error
    if len(shape) != num_axes or len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise DataFault(
            f"{path} declares {' x '.join(map(str, shape))} bytes and holds {found}; copy it again",
            code="truncated-file",
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
