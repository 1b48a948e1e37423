"""Copy-paste: the pixels of chosen classes move over in every picture and map, from a donor that has them all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import Small
from weft.data.pipeline import Data, build_data
from weft.errors import ConfigError, DataFault
from weft.experiment import Augment, CopyPaste, ModalityConfig
from weft.types import Batch

RARE = 3
#: Where the donor has its object.
ROWS, COLUMNS = slice(4, 10), slice(6, 20)


@pytest.fixture
def pair(empty: Small) -> Small:
    """A receiver of class 0 alone, and a donor with an object of class 3 in it; random pictures and depths."""
    for name in ("receiver", "donor"):
        empty.add(name)
        mask = np.zeros((24, 32), np.uint8)
        if name == "donor":
            mask[ROWS, COLUMNS] = RARE
            mask[20:, :] = 1
        Image.fromarray(mask).save(empty.root / f"{name}-label.png")
    empty.add("v0", split="val")
    return empty


def data(small: Small, *, augment: dict[str, Any] | None = None, **options: Any) -> Data:
    pasting = CopyPaste(**{"task": "rooms", "classes": ("class 3",), "probability": 1.0, **options.pop("pasting", {})})
    return small.data(augment=Augment(copy_paste=pasting, **(augment or {})), tasks=("rooms",), batch_size=2, **options)


def rows_of(data: Data, *, epoch: int = 0, training: bool = True) -> dict[str, tuple[np.ndarray, ...]]:
    """{sample: (image, depth, mask)} of an epoch; only of samples that have all."""
    found = {}
    for batch in data.batches("train", epoch=epoch, training=training):
        for row, name in enumerate(batch.ids):
            image, depth, mask = (part[row].numpy() for part in _parts(batch))
            found[name] = (image.transpose(1, 2, 0), depth[0], mask)
    return found


def _parts(batch: Batch) -> tuple[Any, ...]:
    return batch.inputs["image"], batch.inputs["depth"], batch.targets["rooms"]


def test_the_object_is_in_every_picture_and_map_as_it_was_and_nothing_else_changes(pair: Small) -> None:
    plain, pasted = rows_of(data(pair), training=False), rows_of(data(pair))
    shown = plain["donor"][2] == RARE
    assert shown.sum() == 6 * 14
    for kind in range(3):
        own, other, found = plain["receiver"][kind], plain["donor"][kind], pasted["receiver"][kind]
        assert (found[shown] == other[shown]).all()
        assert (found[~shown] == own[~shown]).all()
        # the only other sample is no donor, so the donor itself stays as it is
        assert (pasted["donor"][kind] == plain["donor"][kind]).all()


def test_the_donor_moves_by_a_draw_of_its_own_and_all_it_shows_moves_together(pair: Small) -> None:
    Image.fromarray(np.full((24, 32, 3), 7, np.uint8)).save(pair.root / "donor.png")
    Image.fromarray(np.full((24, 32), 5000, np.uint16)).save(pair.root / "donor-depth.png")
    found = data(pair, augment={"flip": 0.5, "crop": (16, 16), "scale": (0.5, 2.0)})
    sizes = set()
    for epoch in range(12):
        image, depth, mask = rows_of(found, epoch=epoch)["receiver"]
        assert image.shape == (16, 16, 3)
        shown = mask == RARE
        inside = shown & np.roll(shown, 1, 0) & np.roll(shown, -1, 0) & np.roll(shown, 1, 1) & np.roll(shown, -1, 1)
        assert (image[inside] == 7).all()  # at its very edge the donor's own picture is mixed with what is outside it
        assert np.allclose(depth[inside], 5.0)
        sizes.add(int(shown.sum()))
    assert len(sizes) > 4


def test_it_is_a_function_of_seed_epoch_and_sample_whatever_the_workers(pair: Small) -> None:
    pair.add("other")
    options: dict[str, Any] = {"augment": {"flip": 0.5}, "pasting": {"probability": 0.5}}
    one, other = data(pair, **options), data(pair, **options, workers=2)
    changes = 0
    for epoch in range(4):
        ours, theirs = rows_of(one, epoch=epoch), rows_of(other, epoch=epoch)
        assert all((a == b).all() for name in ours for a, b in zip(ours[name], theirs[name], strict=True))
        changes += int((ours["receiver"][2] == RARE).any())
    assert 0 < changes < 4


def test_a_donor_has_whatever_the_receiver_has_and_absent_stays_absent(pair: Small) -> None:
    pair.rows[1]["depth"] = None
    batches = list(data(pair).batches("train", training=True))
    masks = {name: batch.targets["rooms"][row] for batch in batches for row, name in enumerate(batch.ids)}
    assert not (masks["receiver"] == RARE).any()  # the donor would show its object in colour alone
    pair.rows[0]["depth"] = None
    (batch,) = data(pair).batches("train", training=True)
    receiver = batch.ids.index("receiver")
    assert (batch.targets["rooms"][receiver] == RARE).any()
    assert not batch.present["depth"].any()


def test_a_sample_without_a_mask_stays_as_it_is(pair: Small) -> None:
    plain = data(pair)
    pair.rows[0]["label"] = None
    (batch,) = data(pair).batches("train", training=True)
    (before,) = plain.batches("train")
    own, then = (one.inputs["image"][one.ids.index("receiver")] for one in (batch, before))
    assert (own == then).all()


def test_the_rare_classes_are_those_with_the_fewest_pixels(pair: Small) -> None:
    found = data(pair, pasting={"classes": "rare"})
    (note,) = [note for note in found.notes if note.startswith("copy_paste")]
    assert note == "copy_paste: class 3 of 1 training samples, put over others with probability 1"


def test_a_donor_that_cannot_be_read_is_told_by_its_own_name(pair: Small) -> None:
    pair.add("third")
    broken = data(pair, size=(24, 32))
    (pair.root / "donor-depth.png").write_bytes(b"broken")
    with pytest.raises(DataFault, match=r"sample donor of train, column 'depth'"):
        list(broken.batches("train", training=True))
    dropping = data(pair, size=(24, 32), on_bad="drop", max_bad=0.5)
    assert set(rows_of(dropping)) == {"receiver", "third"}
    assert [one.id for one in dropping.dropped] == ["donor"]


# --- what is refused -----------------------------------------------------------------------------------------------


def test_unknown_classes_and_classes_that_nobody_has_are_refused(pair: Small) -> None:
    with pytest.raises(ConfigError, match=r"classes\[0\]: rooms has no class 'class 4'; did you mean 'class 3'\?"):
        data(pair, pasting={"classes": ("class 4",)})
    with pytest.raises(DataFault, match=r"no training sample has 1 pixels or more of class 2; take"):
        data(pair, pasting={"classes": ("class 2", "class 3")})
    with pytest.raises(DataFault, match=r"no training sample has 85 pixels or more of class 3; take"):
        data(pair, pasting={"min_pixels": 85})


def test_what_speaks_of_objects_in_another_way_is_refused_with_the_reason(pair: Small) -> None:
    with pytest.raises(ConfigError, match=r"things has points, and a mask does not say which of its pixels"):
        pair.data(augment=Augment(copy_paste=CopyPaste(task="rooms")))


def test_clips_are_refused(pair: Small) -> None:
    experiment = pair.experiment(augment=Augment(copy_paste=CopyPaste(task="rooms")), tasks=("rooms",))
    clip = ModalityConfig(type="video", column="image", encoder=None)
    with pytest.raises(ConfigError, match="copy_paste: seen is a clip, and an object cut out of one picture does not"):
        build_data(replace(experiment, modalities={**experiment.modalities, "seen": clip}))


def test_words_and_tasks_without_masks_are_refused(tmp_path: Any) -> None:
    from weft import load_experiment

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "all.csv").write_text("id,split,image,words,kind\na,train,a.png,one word,x\nb,train,a.png,two,y\n")
    tree = {
        "name": "words",
        "data": {
            "format": "table", "root": str(tmp_path), "file": "all.csv", "workers": 0,
            "augment": {"copy_paste": {"task": "kind"}}, "validation": {"fraction": 0.5},
        },
        "modalities": {
            "image": {"encoder": {"type": "timm", "name": "mobilenetv2_100"}},
            "words": {"type": "text", "min_count": 1, "encoder": "text_rnn"},
        },
        "tasks": {"kind": {"type": "classification", "classes": ["x", "y"]}},
    }  # fmt: skip
    with pytest.raises(ConfigError) as told:
        build_data(load_experiment(tree))
    assert "kind has no masks to cut objects out by; tasks that have: none" in str(told.value)
    assert "words is a text, a sound or another sequence that belongs to the whole sample" in str(told.value)
