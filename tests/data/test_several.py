"""Several data sets in one training: what is joined, what stays apart, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weft.boxes import CLASS, CROWD, IGNORED
from weft.config import load_experiment
from weft.data.formats.several import Several
from weft.data.inspect import inspect
from weft.data.joining import readings
from weft.data.leaks import find_leaks
from weft.data.manifest import Manifest
from weft.data.pipeline import Data, build_data
from weft.data.splits import with_validation
from weft.errors import ConfigError, DataFault
from weft.experiment import DataConfig, Experiment, ModalityConfig, TaskConfig, TrainConfig, Validation
from weft.registry import Part
from weft.tasks.boxes import Boxes
from weft.tasks.class_label import ClassLabel
from weft.tasks.classification import Classification
from weft.tasks.label_map import LabelMap
from weft.types import FeatureSpec

#: Stored values of a row of four pixels, the same in both sets, which mean different things.
STORED = [[0, 1, 2, 9]]

ROOMS = {
    "label": {"kind": "label", "classes": ["background", "wall", "chair"], "ignore": 9, "rest": "background"},
    "depth": {"kind": "depth", "metres_per_unit": 0.001},
    "things": {"kind": "labels", "classes": ["chair", "lamp"]},
    "place": {"kind": "class", "classes": ["kitchen", "office"]},
    "boxes": {"kind": "boxes", "classes": ["chair", "lamp"]},
}
ROADS = {
    "label": {"kind": "label", "classes": {"2": "road", "1": "wall", "0": "car"}, "ignore": 9},
    "depth": {"kind": "depth", "metres_per_unit": 0.01},
    "things": {"kind": "labels", "classes": ["car", "lamp"]},
    "place": {"kind": "class", "classes": ["street"]},
    "boxes": {"kind": "boxes", "classes": ["car", "lamp"]},
}
#: Everything else of a cell is told by its column.
CELLS = {
    "rooms": {"things": "chair", "place": "office", "boxes": '[[0, 0, 2, 1, "chair"]]'},
    "roads": {"things": "", "place": "street", "boxes": "[]"},
}


def write(root: Path, name: str, *, train: int, test: int = 0, columns: tuple[str, ...] = ()) -> None:
    """A table of samples whose files are called alike in every set, and of which every picture is its own."""
    folder = root / name
    folder.mkdir(parents=True)
    header = ["id", "split", "image", *columns]
    rows = [",".join(header)]
    for number in range(train + test):
        value = (17 * number + (100 if name == "roads" else 0)) % 256
        Image.fromarray(np.full((1, 4, 3), value, np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(np.array(STORED, np.uint8)).save(folder / f"{number}-label.png")
        Image.fromarray(np.full((1, 4), 3000, np.uint16)).save(folder / f"{number}-depth.png")
        files = {"label": f"{number}-label.png", "depth": f"{number}-depth.png"}
        cells = [(files | CELLS[name])[column].replace('"', '""') for column in columns]
        split = "train" if number < train else "test"
        rows.append(",".join([f"s{number}", split, f"{number}.png", *(f'"{cell}"' for cell in cells)]))
    (folder / "samples.csv").write_text("\n".join(rows) + "\n")


def one(root: Path, name: str, columns: tuple[str, ...], **options: Any) -> Part:
    known = {column: (ROOMS if name == "rooms" else ROADS)[column] for column in columns}
    table = {"root": str(root / name), "file": "samples.csv", "columns": known}
    return Part("set", "table", table | {"null_values": ("?",)} | options)


def both(root: Path, *columns: str, train: tuple[int, int] = (4, 4), test: int = 0) -> dict[str, Part]:
    for name, number in zip(("rooms", "roads"), train, strict=True):
        write(root, name, train=number, test=test, columns=columns)
    return {name: one(root, name, columns) for name in ("rooms", "roads")}


def read(manifest: Manifest, column: str, field: Any, sample: str, **options: Any) -> np.ndarray:
    """What a cell is read as, by its own set."""
    index = manifest.values("id").to_pylist().index(sample)
    place = manifest.set_of(index)
    own = readings(manifest, column, field(manifest.columns[column].facts, **options), options)
    return own[place].read(manifest.cell(index, column), manifest.resolver(place))


def experiment(sets: dict[str, Part], *, tasks: dict[str, TaskConfig], **data: Any) -> Experiment:
    classes = data.pop("classes", None)
    form = Part("format", "several", {"sets": sets, "classes": classes})
    return Experiment(
        name="both",
        data=DataConfig(format=form, **{"workers": 0, "validation": Validation(fraction=0.25), **data}),
        modalities={"image": ModalityConfig(type="image", column="image", encoder=None)},
        tasks=tasks,
        train=TrainConfig(batch_size=4, device="cpu"),
    )


def opened(sets: dict[str, Part], **data: Any) -> Data:
    return build_data(experiment(sets, tasks={"label": TaskConfig(type="segmentation", target="label")}, **data))


def test_ids_stand_behind_their_set_and_what_a_set_lacks_is_absent(tmp_path: Path) -> None:
    write(tmp_path, "rooms", train=2, columns=("label",))
    write(tmp_path, "roads", train=1, columns=("depth",))
    manifest = Several(
        sets={"rooms": one(tmp_path, "rooms", ("label",)), "roads": one(tmp_path, "roads", ("depth",))}
    ).manifest()
    assert manifest.values("id").to_pylist() == ["rooms/s0", "rooms/s1", "roads/s0"]
    assert manifest.values("set").to_pylist() == ["rooms", "rooms", "roads"]
    assert manifest.present("label").tolist() == [True, True, False]
    assert manifest.present("depth").tolist() == [False, False, True]


def test_files_of_one_name_are_those_of_their_own_set(tmp_path: Path) -> None:
    data = opened(both(tmp_path, "label"), validation=Validation(fraction=0.25))
    seen = {sample.id: int(sample.inputs["image"][0, 0, 0]) for sample in data.samples("train")}
    assert all(value >= 100 for name, value in seen.items() if name.startswith("roads/"))
    assert all(value < 100 for name, value in seen.items() if name.startswith("rooms/"))
    assert {name.partition("/")[0] for name in seen} == {"rooms", "roads"}


def test_equal_names_are_one_class_where_no_table_says_otherwise(tmp_path: Path) -> None:
    manifest = Several(sets=both(tmp_path, "label")).manifest()
    assert manifest.columns["label"].facts["classes"] == ["background", "wall", "chair", "road", "car"]
    # background of rooms hides roads and cars, which nobody looked for there: it is not known
    assert read(manifest, "label", LabelMap, "rooms/s0").tolist() == [[255, 1, 2, 255]]
    assert read(manifest, "label", LabelMap, "roads/s0").tolist() == [[4, 1, 3, 255]]


def test_a_table_joins_classes_and_leaves_out_what_it_does_not_name(tmp_path: Path) -> None:
    table = {"label": {"thing": {"rooms": "chair", "roads": ["car", "road"]}, "flat": {"rooms": "wall"}}}
    manifest = Several(sets=both(tmp_path, "label"), classes=table).manifest()
    assert manifest.columns["label"].facts["classes"] == ["thing", "flat"]
    assert read(manifest, "label", LabelMap, "rooms/s0").tolist() == [[255, 1, 0, 255]]
    assert read(manifest, "label", LabelMap, "roads/s0").tolist() == [[0, 255, 0, 255]]
    assert "label: roads did not annotate flat" in manifest.notes
    assert "label: of roads, wall counts as not labelled" in manifest.notes


def test_the_rest_is_a_class_only_where_every_other_was_looked_for(tmp_path: Path) -> None:
    sets = both(tmp_path, "label")
    table = {"rest": {"rooms": "background"}, "wall": {"rooms": "wall", "roads": "wall"}, "car": {"roads": "car"}}
    known = Several(sets=sets, classes={"label": table}).manifest()
    assert read(known, "label", LabelMap, "rooms/s0").tolist() == [[255, 1, 255, 255]]
    none_there = table | {"car": {"roads": "car", "rooms": []}}
    known = Several(sets=sets, classes={"label": none_there}).manifest()
    assert read(known, "label", LabelMap, "rooms/s0").tolist() == [[0, 1, 255, 255]]


def test_a_label_that_a_set_did_not_annotate_is_not_known_and_never_a_no(tmp_path: Path) -> None:
    manifest = Several(sets=both(tmp_path, "things")).manifest()
    assert manifest.columns["things"].facts["classes"] == ["chair", "lamp", "car"]
    for sample, known in {"rooms/s0": [1, 0, np.nan], "roads/s0": [np.nan, 0, 0]}.items():
        np.testing.assert_array_equal(read(manifest, "things", ClassLabel, sample, multi_label=True), known)


def test_a_label_is_counted_over_the_samples_whose_set_annotated_it(tmp_path: Path) -> None:
    tasks = {"things": TaskConfig(type="classification", target="things", options={"multi_label": True})}
    loaded = experiment(both(tmp_path, "things"), tasks=tasks, validation=Validation(fraction=0.25))
    data = build_data(loaded)
    of = Counter(name.partition("/")[0] for name in data.ids("train"))
    assert data.targets["things"].facts["known"] == [of["rooms"], of["rooms"] + of["roads"], of["roads"]]


def test_boxes_of_a_class_that_a_set_did_not_annotate_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    manifest = Several(sets=both(tmp_path, "boxes")).manifest()
    whole = Boxes(manifest.columns["boxes"].facts)
    own = readings(manifest, "boxes", whole, {})
    assert whole.classes == ("chair", "lamp", "car")
    rooms = own[0].placed(own[0].read('[[0, 0, 2, 1, "chair"]]', manifest.resolver(0)), (1, 4))
    assert rooms[:, [CLASS, IGNORED]].tolist() == [[0, 0], [2, CROWD]]
    roads = own[1].placed(own[1].read("[]", manifest.resolver(1)), (1, 4))
    assert roads[:, [CLASS, IGNORED]].tolist() == [[0, CROWD]]
    assert roads[0, :4].tolist() == [0, 0, 4, 1]  # the whole image


def test_classes_of_whole_samples_are_renamed_by_the_table(tmp_path: Path) -> None:
    table = {"place": {"inside": {"rooms": ["office"]}, "outside": {"roads": "street"}}}
    manifest = Several(sets=both(tmp_path, "place", train=(1, 1)), classes=table).manifest()
    assert manifest.values("place").to_pylist() == ["inside", "outside"]
    table = {"place": {"inside": {"rooms": ["kitchen"]}, "outside": {"roads": "street"}}}
    sets = {name: one(tmp_path, name, ("place",)) for name in ("rooms", "roads")}
    manifest = Several(sets=sets, classes=table).manifest()
    assert manifest.values("place").to_pylist() == [None, "outside"]


def test_each_set_is_read_in_its_own_units(tmp_path: Path) -> None:
    sets = both(tmp_path, "depth", train=(2, 2))
    task = {"far": TaskConfig(type="pixel_regression", target="depth")}
    data = build_data(experiment(sets, tasks=task, validation=Validation(fraction=0.5)))
    far = {sample.id.partition("/")[0]: float(sample.targets["far"].max()) for sample in data.samples("train")}
    assert far == pytest.approx({"rooms": 3.0, "roads": 30.0})
    again = build_data(experiment(sets, tasks=task, validation=Validation(fraction=0.5)), facts=data.facts)
    assert {s.id.partition("/")[0]: float(s.targets["far"].max()) for s in again.samples("train")} == far


def test_a_validation_part_is_cut_from_every_set(tmp_path: Path) -> None:
    manifest = Several(sets=both(tmp_path, "label", train=(8, 4))).manifest()
    cut = with_validation(manifest, Validation(fraction=0.25), group=None, seed=0)
    held_out = Counter(name.partition("/")[0] for name in cut.split("val").values("id").to_pylist())
    assert held_out == {"rooms": 2, "roads": 1}


def test_shares_say_how_often_each_set_comes_and_leave_the_epoch_as_long(tmp_path: Path) -> None:
    both(tmp_path, "label", train=(40, 10))
    sets = {
        "rooms": one(tmp_path, "rooms", ("label",), share=1.0),
        "roads": one(tmp_path, "roads", ("label",), share=3.0),
    }
    data = opened(sets, validation=Validation(fraction=0.2))
    order = [batch.ids for batch in data.batches("train", training=True, epoch=2)]
    assert order == [batch.ids for batch in data.batches("train", training=True, epoch=2)]
    came = Counter(name.partition("/")[0] for ids in order for name in ids)
    assert came.total() == 40
    assert abs(came["roads"] - 30) <= 1
    assert data.num_steps("train", training=True) == 10


def test_results_are_broken_down_by_set_and_a_limit_is_of_each(tmp_path: Path) -> None:
    data = opened(both(tmp_path, "label"), limit=1)
    assert sorted(data.subgroups("train")["set"].values()) == ["roads", "rooms"]
    assert data.counts["train"]["samples"] == 2


def test_a_file_that_two_sets_share_over_their_splits_is_a_leak(tmp_path: Path) -> None:
    sets = both(tmp_path, "label", train=(2, 2), test=1)
    (tmp_path / "roads" / "2.png").write_bytes((tmp_path / "rooms" / "0.png").read_bytes())
    (leak,) = find_leaks(Several(sets=sets).manifest(), ["image"])
    assert {leak.samples[0][0], leak.samples[1][0]} == {"rooms/s0", "roads/s2"}


def test_only_the_splits_that_are_asked_for_are_used(tmp_path: Path) -> None:
    both(tmp_path, "label", test=2)
    sets = {name: one(tmp_path, name, ("label",)) for name in ("rooms", "roads")}
    sets["roads"] = one(tmp_path, "roads", ("label",), splits=("train",))
    manifest = Several(sets=sets).manifest()
    assert set(manifest.split("test").values("set").to_pylist()) == {"rooms"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"label": {"a": {"rooms": "wal"}}}, "rooms has no class 'wal'.*did you mean 'wall'"),
        ({"label": {"a": {"rom": "wall"}}}, "'rom' is no set.*did you mean 'rooms'"),
        ({"label": {"a": {"rooms": "wall"}, "b": {"rooms": "wall"}}}, "'wall' of rooms is given to 'a' already"),
        ({"label": {"a": {"rooms": "wall"}}}, "no class names the set roads"),
        ({"labels": {"a": {"rooms": "wall"}}}, "no set has a column 'labels'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_place(tmp_path: Path, table: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"data.classes.*{said}"):
        Several(sets=both(tmp_path, "label"), classes=table).manifest()


def test_a_column_that_is_two_things_is_refused_and_can_be_renamed(tmp_path: Path) -> None:
    write(tmp_path, "rooms", train=1, columns=("label",))
    write(tmp_path, "roads", train=1, columns=("label",))
    roads = one(tmp_path, "roads", ("label",))
    clash = Part("set", "table", {**roads.options, "columns": {"label": {"kind": "image"}}})
    sets = {"rooms": one(tmp_path, "rooms", ("label",)), "roads": clash}
    with pytest.raises(DataFault, match=r"'label' is label in rooms and image in roads.*rename: {label: roads_label}"):
        Several(sets=sets).manifest()
    options = {**clash.options, "rename": {"label": "roads_label"}}
    manifest = Several(sets=sets | {"roads": Part("set", "table", options)}).manifest()
    assert manifest.columns["roads_label"].kind == "image"


def test_classes_that_one_set_does_not_name_are_refused(tmp_path: Path) -> None:
    sets = both(tmp_path, "label")
    sets["roads"] = Part("set", "table", {**sets["roads"].options, "columns": {}})
    with pytest.raises(DataFault, match="has classes in rooms, and roads does not name its own"):
        Several(sets=sets).manifest()


def test_shares_of_some_sets_only_are_refused(tmp_path: Path) -> None:
    sets = both(tmp_path, "label")
    sets["rooms"] = one(tmp_path, "rooms", ("label",), share=1.0)
    with pytest.raises(ConfigError, match=r"data.sets.roads.share: missing"):
        Several(sets=sets).manifest()


def test_a_set_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    sets = both(tmp_path, "label")
    sets["roads"] = Part("set", "table", {**sets["roads"].options, "root": str(tmp_path / "nowhere")})
    with pytest.raises(DataFault, match=r"the set roads: the folder .*nowhere does not exist"):
        Several(sets=sets).manifest()


def test_a_task_that_no_set_labels_is_refused(tmp_path: Path) -> None:
    sets = both(tmp_path, "label", train=(2, 2), test=1)
    for name in sets:
        table = (tmp_path / name / "samples.csv").read_text().replace("0-label.png", "?").replace("1-label.png", "?")
        (tmp_path / name / "samples.csv").write_text(table)
    with pytest.raises(DataFault, match="no training sample has a label for label"):
        opened(sets, validation=Validation(fraction=0.5))


def configured(data: Any) -> dict[str, Any]:
    modalities = {"image": {"encoder": {"type": "timm", "name": "resnet18"}}}
    return {"name": "both", "data": data, "modalities": modalities, "tasks": {"label": {"type": "segmentation"}}}


def test_a_list_of_data_sets_is_short_for_sets_by_name() -> None:
    listed = [{"format": "camvid", "root": "a"}, {"format": "camvid", "root": "b"}, {"format": "scenes", "name": "toy"}]
    experiment = load_experiment(configured(listed), ["data.size=[48, 64]", "data.sets.camvid_2.share=2"])
    assert experiment.data.format.type == "several"
    sets = experiment.data.format.options["sets"]
    assert {name: one.type for name, one in sets.items()} == {"camvid": "camvid", "camvid_2": "camvid", "toy": "scenes"}
    assert (sets["camvid_2"].options["root"], sets["camvid_2"].options["share"]) == ("b", 2.0)
    assert experiment.data.size == (48, 64)
    assert load_experiment(experiment.resolved) == experiment


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"share": 0}, r"data.sets.a.share: 0 was given; allowed: x > 0"),
        ({"size": [4, 4]}, r"data.sets.a.size: unknown option"),
        ({"format": "camvit"}, r"data.sets.a.format: there is no format 'camvit'; did you mean 'camvid'"),
    ],
)
def test_a_mistake_in_a_set_is_told_with_its_path(change: dict[str, Any], said: str) -> None:
    sets = {"a": {"format": "camvid", "root": "a", **change}}
    with pytest.raises(ConfigError, match=said):
        load_experiment(configured({"format": "several", "sets": sets}))


def test_a_label_that_is_not_known_is_in_no_loss_and_no_figure() -> None:
    field = ClassLabel({"classes": ["chair", "lamp"]}, multi_label=True)
    task = Classification({"fused": FeatureSpec("vector", 4)}, field)
    logits = torch.zeros(2, 2, requires_grad=True)
    target = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    total, count = task.loss(logits, target)
    total.backward()
    assert count == 3
    assert logits.grad is not None
    assert (logits.grad == 0).tolist() == [[False, True], [False, False]]
    scores = torch.tensor([[0.9, 0.8], [0.2, 0.7]])
    figures = task.figures(task.records(scores, target, ["a", "b"]))
    assert figures["precision/lamp"] == figures["accuracy"] == figures["exact_match"] == 1
    assert np.isnan(figures["AUROC/lamp"])  # of the one sample in which it is known
    assert figures["AUROC/chair"] == 1


def test_what_weft_data_counts_are_the_joined_classes_read_by_each_set(tmp_path: Path) -> None:
    sets = both(tmp_path, "label", "boxes", train=(3, 3))
    tasks = {
        "label": TaskConfig(type="segmentation", target="label"),
        "things": TaskConfig(type="detection", target="boxes"),
    }
    found = inspect(experiment(sets, tasks=tasks, validation=Validation(fraction=0.3)), tmp_path / "out")
    assert found.faults == []
    assert found.figures["label"]["train"].classes == {"wall": 4, "chair": 2, "road": 2, "car": 2}
    assert found.figures["things"]["train"].classes == {"chair": 2}
    assert (tmp_path / "out" / "index.html").is_file()
