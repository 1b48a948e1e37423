"""Cells become arrays by declared rules: pictures, label maps and depth; what no rule covers is refused.

Pictures: grey is repeated to the wanted channels, colour becomes grey by ITU-R 601 weights, palettes and other colour
spaces (CMYK, YCbCr, LAB, HSV) become RGB, transparency is laid over black. 8 and 16 bits stay as they are, all other
numbers become float32. EXIF orientation is always applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from weft.data.rasterfile import MAX_PIXELS, Raster, header, open_raster
from weft.modalities.base import BadCell

Colour = tuple[int, int, int]

#: Brightness of red, green and blue (ITU-R 601), as in Pillow and OpenCV.
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def read_image(source: Path | np.ndarray, *, channels: int = 3, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A raster of a stated number of channels.

    Args:
        source: a file, or an array (H, W) or (H, W, C).
        channels: wanted channels; 1 and 3 are reached by conversion, others must be there.
        max_pixels: files that declare more are refused before decoding.

    Returns:
        (H, W, channels) uint8, uint16 or float32.

    Raises:
        BadCell: the file cannot be decoded, or no rule leads to that number of channels.
    """
    raster = open_raster(source, max_pixels=max_pixels)
    pixels = _channels(raster, channels, source)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32, copy=False)
    return np.ascontiguousarray(pixels)


def read_label(
    source: Path | np.ndarray, *, colours: Mapping[Colour, int] | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """A label map: grey values and palette indices are the labels; colours need a table.

    Args:
        source: a file, or an array (H, W) of whole numbers.
        colours: {(red, green, blue): label}; with it, palettes and colours are both read by colour.
        max_pixels: files that declare more are refused before decoding.

    Returns:
        (H, W) uint8, uint16 or int32.

    Raises:
        BadCell: stored with loss, in colours without a table, in a colour outside it, or not in whole numbers.
    """
    name = _name(source)
    raster = open_raster(source, max_pixels=max_pixels)
    if raster.lossy:
        raise BadCell("lossy-label", f"{name} is a label map stored with loss, which invents labels; store it as PNG")
    if colours is not None and (raster.mode == "palette" or raster.mode.startswith("colour")):
        return _by_colour(_channels(raster, 3, source), colours, name)
    if raster.mode not in ("grey", "palette"):
        raise BadCell(
            "colour-label",
            f"{name} is a label map in colours ({raster.pixels.shape[2]} channels); give the table of its colours, "
            "or store class numbers in one channel",
        )
    pixels = raster.pixels.astype(np.uint8) if raster.pixels.dtype == bool else raster.pixels
    if pixels.dtype.kind == "f" and not bool((np.isfinite(pixels) & (pixels == np.round(pixels))).all()):
        raise BadCell("label-not-whole", f"{name} is a label map with values that are not whole numbers")
    if pixels.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(pixels)
    if pixels.min() < -(2**31) or pixels.max() >= 2**31:
        raise BadCell("label-range", f"{name} is a label map with values beyond 32 bits")
    return np.ascontiguousarray(pixels.astype(np.int32))


def read_depth(
    source: Path | np.ndarray,
    *,
    metres_per_unit: float | None,
    unknown: Sequence[float] = (),
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """A depth map in metres; what is not known is 0.

    Args:
        source: a file, or an array (H, W).
        metres_per_unit: metres of one stored unit (0.001 for millimetres); None: floating-point files hold metres.
        unknown: stored values that mean "not known", besides 0, negative, NaN and Inf.
        max_pixels: files that declare more are refused before decoding.

    Returns:
        (H, W) float32 metres, 0 = unknown.

    Raises:
        BadCell: more than one channel, or whole numbers without a declared scale.
    """
    raster = open_raster(source, max_pixels=max_pixels)
    if raster.mode != "grey":
        raise BadCell(
            "depth-channels", f"{_name(source)} is a depth map with {raster.mode} pixels; one channel is read"
        )
    if raster.lossy:
        raise BadCell("lossy-depth", f"{_name(source)} is depth stored with loss; store it as 16-bit PNG or TIFF")
    stored = raster.pixels
    if metres_per_unit is None:
        if stored.dtype.kind != "f":
            raise BadCell(
                "depth-scale",
                f"{_name(source)} holds depth as {stored.dtype}; declare metres_per_unit (0.001 for millimetres)",
            )
        metres_per_unit = 1.0
    metres = stored.astype(np.float32) * np.float32(metres_per_unit)
    known = np.isfinite(metres) & (metres > 0)
    for value in unknown:
        known &= stored != value
    return np.where(known, metres, np.float32(0))


def conversion(source: Path, *, channels: int = 3) -> str:
    """What `read_image` would do to a picture, such as "grey to RGB", from its header alone; "" where nothing.

    Raises:
        BadCell: the file is missing, empty or no picture.
    """
    _, mode = header(source)
    have = {"1": "grey", "L": "grey", "I": "grey", "F": "grey", "P": "palette", "LA": "grey with alpha"}.get(mode, mode)
    have = "grey" if have.startswith("I;") else "RGB with alpha" if have == "RGBA" else have
    wanted = {1: "grey", 3: "RGB", 4: "RGB with alpha"}.get(channels, f"{channels} channels")
    return "" if have == wanted else f"{have} to {wanted}"


def _channels(raster: Raster, channels: int, source: Path | np.ndarray) -> np.ndarray:
    """(H, W, channels) by the declared rules."""
    pixels = raster.pixels
    if pixels.ndim == 3 and pixels.shape[2] == channels:
        return pixels
    if raster.mode == "palette" and raster.palette is not None:
        pixels = raster.palette[pixels]
        if channels != 4:
            pixels = _over_black(pixels)
    elif raster.mode in ("grey-alpha", "colour-alpha") and channels in (1, 3):
        pixels = _over_black(pixels)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    have = pixels.shape[2]
    if have == channels:
        return pixels
    if have == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if have == 3 and channels == 1 and raster.mode != "channels":
        grey = pixels.astype(np.float32) @ _LUMINANCE
        return grey.round().astype(pixels.dtype)[:, :, None] if pixels.dtype.kind == "u" else grey[:, :, None]
    raise BadCell(
        "channels",
        f"{_name(source)} has {have} channels ({raster.mode}) and {channels} are wanted; set `channels: {have}`, "
        "or convert the file",
    )


def _over_black(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) laid over black by its last channel, which goes: (H, W, C - 1)."""
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    if bool((alpha == full).all()):
        return colour
    return (colour.astype(np.float32) * (alpha.astype(np.float32) / full)).round().astype(pixels.dtype)


def _by_colour(pixels: np.ndarray, colours: Mapping[Colour, int], name: str) -> np.ndarray:
    """(H, W) labels of (H, W, 3) colours."""
    if pixels.dtype != np.uint8:
        raise BadCell("colour-label", f"{name} is a label map in colours of {pixels.dtype}; 8 bits are read")
    table = sorted(((red << 16) | (green << 8) | blue, label) for (red, green, blue), label in colours.items())
    codes = np.array([code for code, _ in table], np.int32)
    labels = np.array([label for _, label in table], np.int32)
    pixel_codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    place = np.searchsorted(codes, pixel_codes).clip(max=len(codes) - 1)
    strange = codes[place] != pixel_codes
    if bool(strange.any()):
        row, column = np.argwhere(strange)[0]
        raise BadCell(
            "unknown-colour",
            f"{name} has {int(strange.sum())} pixels in colours outside the table, the first "
            f"{tuple(int(value) for value in pixels[row, column])} at x {column}, y {row}; add them to the table",
        )
    return labels[place]


def _name(source: Path | np.ndarray) -> str:
    return str(source) if isinstance(source, Path) else "the array"
