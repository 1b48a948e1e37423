"""Raster files opened with suspicion: the size is looked at first, everything is decoded, and nothing is repaired."""

from __future__ import annotations

import math
import stat
import struct
import tokenize
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tifffile
from PIL import Image

from weft.modalities.base import BadCell

Mode = Literal["grey", "palette", "grey-alpha", "colour", "colour-alpha", "channels"]

#: Pixels that a file may hold: more than any camera in use, few enough to fit in memory many times.
MAX_PIXELS = 64_000_000

#: What Pillow may open. Formats that run other programs or draw vectors (EPS, PDF, WMF) are not among them.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")

#: Formats that invent values, as Pillow names them; WebP is looked at more closely.
_LOSSY = ("JPEG", "MPO", "JPEG2000")

#: What the libraries are known to raise on broken content.
_BROKEN: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    tokenize.TokenError,  # of a .npy header
    Image.DecompressionBombError,
)

#: Pillow's modes by ours; those missing here are colour spaces that are turned into RGB on loading.
_MODES: Mapping[str, Mode] = {
    "1": "grey",
    "L": "grey",
    "I": "grey",
    "F": "grey",
    "I;16": "grey",
    "I;16B": "grey",
    "I;16L": "grey",
    "P": "palette",
    "PA": "colour-alpha",
    "LA": "grey-alpha",
    "La": "grey-alpha",
    "RGB": "colour",
    "RGBA": "colour-alpha",
    "RGBa": "colour-alpha",
}

#: What an EXIF orientation asks for; rot90 turns clockwise where its count is negative.
_ORIENTATIONS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Raster:
    """What a file holds, upright and not yet converted.

    Attributes:
        pixels: (H, W) for grey and palette indices, else (H, W, C). One bit is bool.
        mode: what the channels mean; `channels` says nothing of them.
        palette: (n, 4) uint8 red, green, blue, alpha of a palette picture.
        lossy: stored by a method that invents values, so it cannot hold labels.
    """

    pixels: np.ndarray
    mode: Mode
    palette: np.ndarray | None = None
    lossy: bool = False


def open_raster(source: Path | np.ndarray, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Decode a picture, TIFF or .npy file whole.

    Args:
        source: a file, or an array (H, W) or (H, W, C) that is taken as it is.
        max_pixels: a file that declares more is refused before decoding.

    Raises:
        BadCell: missing, empty, of another type, truncated, or too large.
    """
    if isinstance(source, np.ndarray):
        return _of_array(source, "the array")
    head = first_bytes(source)
    if head.startswith(b"\x93NUMPY"):
        return _open_npy(source, max_pixels)
    try:
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _open_tiff(source, max_pixels)
        return _open_picture(source, max_pixels)
    except BadCell:
        raise
    except _BROKEN as error:
        raise _broken(source, head, error) from error


def header(source: Path) -> tuple[tuple[int, int], str]:
    """((H, W) as stored, Pillow's mode) of a picture, without decoding it.

    Raises:
        BadCell: the file is missing, empty or no picture.
    """
    head = first_bytes(source)
    try:
        with Image.open(source, formats=FORMATS) as image:
            return (image.height, image.width), image.mode
    except _BROKEN as error:
        raise _broken(source, head, error) from error


def first_bytes(path: Path) -> bytes:
    """The first bytes of a regular file that is there and not empty."""
    try:
        status = path.stat()
        regular = stat.S_ISREG(status.st_mode)  # looked at before opening: a pipe would never answer
        head = b""
        if regular:
            with path.open("rb") as file:
                head = file.read(512)
    except FileNotFoundError as error:
        raise BadCell("missing-file", f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise BadCell("unreadable-file", f"{path} cannot be read: {error}") from error
    if not regular:
        raise BadCell("not-a-file", f"{path} is not a regular file")
    if not head:
        raise BadCell("empty-file", f"{path} is empty (0 bytes); copy it again or remove its row")
    return head


def _broken(path: Path, head: bytes, error: Exception) -> BadCell:
    """What is wrong with a file that a decoder gave up on."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml")):
        return BadCell("not-an-image", f"{path} is a web page, not a picture; a download has failed, fetch it again")
    if isinstance(error, Image.UnidentifiedImageError):
        known = "JPEG, PNG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000 and .npy are read"
        return BadCell("not-an-image", f"{path} is not a picture that can be read; {known}")
    if isinstance(error, Image.DecompressionBombError):
        return BadCell("too-many-pixels", f"{path} is too large to be decoded: {error}")
    if isinstance(error, MemoryError):
        return BadCell("too-many-pixels", f"{path} does not fit in memory")
    return BadCell("truncated-image", f"{path} is cut off or damaged ({error}); copy it again or remove its row")


def check_size(path: Path, height: int, width: int, max_pixels: int) -> None:
    """Refuse what a file declares before it is decoded, where it holds nothing or more than `max_pixels`."""
    if height < 1 or width < 1:
        raise BadCell("no-pixels", f"{path} is {width}x{height} pixels: it holds nothing")
    if height * width > max_pixels:
        raise BadCell(
            "too-many-pixels",
            f"{path} declares {width}x{height} = {height * width / 1e6:.1f} million pixels and at most "
            f"{max_pixels / 1e6:.0f} million are decoded; scale it down, or raise max_pixels",
        )


def _open_picture(path: Path, max_pixels: int) -> Raster:
    image: Image.Image
    with Image.open(path, formats=FORMATS) as image:
        check_size(path, image.height, image.width, max_pixels)
        lossy = image.format in _LOSSY or (image.format == "WEBP" and b"VP8L" not in first_bytes(path))
        deep = bool(image.tile) and ";16" in str(image.tile[0][3]) and _MODES.get(image.mode) != "grey"
        image.load()
        orientation = _orientation(image)
        if deep:  # Pillow keeps only 8 of the 16 bits of a colour PNG
            mode: Mode = "colour" if image.mode == "RGB" else "colour-alpha"
            return Raster(_upright(_decode_deep(path), orientation), mode)
        palette = None
        if image.mode == "P":
            palette = _palette(image)
        elif image.mode not in _MODES:
            image = image.convert("RGB")
        elif image.mode in ("PA", "RGBa"):
            image = image.convert("RGBA")
        elif image.mode == "La":
            image = image.convert("LA")
        mode = _MODES[image.mode]
        pixels = np.array(image)  # a copy: Pillow's own memory cannot be written to
    return Raster(_upright(_native(pixels), orientation), mode, palette, lossy)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _BROKEN:  # an EXIF block that cannot be parsed asks for no rotation
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    turn = _ORIENTATIONS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _palette(image: Image.Image) -> np.ndarray:
    """(256, 4) colours of the indices; those that the file does not define are black."""
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 3] = 255
    index = Image.fromarray(np.arange(256, dtype=np.uint8)[None], "L")
    index.putpalette(image.getpalette("RGB") or [], "RGB")
    colours[:, :3] = np.asarray(index.convert("RGB"))[0]
    transparency = image.info.get("transparency")
    if isinstance(transparency, int):
        colours[transparency, 3] = 0
    elif isinstance(transparency, bytes):
        colours[: len(transparency), 3] = np.frombuffer(transparency, np.uint8)
    return colours


def _decode_deep(path: Path) -> np.ndarray:
    """(H, W, 3 or 4) uint16 of a colour PNG of 16 bits; Pillow has already found it whole."""
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise ValueError("its 16-bit colours cannot be decoded")
    order = [2, 1, 0] if pixels.shape[2] == 3 else [2, 1, 0, 3]
    return np.ascontiguousarray(pixels[..., order])


def _open_tiff(path: Path, max_pixels: int) -> Raster:
    """Compressed and coloured 8-bit TIFF goes the way of every picture; the rest is read as it is."""
    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            raise BadCell("tiff-pages", f"{path} holds {len(file.series)} pictures; store one in a file")
        series = file.series[0]
        page = file.pages.first
        check_size(path, page.imagelength, page.imagewidth, max_pixels)
        plain = page.compression == 1 and page.photometric in (1, 2) and page.bitspersample == 8
        if page.bitspersample in (1, 8) and page.samplesperpixel in (1, 3, 4) and len(series) == 1 and not plain:
            return _open_picture(path, max_pixels)
        axes = series.axes
        if len(axes) > 3 or "Y" not in axes or "X" not in axes:
            raise BadCell("tiff-pages", f"{path} has the axes {axes}; one picture (height, width, channels) is read")
        if math.prod(series.shape) > max_pixels * 8:  # as much memory as a picture of 16 channels may take
            raise BadCell("too-many-pixels", f"{path} declares {series.shape} values; store fewer channels in a file")
        pixels = series.asarray()
        orientation = int(page.tags.valueof(_ORIENTATION_TAG, 1))
    if pixels.ndim == 3:
        channel = next(place for place, axis in enumerate(axes) if axis not in "YX")
        pixels = np.moveaxis(pixels, channel, -1)
    raster = _of_array(pixels, str(path))
    return Raster(_upright(raster.pixels, orientation), raster.mode)


def _open_npy(path: Path, max_pixels: int) -> Raster:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise BadCell("truncated-image", f"{path} is not a whole .npy array of numbers: {error}") from error
    if mapped.ndim in (2, 3):
        check_size(path, mapped.shape[0], mapped.shape[1], max_pixels)
    return _of_array(np.array(mapped), str(path))


def _of_array(pixels: np.ndarray, name: str) -> Raster:
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise BadCell("not-an-image", f"{name} has the shape {pixels.shape}; (H, W) or (H, W, C) is read")
    if pixels.dtype.kind not in "biuf":
        raise BadCell("not-an-image", f"{name} holds {pixels.dtype}; whole or floating-point numbers are read")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        return Raster(_native(pixels), "grey")
    modes: Mapping[int, Mode] = {3: "colour", 4: "colour-alpha"} if pixels.dtype.kind == "u" else {}
    return Raster(_native(pixels), modes.get(pixels.shape[2], "channels"))


def _native(pixels: np.ndarray) -> np.ndarray:
    """The same values in the machine's byte order."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
