"""The built-in clips: what happens in one, drawn from (seed, split, index), and how its frames and its still show it.

Five things are in a clip, each in a place of its own: a lamp that goes through three colours, a light that is on or
off, a sign, a ball and a box. Each tells only what it is there for. Run backwards, a clip is just as likely a clip of
the other heading and order, so frames without their order tell neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from weft.data.scenes.latents import SPLITS

#: {fact of a whole clip: its classes}
CLIP_FACTS: dict[str, tuple[str, ...]] = {
    "mover": ("ball", "box"),
    "heading": ("leftward", "rightward"),
    "order": ("red green blue", "red blue green"),
    "cue": ("yellow", "cyan", "magenta", "orange"),
    "match": ("same", "other"),
}

#: {fact of a single frame: its classes}
FRAME_FACTS: dict[str, tuple[str, ...]] = {
    "lamp": ("red", "green", "blue"),
    "echo": ("off", "on"),
    "recall": CLIP_FACTS["cue"],
}

MOVING_CLASSES = ("background", "moving")

#: Frames at the beginning that show the cue, and at the end that show another sign.
CUE_FRAMES = 2

LAMPS = np.array([(225, 50, 45), (60, 190, 75), (60, 95, 225)], np.float64)
SIGNS = np.array([(245, 215, 60), (70, 210, 220), (215, 80, 205), (245, 145, 50)], np.float64)
PAINTS = np.array([(170, 60, 50), (50, 120, 170), (90, 140, 60), (150, 110, 170)], np.float64)
BLANK = np.array((128.0, 128.0, 128.0))
LIGHT = np.array([(40, 40, 44), (250, 248, 235)], np.float64)
FLOOR = np.array((196.0, 188.0, 176.0))

#: (x, y) of what stands still and the heights of the two lanes, in widths and heights of the picture; their radii in
#: heights.
PLACES = {"lamp": (0.17, 0.15), "light": (0.5, 0.15), "sign": (0.83, 0.15)}
LANES = {"ball": 0.47, "box": 0.80}
SMALL, LARGE = 0.09, 0.13

#: Least and largest way of the mover between two frames, in widths of the picture.
SPEEDS = (0.05, 0.09)

_STREAMS = {"latents": 100, "image": 101, "clip": 102}


@dataclass(frozen=True)
class MovingRules:
    """How clips are drawn; the knobs of the `moving_scenes` format.

    Attributes:
        height, width: in pixels.
        num_frames: of a clip.
        short: `echo` asks for the light so many frames before.
        long: `recall` asks for the cue more than so many frames after it was last seen.
        noise: standard deviation of the camera's noise; 1 is the full range.
        seed: of everything random.
    """

    height: int = 64
    width: int = 64
    num_frames: int = 12
    short: int = 2
    long: int = 8
    noise: float = 0.02
    seed: int = 0

    @property
    def first_recall(self) -> int:
        """The first frame that `recall` asks."""
        return CUE_FRAMES + self.long


@dataclass(frozen=True)
class Moving:
    """What happens in a clip.

    Attributes:
        facts: {fact of the whole clip: class number}, see `CLIP_FACTS`.
        decoy: the sign at the end, drawn as the cue is.
        paint: colour of ball and box; `still_paint`: of the thing in the still.
        still_shape: ball or box.
        starts: {"ball" or "box" or "still": x in the first frame, or in the still, in widths}.
        speed: of the mover, in widths a frame.
        phase: colour of the lamp in the first frame.
        light: for every frame whether the light is on.
        brightness: of the floor.
    """

    facts: dict[str, int]
    decoy: int
    paint: int
    still_paint: int
    still_shape: str
    starts: dict[str, float]
    speed: float
    phase: int
    light: tuple[bool, ...]
    brightness: float

    @property
    def mover(self) -> str:
        """What moves: ball or box."""
        return CLIP_FACTS["mover"][self.facts["mover"]]

    def lamp(self, frame: int) -> int:
        """The lamp's colour in a frame."""
        step = 1 if self.facts["order"] == 0 else -1
        return (self.phase + step * frame) % len(LAMPS)

    def sign(self, frame: int, num_frames: int) -> int | None:
        """The sign's colour in a frame; None: it is blank."""
        if frame < CUE_FRAMES:
            return self.facts["cue"]
        return self.decoy if frame >= num_frames - CUE_FRAMES else None

    def x(self, thing: str, frame: int) -> float:
        """Where ball or box is, in widths: what leaves the picture at one side comes in at the other."""
        if thing != self.mover:
            return self.starts[thing]
        way = self.speed if CLIP_FACTS["heading"][self.facts["heading"]] == "rightward" else -self.speed
        return (self.starts[thing] + way * frame) % 1.0


def draw_moving(rules: MovingRules, split: str, index: int) -> Moving:
    """What happens in one clip."""
    numbers = _random(rules, split, index, "latents").random(16 + rules.num_frames)
    facts = {name: int(number * len(CLIP_FACTS[name])) for name, number in zip(CLIP_FACTS, numbers, strict=False)}
    more = numbers[len(CLIP_FACTS) : 16]
    paint, step = int(more[1] * len(PAINTS)), 1 + int(more[2] * (len(PAINTS) - 1))
    same = CLIP_FACTS["match"][facts["match"]] == "same"
    return Moving(
        facts=facts,
        decoy=int(more[0] * len(SIGNS)),
        paint=paint,
        still_paint=paint if same else (paint + step) % len(PAINTS),
        still_shape="ball" if more[3] < 0.5 else "box",
        starts={"ball": float(more[4]), "box": float(more[5]), "still": float(more[6])},
        speed=SPEEDS[0] + (SPEEDS[1] - SPEEDS[0]) * float(more[7]),
        phase=int(more[8] * len(LAMPS)),
        light=tuple((numbers[16:] < 0.5).tolist()),
        brightness=0.85 + 0.3 * float(more[9]),
    )


def frame_label(rules: MovingRules, moving: Moving, fact: str, frame: int) -> int | None:
    """The class number of one frame; None where it is not asked."""
    if fact == "lamp":
        return moving.lamp(frame)
    if fact == "echo":
        return int(moving.light[frame - rules.short]) if frame >= rules.short else None
    return moving.facts["cue"] if frame >= rules.first_recall else None


class MovingRendering:
    """One clip and its still as the camera sees them.

    Args:
        rules: how clips are drawn.
        split, index: which sample; the noise depends on these.
        moving: other happenings than the sample's own, to see what a change of them changes.
    """

    def __init__(self, rules: MovingRules, split: str, index: int, moving: Moving | None = None) -> None:
        self.rules, self.split, self.index = rules, split, index
        self.moving = draw_moving(rules, split, index) if moving is None else moving

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8: a ball or a box."""
        colours = self._floor()
        at = self._covered(self.moving.still_shape, self.moving.starts["still"], 0.5)
        colours[at] = PAINTS[self.moving.still_paint]
        return self._photograph(colours, _random(self.rules, self.split, self.index, "image"))

    def clip(self) -> np.ndarray:
        """(T, H, W, 3) uint8."""
        noise = _random(self.rules, self.split, self.index, "clip")
        return np.stack([self._photograph(colours, noise) for colours in self._frames()])

    def moves(self) -> np.ndarray:
        """(T, H, W) uint8: 1 where the thing is that moves."""
        lane = LANES[self.moving.mover]
        frames = range(self.rules.num_frames)
        masks = [self._covered(self.moving.mover, self.moving.x(self.moving.mover, t), lane) for t in frames]
        return np.stack(masks).astype(np.uint8)

    def stands(self) -> np.ndarray:
        """(T, H, W) uint8: 1 where the other thing is."""
        other = next(thing for thing in LANES if thing != self.moving.mover)
        mask = self._covered(other, self.moving.starts[other], LANES[other])
        return np.repeat(mask[None].astype(np.uint8), self.rules.num_frames, axis=0)

    def _frames(self) -> Iterator[np.ndarray]:
        moving, floor = self.moving, self._floor()
        for t in range(self.rules.num_frames):
            colours = floor.copy()
            sign = moving.sign(t, self.rules.num_frames)
            shown = {
                "lamp": LAMPS[moving.lamp(t)],
                "light": LIGHT[int(moving.light[t])],
                "sign": BLANK if sign is None else SIGNS[sign],
            }
            for name, colour in shown.items():
                colours[self._covered("box" if name == "sign" else "ball", *PLACES[name], radius=SMALL)] = colour
            for thing, lane in LANES.items():
                colours[self._covered(thing, moving.x(thing, t), lane)] = PAINTS[moving.paint]
            yield colours

    def _floor(self) -> np.ndarray:
        shape = (self.rules.height, self.rules.width, 1)
        return np.broadcast_to(FLOOR * self.moving.brightness, (*shape[:2], 3)).copy()

    def _covered(self, shape: str, x: float, y: float, radius: float = LARGE) -> np.ndarray:
        """(H, W) bool: a disc or a square around (x, y), in widths and heights; past a side it goes on at the other."""
        height, width = self.rules.height, self.rules.width
        across = np.arange(width) + 0.5 - x * width
        across = np.abs((across + width / 2) % width - width / 2)[None] / height
        down = np.abs(np.arange(height) + 0.5 - y * height)[:, None] / height
        return across**2 + down**2 <= radius**2 if shape == "ball" else np.maximum(across, down) <= 0.88 * radius

    def _photograph(self, colours: np.ndarray, noise: np.random.Generator) -> np.ndarray:
        colours = colours + 255 * self.rules.noise * noise.standard_normal(colours.shape, np.float32)
        return np.clip(colours, 0, 255).astype(np.uint8)


def _random(rules: MovingRules, split: str, index: int, stream: str) -> np.random.Generator:
    """The generator of one stream of one sample; it depends on nothing else."""
    return np.random.default_rng([rules.seed, SPLITS.index(split), index, _STREAMS[stream]])
