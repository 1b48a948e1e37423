"""Which frames are taken: formulas by hand, parts of clips, and how clips beside one another are paired."""

from __future__ import annotations

import numpy as np
import pytest

from weft.config import load_experiment
from weft.data.clipcell import split_cell
from weft.data.frames import choose, is_random
from weft.data.geometry import generator
from weft.data.timeline import Timeline
from weft.errors import ConfigError
from weft.experiment import Frames
from weft.modalities.base import BadCell


def line(num: int, rate: float | None = None) -> Timeline:
    return Timeline.of_numbers(np.arange(num), rate)


def taken(timeline: Timeline, seed: int | None = None, **options) -> list[int]:
    random = None if seed is None else generator(seed)
    return choose(timeline, Frames(**options), random).numbers.tolist()


def test_uniform_takes_the_middle_of_equal_stretches():
    assert taken(line(10), count=4) == [1, 3, 6, 8]  # 1.25, 3.75, 6.25, 8.75
    assert taken(line(10), count=5) == [1, 3, 5, 7, 9]
    assert taken(line(10, rate=25), count=5) == [1, 3, 5, 7, 9]  # the same in seconds, whatever rounding does
    assert taken(line(10), count=1) == [5]


def test_a_clip_with_fewer_frames_gives_those_that_it_has():
    assert taken(line(3), count=8) == [0, 1, 2]
    assert taken(line(1), count=8, sampling="random", seed=0) == [0]
    assert taken(line(4), sampling="window", count=3, stride=2) == [0, 2]
    assert taken(line(5)) == [0, 1, 2, 3, 4]


def test_a_window_is_in_the_middle_and_in_training_anywhere():
    assert taken(line(10), sampling="window", count=3, stride=2) == [2, 4, 6]
    found = {tuple(taken(line(10), seed, sampling="window", count=3, stride=2)) for seed in range(60)}
    assert found == {(start, start + 2, start + 4) for start in range(6)}


def test_random_takes_one_frame_of_each_stretch():
    for seed in range(20):
        first, second, third = taken(line(9), seed, sampling="random", count=3)
        assert (first // 3, second // 3, third // 3) == (0, 1, 2)
    assert taken(line(9), 1, sampling="random", count=3) == taken(line(9), 1, sampling="random", count=3)
    assert taken(line(9), sampling="random", count=3) == [1, 4, 7]  # without chance, the middles


def test_a_rate_asks_for_equal_steps_in_time():
    clip = line(10, rate=5)  # two seconds
    assert taken(clip, sampling="rate", rate=2) == [1, 3, 6, 8]  # at 0.25, 0.75, 1.25, 1.75 s
    assert taken(clip, sampling="rate", rate=2, count=2) == [3, 6]  # from 0.5 to 1.5 s
    assert taken(clip, sampling="rate", rate=10, count=4) == [4, 4, 5, 5]  # more than there are: shown twice
    with pytest.raises(BadCell, match="option `rate`"):
        taken(line(10), sampling="rate", rate=2)


def test_what_is_shown_long_is_taken_often():
    clip = Timeline(np.arange(3), np.array([0.0, 0.1, 1.0]), 1.1, in_seconds=True)
    assert taken(clip, count=2) == [1, 1]  # at 0.275 and 0.825 s


def test_only_chance_makes_epochs_differ():
    assert is_random(Frames(sampling="random", count=4))
    assert is_random(Frames(sampling="window", count=4))
    assert not is_random(Frames(count=4))
    assert not is_random(Frames(sampling="rate", rate=2))


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("a.mp4#t=0.25,0.5", [2, 3, 4]),  # frame 2 is shown from 0.2 s on: still when the part begins
        ("a.mp4#t=0.7,", [7, 8, 9]),
        ("a.mp4#t=,0.2", [0, 1]),
        ("a#frames=2:9:3", [2, 5, 8]),
        ("a#frames=8:", [8, 9]),
    ],
)
def test_a_cell_may_name_a_part(cell, numbers):
    file, part = split_cell(cell)
    assert file == cell.partition("#")[0]
    assert part.of(line(10, rate=10), cell).numbers.tolist() == numbers


@pytest.mark.parametrize("part", ["t=5,2", "t=a,b", "t=1,2,3", "frames=1.5:3", "frames=0:4:0", "t=", "frames=-3:2"])
def test_a_part_that_is_none_is_refused_with_how_to_write_it(part):
    with pytest.raises(BadCell, match="START:STOP:STEP"):
        split_cell(f"a.mp4#{part}")


def test_a_part_outside_the_clip_is_refused_with_what_there_is():
    _, part = split_cell("a#frames=40:50")
    with pytest.raises(BadCell, match="0 to 9 by number"):
        part.of(line(10), "a#frames=40:50")


def test_a_number_sign_in_a_name_is_no_part():
    assert split_cell("take#3.mp4") == ("take#3.mp4", None)


def test_motion_with_one_frame_fewer_stands_beside_its_clip():
    assert line(9).same_as(line(10)).tolist() == [*range(9), 8]
    assert line(8).same_as(line(10)).tolist() == [*range(8), 7, -1]


def test_clips_of_other_rates_meet_in_time():
    slow, quick = line(2, rate=10), line(6, rate=25)
    assert slow.same_as(quick).tolist() == [0, 0, 0, 1, 1, 1]  # 0, 40, 80, 120, 160, 200 ms


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({"sampling": "rate"}, "needs frames a second"),
        ({"rate": 4}, "without sampling: rate"),
        ({"sampling": "random"}, "needs the number of frames"),
        ({"stride": 2}, "sampling: window"),
    ],
)
def test_options_that_do_not_go_together_are_told(frames, said):
    experiment = {
        "name": "x",
        "data": {"format": "davis", "root": ".", "frames": frames},
        "modalities": {"image": {"encoder": {"type": "timm", "name": "resnet18"}}},
        "tasks": {"label": {"type": "classification"}},
    }
    with pytest.raises(ConfigError, match=said):
        load_experiment(experiment)
