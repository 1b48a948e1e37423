"""Features in files: whole or not there, within a limit, and never other than what was written."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from weft.data.memory_folder import MemoryFolder
from weft.types import Features, Slot

#: Bytes of the checksum that an entry begins with.
_CHECKSUM = 4


@dataclass(frozen=True)
class Stored:
    """An entry: the features of one row, and the (H, W) of the image they are of ((0, 0) where it is none)."""

    features: Features
    original_size: tuple[int, int]


def read_entry(folder: Path, slot: Slot) -> Stored | Slot:
    """An entry; or the slot again where there is none, marked where it is not what was written."""
    path = folder / slot.name
    try:
        content = path.read_bytes()
    except OSError:
        return slot
    checksum, tensors = content[:_CHECKSUM], content[_CHECKSUM:]
    try:
        if zlib.crc32(tensors) != int.from_bytes(checksum):
            raise SafetensorError("the checksum differs")
        return _unpack(load(tensors))
    except (SafetensorError, KeyError):  # or written by a weft that had another layout
        path.unlink(missing_ok=True)
        return replace(slot, damaged=True)


class FeatureStore:
    """A folder with a folder for each modality's recipe; entries are whole or not there.

    The processes of one run write, any may read. Where room is needed, folders of other recipes go, the one used
    longest ago first.

    Args:
        path: the folder; it is made.
        limit: bytes.
        writers: processes that write into it, each its share of what is free now.
        home: keeps a folder of this run's own alive.

    Attributes:
        used: bytes that are kept.
    """

    def __init__(self, path: Path, *, limit: int, writers: int = 1, home: MemoryFolder | None = None) -> None:
        self.path, self.limit, self.home = path, limit, home
        path.mkdir(parents=True, exist_ok=True)
        self._sizes = {entry.name: _size(Path(entry.path)) for entry in os.scandir(path) if entry.is_dir()}
        self._mine: set[str] = set()
        free = max(0, limit - self.used)
        self._allowed = limit - free * (writers - 1) // writers

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return sum(self._sizes.values())

    def folder(self, recipe: str) -> Path:
        """The folder of a recipe, which stays while this run goes on."""
        path = self.path / recipe
        path.mkdir(exist_ok=True)
        os.utime(path)  # its date says when it was used last
        self._mine.add(recipe)
        self._sizes.setdefault(recipe, 0)
        return path

    def write(self, folder: Path, slot: Slot, features: Features) -> bool:
        """Keep the features of one row; False where there is no room for them.

        Args:
            folder: of its recipe.
            slot: where to.
            features: of one row, packed.
        """
        path = folder / slot.name
        if path.exists():
            return True
        content = save(_pack(features, slot.original_size))
        if not self._make_room(len(content) + _CHECKSUM):
            return False
        part = path.with_name(f"{slot.name}.{os.getpid()}.part")
        try:
            part.write_bytes(zlib.crc32(content).to_bytes(_CHECKSUM) + content)
            part.replace(path)
        except OSError:  # the disk is full, or another run has made room: it is encoded again
            part.unlink(missing_ok=True)
            return False
        self._sizes[folder.name] += len(content) + _CHECKSUM
        return True

    def _make_room(self, size: int) -> bool:
        while self.used + size > self._allowed:
            others = [self.path / name for name in self._sizes if name not in self._mine]
            if not others:
                return False
            oldest = min(others, key=lambda path: path.stat().st_mtime if path.exists() else 0)
            shutil.rmtree(oldest, ignore_errors=True)
            del self._sizes[oldest.name]
        return True


def _pack(features: Features, original_size: tuple[int, int]) -> dict[str, Tensor]:
    """The tensors of one row, each in one piece."""
    tensors = {"tokens": features.tokens[0], "mask": features.mask[0]}
    tensors.update({f"map{level}": values[0].movedim(1, -1) for level, values in enumerate(features.maps)})
    if features.vector is not None:
        tensors["vector"] = features.vector[0]
    tensors["sizes"] = torch.tensor([*original_size, *(features.grid or ())])
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _unpack(tensors: Mapping[str, Tensor]) -> Stored:
    height, width, *grid = tensors["sizes"].tolist()
    num_maps = sum(name.startswith("map") for name in tensors)
    vector = tensors.get("vector")
    features = Features(
        tokens=tensors["tokens"][None],
        mask=tensors["mask"][None],
        present=torch.ones(1, dtype=torch.bool),
        grid=(grid[0], grid[1], grid[2]) if grid else None,
        maps=tuple(tensors[f"map{level}"].movedim(-1, 1)[None] for level in range(num_maps)),
        vector=None if vector is None else vector[None],
    )
    return Stored(features, (height, width))


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
