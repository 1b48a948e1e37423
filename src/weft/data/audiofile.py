"""Sound files opened with suspicion: what they declare is looked at first, and a file that ends early is refused."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from weft.data.clipcell import Part
from weft.data.rasterfile import first_bytes
from weft.data.soundtrack import Cut, read_soundtrack
from weft.data.videofile import container_of
from weft.modalities.base import BadCell
from weft.optional import require

Kind = Literal["wav", "flac", "ogg"]

#: Values (frames x channels) that a file may hold: 52 minutes of stereo at 16 kHz, 400 MB as float32.
MAX_SAMPLES = 100_000_000

#: Endings of sound files that weft reads; what a file is, is told by its first bytes.
SOUNDS = (".wav", ".wave", ".flac", ".ogg", ".oga")

#: Rates that a sound can have; outside them a header is wrong.
_RATES = (1_000, 768_000)

#: Frames that are decoded at once.
_CHUNK = 1 << 16

#: Floating-point sounds may overshoot 1 a little; beyond this they are in another unit.
_OVERSHOOT = 2.0

#: So many equal samples in a row at the top or bottom are no peak, but a limit that was reached.
_CLIPPED = 4

#: Sizes that writers leave in a header when they cannot go back to fill it in.
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

#: Head of an ogg page: mark, version, flags, position, stream, number, checksum, segments (RFC 3533).
_PAGE = struct.Struct("<4sBBqIIIB")
_LAST_PAGE = 0x04

#: Every byte with its bits the other way round.
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

#: First bytes of what is often taken for a sound file, and what it is.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"ID3", "an MP3 file"),
    (b"\xff\xfb", "an MP3 file"),
    (b"\xff\xf3", "an MP3 file"),
    (b"\xff\xf2", "an MP3 file"),
    (b"FORM", "an AIFF file"),
    (b"RF64", "a wav file of more than 4 GB"),
    (b"<", "a web page; a download has failed"),
)


@dataclass(frozen=True)
class Sound:
    """What a file holds.

    Attributes:
        samples: (L, C) float32 in [-1, 1].
        sample_rate: in Hz.
    """

    samples: np.ndarray
    sample_rate: int


@dataclass(frozen=True)
class Header:
    """What a file declares.

    Attributes:
        kind: wav, flac or ogg (Vorbis).
        sample_rate: in Hz.
        num_channels: as stored.
        num_frames: samples of each channel.
    """

    kind: Kind
    sample_rate: int
    num_channels: int
    num_frames: int


def open_sound(
    source: Path | np.ndarray,
    *,
    sample_rate: int,
    max_samples: int = MAX_SAMPLES,
    part: Part | None = None,
    seconds: float | None = None,
    cut: Cut = "centre",
) -> Sound:
    """Decode a wav, flac or ogg (Vorbis) file, or the sound of a video file, whole or in part.

    Args:
        source: a file, or an array (L,) or (L, C): floating point in [-1, 1], or int16.
        sample_rate: of an array, in Hz; a file knows its own.
        max_samples: a file that declares more values is refused before decoding.
        part: which seconds of it are meant, or which frames of a video file.
        seconds, cut: so many are wanted, which are its centre or its start: of a video file hardly more is decoded.

    Raises:
        BadCell: missing, empty, of another type, cut off, too long, without a sample, or not in [-1, 1].
        WeftError: the decoder is not installed.
    """
    if isinstance(source, np.ndarray):
        return Sound(_of_array(source, "the array"), sample_rate)
    if container_of(first_bytes(source)) is not None:
        samples, rate = read_soundtrack(source, part=part, seconds=seconds, cut=cut, max_samples=max_samples)
        return Sound(_of_array(samples, str(source)), rate)
    sound = _open_whole(source, max_samples)
    return sound if part is None else _cut(sound, part, source)


def _cut(sound: Sound, part: Part, source: Path) -> Sound:
    """The seconds of a part."""
    if part.unit != "t":
        raise BadCell("bad-part", f"{source} is a sound and has no frames; name a part of it by #t=START,STOP")
    stop = None if part.stop is None else round(part.stop * sound.sample_rate)
    samples = sound.samples[round((part.start or 0) * sound.sample_rate) : stop]
    if not len(samples):
        seconds = len(sound.samples) / sound.sample_rate
        raise BadCell("empty-sound", f"{source} has {seconds:.4g} s and no sound there; correct what is behind the #")
    return Sound(samples.copy(), sound.sample_rate)  # a view would keep the whole sound in memory


def _open_whole(source: Path, max_samples: int) -> Sound:
    """A wav, flac or ogg file."""
    found = header(source)
    num_samples = found.num_frames * found.num_channels
    if num_samples > max_samples:
        raise BadCell(
            "too-long",
            f"{source} declares {found.num_frames / found.sample_rate:.4g} s of {found.num_channels} channels at "
            f"{found.sample_rate} Hz, {num_samples:,} samples in all, and at most {max_samples:,} are decoded; cut it "
            "into pieces, or raise max_samples",
        )
    samples = _decode(source, found)
    if len(samples) < found.num_frames:
        raise _cut_off(source, f"{len(samples)} of the {found.num_frames} samples that it declares can be decoded")
    return Sound(_of_array(samples, str(source)), found.sample_rate)


def header(path: Path) -> Header:
    """What a sound file declares, without decoding it.

    Raises:
        BadCell: missing, empty, of another type, or cut off.
        WeftError: the decoder is not installed.
    """
    head = first_bytes(path)
    kind = _kind(path, head)
    if kind == "wav":
        _check_chunks(path)
    elif kind == "ogg":
        _check_pages(path)
    decoder = require("miniaudio", extra="audio")
    describe = {
        "wav": decoder.wav_get_file_info,
        "flac": decoder.flac_get_file_info,
        "ogg": decoder.vorbis_get_file_info,
    }
    try:
        info = describe[kind](str(path))
    except (decoder.MiniaudioError, ValueError, ZeroDivisionError) as error:
        if kind == "ogg" and b"vorbis" not in head:
            raise BadCell(
                "not-a-sound", f"{path} is ogg without Vorbis (Opus, Speex or FLAC); convert it to flac or wav"
            ) from error
        raise _cut_off(path, str(error)) from error
    if not _RATES[0] <= info.sample_rate <= _RATES[1]:
        raise BadCell("wrong-rate", f"{path} declares a rate of {info.sample_rate} Hz; its header is damaged")
    if info.num_frames < 1:
        raise BadCell("empty-sound", f"{path} holds no sample; record it again or remove its row")
    return Header(kind, int(info.sample_rate), int(info.nchannels), int(info.num_frames))


def to_mono(samples: np.ndarray) -> np.ndarray:
    """(L,) the mean of the channels of (L, C)."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(1, dtype=np.float32)


def resample(samples: np.ndarray, old: int, new: int) -> np.ndarray:
    """(L',) of (L,): from `old` to `new` Hz, by a polyphase filter that lets no frequency alias; within [-1, 1]."""
    if old == new:
        return samples
    from scipy.signal import resample_poly  # slow to import, and most sounds have the wanted rate

    divisor = gcd(old, new)
    changed: np.ndarray = resample_poly(samples, new // divisor, old // divisor)
    return np.clip(changed, -1, 1).astype(np.float32, copy=False)


def is_clipped(samples: np.ndarray) -> bool:
    """Whether (L, C) samples stay at their largest or smallest value for several in a row, near full scale."""
    for edge in (samples.max(), samples.min()):
        if abs(edge) < 0.9:  # an amplifier may reach its limit a little below the converter's
            continue
        at_edge = samples == edge
        rows = len(samples) - _CLIPPED + 1
        if rows > 0 and np.logical_and.reduce([at_edge[i : i + rows] for i in range(_CLIPPED)]).any():
            return True
    return False


def _kind(path: Path, head: bytes) -> Kind:
    """By its first bytes, whatever its name says."""
    if head[:4] == b"RIFF" and head[8:12] in (b"WAVE", b""):
        return "wav"
    for start, kind in ((b"fLaC", "flac"), (b"OggS", "ogg")):
        if head.startswith(start):
            return kind  # type: ignore[return-value]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    what = next((f"{name}, not" for start, name in _OTHERS if text.startswith(start)), "not")
    raise BadCell("not-a-sound", f"{path} is {what} a sound that can be read; wav, flac and ogg (Vorbis) are")


def _check_chunks(path: Path) -> None:
    """Refuse a wav file whose data ends before its header says: the decoder takes what is there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        while chunk := _next_chunk(file):
            name, length = chunk
            if name != b"data":
                file.seek(length + length % 2, 1)  # chunks start at even places
                continue
            there = size - file.tell()
            if length not in _UNKNOWN_SIZES and length > there:
                raise _cut_off(path, f"{there} of the {length} bytes that it declares are there")
            return
    raise _cut_off(path, "it has no data")


def _check_pages(path: Path) -> None:
    """Refuse an ogg file that is not whole, page by page: the decoder does not survive every kind of damage."""
    last = 0
    with path.open("rb") as file:
        while head := file.read(_PAGE.size):
            if len(head) < _PAGE.size or head[:4] != b"OggS":
                raise _cut_off(path, "a page is cut off, or something else stands in its place")
            _, _, last, _, _, _, checksum, num_segments = _PAGE.unpack(head)
            segments = file.read(num_segments)
            page = head[:22] + bytes(4) + head[26:] + segments + file.read(sum(segments))
            if _ogg_checksum(page) != checksum:
                raise _cut_off(path, "the checksum of a page is wrong")
    if not last & _LAST_PAGE:
        raise _cut_off(path, "its last page is missing")


def _ogg_checksum(page: bytes) -> int:
    """The CRC of a page whose own field for it is 0: as zlib's, with all bits the other way round and none inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


def _next_chunk(file: BinaryIO) -> tuple[bytes, int] | None:
    """(name, bytes that follow) of a RIFF chunk; None at the end."""
    start = file.read(8)
    if len(start) < 8:
        return None
    name, length = struct.unpack("<4sI", start)
    return name, length


def _decode(path: Path, found: Header) -> np.ndarray:
    """(L, C) float32, with no more frames than were declared: memory is bounded by what the header was judged by."""
    decoder = require("miniaudio", extra="audio")
    chunks: list[np.ndarray] = []
    num_frames = 0
    try:
        stream: Any = decoder.stream_file(
            str(path), decoder.SampleFormat.FLOAT32, found.num_channels, found.sample_rate, _CHUNK
        )
        for chunk in stream:
            chunks.append(np.frombuffer(chunk, np.float32).reshape(-1, found.num_channels))
            num_frames += len(chunks[-1])
            if num_frames >= found.num_frames:
                break
    except decoder.MiniaudioError as error:
        raise _cut_off(path, str(error)) from error
    return np.concatenate([np.zeros((0, found.num_channels), np.float32), *chunks])[: found.num_frames]


def _of_array(samples: np.ndarray, name: str) -> np.ndarray:
    """(L, C) float32 in [-1, 1] of (L,) or (L, C); what overshoots a little is clipped."""
    if samples.ndim not in (1, 2) or 0 in samples.shape:
        raise BadCell("empty-sound", f"{name} has the shape {samples.shape}; (L,) or (L, C) with L >= 1 is read")
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / np.float32(2**15)
    elif samples.dtype.kind != "f":
        raise BadCell("not-a-sound", f"{name} holds {samples.dtype}; give floating point in [-1, 1], or int16")
    samples = samples.astype(np.float32, copy=False).reshape(len(samples), -1)
    if not np.isfinite(samples).all():
        raise BadCell("not-finite", f"{name} holds values that are not finite; write it again")
    peak = float(np.abs(samples).max())
    if peak > _OVERSHOOT:
        raise BadCell("sound-range", f"{name} has values up to {peak:.3g}; a sound lies in [-1, 1]: scale it")
    return np.clip(samples, -1, 1) if peak > 1 else samples


def _cut_off(path: Path, reason: str) -> BadCell:
    return BadCell("truncated-sound", f"{path} is cut off or damaged ({reason}); copy it again or remove its row")
