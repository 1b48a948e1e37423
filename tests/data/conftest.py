"""A small data set on disk, and the experiment over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from weft.data.manifest import Column, Manifest
from weft.data.pipeline import Data, build_data
from weft.experiment import DataConfig, Experiment, ModalityConfig, TaskConfig, TrainConfig

CLASSES = [f"class {index}" for index in range(4)]


@dataclass
class Small:
    """Pictures, 16-bit depth in millimetres, label maps and points of some samples, below a folder.

    Stands in for a `Part` of a format: `config.format().manifest()`.
    """

    root: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    type: str = "small"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Small:
        return self

    def add(self, name: str, *, split: str = "train", size: tuple[int, int] = (24, 32)) -> None:
        random = np.random.default_rng(len(self.rows))
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(self.root / f"{name}.png")
        Image.fromarray(random.integers(500, 9000, size, np.uint16)).save(self.root / f"{name}-depth.png")
        Image.fromarray(random.integers(0, 4, size, np.uint8)).save(self.root / f"{name}-label.png")
        cells = {"image": f"{name}.png", "depth": f"{name}-depth.png", "label": f"{name}-label.png"}
        self.rows.append({"id": name, "split": split, **cells, "points": "[[3, 4], null]"})

    def manifest(self) -> Manifest:
        columns = {
            "image": Column("image"),
            "depth": Column("depth", {"metres_per_unit": 0.001}),
            "label": Column("label", {"classes": CLASSES, "ignore": 255}),
            "points": Column("points", {"points": ["cup", "lamp"]}),
        }
        names = ["id", "split", *columns]
        table = pa.table({name: pa.array([row[name] for row in self.rows], pa.string()) for name in names})
        return Manifest(table, self.root, columns)

    def experiment(
        self,
        *,
        batch_size: int = 4,
        seed: int = 0,
        dropout: float = 0.0,
        image: Mapping[str, Any] | None = None,
        tasks: tuple[str, ...] = ("rooms", "things"),
        **data: Any,
    ) -> Experiment:
        every = {
            "rooms": TaskConfig(type="segmentation", target="label"),
            "things": TaskConfig(type="location", target="points"),
        }
        return Experiment(
            name="small",
            data=DataConfig(format=self, **{"workers": 0, **data}),  # type: ignore[arg-type]
            modalities={
                "image": ModalityConfig(
                    type="image", column="image", encoder=None, dropout=dropout, options=image or {}
                ),
                "depth": ModalityConfig(type="depth", column="depth", encoder=None, dropout=dropout),
            },
            tasks={name: every[name] for name in tasks},
            train=TrainConfig(batch_size=batch_size, seed=seed, device="cpu"),
        )

    def data(self, **options: Any) -> Data:
        return build_data(self.experiment(**options))


@pytest.fixture
def empty(tmp_path: Path) -> Small:
    """No sample yet."""
    return Small(tmp_path)


@pytest.fixture
def small(empty: Small) -> Small:
    """Nine training samples, two for validation, one test sample."""
    for index in range(9):
        empty.add(f"t{index}")
    for index in range(2):
        empty.add(f"v{index}", split="val")
    empty.add("e0", split="test")
    return empty
