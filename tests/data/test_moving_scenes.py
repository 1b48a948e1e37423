"""The built-in clips: each fact is told by what is said to tell it, read from the pixels, and by nothing less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from weft import load_experiment
from weft.data.formats.moving_scenes import COLUMNS, RENDERED, MovingScenes, rendered
from weft.data.pipeline import build_data
from weft.data.scenes.moving import (
    CLIP_FACTS,
    CUE_FRAMES,
    FRAME_FACTS,
    NUM_ASKED,
    SHOWN_FACTS,
    STILL_FACTS,
    Moving,
    MovingRules,
    draw_moving,
    frame_label,
    third_of,
)
from weft.data.scenes.moving_render import (
    BLANK,
    FLASH,
    FLOOR,
    LAMPS,
    LANES,
    LIGHT,
    PAINTS,
    PLACES,
    SIGNS,
    MovingRendering,
)
from weft.metrics.motion import carried, turned_back
from weft.modalities.base import BadCell
from weft.registry import get

RULES = MovingRules()
CLEAR = MovingRules(noise=0.0)
SAMPLES = [draw_moving(RULES, "test", index) for index in range(600)]


def clip_of(moving: Moving) -> np.ndarray:
    return MovingRendering(CLEAR, "test", 0, moving).clip()


def test_arrays_and_cells_are_as_stated() -> None:
    manifest = get("format", "moving_scenes")(num_train=2, num_val=0, num_test=1, resolution=(48, 80)).manifest()
    assert manifest.splits == ["train", "test"]
    assert set(manifest.columns) == set(COLUMNS) == set(manifest.names) - {"id", "split"}
    row = manifest.row(0)
    arrays = {name: manifest.resolve(row[name]) for name in RENDERED}
    assert {name: array.shape for name, array in arrays.items()} == {
        "image": (48, 80, 3),
        "clip": (12, 48, 80, 3),
        "flow": (12, 48, 80, 2),
        "moves": (12, 48, 80),
    }
    assert {name: array.dtype.name for name, array in arrays.items() if array.dtype != np.uint8} == {"flow": "float32"}
    assert np.array_equal(manifest.resolve(row["clip"]), arrays["clip"])
    assert {len(row[fact]) for fact in FRAME_FACTS} == {12}
    assert row["echo"][:2] == [None, None]
    assert row["recall"] == [None] * 10 + [row["cue"]] * 2


def test_a_sample_is_a_function_of_seed_split_and_number() -> None:
    first, again, other = (MovingRendering(replace(RULES, seed=s), "train", 3).clip() for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, MovingRendering(RULES, "val", 3).clip())


# --- read from the pixels by one who knows only where to look


def nearest(pixels: np.ndarray, colours: np.ndarray) -> int:
    return int(np.square(colours - pixels.reshape(-1, 3).mean(0)).sum(1).argmin())


def around(frame: np.ndarray, name: str) -> np.ndarray:
    x, y = (round(place * 64) for place in PLACES[name])
    return frame[y - 2 : y + 2, x - 2 : x + 2].astype(float)


def painted(frame: np.ndarray, top: float, bottom: float) -> np.ndarray:
    """(w,) how much of each column is darker than the floor."""
    rows = frame[round(top * 64) : round(bottom * 64)].astype(float)
    return (rows.min(2) < 0.72 * np.median(rows.min(2))).sum(0)


def lanes(frame: np.ndarray) -> dict[str, np.ndarray]:
    return {thing: painted(frame, lane - 0.14, lane + 0.14) for thing, lane in LANES.items()}


def flashes(frame: np.ndarray) -> bool:
    return nearest(frame[-2:].astype(float), np.stack([FLOOR, FLASH])) == 1


def turned(before: np.ndarray, after: np.ndarray) -> int:
    """By how many columns a row of counts was turned, the short way."""
    fits = [float(np.abs(np.roll(before, shift) - after).sum()) for shift in range(64)]
    return (int(np.argmin(fits)) + 32) % 64 - 32


def paint_of(frame: np.ndarray, columns: np.ndarray, lane: float) -> int:
    middle = frame[round(lane * 64) - 2 : round(lane * 64) + 2][:, columns >= columns.max()]
    return nearest(middle.astype(float), PAINTS)


def read(clip: np.ndarray, image: np.ndarray) -> dict[str, int]:
    first, last = lanes(clip[0]), lanes(clip[5])
    changes = {thing: float(np.abs(first[thing] - last[thing]).sum()) for thing in LANES}
    mover = max(changes, key=lambda thing: changes[thing])
    way = turned(first[mover], lanes(clip[1])[mover])
    lamp = [nearest(around(frame, "lamp"), LAMPS) for frame in clip[:2]]
    still = paint_of(image, painted(image, 0.36, 0.64), 0.5)
    asks_for = int(np.median(np.flatnonzero(painted(image, 0.95, 1.0)))) * NUM_ASKED // 64
    one, other = (t for t, frame in enumerate(clip) if flashes(frame))
    return {
        "mover": CLIP_FACTS["mover"].index(mover),
        "heading": int(way > 0),
        "order": 0 if (lamp[1] - lamp[0]) % 3 == 1 else 1,
        "cue": nearest(around(clip[0], "sign"), SIGNS),
        "match": int(paint_of(clip[0], first["ball"], LANES["ball"]) != still),
        "asked": nearest(around(clip[asks_for], "light"), LIGHT),
        "pair": int(one // 4 != other // 4),
    }


def shown(frame: np.ndarray) -> dict[str, int]:
    """What one frame tells by itself, but for the places of ball and box."""
    return {
        "lamp": nearest(around(frame, "lamp"), LAMPS),
        "light": nearest(around(frame, "light"), LIGHT),
        "sign": nearest(around(frame, "sign"), np.stack([BLANK, *SIGNS])),
        "flash": int(flashes(frame)),
        "paint": paint_of(frame, lanes(frame)["ball"], LANES["ball"]),
    }


def test_whoever_reads_the_right_thing_in_the_pixels_is_always_right() -> None:
    for index in range(60):
        rendering = MovingRendering(RULES, "test", index)
        clip = rendering.clip()
        assert read(clip, rendering.image()) == rendering.moving.facts
        for t in range(RULES.num_frames):
            for fact, number in shown(clip[t]).items():
                assert number == frame_label(RULES, rendering.moving, fact, t)
            if t >= RULES.short:
                before = nearest(around(clip[t - RULES.short], "light"), LIGHT)
                assert before == frame_label(RULES, rendering.moving, "echo", t)


def test_masks_lie_on_what_moves() -> None:
    rendering = MovingRendering(CLEAR, "test", 4)
    clip, mask = rendering.clip().astype(float), rendering.moves() > 0
    assert np.square(clip[mask] - PAINTS[rendering.moving.paint]).max() < 2
    changed = (clip[1:] != clip[:-1]).any(3)
    changed[:, : round(0.3 * 64)] = changed[:, 60:] = False  # lamp, light and sign, and the strip
    assert changed.any()
    assert not changed[~(mask[1:] | mask[:-1])].any()
    assert not (mask & (rendering.stands() > 0)).any()


def test_the_flow_is_how_far_the_mover_goes_and_leads_from_each_mask_to_the_next() -> None:
    for index in range(8):
        rendering = MovingRendering(MovingRules(width=96), "test", index)
        flow, masks = rendering.flow(), rendering.moves()
        assert np.array_equal(flow[..., 0] != 0, masks > 0)
        assert not flow[..., 1].any()
        places = [rendering.moving.x(rendering.moving.mover, frame) for frame in range(12)]
        steps = (np.diff(places) + 0.5) % 1 - 0.5  # the short way round
        np.testing.assert_allclose([frame.sum() / (frame != 0).sum() for frame in flow[:-1, ..., 0]], steps * 96, 1e-4)
        for frame in range(11):
            back = torch.from_numpy(turned_back(flow[frame]))
            known = ~back.isnan().any(-1).numpy()
            assert known.mean() > 0.9
            before = torch.from_numpy(masks[frame])[None, None].float()
            carried_on = carried(before, back[None], nearest=True)[0, 0].numpy() > 0
            # what comes in at the side it left by is not told by where the floor there came from
            inner = slice(12, -12)
            assert (carried_on != (masks[frame + 1] > 0))[:, inner][known[:, inner]].mean() < 0.01


def test_places_are_in_the_middle_of_what_they_name() -> None:
    for index in range(10):
        rendering = MovingRendering(CLEAR, "test", index)
        masks, other = rendering.moves(), rendering.stands()
        track = rendering.track()
        mover = 0 if rendering.moving.mover == "ball" else 1
        assert np.array_equal(track[:, 2], track[:, mover])
        for mask, places in ((masks, track[:, 2]), (other, track[:, 1 - mover])):
            for frame, (x, y) in zip(mask, places, strict=True):
                turned_to_middle = np.roll(frame, 32 - int(x), axis=1)  # past a side it goes on at the other
                rows, columns = np.nonzero(turned_to_middle)
                assert columns.mean() + 0.5 - 32 == pytest.approx(x - int(x), abs=0.6)
                assert rows.mean() + 0.5 == pytest.approx(y, abs=0.6)
    row = MovingScenes(num_train=1, num_val=0, num_test=0).manifest().row(0)
    assert np.allclose(row["track"], MovingRendering(RULES, "train", 0).track())


def test_frames_and_what_is_said_of_them_stay_together_however_frames_are_taken() -> None:
    encoder = {"type": "frame_maps", "backbone": {"type": "timm", "name": "test_resnet"}}
    experiment = load_experiment(
        {
            "name": "taken",
            "data": {
                "format": "moving_scenes",
                "num_train": 6,
                "num_val": 1,
                "num_test": 1,
                "frames": {"sampling": "random", "count": 5},
                "workers": 0,
            },
            "modalities": {"clip": {"type": "video", "encoder": encoder}},
            "tasks": {
                "lamp": {"type": "frame_classification"},
                "recall": {"type": "frame_classification"},
                "moves": {"type": "video_segmentation", "decoder": "fcn"},
            },
            "train": {"batch_size": 6},
        }
    )
    batch = next(iter(build_data(experiment, facts=None).batches("train", training=True, multiple=1)))
    assert batch.inputs["clip"].shape == (6, 5, 3, 64, 64)
    assert len({tuple(frames) for frames in batch.frames}) > 1
    for row, frames in enumerate(batch.frames):
        clip = batch.inputs["clip"][row].movedim(1, 3).numpy()
        lamps = [nearest(around(frame, "lamp"), LAMPS) for frame in clip]
        assert batch.targets["lamp"][row].tolist() == lamps
        assert (batch.targets["recall"][row] >= 0).tolist() == [frame >= RULES.first_recall for frame in frames]
        mask = batch.targets["moves"][row].numpy() == 1
        assert mask.any((1, 2)).all()
        assert clip[mask].std(0).max() < 2 * 255 * RULES.noise  # one paint and the camera's noise


def test_a_clip_is_made_once_to_count_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(rendering: MovingRendering) -> np.ndarray:
        made.append(rendering.index)
        return np.zeros((RULES.num_frames, 64, 64, 3), np.uint8)

    monkeypatch.setattr(MovingRendering, "clip", counted)
    experiment = load_experiment(
        {
            "name": "counted",
            "data": {"format": "moving_scenes", "num_train": 10, "num_val": 1, "num_test": 1, "workers": 0, "seed": 77},
            "modalities": {"image": {"encoder": {"type": "timm", "name": "test_resnet"}}},
            "tasks": {"lamp": {"type": "frame_classification"}},
            "train": {"batch_size": 5},
        }
    )
    data = build_data(experiment, facts=None)
    assert sum(len(batch.ids) for batch in data.batches("train", training=True, multiple=1)) == 10
    before = len(made)
    list(data.batches("train", training=True, multiple=1))
    assert len(made) == before


# --- what each fact does not show in


def test_a_clip_run_backwards_is_as_likely_a_clip_of_the_other_heading_and_order() -> None:
    """So frames without their order tell neither: to each clip of one class belongs one of the other with the same."""
    last = RULES.num_frames - 1
    for moving in SAMPLES[:20]:
        facts = {**moving.facts, "heading": 1 - moving.facts["heading"], "order": 1 - moving.facts["order"]}
        backwards = replace(
            moving,
            facts={**facts, "cue": moving.decoy},
            decoy=moving.facts["cue"],
            starts={**moving.starts, moving.mover: moving.x(moving.mover, last)},
            phase=moving.lamp(last),
            light=moving.light[::-1],
            flashes=(last - moving.flashes[1], last - moving.flashes[0]),
        )
        difference = clip_of(backwards).astype(int) - clip_of(moving)[::-1]
        assert (np.abs(difference) > 0).mean() < 1e-3  # sums in another order may leave a pixel out at the border


@pytest.mark.parametrize("fact", ["mover", "heading", "order", "cue", "match", "asked"])
def test_one_late_frame_tells_no_fact_of_the_clip(fact: str) -> None:
    last = RULES.num_frames - 1
    seen = [
        [
            moving.x("ball", last),
            moving.x("box", last),
            moving.lamp(last),
            moving.light[last],
            moving.sign(last, RULES.num_frames),
            moving.paint,
        ]
        for moving in SAMPLES
    ]
    truth = [moving.facts[fact] for moving in SAMPLES]
    forest = RandomForestClassifier(60, min_samples_leaf=5, random_state=0, n_jobs=1).fit(seen[:300], truth[:300])
    chance = 1 / len(CLIP_FACTS[fact])
    assert forest.score(seen[300:], truth[300:]) < chance + 3 * np.sqrt(chance * (1 - chance) / 300)


def test_the_cue_is_in_the_first_frames_only_and_the_match_in_none() -> None:
    moving = SAMPLES[0]
    other = replace(moving, facts={**moving.facts, "cue": (moving.facts["cue"] + 1) % len(SIGNS)})
    differs = (clip_of(moving) != clip_of(other)).any((1, 2, 3))
    assert differs.tolist() == [True] * CUE_FRAMES + [False] * (RULES.num_frames - CUE_FRAMES)
    repainted = replace(moving, still_paint=(moving.still_paint + 1) % len(PAINTS))
    assert np.array_equal(clip_of(moving), clip_of(repainted))
    for paints in ([m.paint for m in SAMPLES], [m.still_paint for m in SAMPLES]):
        same = np.bincount(paints, [m.facts["match"] == 0 for m in SAMPLES]) / np.bincount(paints)
        assert np.abs(same - 0.5).max() < 0.12  # four groups of about 150: 3 standard deviations


# --- the stated ceilings

CLIP, BOTH, NONE = frozenset({"clip"}), frozenset({"image", "clip"}), frozenset[str]()


def test_the_ceilings_say_what_must_be_read() -> None:
    best = MovingScenes(num_test=600).ceilings("test")
    assert {name for name, figures in best.items() if figures[BOTH] == 1} == set(best)
    assert {name for name, figures in best.items() if figures[CLIP] < 1} == {
        f"{fact}/accuracy" for fact in ("match", "asked", *STILL_FACTS)
    }
    told = {
        reading: {name.split("/")[0] for name, figures in best.items() if figures.get(frozenset({reading})) == 1}
        for reading in ("image", "frame", "recent", "frames")
    }
    assert told == {
        "image": set(STILL_FACTS),
        "frame": set(SHOWN_FACTS),
        "recent": {"mover", "heading", "order", "echo", "moves", "track", *SHOWN_FACTS},
        "frames": {"mover", "pair"},
    }


def test_where_nothing_is_told_the_best_is_chance() -> None:
    best = MovingScenes(num_test=600).ceilings("test")
    for fact, classes in {**CLIP_FACTS, **FRAME_FACTS, **STILL_FACTS}.items():
        chance = {"sign": 8 / 12, "flash": 10 / 12}.get(fact, 1 / len(classes))  # mostly blank, and none
        assert chance <= best[f"{fact}/accuracy"][NONE] < chance + 0.06
    # two signs are seen, one of them is meant; a quarter of the time they are the same
    assert best["cue/accuracy"][frozenset({"frames"})] == pytest.approx(0.625, abs=0.06)
    # the floor is sure; of ball and box half moves: IoU of a third, or of a half where one is always named
    assert 0.5 < best["moves/mIoU"][frozenset({"frame"})] < 0.75
    assert best["moves/mIoU"][NONE] < 0.5
    # a frame shows ball and box, half of the time what moves; blindly 10 of 64 columns are near, of half of the movers
    assert best["track/PCK"][frozenset({"frame"})] == pytest.approx((1 + 1 + 0.5) / 3, abs=0.02)
    assert best["track/PCK"][NONE] == pytest.approx((2 * 10 / 64 + 5 / 64) / 3, abs=0.03)


def test_parts_of_what_is_asked_are_told_by_parts_of_the_clip() -> None:
    best = MovingScenes(num_test=600).ceilings("test")
    asked, pair = best["asked/accuracy"], best["pair/accuracy"]
    assert asked[frozenset({"image", "recent"})] == asked[NONE]  # the last frames are never asked for
    # the clip may have run either way: half of the time both ways say the same, else one of two is right
    assert asked[frozenset({"image", "frames"})] == pytest.approx(0.75, abs=0.06)
    # the most common of six: (6 + 6 + 5 * 12 + 4 * 30 + 3 * 20) / (6 * 64)
    assert asked[CLIP] == pytest.approx(0.656, abs=0.06)
    assert pair[NONE] <= pair[frozenset({"frame"})] <= pair[frozenset({"recent"})] < 0.75
    # the clip has the still's paint half of the time, another in the other half
    assert best["still_paint/accuracy"][CLIP] == pytest.approx(0.5, abs=0.06)
    assert best["paint/accuracy"][frozenset({"image"})] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("num_frames", [6, 7, 12, 20])
def test_the_pair_is_in_one_third_or_in_two_and_so_is_the_clip_run_backwards(num_frames: int) -> None:
    rules, last = MovingRules(num_frames=num_frames, long=3), num_frames - 1
    for index in range(40):
        moving = draw_moving(rules, "train", index)
        first, second = moving.flashes
        assert first < second
        for a, b in ((first, second), (last - second, last - first)):
            apart = third_of(a, num_frames) != third_of(b, num_frames)
            assert CLIP_FACTS["pair"][moving.facts["pair"]] == ("apart" if apart else "together")


def test_what_cannot_be_is_refused_with_what_can() -> None:
    with pytest.raises(ValueError, match="give short < long < 6"):
        MovingScenes(num_frames=8, long=6)
    with pytest.raises(BadCell, match="moving:train/17/clip"):
        rendered(RULES, "moving:train/0/depth")
