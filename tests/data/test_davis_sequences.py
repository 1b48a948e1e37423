"""DAVIS as it measures: whole sequences outside training, and its own files scored against themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.end_to_end.test_configs import write_davis
from weft import load_experiment
from weft.data.clipcell import split_cell
from weft.data.formats.davis import Davis
from weft.data.pipeline import build_data
from weft.errors import DataFault
from weft.metrics.video import boundary_f, region
from weft.tasks.clip_label_map import ClipLabelMap


def test_outside_training_a_whole_sequence_is_one_sample(tmp_path) -> None:
    write_davis(tmp_path)
    manifest = Davis(root=str(tmp_path), length=3, whole=True, test=0.5, val=0.25).manifest()
    rows = [manifest.row(place) for place in range(len(manifest))]
    whole = [row for row in rows if row["split"] != "train"]
    assert len(whole) == 3
    assert all(row["id"] == row["sequence"] and row["clip"].endswith(row["sequence"]) for row in whole)
    windows = [row for row in rows if row["split"] == "train"]
    assert all("#frames=" in row["clip"] for row in windows)
    assert len(windows) > 1


def test_a_real_sequence_against_itself_and_moved(shared: Path) -> None:
    root = shared / "data" / "davis"
    manifest = Davis(root=str(root), whole=True).manifest()
    row = next(manifest.row(place) for place in range(len(manifest)) if manifest.row(place)["split"] == "test")
    field = ClipLabelMap(manifest.columns["masks"].facts)
    assert field.classes == ("background", "object")
    masks = field.read(row["masks"], lambda cell: root / split_cell(cell)[0])
    assert len(masks) == len(list((root / row["clip"]).iterdir()))
    assert set(np.unique(masks)) == {0, 1}
    assert field.class_counts(masks).sum() == masks.size
    first = masks[0] == 1
    assert region(first, first) == boundary_f(first, first) == 1
    far = np.roll(first, 12, axis=1)
    assert 0 < region(far, first) < 1
    assert boundary_f(far, first) < boundary_f(np.roll(first, 2, axis=1), first) <= 1
    assert field.to_tensor(masks).dtype == torch.uint8


def test_masks_of_another_size_than_the_frames_are_refused_by_name(tmp_path) -> None:
    write_davis(tmp_path)
    for path in (tmp_path / "Annotations" / "480p").glob("*/*.png"):
        Image.new("L", (40, 24)).save(path)
    config = Path(__file__).parents[2] / "configs" / "davis_frames.yaml"
    data = build_data(load_experiment(config, [f"data.root={tmp_path}", "data.size=null"]))
    with pytest.raises(DataFault, match=r"is 80x48 pixels and Annotations/480p/.* is 40x24") as caught:
        next(iter(data.samples("val")))
    assert caught.value.code == "size-mismatch"


def test_flow_in_its_own_folders_is_a_column_that_moves_with_the_frames_and_tells_their_motion(tmp_path) -> None:
    write_davis(tmp_path)
    for sequence in (tmp_path / "JPEGImages" / "480p").iterdir():
        place = tmp_path / "Flow" / "480p" / sequence.name
        place.mkdir(parents=True)
        for frame in range(4):  # the square of 20 x 20 goes 8 to the right in each; beyond it nothing moves
            flow = np.zeros((48, 80, 2), np.float32)
            flow[10:30, 8 * frame : 8 * frame + 20, 0] = 8
            cv2.writeOpticalFlow(str(place / f"{frame:05}.flo"), flow)
    config = yaml.safe_load((Path(__file__).parents[2] / "configs" / "davis_frames.yaml").read_text())
    config["data"] |= {"root": str(tmp_path), "size": [24, 80], "workers": 0, "stride": 1}
    config["modalities"] = {"flow": {"encoder": config["modalities"]["clip"]["encoder"]}}
    config["tasks"]["masks"]["motion"] = "flow"
    data = build_data(load_experiment(config))
    whole = next(iter(data.batches("test")))
    flow, length = whole.inputs["flow"][0], int(whole.lengths["flow"][0])
    assert (flow.shape, length) == ((5, 2, 24, 80), 5)
    # half as high: 10 rows of what were 20
    for frame, at in enumerate((0, 8, 16, 24, 24)):  # the last frame shows the flow of the one before
        assert flow[frame, 0, 5:15, at : at + 20].unique().tolist() == [8]
        assert int((flow[frame] != 0).sum()) == 200
    _, motion = data.targets["masks"].parted(whole.targets["masks"])
    assert motion[0, 0].isnan().all()
    assert motion[0, 4, 8, 32:44, 0].tolist() == [-8] * 12  # of 32 to 51, what covers nothing anew
    assert motion[0, 4, 8, 44:52].isnan().all()
    mirrored = [
        batch for epoch in range(6) for batch in data.batches("train", training=True, epoch=epoch)
        if bool((batch.inputs["flow"][0, 0, 0].nan_to_num() < -1).any())
    ]  # fmt: skip
    assert mirrored
