"""The best that can be reached on a split of the built-in clips, by what is seen and in what way it is read.

As for the scenes, an oracle is told what a subset of the modalities reveals and nothing else. A clip can be read in
several ways, of which each reveals a part of what it shows:

- `frame`: one frame alone, the last of the clip; of a fact of frames, the frame that is asked;
- `recent`: that frame and the `short` frames before it, in order;
- `frames`: all frames, without their order; things that move tell it, but for the clip run backwards, and no more;
- `clip`: all frames in order.

What is revealed divides the samples (or frames, or pixels) into groups; the most common class of each is the best
answer. The oracle is fitted to the split, so where nothing is revealed it is above chance by what the split allows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Literal

import numpy as np

from weft.data.scenes.best import best_accuracy, best_miou
from weft.data.scenes.moving import (
    CLIP_FACTS,
    FRAME_FACTS,
    NUM_ASKED,
    SHOWN_FACTS,
    STILL_FACTS,
    Moving,
    MovingRules,
    draw_moving,
    frame_label,
)
from weft.data.scenes.moving_render import MovingRendering

Reading = Literal["frame", "recent", "frames", "clip"]
Seen = frozenset[str]

READINGS: tuple[Reading, ...] = ("frame", "recent", "frames", "clip")

#: {fact: the readings of a clip that reveal it}; the match is between clip and still, so it takes the still too. Of
#: what is asked and of the pair readings tell a part: `_light` and `_flashes`.
REVEALED_BY: dict[str, frozenset[str]] = {
    **dict.fromkeys(SHOWN_FACTS, frozenset(READINGS)),
    "mover": frozenset({"recent", "frames", "clip"}),
    "heading": frozenset({"recent", "clip"}),
    "order": frozenset({"recent", "clip"}),
    "cue": frozenset({"clip"}),
    "match": frozenset(READINGS),
    "echo": frozenset({"recent", "clip"}),
    "recall": frozenset({"clip"}),
    "moves": frozenset({"recent", "frames", "clip"}),
    "track": frozenset({"recent", "frames", "clip"}),
}

#: So many pixels from its place a point is found, as the task has it by default.
_WITHIN = 5.0


def moving_ceilings(rules: MovingRules, *, split: str, num_samples: int) -> dict[str, dict[Seen, float]]:
    """The ceilings of one split.

    Args:
        rules: how clips are drawn.
        split: train, val or test.
        num_samples: how many samples the split has.

    Returns:
        {"column/figure": {what is seen: value}}: nothing, the `image`, a reading of the clip, or both. Of facts of
        frames, masks and tracks `frames` is left out: what is asked of a frame has no meaning without its place.
    """
    samples = [draw_moving(rules, split, index) for index in range(num_samples)]
    pixels = _pixels(rules, split, samples)
    tracks = np.stack([MovingRendering(rules, split, index, sample).track() for index, sample in enumerate(samples)])
    figures: dict[str, dict[Seen, float]] = {}
    for seen in _all_seen():
        for fact in CLIP_FACTS:
            pairs = ((_revealed(rules, sample, fact, seen), sample.facts[fact]) for sample in samples)
            figures.setdefault(f"{fact}/accuracy", {})[seen] = best_accuracy(_counts(pairs))
        for fact in STILL_FACTS:
            pairs = ((_shown_still(sample, fact, seen), sample.still[fact]) for sample in samples)
            figures.setdefault(f"{fact}/accuracy", {})[seen] = best_accuracy(_counts(pairs))
        if "frames" in seen:
            continue
        for fact in FRAME_FACTS:
            figures.setdefault(f"{fact}/accuracy", {})[seen] = best_accuracy(
                _counts(_asked(rules, samples, fact, seen))
            )
        figures.setdefault("moves/mIoU", {})[seen] = best_miou(_seen_pixels(pixels, seen))
        figures.setdefault("track/PCK", {})[seen] = _found(tracks, samples, seen)
    return figures


def _all_seen() -> Iterator[Seen]:
    for still in ((), ("image",)):
        yield frozenset(still)
        for reading in READINGS:
            yield frozenset({*still, reading})


def _revealed(rules: MovingRules, sample: Moving, fact: str, seen: Seen) -> Hashable:
    """What is known of a fact of a whole clip."""
    if fact == "asked":
        return _light(rules, sample, seen)
    if fact == "pair":
        return _flashes(rules, sample, seen)
    if fact == "match":
        return sample.facts["match"] if "image" in seen and seen & REVEALED_BY["match"] else None
    if fact == "cue" and "frames" in seen:  # both signs, and nothing says which came first
        return frozenset({sample.facts["cue"], sample.decoy})
    return sample.facts[fact] if seen & REVEALED_BY[fact] else None


def _frames_seen(rules: MovingRules, seen: Seen) -> range:
    """The frames that a reading sees."""
    if not seen & frozenset(READINGS):
        return range(0)
    last = rules.num_frames - 1
    return range(last if "frame" in seen else last - rules.short if "recent" in seen else 0, rules.num_frames)


def _light(rules: MovingRules, sample: Moving, seen: Seen) -> Hashable:
    """Of the frame that the still asks for; without the still, how often it was on in those that it may ask for."""
    frames = _frames_seen(rules, seen)
    ways = (sample.light, sample.light[::-1]) if "frames" in seen else (sample.light,)
    if "image" in seen:
        return tuple(sorted(way[sample.asks_for] for way in ways)) if sample.asks_for in frames else None
    return tuple(sorted(sum(way[frame] for frame in frames if frame < NUM_ASKED) for way in ways))


def _flashes(rules: MovingRules, sample: Moving, seen: Seen) -> Hashable:
    """In which of the frames that are seen the strip flashes, and where all are, whether in one third."""
    if seen & {"frames", "clip"}:
        return sample.facts["pair"]
    return tuple(frame in sample.flashes for frame in _frames_seen(rules, seen))


def _shown_still(sample: Moving, fact: str, seen: Seen) -> Hashable:
    """What is known of a fact of the still: the clip's paint is its own, half of the time."""
    if "image" in seen:
        return sample.still[fact]
    return sample.paint if fact == "still_paint" and seen else None


def _asked(rules: MovingRules, samples: Iterable[Moving], fact: str, seen: Seen) -> Iterator[tuple[Hashable, int]]:
    """(what is known, the class) of every frame that a fact of frames asks."""
    for sample in samples:
        for frame in range(rules.num_frames):
            label = frame_label(rules, sample, fact, frame)
            if label is not None:
                hint = sample.still_paint if fact == "paint" and "image" in seen else None
                yield (label if seen & REVEALED_BY[fact] else hint), label


def _pixels(rules: MovingRules, split: str, samples: Iterable[Moving]) -> dict[str, np.ndarray]:
    """{place: (2,) pixels that stand and that move}: on the floor, the ball, the box."""
    pixels = {"floor": np.zeros(2), "ball": np.zeros(2), "box": np.zeros(2)}
    for index, sample in enumerate(samples):
        rendering = MovingRendering(rules, split, index, sample)
        moving, standing = rendering.moves().sum(), rendering.stands().sum()
        other = "box" if sample.mover == "ball" else "ball"
        pixels[sample.mover][1] += moving
        pixels[other][0] += standing
        pixels["floor"][0] += rules.num_frames * rules.height * rules.width - moving - standing
    return pixels


def _seen_pixels(pixels: dict[str, np.ndarray], seen: Seen) -> np.ndarray:
    """(G, 2) the same, by what can be told apart."""
    counts = np.stack(list(pixels.values()))
    if seen & REVEALED_BY["moves"]:
        return np.diag(counts.sum(0))
    return counts if "frame" in seen else counts.sum(0, keepdims=True)


def _found(tracks: np.ndarray, samples: Iterable[Moving], seen: Seen) -> float:
    """Share of the points that are found: a frame shows both things, and not which of them moves.

    Whoever sees none names for each point the place that most of them are near; the lanes are too far apart for a
    place between them.

    Args:
        tracks: (n, T, 3, 2) of `MovingRendering.track`.
        samples: the n samples.
        seen: what is seen.
    """
    if seen & REVEALED_BY["track"]:
        return 1.0
    is_ball = np.array([sample.mover == "ball" for sample in samples])
    if "frame" in seen:
        return float((2 + max(is_ball.mean(), 1 - is_ball.mean())) / 3)
    things = [tracks[:, :, 0, 0], tracks[:, :, 1, 0]]
    of_mover = max(_most_near(x[moves]) for x, moves in zip(things, (is_ball, ~is_ball), strict=True))
    return float((sum(map(_most_near, things)) + of_mover) / (3 * tracks[:, :, 0, 0].size))


def _most_near(x: np.ndarray) -> int:
    """How many of some places along a line are near the best of all answers."""
    places = np.sort(x.ravel())
    near = np.searchsorted(places, places + 2 * _WITHIN, side="right") - np.arange(len(places))
    return int(near.max(initial=0))


def _counts(pairs: Iterable[tuple[Hashable, int]]) -> np.ndarray:
    """(G, K) how often each class is in each group."""
    groups: dict[Hashable, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for revealed, number in pairs:
        groups[revealed][number] += 1
    num_classes = 1 + max((number for group in groups.values() for number in group), default=0)
    return np.array([[group[number] for number in range(num_classes)] for group in groups.values()], np.float64)
