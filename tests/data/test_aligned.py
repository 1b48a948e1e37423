"""Pictures that show other scenes than the rest of their sample move by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weft.config import load_experiment
from weft.data.pipeline import Data, build_data
from weft.errors import ConfigError, DataFault


def experiment(root: Path, *, aligned: bool, size: list[int] | None, **data: Any) -> dict[str, Any]:
    encoder = {"type": "timm", "name": "test_resnet"}
    return {
        "name": "t",
        "data": {"format": "table", "root": str(root), "file": "t.csv", "workers": 0, "size": size, **data},
        "modalities": {
            "front": {"type": "image", "encoder": encoder},
            "back": {"type": "image", "encoder": {"share": "front"}, **({} if aligned else {"aligned": False})},
        },
        "tasks": {"price": {"type": "regression"}},
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    lines = ["id,front,back,price"]
    for number in range(4):
        for name, size in (("front", (40, 60)), ("back", (50, 30) if number else (40, 60))):
            Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)).save(tmp_path / f"{number}{name}.png")
        lines.append(f"{number},{number}front.png,{number}back.png,{number}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def built(root: Path, **options: Any) -> Data:
    return build_data(load_experiment(experiment(root, **options)))


def test_pictures_of_one_scene_must_have_one_size(root: Path) -> None:
    with pytest.raises(DataFault, match=r"1back\.png is 30x50; .* say `aligned: false` of it"):
        list(built(root, aligned=True, size=[32, 32]).batches("train"))


def test_pictures_of_other_scenes_are_brought_to_the_size_each_by_itself(root: Path) -> None:
    batch = next(built(root, aligned=False, size=[32, 48]).batches("train"))
    assert batch.inputs["front"].shape == batch.inputs["back"].shape == (3, 3, 32, 48)
    assert batch.size == (32, 48)
    alone = built(root, aligned=True, size=[32, 48])
    for row, name in enumerate(batch.ids):  # the same as if the picture were the only one
        sample = alone.sample_from({"front": str(root / f"{name}back.png")})
        np.testing.assert_array_equal(sample.inputs["front"], batch.inputs["back"][row].permute(1, 2, 0))


def test_the_sizes_of_a_sample_are_those_of_its_scene(root: Path) -> None:
    samples = list(built(root, aligned=False, size=[32, 48]).samples("train"))
    assert {(sample.size, sample.original_size) for sample in samples} == {((32, 48), (40, 60))}
    data = built(root, aligned=False, size=[32, 48])
    only = data.sample_from({"back": str(root / "2back.png")})
    assert (only.size, only.original_size) == ((32, 48), (50, 30))


def test_each_is_mirrored_and_zoomed_by_itself_and_always_the_same_way(root: Path) -> None:
    changes = {"augment": {"flip": 0.5, "scale": [0.8, 1.2]}}
    moved = [built(root, aligned=False, size=[32, 32], **changes) for _ in range(2)]
    first, again = (next(data.batches("train", training=True, epoch=3)) for data in moved)
    assert all(torch.equal(first.inputs[name], again.inputs[name]) for name in ("front", "back"))
    # in sample 0 both pictures have one size; the same picture under both names would still move differently
    for number in range(4):
        Image.open(root / f"{number}front.png").save(root / f"{number}back.png")
    same = next(built(root, aligned=False, size=[32, 32], **changes).batches("train", training=True, epoch=3))
    assert not torch.equal(same.inputs["front"], same.inputs["back"])
    tied = next(built(root, aligned=True, size=[32, 32], **changes).batches("train", training=True, epoch=3))
    assert torch.equal(tied.inputs["front"], tied.inputs["back"])


def test_without_a_common_size_they_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"modalities\.back\.aligned: false was given without data\.size"):
        built(root, aligned=False, size=None)
