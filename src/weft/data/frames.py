"""Which frames of a sample's clips are taken: one choice, which the clip and every target per frame read alike."""

from __future__ import annotations

import numpy as np

from weft.data.timeline import TOLERANCE, Timeline
from weft.experiment import Frames
from weft.modalities.base import BadCell


def choose(timeline: Timeline, config: Frames, random: np.random.Generator | None = None) -> Timeline:
    """The frames of a clip that are taken.

    Args:
        timeline: its frames, at least one.
        config: how they are chosen.
        random: where random numbers come from; None: nothing is random, and what would be lies in the middle. One
            number is drawn for `window` and `rate`, `count` for `random`.

    Returns:
        all of them, or at most `count`; fewer where the clip has fewer.

    Raises:
        BadCell: a rate is asked for and the clip does not know how long its frames last.
    """
    num, count = len(timeline), config.count
    if config.sampling == "window":
        return timeline.at(_window(num, count, config.stride, random))
    if config.sampling == "rate":
        return timeline.at(_at_rate(timeline, config, random))
    if count is None or num <= count:
        return timeline
    within = np.full(count, 0.5) if random is None or config.sampling == "uniform" else random.random(count)
    begin = timeline.times[0]
    moments = begin + (np.arange(count) + within) * ((timeline.end - begin) / count)
    return timeline.at(timeline.shown(moments))


def is_random(config: Frames) -> bool:
    """Whether `choose` may take other frames of a clip in another epoch."""
    return config.sampling != "uniform" and config.count is not None


def _window(num: int, count: int | None, stride: int, random: np.random.Generator | None) -> np.ndarray:
    """Every `stride`-th frame, `count` of them; from the first on where there are not so many."""
    most = -(-num // stride)
    if count is None or most <= count:
        slack, count = 0, most
    else:
        slack = num - ((count - 1) * stride + 1)
    start = slack // 2 if random is None else int(random.integers(slack + 1))
    return start + stride * np.arange(count)


def _at_rate(timeline: Timeline, config: Frames, random: np.random.Generator | None) -> np.ndarray:
    """What is shown in the middle of each of `count` intervals of 1 / rate seconds."""
    if not timeline.in_seconds:
        raise BadCell(
            "no-rate",
            "data.frames.sampling is rate, and nothing says how many frames a second this folder holds; say it with "
            "the option `rate` of the modality",
        )
    assert config.rate is not None, "checked with the configuration"
    length = timeline.end - timeline.times[0]
    most = max(1, int(length * config.rate + TOLERANCE))
    count = most if config.count is None else min(most, config.count)
    slack = max(0.0, length - count / config.rate)
    start = timeline.times[0] + slack * (0.5 if random is None else random.random())
    moments = start + (np.arange(count) + 0.5) / config.rate
    return timeline.shown(np.minimum(moments, timeline.end - 2 * TOLERANCE))
