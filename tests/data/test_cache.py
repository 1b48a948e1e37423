"""Decoded cells are kept between epochs, and never stand in the way of the truth."""

from __future__ import annotations

import gc
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from weft import experiment
from weft.data.cache import Cache, open_cache
from weft.modalities.base import BadCell
from weft.modalities.depth import DepthModality


class Counting(DepthModality):
    """Counts what is really decoded."""

    decoded = 0

    def read(self, cell, resolve):
        self.decoded += 1
        return super().read(cell, resolve)


@pytest.fixture
def field() -> Counting:
    return Counting({"metres_per_unit": 1.0})


def write(path: Path, value: float, size: int = 4) -> None:
    np.save(path, np.full((size, size), value, np.float32))


def disk(folder: Path, limit: int = 1 << 20) -> Cache:
    (folder / "cache").mkdir(exist_ok=True)
    return Cache(folder / "cache", limit=limit)


def test_a_cell_is_decoded_once_and_comes_back_equal_and_writable(tmp_path, field):
    write(tmp_path / "a.npy", 2.5)
    cache = disk(tmp_path)
    first, second = (cache.read(field, "", "a.npy", tmp_path.joinpath) for _ in range(2))
    assert field.decoded == 1
    assert np.array_equal(first, second)
    assert second.dtype == first.dtype
    second[:] = 0  # a sample may be changed without changing the next epoch's
    assert np.array_equal(first, cache.read(field, "", "a.npy", tmp_path.joinpath))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32, np.int16])
def test_every_kind_of_raster_is_kept(tmp_path, dtype):
    value = np.arange(24).reshape(2, 3, 4).astype(dtype)

    class Made(DepthModality):
        def read(self, cell, resolve):
            return value

    (tmp_path / "a").touch()
    cache = disk(tmp_path)
    for _ in range(2):
        found = cache.read(Made({}), "", "a", tmp_path.joinpath)
        assert np.array_equal(found, value)
        assert found.dtype == dtype
    assert cache.used > value.nbytes


def test_a_changed_file_is_decoded_again(tmp_path, field):
    write(tmp_path / "a.npy", 1)
    cache = disk(tmp_path)
    cache.read(field, "", "a.npy", tmp_path.joinpath)
    write(tmp_path / "a.npy", 2)
    os.utime(tmp_path / "a.npy", ns=(1, 1))
    assert cache.read(field, "", "a.npy", tmp_path.joinpath).max() == 2


def test_other_options_are_other_entries(tmp_path, field):
    write(tmp_path / "a.npy", 1)
    cache = disk(tmp_path)
    cache.read(field, "metres", "a.npy", tmp_path.joinpath)
    other = DepthModality({"metres_per_unit": 2.0})
    assert cache.read(other, "feet", "a.npy", tmp_path.joinpath).max() == 2


def test_the_limit_holds_and_what_does_not_fit_is_decoded_each_time(tmp_path, field):
    for index in range(10):
        write(tmp_path / f"{index}.npy", index + 1, size=16)
    cache = disk(tmp_path, limit=5 * 1100)
    for _ in range(2):
        for index in range(10):
            assert cache.read(field, "", f"{index}.npy", tmp_path.joinpath).max() == index + 1
    kept = [path.stat().st_size for path in (tmp_path / "cache").iterdir()]
    assert sum(kept) == cache.used <= 5 * 1100
    assert field.decoded == 20 - len(kept)


def test_a_disk_cache_is_found_again_by_the_next_run(tmp_path, field):
    write(tmp_path / "a.npy", 1)
    disk(tmp_path).read(field, "", "a.npy", tmp_path.joinpath)
    again = disk(tmp_path)
    assert again.used > 0
    again.read(field, "", "a.npy", tmp_path.joinpath)
    assert field.decoded == 1


def test_a_damaged_entry_is_decoded_again(tmp_path, field):
    write(tmp_path / "a.npy", 3)
    cache = disk(tmp_path)
    cache.read(field, "", "a.npy", tmp_path.joinpath)
    (entry,) = (tmp_path / "cache").iterdir()
    for content in (b"", entry.read_bytes()[:-3], b"other" + entry.read_bytes()[5:]):
        entry.write_bytes(content)
        assert np.all(cache.read(field, "", "a.npy", tmp_path.joinpath) == 3)


def test_a_bad_cell_is_never_kept(tmp_path, field):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    cache = disk(tmp_path)
    for _ in range(2):
        with pytest.raises(BadCell):
            cache.read(field, "", "a.npy", tmp_path.joinpath)
    assert cache.used == 0
    with pytest.raises(BadCell, match="does not exist"):
        cache.read(field, "", "gone.npy", tmp_path.joinpath)


def test_arrays_that_formats_make_are_kept_in_memory_but_not_on_disk(tmp_path, field):
    made = np.ones((4, 4), np.float32)
    disk_cache = disk(tmp_path)
    memory, _ = open_cache(experiment.Cache(where="memory"))
    for cache, expected in ((disk_cache, 2), (memory, 1)):
        field.decoded = 0
        for _ in range(2):
            cache.read(field, "", "scene:1", lambda cell: made)
        assert field.decoded == expected


def test_several_processes_fill_one_cache_within_its_limit(tmp_path):
    for index in range(12):
        write(tmp_path / f"{index}.npy", index + 1, size=16)
    cache = disk(tmp_path, limit=8 * 1100)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(cache, tmp_path)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 8 * 1100
    assert not list((tmp_path / "cache").glob("*.part"))


def _fill(cache: Cache, folder: Path) -> None:
    field = DepthModality({"metres_per_unit": 1.0})
    for index in range(12):
        assert cache.read(field, "", f"{index}.npy", folder.joinpath).max() == index + 1


def test_a_memory_cache_leaves_nothing_behind_even_when_killed(tmp_path):
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_open_and_die, args=(tmp_path / "name",))
    killed.start()
    killed.join()
    left = Path((tmp_path / "name").read_text())
    assert left.name.startswith("weft-cache-")
    assert left.is_dir()
    cache, _ = open_cache(experiment.Cache(where="memory"))
    assert not left.exists()  # swept by the run after it
    folder = cache.folder
    assert folder is not None
    assert folder.is_dir()
    del cache
    gc.collect()
    assert not folder.exists()


def _open_and_die(name: Path) -> None:
    cache, _ = open_cache(experiment.Cache(where="memory"))
    name.write_text(str(cache.folder))
    os.kill(os.getpid(), 9)


def test_a_memory_cache_in_use_is_not_swept(field):
    cache, _ = open_cache(experiment.Cache(where="memory"))
    other, _ = open_cache(experiment.Cache(where="memory"))
    assert cache.folder is not None
    assert cache.folder.is_dir()
    assert cache.folder != other.folder
