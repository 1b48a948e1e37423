"""Hashes of whole columns of strings at once: what chance decides by, whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def hash_strings(values: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    """(n,) uint64 hashes of strings under a seed: FNV-1a over the bytes, then the finish of SplitMix64.

    Reference: Fowler, Noll, Vo, draft-eastlake-fnv; Steele et al., OOPSLA 2014, doi:10.1145/2660193.2660195.
    """
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    parts = [_of_bytes(pc.cast(chunk, pa.large_string())) for chunk in chunks]
    hashes = np.concatenate([np.zeros(0, np.uint64), *parts])
    hashes ^= np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes ^= hashes >> np.uint64(shift)
        hashes *= np.uint64(factor)  # modulo 2^64, as meant
    return hashes ^ (hashes >> np.uint64(31))


def _of_bytes(strings: pa.Array) -> np.ndarray:
    """(n,) uint64 FNV-1a of each string, a byte of all of them at a time."""
    _, offset_buffer, data_buffer = strings.buffers()
    if data_buffer is None or len(strings) == 0:
        return np.full(len(strings), 0xCBF29CE484222325, np.uint64)
    offsets = np.frombuffer(offset_buffer, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    data = np.frombuffer(data_buffer, np.uint8)
    lengths = np.diff(offsets)
    shortest = int(lengths.min())
    hashes = np.full(len(strings), 0xCBF29CE484222325, np.uint64)
    for place in range(int(lengths.max())):
        longer = slice(None) if place < shortest else np.flatnonzero(lengths > place)
        hashes[longer] = (hashes[longer] ^ data[offsets[:-1][longer] + place]) * np.uint64(0x100000001B3)
    return hashes
