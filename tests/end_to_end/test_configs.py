"""Every shipped experiment trains for two steps and is evaluated, with random weights in the place of the hub's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import weft

ROOT = Path(__file__).parents[2]
CONFIGS = [*sorted((ROOT / "configs").glob("*.yaml")), ROOT / "src" / "weft" / "demo.yaml"]


def write_nyuv2(root: Path) -> None:
    """Six training and two test samples in the layout of the data set."""
    generator = np.random.default_rng(0)
    for folder in ("image", "depth", "label"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 9):
        image = generator.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "image" / f"{number:04}.jpg")
        Image.fromarray(generator.integers(20, 250, (96, 128), dtype=np.uint8)).save(
            root / "depth" / f"{number:04}.png"
        )
        Image.fromarray(generator.integers(0, 39, (96, 128), dtype=np.uint8)).save(root / "label" / f"{number:04}.png")
    (root / "train.txt").write_text("\n".join(f"{number:04}" for number in range(1, 7)))
    (root / "test.txt").write_text("0007\n0008")
    rows = [f"{number},thing {number},{number % 13},kind {number % 13}" for number in range(39)]
    (root / "classes.csv").write_text("\n".join(["label,name39,label13,name13", *rows]))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_experiment_runs_for_two_steps(config: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(config.read_text())
    overrides = [f"train.output={tmp_path / 'runs'}", "train.epochs=1", "train.batch_size=2", "data.limit=4"]
    overrides += ["train.precision=fp32", "train.device=cpu"]
    for name, modality in content["modalities"].items():
        overrides += [f"modalities.{name}.encoder.pretrained=false"] if "pretrained" in modality["encoder"] else []
    if content["data"]["format"] == "nyuv2":
        write_nyuv2(tmp_path / "nyuv2")
        overrides += [f"data.root={tmp_path / 'nyuv2'}", "data.size=[96, 128]", "data.validation.fraction=0.3"]
    run = weft.train(config, overrides=overrides, progress=False)
    result = weft.evaluate(run, quick=True, progress=False)
    assert result["samples"] > 0
    assert weft.write_report(run).is_file()


def test_every_shipped_experiment_opens_with_what_it_is() -> None:
    for config in CONFIGS:
        assert config.read_text().startswith("# "), config.name
