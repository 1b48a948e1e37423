"""The labelled .mat of NYU Depth v2, which is HDF5: frames as arrays, read one at a time."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from weft.data.nyuv2_classes import load_mat
from weft.errors import DataFault
from weft.modalities.base import BadCell

#: Names of its data sets by our columns.
_DATASETS = {"image": "images", "depth": "depths", "label": "labels"}


class LabelledMat:
    """Cells `image/7`, `depth/7`, `label/7` as arrays; frames are counted from 1, as in the official lists.

    MATLAB stores columns first, so HDF5 shows (N, 3, W, H) images and (N, W, H) depths and labels.

    Args:
        path: the file.
        lookup: (895,) uint8, the class of each stored label.
    """

    def __init__(self, path: Path, lookup: np.ndarray) -> None:
        self.path = path
        self.lookup = lookup
        self._file: h5py.File | None = None
        self._process = 0

    def __call__(self, cell: str) -> np.ndarray:
        """(H, W, 3) uint8, (H, W) float32 metres, or (H, W) uint8 classes.

        Raises:
            BadCell: there is no such frame, it cannot be read, or a label has no place in the mapping's 894.
        """
        column, _, number = cell.partition("/")
        if column not in _DATASETS or not number.isdigit():
            raise BadCell("not-a-path", f"{cell!r} names no array of {self.path}; cells are like image/7")
        try:
            dataset = self._open()[_DATASETS[column]]
            if not 1 <= int(number) <= len(dataset):
                raise BadCell("missing-file", f"{self.path} has no frame {number}; it has 1 to {len(dataset)}")
            stored = dataset[int(number) - 1]
        except (OSError, KeyError, RuntimeError) as error:
            raise BadCell("truncated-image", f"frame {number} of {self.path} cannot be read: {error}") from error
        array = np.ascontiguousarray(stored.T)  # (3, W, H) to (H, W, 3), (W, H) to (H, W)
        if column != "label":
            return array
        if int(array.max()) >= len(self.lookup):
            raise BadCell("label-outside", f"frame {number} of {self.path} has the label {int(array.max())}, over 894")
        return self.lookup[array]

    def check(self) -> int:
        """The number of frames.

        Raises:
            DataFault: the file is missing or not laid out as the official one.
        """
        if not self.path.is_file():
            raise DataFault(f"{self.path} does not exist", code="missing-file")
        try:
            with h5py.File(self.path, "r") as file:
                shapes = {name: file[name].shape for name in _DATASETS.values()}
        except (OSError, KeyError) as error:
            raise DataFault(
                f"{self.path} is not the labelled .mat (HDF5 with images, depths and labels): {error}",
                code="wrong-type",
            ) from error
        frames, *size = shapes["depths"]
        if shapes != {"images": (frames, 3, *size), "depths": (frames, *size), "labels": (frames, *size)}:
            raise DataFault(
                f"{self.path} holds {shapes}; images (N, 3, W, H), depths and labels (N, W, H) are expected",
                code="wrong-type",
            )
        return int(frames)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "_process": 0}  # an open file cannot go to another process

    def _open(self) -> h5py.File:
        """The file, opened once in each process: HDF5 handles do not survive a fork."""
        if self._file is None or self._process != os.getpid():
            self._file, self._process = h5py.File(self.path, "r"), os.getpid()
        return self._file


def split_numbers(path: Path) -> dict[str, list[str]]:
    """{split: numbers of frames, from 1, as four digits} of the official `splits.mat` (trainNdxs, testNdxs)."""
    content = load_mat(path, ("trainNdxs", "testNdxs"))
    return {
        split: [f"{int(number):04d}" for number in content[name].ravel()]
        for split, name in (("train", "trainNdxs"), ("test", "testNdxs"))
    }
