"""Cells become arrays by declared rules, and what no rule covers is refused with a code."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from weft.data.decode import conversion, read_depth, read_image, read_label
from weft.data.rasterfile import open_raster
from weft.modalities.base import BadCell

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def saved(folder: Path, name: str, pixels: np.ndarray, mode: str | None = None) -> Path:
    path = folder / name
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize(4)
    elif mode is not None:
        image = image.convert(mode)
    image.save(path)
    return path


def code_of(call, *args, **options) -> str:
    with pytest.raises(BadCell) as caught:
        call(*args, **options)
    return caught.value.code


def test_colours_stay_as_they_are(tmp_path):
    assert np.array_equal(read_image(saved(tmp_path, "a.png", COLOURS)), COLOURS)


@pytest.mark.parametrize(
    ("mode", "name", "said"),
    [
        ("L", "a.png", "grey to RGB"),
        ("P", "a.png", "palette to RGB"),
        ("RGBA", "a.png", "RGB with alpha to RGB"),
        ("LA", "a.png", "grey with alpha to RGB"),
        ("1", "a.png", "grey to RGB"),
        ("CMYK", "a.tif", "CMYK to RGB"),
        ("RGB", "a.png", ""),
    ],
)
def test_every_common_mode_becomes_colour_and_says_so(tmp_path, mode, name, said):
    path = saved(tmp_path, name, COLOURS, mode)
    value = read_image(path)
    assert value.shape == (2, 2, 3)
    assert value.dtype == np.uint8
    assert conversion(path) == said
    if mode not in ("1", "LA", "L"):
        assert np.array_equal(value, COLOURS)


def test_one_bit_is_black_and_white_in_pictures_and_0_and_1_in_labels(tmp_path):
    path = saved(tmp_path, "a.png", np.array([[0, 255]], np.uint8), "1")
    assert read_label(path).tolist() == [[0, 1]]
    assert read_image(path, channels=1)[..., 0].tolist() == [[0, 255]]


def test_transparency_is_laid_over_black(tmp_path):
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], np.uint8)
    assert read_image(saved(tmp_path, "a.png", pixels)).tolist() == [[[200, 100, 50], [0, 0, 0]]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_kept(tmp_path, channels):
    pixels = np.arange(2 * 3 * channels, dtype=np.uint16).reshape(2, 3, channels) * 3000
    png, tiff, npy = tmp_path / "a.png", tmp_path / "a.tif", tmp_path / "a.npy"
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    cv2.imwrite(str(png), pixels[..., order])
    tifffile.imwrite(tiff, pixels.squeeze(), photometric="minisblack" if channels == 1 else "rgb")
    np.save(npy, pixels)
    for path in (png, tiff, npy):
        value = read_image(path, channels=channels)
        assert value.dtype == np.uint16
        assert np.array_equal(value, pixels), path


def test_any_number_of_channels_comes_from_tiff_and_npy(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(4, 5, 7)).astype(np.float32)
    tifffile.imwrite(tmp_path / "last.tif", pixels, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(
        tmp_path / "first.tif", np.moveaxis(pixels, -1, 0), photometric="minisblack", planarconfig="separate"
    )
    np.save(tmp_path / "a.npy", pixels)
    for name in ("last.tif", "first.tif", "a.npy"):
        assert np.array_equal(read_image(tmp_path / name, channels=7), pixels), name
    assert code_of(read_image, tmp_path / "a.npy", channels=3) == "channels"


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert code_of(read_image, tmp_path / "a.npy") == "truncated-image"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})])
def test_exif_orientation_is_always_applied(tmp_path, orientation, suffix, options):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3)
    undo = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(undo[orientation])).save(path, exif=exif, **options)
    assert np.array_equal(open_raster(path).pixels, upright)
    assert np.array_equal(read_label(path), upright)


def test_palette_masks_are_read_as_indices(tmp_path):
    mask = Image.fromarray(np.array([[0, 1], [2, 5]], np.uint8), "L")
    mask.putpalette([value for index in range(6) for value in (index * 40, 255 - index, 7)])
    mask.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert read_label(tmp_path / "a.png").tolist() == [[0, 1], [2, 5]]


def test_colour_masks_need_a_table_and_every_colour_in_it(tmp_path):
    path = saved(tmp_path, "a.png", COLOURS)
    table = {(255, 0, 0): 0, (0, 255, 0): 1, (0, 0, 255): 2, (10, 20, 30): 255}
    assert code_of(read_label, path) == "colour-label"
    assert read_label(path, colours=table).tolist() == [[0, 1], [2, 255]]
    del table[10, 20, 30]
    with pytest.raises(BadCell, match=r"1 pixels .* \(10, 20, 30\) at x 1, y 1"):
        read_label(path, colours=table)


def test_a_palette_mask_with_a_table_is_read_by_its_colours(tmp_path):
    path = saved(tmp_path, "a.png", COLOURS, "P")
    table = {(255, 0, 0): 3, (0, 255, 0): 2, (0, 0, 255): 1, (10, 20, 30): 0}
    assert read_label(path, colours=table).tolist() == [[3, 2], [1, 0]]


def test_label_maps_stored_with_loss_are_refused(tmp_path):
    path = saved(tmp_path, "a.jpg", np.zeros((8, 8), np.uint8))
    assert code_of(read_label, path) == "lossy-label"


def test_labels_are_whole_numbers(tmp_path):
    assert read_label(np.array([[0.0, 3.0]])).tolist() == [[0, 3]]
    assert read_label(np.array([[-1, 3]], np.int64)).dtype == np.int32
    assert code_of(read_label, np.array([[0.5, 3.0]])) == "label-not-whole"
    assert code_of(read_label, np.array([[2**40]])) == "label-range"


def test_depth_is_metres_and_what_is_not_known_is_zero(tmp_path):
    stored = np.array([[0, 1500], [65535, 800]], np.uint16)
    path = saved(tmp_path, "a.png", stored)
    depth = read_depth(path, metres_per_unit=0.001, unknown=(65535,))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[0, 1.5], [0, 0.8]], rtol=1e-6)
    assert code_of(read_depth, path, metres_per_unit=None) == "depth-scale"


def test_nan_infinite_and_negative_depth_is_unknown(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[np.nan, np.inf], [-1, 2.5]], np.float32))
    assert read_depth(tmp_path / "a.npy", metres_per_unit=None).tolist() == [[0, 0], [0, 2.5]]


def test_truncated_pictures_are_refused_wherever_they_are_cut(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for suffix in ("jpg", "png", "tif", "bmp", "webp"):
        whole = saved(tmp_path, f"whole.{suffix}", noise).read_bytes()
        for share in (0.05, 0.3, 0.6, 0.9):
            path = tmp_path / f"cut.{suffix}"
            path.write_bytes(whole[: int(len(whole) * share)])
            assert code_of(read_image, path) in ("truncated-image", "not-an-image"), (suffix, share)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_flipped_bytes_never_raise_anything_else(tmp_path):
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (16, 16, 3), np.uint8)
    path = tmp_path / "a"
    np.save(tmp_path / "whole.npy", noise)
    tifffile.imwrite(tmp_path / "whole.tiff", noise.astype(np.float32))
    for suffix in ("jpg", "png", "tif", "gif", "bmp", "webp", "npy", "tiff"):
        whole = tmp_path / f"whole.{suffix}"
        if not whole.exists():
            saved(tmp_path, whole.name, noise)
        content = np.frombuffer(whole.read_bytes(), np.uint8)
        for _ in range(60):
            broken = content.copy()
            places = random.integers(0, min(len(broken), 200), 3)
            broken[places] = random.integers(0, 256, 3)
            path.write_bytes(broken.tobytes())
            with contextlib.suppress(BadCell):
                read_image(path)


def test_files_that_are_no_pictures_are_named_for_what_they_are(tmp_path):
    page, empty, text = tmp_path / "page.jpg", tmp_path / "empty.jpg", tmp_path / "text.png"
    page.write_text("<!DOCTYPE html><html><body>404</body></html>")
    empty.touch()
    text.write_text("not a picture")
    with pytest.raises(BadCell, match=r"page\.jpg is a web page"):
        read_image(page)
    assert code_of(read_image, empty) == "empty-file"
    assert code_of(read_image, text) == "not-an-image"
    assert code_of(read_image, tmp_path / "gone.jpg") == "missing-file"
    assert code_of(read_image, tmp_path) == "not-a-file"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (12_000, 9_000)).save(path)
    assert path.stat().st_size < 50_000
    with pytest.raises(BadCell, match=r"12000x9000 = 108\.0 million pixels and at most 64 million") as caught:
        read_image(path)
    assert caught.value.code == "too-many-pixels"
    assert code_of(read_image, saved(tmp_path, "a.png", COLOURS), max_pixels=3) == "too-many-pixels"


def test_a_tiff_of_several_pages_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 4, 4), np.float32), photometric="minisblack")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(np.zeros((4, 4), np.float32))
        file.write(np.zeros((5, 4), np.float32))
    assert code_of(read_image, tmp_path / "b.tif", channels=1) == "tiff-pages"
