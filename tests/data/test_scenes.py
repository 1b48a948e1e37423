"""The rendered scenes: what is where, and that every sensor shows what it should and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from weft.data.formats.scenes import CLASS_NAMES, COLUMNS, RENDERED, Scenes, rendered
from weft.data.scenes.geometry import room
from weft.data.scenes.latents import (
    CLASSES,
    FACTS,
    MARKS,
    MODALITIES,
    Mark,
    Rules,
    Scene,
    Thing,
    cell_bounds,
    draw,
)
from weft.data.scenes.render import Rendering
from weft.data.scenes.words import captions, sentence
from weft.modalities.base import BadCell
from weft.registry import get

RULES = Rules()


def thing(**changes: object) -> Thing:
    plain = Thing(
        cell=(0, 0), shape="box", mode="plain", ribbon=False, warm=False, colour=0, x=15.0, y=28.0, radius=9.0, yaw=0.4
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def scene(*things: Thing) -> Scene:
    return replace(draw(RULES, "train", 0), things=things)


def senses(content: Scene) -> dict[str, object]:
    """Every input of one sample whose content is given; the noise is that of train 0."""
    rendering = Rendering(RULES, "train", 0, content)
    inputs: dict[str, object] = {name: getattr(rendering, name)().tobytes() for name in MODALITIES if name != "text"}
    return {**inputs, "text": sentence(content)}


def changed(one: Scene, other: Scene) -> set[str]:
    before, after = senses(one), senses(other)
    return {name for name in MODALITIES if before[name] != after[name]}


def test_the_format_is_registered_and_its_columns_are_described():
    manifest = get("format", "scenes")(num_train=2, num_val=0, num_test=1).manifest()
    assert manifest.splits == ["train", "test"]
    assert set(manifest.columns) == set(COLUMNS) == set(manifest.names) - {"id", "split"}
    assert manifest.columns["label"].facts == {"classes": list(CLASSES), "ignore": 255}
    assert manifest.columns["marks"].facts == {"points": list(MARKS)}


def test_arrays_have_the_stated_shapes_types_and_ranges():
    manifest = Scenes(resolution=(48, 80), num_train=1, num_val=0, num_test=0).manifest()
    row = manifest.row(0)
    arrays = {name: manifest.resolve(row[name]) for name in RENDERED}
    assert arrays["image"].shape == (48, 80, 3)
    assert arrays["clip"].shape == (8, 48, 80, 3)
    for name in ("image", "clip", "thermal", "label", "edges"):
        assert arrays[name].dtype == np.uint8
    for name in ("depth", "true_depth"):
        assert arrays[name].dtype == np.float32
        assert arrays[name].shape == (48, 80)
    assert arrays["true_depth"].min() > 1
    assert arrays["audio"].shape == (4000,)
    assert np.abs(arrays["audio"]).max() <= 1
    assert arrays["label"].max() < len(CLASSES)


def test_a_sample_depends_on_seed_split_and_number_only():
    few, many = Scenes(num_train=3).manifest(), Scenes(num_train=5, num_test=2).manifest()
    assert few.row(2) == many.row(2)
    cell = few.row(2)["image"]
    first = few.resolve(cell)
    few.resolve(few.row(1)["image"])
    assert np.array_equal(first, many.resolve(cell))
    others = [draw(RULES, "val", 2), draw(RULES, "train", 3), draw(replace(RULES, seed=1), "train", 2)]
    assert all(other != draw(RULES, "train", 2) for other in others)


def test_what_opens_cells_travels_to_worker_processes():
    arrays = pickle.loads(pickle.dumps(Scenes(num_train=1).manifest().arrays))
    assert arrays("scenes:train/0/depth").shape == (64, 64)


@pytest.mark.parametrize("cell", ["scenes:train/0/nothing", "scenes:train/x/image", "a/b.png", "scenes:train", ""])
def test_a_cell_that_is_none_is_refused(cell: str):
    with pytest.raises(BadCell, match="built-in scenes"):
        rendered(RULES, cell)


@pytest.mark.parametrize(
    ("before", "after", "seen_in"),
    [
        (thing(), thing(mode="picture"), {"depth"}),
        (thing(), thing(mode="camouflaged"), {"image", "clip"}),
        (thing(ribbon=True), thing(ribbon=False), {"image", "clip"}),
        (thing(), thing(warm=True), {"thermal"}),
        (thing(mode="camouflaged"), thing(mode="camouflaged", shape="ball"), {"depth"}),
        (thing(mode="camouflaged"), thing(mode="camouflaged", x=17.0, colour=3), {"depth"}),
        (thing(mode="picture"), thing(mode="picture", shape="cone"), {"image", "clip"}),
        (thing(mode="hidden", warm=True), thing(mode="hidden", warm=True, shape="ball"), {"thermal"}),
        (thing(mode="hidden"), thing(mode="hidden", shape="ball"), set()),
    ],
)
def test_a_thing_changes_not_one_byte_where_it_does_not_show(before: Thing, after: Thing, seen_in: set[str]):
    assert changed(scene(before), scene(after)) == seen_in


@pytest.mark.parametrize("mode", ["camouflaged", "picture"])
def test_a_thing_that_a_sensor_misses_is_as_if_it_were_not_there(mode: str):
    assert changed(scene(thing(mode=mode)), scene()) == ({"depth"} if mode == "camouflaged" else {"image", "clip"})


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_changes_its_own_modality_only(fact: str):
    one = scene(thing())
    other = replace(one, facts={**one.facts, fact: 1 - one.facts[fact]})
    also = {"clip"} if fact == "floor" else set()
    assert changed(one, other) == {FACTS[fact][1]} | also


@pytest.mark.parametrize(
    ("name", "seen_in"), [("lamp", {"image", "clip"}), ("knob", {"depth"}), ("hot_spot", {"thermal"})]
)
def test_a_mark_changes_its_own_modality_only(name: str, seen_in: set[str]):
    one = scene()
    marks = {mark: Mark(20.0, 8.0, True) for mark in MARKS}
    one = replace(one, marks=marks, meant="lamp")
    other = replace(one, marks={**marks, name: Mark(50.0, 8.0, True)})
    assert changed(one, other) == seen_in
    assert changed(one, replace(one, meant="knob")) == {"text"}


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("lamp", lambda r, empty: (r.image().astype(float) - empty.image()).sum(2)),
        ("knob", lambda r, empty: empty.true_depth() - r.true_depth()),
        ("hot_spot", lambda r, empty: r.thermal().astype(float) - empty.thermal()),
    ],
)
def test_a_mark_is_where_the_target_says(name: str, strength: Callable[[Rendering, Rendering], np.ndarray]):
    rules = replace(RULES, noise=0.0)
    marks = {mark: Mark(0.0, 0.0, False) for mark in MARKS}
    empty = replace(scene(), marks=marks)
    there = replace(empty, marks={**marks, name: Mark(40.3, 9.6, True)})
    rise = strength(Rendering(rules, "train", 0, there), Rendering(rules, "train", 0, empty))
    rise = np.where(rise > 0.5 * rise.max(), rise, 0)  # its glow is cut off by the border of the picture
    y, x = (np.mgrid[:64, :64] + 0.5) * rise / rise.sum()
    assert (x.sum(), y.sum()) == pytest.approx((40.3, 9.6), abs=0.4)


@pytest.mark.parametrize("resolution", [(64, 64), (48, 48), (96, 128), (128, 96)])
def test_every_thing_lies_in_its_own_cell_with_floor_around_it(resolution: tuple[int, int]):
    rules = Rules(height=resolution[0], width=resolution[1], present=1.0)
    for index in range(40):
        for content, at in Rendering(rules, "train", index).hits:
            border = np.concatenate([at.mask[0], at.mask[-1], at.mask[:, 0], at.mask[:, -1]])
            assert at.mask.any(), content
            assert not border.any(), content


def test_things_are_large_and_stand_off_the_floor():
    for index in range(30):
        for content, at in Rendering(RULES, "train", index).hits:
            extent = max(at.mask.any(0).sum(), at.mask.any(1).sum()) / 64
            assert 0.12 <= extent <= 0.4
            empty = room(64, 64).depth[at.window][at.mask]
            assert (at.depth < empty + 1e-6).all()
            assert (empty - at.depth).max() > 0.2, content


def test_targets_agree_with_one_another():
    for index in range(20):
        rendering = Rendering(RULES, "test", index)
        label, instances, boxes = rendering.label(), rendering.instances(), rendering.boxes()
        assert len(boxes) == instances.max() == len(rendering.scene.things)
        assert np.array_equal(label > 0, instances > 0)
        for number, (x0, y0, x1, y1, kind) in enumerate(boxes, start=1):
            ys, xs = np.nonzero(instances == number)
            assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert set(label[instances == number]) == {int(kind) + 1}
        edges = rendering.edges().astype(bool)
        inner = label[1:-1, 1:-1]
        differs = (inner != label[1:-1, 2:]) | (inner != label[2:, 1:-1])
        assert np.array_equal(edges[1:-1, 1:-1], differs)


def test_pictures_and_hidden_things_are_flat_in_the_true_depth():
    for mode in ("picture", "hidden"):
        flat, empty = (Rendering(RULES, "train", 0, content) for content in (scene(thing(mode=mode)), scene()))
        assert np.array_equal(flat.true_depth(), empty.true_depth())


def test_unknown_depth_is_zero_and_of_the_stated_share():
    depths = [Rendering(replace(RULES, holes=0.1), "train", index).depth() for index in range(10)]
    assert np.mean(np.stack(depths) == 0) == pytest.approx(0.1, abs=0.01)


def test_one_frame_of_the_clip_is_the_image():
    rendering = Rendering(RULES, "train", 4)
    clip, image = rendering.clip(), rendering.image()
    same = [np.array_equal(frame, image) for frame in clip]
    assert same == [number == len(clip) // 2 for number in range(len(clip))]


@pytest.mark.parametrize("direction", [0, 1])
def test_the_light_of_the_clip_drifts_as_the_class_says(direction: int):
    one = scene()
    clip = Rendering(RULES, "train", 0, replace(one, facts={**one.facts, "drift": direction})).clip().astype(float)
    rise = clip[-1].mean((0, 2)) - clip[0].mean((0, 2))
    to_the_right = rise[32:].mean() > rise[:32].mean()
    assert CLASS_NAMES["drift"][direction] == ("rightward" if to_the_right else "leftward")


@pytest.mark.parametrize("tone", [0, 1])
def test_the_pitch_of_the_sound_moves_as_the_class_says(tone: int):
    one = scene()
    wave = Rendering(RULES, "train", 0, replace(one, facts={**one.facts, "tone": tone})).audio()
    pitch = [np.abs(np.fft.rfft(part * np.hanning(1000))).argmax() for part in (wave[500:1500], wave[2500:3500])]
    assert FACTS["tone"][0][tone] == ("rising" if pitch[1] > pitch[0] else "falling")


def test_captions_and_sentences_say_what_is_there():
    content = scene(thing(ribbon=True), thing(cell=(1, 1), mode="picture"))
    assert captions(content) == [
        "A parcel at the back left and a picture at the front right.",
        "A picture at the front right and a parcel at the back left.",
    ]
    assert captions(scene()) == ["An empty room."]
    content = replace(content, meant="knob")
    assert "the knob" in sentence(content).lower()


NAMED = replace(RULES, named=True)


def named_senses(content: Scene) -> dict[str, object]:
    rendering = Rendering(NAMED, "train", 0, content)
    inputs: dict[str, object] = {name: getattr(rendering, name)().tobytes() for name in MODALITIES if name != "text"}
    return {**inputs, "text": sentence(content, named=True)}


def test_a_stain_looks_like_a_camouflaged_thing_to_the_byte_and_only_the_sentence_and_depth_tell_them_apart():
    there, stain = scene(thing(mode="camouflaged")), replace(scene(), stains=(thing(mode="stain"),))
    one, other = named_senses(there), named_senses(stain)
    assert {name for name in MODALITIES if one[name] != other[name]} == {"text", "depth"}
    assert named_senses(scene())["image"] != one["image"]
    assert Rendering(NAMED, "train", 0, stain).label().max() == 0
    assert len(Rendering(NAMED, "train", 0, stain).boxes()) == 0


def test_the_sentence_names_camouflaged_things_and_no_others_with_their_places():
    content = scene(thing(mode="camouflaged"), thing(cell=(0, 1), shape="ball"), thing(cell=(1, 1), mode="hidden"))
    assert sentence(content, named=True).startswith(sentence(content) + " ")
    assert sentence(content, named=True).endswith(": a box at the back left.")
    two = scene(thing(mode="camouflaged"), thing(cell=(1, 1), shape="cone", mode="camouflaged"))
    assert sentence(two, named=True).endswith(": a box at the back left and a cone at the front right.")
    assert sentence(scene(thing()), named=True) == sentence(scene(thing()))


def test_stains_are_of_the_stated_share_of_the_empty_cells_and_move_nothing_else():
    plain, stained = RULES, replace(RULES, stains=0.4)
    empty = number = 0
    for index in range(300):
        without, with_stains = draw(plain, "train", index), draw(stained, "train", index)
        assert replace(with_stains, stains=()) == without
        assert not {s.cell for s in with_stains.stains} & {t.cell for t in without.things}
        empty, number = empty + 4 - len(without.things), number + len(with_stains.stains)
    assert number / empty == pytest.approx(0.4, abs=0.09)


def test_captions_tell_scenes_apart():
    seen: dict[str, tuple[object, ...]] = {}
    for index in range(100):
        things = tuple((t.cell, t.class_name) for t in draw(RULES, "train", index).things)
        for caption in captions(draw(RULES, "train", index)):
            assert seen.setdefault(caption, things) == things


def test_missing_cells_are_of_the_stated_share_and_leave_the_rest_alone():
    whole = Scenes(num_train=500, num_val=0, num_test=0)
    holed = Scenes(num_train=500, num_val=0, num_test=0, missing={"depth": 0.2, "room": 0.5})
    manifest = holed.manifest()
    assert manifest.present("depth").mean() == pytest.approx(0.8, abs=0.05)
    assert manifest.present("room").mean() == pytest.approx(0.5, abs=0.06)
    for name in COLUMNS:
        if name not in ("depth", "room"):
            assert manifest.values(name) == whole.manifest().values(name)


def test_missing_refuses_a_column_that_is_not_there():
    with pytest.raises(ValueError, match="did you mean 'depth'"):
        Scenes(missing={"dept": 0.2})


def test_shares_beyond_one_are_refused():
    with pytest.raises(ValueError, match="more than 1"):
        Scenes(camouflage=0.6, poster=0.6)


def test_a_room_without_things_has_no_boxes_and_an_empty_list_of_contents():
    manifest = Scenes(present=0.0, num_train=1, num_val=0, num_test=0).manifest()
    row = manifest.row(0)
    assert row["contents"] == []
    assert manifest.resolve(row["boxes"]).shape == (0, 5)


def test_cells_lie_beside_one_another():
    owners = np.zeros((64, 64), int)
    for cell in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        top, bottom, left, right = cell_bounds(RULES, cell)
        owners[top:bottom, left:right] += 1
    assert (owners[18:] == 1).all()
    assert (owners[:18] == 0).all()
