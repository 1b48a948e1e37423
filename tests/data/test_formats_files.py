"""The public data sets' formats: NYU Depth v2, as files and as the official .mat, and CamVid."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from weft.data.formats.camvid import CamVid
from weft.data.formats.nyuv2 import NyuV2
from weft.data.manifest import Manifest
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.tasks.label_map import LabelMap

FRAMES, HEIGHT, WIDTH = 6, 4, 5


def array(manifest: Manifest, cell: str) -> np.ndarray:
    found = manifest.resolve(cell)
    assert isinstance(found, np.ndarray)
    return found


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder with a small file in the official layout: HDF5 with the axes as MATLAB leaves them."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 895, (FRAMES, WIDTH, HEIGHT)).astype(np.uint16)
    labels[0, :3, 0] = [0, 1, 894]
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = random.integers(0, 255, (FRAMES, 3, WIDTH, HEIGHT)).astype(np.uint8)
        file["depths"] = random.uniform(0.5, 9, (FRAMES, WIDTH, HEIGHT)).astype(np.float32)
        file["labels"] = labels
    train, test = np.array([[1], [2], [5]]), np.array([[3], [4], [6]])
    savemat(tmp_path / "splits.mat", {"trainNdxs": train, "testNdxs": test})
    names = np.array([[f"class {number}" for number in range(1, 41)]], object)
    savemat(tmp_path / "classMapping40.mat", {"mapClass": np.arange(894)[None] % 40 + 1.0, "className": names})
    return tmp_path


def test_the_official_mat_gives_upright_arrays_and_its_own_split(labelled: Path):
    manifest = NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="classMapping40.mat").manifest()
    assert manifest.split("train").values("id").to_pylist() == ["0001", "0002", "0005"]
    assert manifest.split("test").values("scene").to_pylist() == ["0003", "0003", "0006"]
    row = manifest.row(0)
    with h5py.File(labelled / "nyu_depth_v2_labeled.mat") as file:
        assert (array(manifest, row["image"]) == file["images"][0].transpose(2, 1, 0)).all()
        assert (array(manifest, row["depth"]) == file["depths"][0].T).all()
    assert array(manifest, row["image"]).shape == (HEIGHT, WIDTH, 3)


def test_the_894_labels_become_39_classes_and_what_has_none(labelled: Path):
    manifest = NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="classMapping40.mat").manifest()
    label = array(manifest, "label/1")
    assert label[0, :3].tolist() == [255, 0, 893 % 40]
    assert set(np.unique(label)) <= {*range(39), 255}  # the 40th class, otherprop, is ignored
    assert manifest.columns["label"].facts["classes"] == [f"class {number}" for number in range(1, 40)]


def test_the_mapping_may_be_a_csv_file_and_the_split_lists(labelled: Path):
    rows = ["label,class,name", *(f"{label},{(label - 1) % 40},class {(label - 1) % 40}" for label in range(1, 890))]
    (labelled / "mapping.csv").write_text("\n".join([*rows, "890,,"]))
    (labelled / "splits.mat").unlink()
    (labelled / "train.txt").write_text("1\n2\n")
    manifest = NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="mapping.csv").manifest()
    assert len(manifest) == 2
    assert array(manifest, "label/1")[0, :3].tolist() == [255, 0, 255]


def test_the_open_mat_goes_to_another_process(labelled: Path):
    manifest = NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="classMapping40.mat").manifest()
    before = array(manifest, "image/1")
    assert (array(pickle.loads(pickle.dumps(manifest)), "image/1") == before).all()


def test_what_the_mat_lacks_is_said(labelled: Path):
    with pytest.raises(DataFault, match="give `mapping`"):
        NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat").manifest()
    with pytest.raises(DataFault, match=r"other\.mat does not exist"):
        NyuV2(root=str(labelled), file="other.mat", mapping="classMapping40.mat").manifest()
    with pytest.raises(DataFault, match="not the labelled"):
        NyuV2(root=str(labelled), file="splits.mat", mapping="classMapping40.mat").manifest()
    (labelled / "splits.mat").unlink()
    with pytest.raises(DataFault, match=r"no train\.txt"):
        NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="classMapping40.mat").manifest()
    (labelled / "train.txt").write_text("7\n")
    with pytest.raises(DataFault, match="lists the frame '7'"):
        NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="classMapping40.mat").manifest()


def test_a_frame_that_is_not_there_is_a_bad_cell(labelled: Path):
    manifest = NyuV2(root=str(labelled), file="nyu_depth_v2_labeled.mat", mapping="classMapping40.mat").manifest()
    for cell in ("image/7", "image/0", "video/1", "image/../1"):
        with pytest.raises(BadCell):
            manifest.resolve(cell)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, frames in {"image": (1, 2, 3, 5), "depth": (1, 2, 3), "label": (1, 2, 3, 5)}.items():
        (tmp_path / name).mkdir()
        for frame in frames:
            ending = "jpg" if name == "image" else "png"
            Image.fromarray(np.full((4, 6), frame, np.uint8)).save(tmp_path / name / f"{frame:04d}.{ending}")
    (tmp_path / "train.txt").write_text("0001\n0002\n0005\n")
    (tmp_path / "test.txt").write_text("0003\n")
    rows = [f"{label},fine {label},{label % 13},coarse {label % 13}" for label in range(39)]
    (tmp_path / "classes.csv").write_text("\n".join(["label,name39,label13,name13", *rows]))
    return tmp_path


def test_files_of_nyuv2_are_paired_and_what_is_missing_is_absent(files: Path):
    manifest = NyuV2(root=str(files)).manifest()
    assert manifest.splits == ["train", "test"]
    assert manifest.row(3) == {
        "id": "0005", "split": "train", "scene": "0005",
        "image": "image/0005.jpg", "depth": None, "label": "label/0005.png",
    }  # fmt: skip
    assert manifest.notes == ("column 'depth': 1 of 4 samples have no file",)
    assert manifest.values("scene").to_pylist() == ["0001", "0001", "0003", "0005"]


def test_thirteen_classes_are_a_remap_that_the_label_field_reads(files: Path):
    manifest = NyuV2(root=str(files), classes=13).manifest()
    facts = manifest.columns["label"].facts
    assert facts["classes"][2] == "coarse 2"
    Image.fromarray(np.array([[0, 15, 38, 255]], np.uint8)).save(files / "label" / "0001.png")
    assert LabelMap(facts).read("label/0001.png", manifest.resolve).tolist() == [[0, 2, 12, 255]]


def test_a_layout_that_is_not_so_is_refused(files: Path):
    (files / "classes.csv").write_text("label,name39\n0,wall\n")
    with pytest.raises(DataFault, match="lacks the column label13"):
        NyuV2(root=str(files)).manifest()
    with pytest.raises(DataFault, match="does not exist"):
        NyuV2(root=str(files / "none")).manifest()


def test_camvid_ignores_void_and_groups_by_drive(tmp_path: Path):
    for part in ("train", "trainannot", "val", "valannot"):
        (tmp_path / part).mkdir()
    for part, name in (("train", "0001TP_006690"), ("train", "0006R0_f00930"), ("val", "0016E5_07959")):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / part / f"{name}.jpg")
        Image.fromarray(np.array([[0, 10, 11]], np.uint8)).save(tmp_path / f"{part}annot" / f"{name}.png")
    manifest = CamVid(root=str(tmp_path)).manifest()
    assert manifest.values("frame").to_pylist() == [6690, 930, 7959]
    assert manifest.values("drive").to_pylist() == ["0001TP", "0006R0", "0016E5"]
    row = manifest.row(0)
    assert LabelMap(manifest.columns["label"].facts).read(row["label"], manifest.resolve).tolist() == [[0, 10, 255]]
    with pytest.raises(DataFault, match="no frames"):
        CamVid(root=str(tmp_path / "train")).manifest()


def test_the_real_files_are_whole(shared: Path):
    nyuv2 = NyuV2(root=str(shared / "data" / "nyuv2")).manifest()
    assert (len(nyuv2.split("train")), nyuv2.notes) == (795, ())
    assert nyuv2.columns["label"].facts["classes"][:2] == ["wall", "floor"]
    camvid = CamVid(root=str(shared / "data" / "camvid")).manifest()
    assert [len(camvid.split(split)) for split in ("train", "val")] == [367, 101]
    for manifest in (nyuv2, camvid):
        field = LabelMap(manifest.columns["label"].facts)
        seen = np.unique(field.read(manifest.row(0)["label"], manifest.resolve))
        assert set(seen) <= {*range(len(field.classes)), 255}
