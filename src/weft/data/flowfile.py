"""Optical flow as it is stored: Middlebury's .flo, KITTI's PNG of 16 bits, and arrays."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from weft.data.rasterfile import MAX_PIXELS, Raster, check_size, first_bytes, open_raster
from weft.modalities.base import BadCell

#: Endings of files that may hold the flow of a frame; what a file is, is told by its first bytes.
FLOWS = (".flo", ".png", ".npy", ".npz", ".tif", ".tiff")

#: A .flo file begins with 202021.25 as float32, then width and height as int32, all with the lowest byte first.
_FLO = np.float32(202021.25).tobytes()
_FLO_HEADER = 12

#: A component beyond this is not known (Middlebury).
_UNKNOWN = 1e9

#: KITTI stores 64 times the pixels, from here on.
_KITTI_ZERO, _KITTI_STEPS = 2**15, 64

_READ = ".flo, PNG of 16 bits as in KITTI, and arrays (H, W, 2) of floating-point numbers are read"


def read_flow(source: Path | np.ndarray, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """How far each pixel moves.

    Args:
        source: a .flo file, a PNG of 16 bits (red and green: 64 times the pixels from 32768 on; blue: 0 where it is not
            known), a .npy, .npz or TIFF file of two channels, or an array (H, W, 2).
        max_pixels: a file that declares more is refused before decoding.

    Returns:
        (H, W, 2) float32, pixels to the right and down; NaN in both where it is not known: not finite, or beyond 1e9.

    Raises:
        BadCell: missing, empty, cut off, too large, or no flow.

    References: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011; Menze and Geiger,
    CVPR 2015.
    """
    head = b"" if isinstance(source, np.ndarray) else first_bytes(source)
    if isinstance(source, Path) and head.startswith(_FLO):
        return _known(_read_flo(source, head, max_pixels))
    if isinstance(source, Path) and head.startswith(b"PK"):
        source = _read_npz(source, max_pixels)
    raster = open_raster(source, max_pixels=max_pixels)
    name = str(source) if isinstance(source, Path) else "the array"
    if raster.mode == "colour" and raster.pixels.dtype == np.uint16:
        return _of_kitti(raster)
    if raster.pixels.ndim != 3 or raster.pixels.shape[2] != 2 or raster.pixels.dtype.kind != "f":
        channels = 1 if raster.pixels.ndim == 2 else raster.pixels.shape[2]
        raise BadCell(
            "not-flow", f"{name} holds {raster.pixels.dtype} in {channels} channels, which is no optical flow; {_READ}"
        )
    return _known(raster.pixels)


def _read_flo(path: Path, head: bytes, max_pixels: int) -> np.ndarray:
    """(H, W, 2) as stored."""
    if len(head) < _FLO_HEADER:
        raise _cut_off(path, f"{len(head)} bytes are there, and its header alone has {_FLO_HEADER}")
    width, height = np.frombuffer(head, "<i4", count=2, offset=len(_FLO)).tolist()
    check_size(path, height, width, max_pixels)
    content = path.read_bytes()
    declared = _FLO_HEADER + 8 * width * height
    if len(content) != declared:
        raise _cut_off(path, f"{width}x{height} pixels take {declared} bytes, and {len(content)} are there")
    return np.frombuffer(content, "<f4", offset=_FLO_HEADER).reshape(height, width, 2)


def _read_npz(path: Path, max_pixels: int) -> np.ndarray:
    """The only array of an archive; its size is looked at before it is decoded."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise BadCell("not-flow", f"{path} holds {len(names)} arrays ({', '.join(names[:3])}); store one")
            with archive.open(names[0]) as member:
                version = np.lib.format.read_magic(member)
                formats = np.lib.format
                header = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
                shape = header(member)[0]
            check_size(path, shape[0] if shape else 0, math.prod(shape[1:-1]), max_pixels)
        with np.load(path, allow_pickle=False) as stored:
            array: np.ndarray = stored[stored.files[0]]
            return array
    except BadCell:
        raise
    except (OSError, ValueError, EOFError, LookupError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _cut_off(path, f"not a whole .npz of numbers: {error}") from error


def _of_kitti(raster: Raster) -> np.ndarray:
    """(H, W, 2) of (H, W, 3) uint16."""
    flow = (raster.pixels[..., :2].astype(np.float32) - _KITTI_ZERO) / _KITTI_STEPS
    return np.where(raster.pixels[..., 2:] > 0, flow, np.float32(np.nan))


def _known(stored: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32, NaN in both components where either is not known."""
    known = (np.isfinite(stored) & (np.abs(stored) <= _UNKNOWN)).all(2, keepdims=True)
    return np.where(known, stored, np.nan).astype(np.float32)


def _cut_off(path: Path, reason: str) -> BadCell:
    return BadCell("truncated-flow", f"{path} is cut off or damaged ({reason}); copy it again or remove its row")
