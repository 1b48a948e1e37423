"""How often samples come in an epoch: rules worked by hand, draws that keep their promise, and what training sees."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import CLASSES, Small
from weft.data import geometry
from weft.data.class_counts import ClassCounts
from weft.data.order import drawn_times, epoch_length
from weft.data.pipeline import Data, build_data
from weft.data.rare import rates_of
from weft.data.sampling.base import Sampling
from weft.data.sampling.class_balanced import ClassBalancedSampling
from weft.data.sampling.over import OverSampling
from weft.data.sampling.repeat_factor import RepeatFactorSampling
from weft.data.sampling.under import UnderSampling
from weft.errors import ConfigError, DataFault
from weft.registry import Part


def held(*samples: dict[int, int] | None, num_classes: int = 2) -> ClassCounts:
    """What samples hold, as {class: amount} each; None: no label."""
    entries = [(i, k, n) for i, one in enumerate(samples) for k, n in (one or {}).items()]
    columns = np.array(entries, np.int64).reshape(-1, 3).T
    names = tuple("abcdef"[:num_classes])
    return ClassCounts(names, np.array([one is not None for one in samples]), *columns)


#: Three of a, one of b, one with neither, one without a label.
ONE_EACH = held({0: 1}, {0: 1}, {0: 1}, {1: 1}, {}, None)
#: a everywhere, b once and c twice, in samples of several classes.
SEVERAL = held({0: 9}, {0: 9, 2: 3}, {0: 9, 1: 1, 2: 3}, {0: 9}, num_classes=3)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (OverSampling(task="t"), [1, 1, 1, 3, 1, 1]),
        (OverSampling(task="t", limit=2), [1, 1, 1, 2, 1, 1]),
        (OverSampling(task="t", keep_length=True), [5 / 7, 5 / 7, 5 / 7, 15 / 7, 5 / 7, 1]),
        (UnderSampling(task="t"), [1 / 3, 1 / 3, 1 / 3, 1, 1 / 3, 1]),
        (UnderSampling(task="t", ratio=2), [2 / 3, 2 / 3, 2 / 3, 1, 2 / 3, 1]),
        # of five with a label three hold a and one holds b: √(0.5 / 0.2)
        (RepeatFactorSampling(task="t", threshold=0.5), [1, 1, 1, math.sqrt(2.5), 1, 1]),
        # half of 5 draws are a, half b: 2.5/3 each and 2.5; the one without counts as an a; then 5 in all
        (ClassBalancedSampling(task="t"), [*[5 / 7] * 3, 15 / 7, 5 / 7, 1]),
        (ClassBalancedSampling(task="t", power=1), [1, 1, 1, 1, 1, 1]),
    ],
)
def test_rates_worked_by_hand(rule: Sampling, expected: list[float]) -> None:
    assert np.allclose(rates_of(rule, ONE_EACH), expected)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (OverSampling(task="t"), [1, 2, 4, 1]),
        (UnderSampling(task="t"), [1 / 4, 1 / 2, 1, 1 / 4]),
        (RepeatFactorSampling(task="t", threshold=0.5), [1, 1, math.sqrt(2), 1]),
        # 4/3 draws for each class: a over four, b over one, c over two samples
        (ClassBalancedSampling(task="t"), [1 / 3, 1 / 3 + 2 / 3, 1 / 3 + 4 / 3 + 2 / 3, 1 / 3]),
    ],
)
def test_a_sample_of_several_classes_comes_as_its_rarest_or_all_of_them_ask(
    rule: Sampling, expected: list[float]
) -> None:
    assert np.allclose(rates_of(rule, SEVERAL), expected)


def test_class_balanced_rates_of_one_label_each_are_the_balanced_weights_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    labels = np.random.default_rng(0).choice(3, 200, p=[0.7, 0.25, 0.05])
    rates = rates_of(ClassBalancedSampling(task="t"), held(*({int(k): 1} for k in labels), num_classes=3))
    assert np.allclose(rates, compute_sample_weight("balanced", labels))


def test_few_pixels_of_a_class_are_none() -> None:
    assert np.allclose(rates_of(OverSampling(task="t", min_pixels=2), SEVERAL), [1, 2, 2, 1])  # b has one pixel
    with pytest.raises(DataFault, match=r"any of the classes of t \(a, b, c\), with min_pixels 10; take a smaller"):
        rates_of(OverSampling(task="t", min_pixels=10), SEVERAL)


def test_every_sample_comes_as_often_as_its_rate_rounded_down_or_up_and_epochs_are_of_one_length() -> None:
    rates = np.array([0.0, 0.3, 0.7, 1.0, 2.4, 5.35, 0.25])
    drawn = np.stack([drawn_times(rates, geometry.generator("draw", epoch)) for epoch in range(400)])
    assert ((np.floor(rates) <= drawn) & (drawn <= np.ceil(rates))).all()
    assert (drawn.sum(1) == 10).all()
    assert epoch_length(rates) == 10
    # of 400 draws of a rounded part p the standard error is at most √(1/4/400) = 0.025: four of them
    assert np.abs(drawn.mean(0) - rates).max() < 0.1


def test_rates_of_one_leave_every_sample_in_once() -> None:
    assert (drawn_times(np.ones(1000), geometry.generator("ones")) == 1).all()


# --- in training ---------------------------------------------------------------------------------------------------


@pytest.fixture
def uneven(empty: Small) -> Small:
    """Nine masks of class 0, of which t0 also has class 3 and t1 has two pixels of it; t8 has no mask."""
    for index in range(9):
        empty.add(f"t{index}")
        mask = np.zeros((24, 32), np.uint8)
        if index < 2:
            mask[:2, : (16 if index == 0 else 1)] = 3
        Image.fromarray(mask).save(empty.root / f"t{index}-label.png")
    empty.rows[8]["label"] = None
    empty.add("v0", split="val")
    return empty


def sampling(kind: str = "over", **options: Any) -> Part:
    return Part("sampling", kind, {"task": "rooms", **options})


def epoch_of(data: Data, epoch: int = 0) -> list[str]:
    return [sample for batch in data.batches("train", epoch=epoch, training=True) for sample in batch.ids]


def test_masks_are_counted_by_pixels_and_rare_ones_come_again(uneven: Small) -> None:
    data = uneven.data(sampling=sampling(min_pixels=3), size=(24, 32))
    counted = Counter(epoch_of(data))
    assert counted == {"t0": 8, **{f"t{index}": 1 for index in range(1, 9)}}  # eight of nine have a mask
    (note,) = [note for note in data.notes if note.startswith("sampling")][:1]
    assert note == (
        "sampling: over by rooms: an epoch has 16 samples of the 9 of train, each of them 1 to 8 times; "
        "1 have no label for it and come once"
    )
    assert f"no training sample holds {CLASSES[1]}, {CLASSES[2]}" in "\n".join(data.notes)
    assert data.num_steps("train", training=True) == 4
    assert data.num_steps("train", training=False) == 3


def test_the_two_pixels_count_without_a_threshold(uneven: Small) -> None:
    assert Counter(epoch_of(uneven.data(sampling=sampling())))["t1"] == 4


def test_a_sample_that_comes_again_moves_anew_and_workers_change_nothing(uneven: Small) -> None:
    options = {"sampling": sampling(), "augment": _flip_and_crop(), "batch_size": 3}
    one, other = uneven.data(**options), uneven.data(**options, workers=2)
    for epoch in range(2):
        ours = list(one.batches("train", epoch=epoch, training=True))
        theirs = list(other.batches("train", epoch=epoch, training=True))
        assert [batch.ids for batch in ours] == [batch.ids for batch in theirs]
        assert all((a.inputs["image"] == b.inputs["image"]).all() for a, b in zip(ours, theirs, strict=True))
    seen = [
        batch.inputs["image"][row].numpy().tobytes()
        for batch in ours
        for row, name in enumerate(batch.ids)
        if name == "t0"
    ]
    assert len(seen) == 4
    assert len(set(seen)) == 4


def _flip_and_crop() -> Any:
    from weft.experiment import Augment

    return Augment(flip=0.5, crop=(16, 16))


def test_an_epoch_goes_on_in_its_middle_as_it_would_have(uneven: Small) -> None:
    data = uneven.data(sampling=sampling("class_balanced"), batch_size=2)
    whole = [batch.ids for group in data.steps("train", epoch=3, start=0, accumulate=1) for batch in group]
    rest = [batch.ids for group in data.steps("train", epoch=3, start=2, accumulate=1) for batch in group]
    assert rest == whole[2:]
    assert len(whole) == 5 - 1  # nine samples: a last batch of one is left out


def test_what_was_counted_is_kept_and_masks_are_not_read_again(uneven: Small) -> None:
    import json

    data = uneven.data(sampling=sampling())
    facts = json.loads(json.dumps(data.facts))
    expected = [(batch.ids) for batch in data.batches("train", epoch=1, training=True)]
    for path in uneven.root.glob("t*-label.png"):
        path.write_bytes((uneven.root / "v0-label.png").read_bytes())
    again = build_data(uneven.experiment(sampling=sampling()), facts=facts)
    assert [batch.ids for batch in again.batches("train", epoch=1, training=True)] == expected
    assert again.facts["class_counts"] == data.facts["class_counts"]


def test_a_fold_counts_its_own_samples(uneven: Small) -> None:
    from weft.experiment import Validation

    data = uneven.data(sampling=sampling(), validation=Validation(folds=2, by="random"))
    ids = set(data.ids("train"))
    assert set(epoch_of(data)) == ids
    assert len(ids) == 5


def test_labels_of_several_are_counted_and_neighbours_in_length_still_share_a_batch(tmp_path: Path) -> None:
    from weft import load_experiment

    lengths = np.random.default_rng(0).integers(1, 40, 60)
    rows = [f"{i},train,{'word ' * n},{'a|b' if i % 10 == 0 else 'a'}" for i, n in enumerate(lengths)]
    (tmp_path / "all.csv").write_text("id,split,words,kind\n" + "\n".join([*rows, "v,val,word,b"]))
    options = {"format": "table", "root": str(tmp_path), "file": "all.csv", "workers": 0}
    experiment = load_experiment(
        {
            "name": "several",
            "data": {**options, "sampling": {"type": "repeat_factor", "task": "kind", "threshold": 0.9}},
            "modalities": {"words": {"type": "text", "min_count": 1, "encoder": {"type": "text_rnn"}}},
            "tasks": {"kind": {"type": "classification", "multi_label": True}},
            "train": {"device": "cpu", "batch_size": 6},
        }
    )
    data = build_data(experiment)
    counted = Counter(epoch_of(data))
    assert len(counted) == 60
    assert sum(counted.values()) == 72  # six samples have b, a tenth: each comes √(0.9 / 0.1) = 3 times
    assert all(counted[str(number)] == 3 for number in range(0, 60, 10))
    padding = [int(b.lengths["words"].max() - b.lengths["words"].min()) for b in data.batches("train", training=True)]
    assert np.mean(padding) < 8  # of lengths from 1 to 39; shuffled alone they would differ by 28 in six


def test_camvid_shows_its_rare_classes_more_often(shared: Path) -> None:
    from weft import load_experiment

    experiment = load_experiment(
        Path(__file__).parents[2] / "configs" / "camvid_rare.yaml",
        [f"data.root={shared / 'data' / 'camvid'}", "data.workers=0", "train.device=cpu"],
    )
    data = build_data(experiment)
    files = (shared / "data" / "camvid" / "trainannot").glob("*.png")
    masks = {path.stem: np.asarray(Image.open(path)) for path in files}
    counted = np.bincount(np.concatenate([*masks.values()], None), minlength=12)[:11]
    assert list(data.class_counts["roads"].values()) == counted.tolist()
    bicyclists = {name for name, mask in masks.items() if (mask == 10).sum() >= 800}
    epoch = [sample for batch in data._order.batches(data._rows["train"], "train", epoch=0) for sample in batch[:, 0]]
    assert abs(len(epoch) - 367) <= 8  # keep_length, but for the last batch
    times = sum(data.manifest.id(int(row)) in bicyclists for row in epoch)
    assert times > 2 * len(bicyclists)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_task_without_classes_is_refused_with_those_that_have_some(uneven: Small) -> None:
    with pytest.raises(ConfigError, match=r"data.sampling.task: things has no classes to go by; .*: rooms$"):
        uneven.data(sampling=Part("sampling", "under", {"task": "things"}))


def test_a_mask_that_cannot_be_read_is_named(uneven: Small) -> None:
    (uneven.root / "t4-label.png").write_bytes(b"")
    with pytest.raises(DataFault, match=r"sample t4 of train, column 'label': .*data.on_bad to drop"):
        uneven.data(sampling=sampling())
    data = uneven.data(sampling=sampling(), on_bad="drop", max_bad=0.5)
    assert "t4" not in epoch_of(data)
    assert [one.id for one in data.dropped] == ["t4"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("data.sampling={type: over, task: room}", "data.sampling.task: there is no task 'room'; did you mean 'rooms'"),
        ("data.sampling={type: over}", "data.sampling.task: missing"),
        ("data.sampling={type: ofer, task: rooms}", "there is no sampling 'ofer'; did you mean 'over'?"),
        ("data.augment.copy_paste={task: depths}", "there is no task 'depths'; there are rooms"),
        ("data.augment.copy_paste={classes: [cup]}", "copy_paste.classes: given without a task"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(tmp_path: Path, given: str, told: str) -> None:
    from weft import load_experiment

    tree = {
        "name": "wrong",
        "data": {"format": "nyuv2", "root": str(tmp_path)},
        "modalities": {"image": {"encoder": "timm"}},
        "tasks": {"rooms": {"type": "segmentation", "target": "label"}},
    }
    with pytest.raises(ConfigError, match=told.replace("?", r"\?").replace("[", r"\[")):
        load_experiment(tree, [given])
