"""The built-in clips: what happens in one, drawn from (seed, split, index).

Six things are in a clip, each in a place of its own: a lamp that goes through three colours, a light that is on or
off, a sign, a ball, a box, and a strip at the foot that flashes twice. Each tells only what it is there for. Run
backwards, a clip is just as likely a clip of the other heading and order, so frames without their order tell neither.
"""

from __future__ import annotations

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
    "asked": ("off", "on"),
    "pair": ("together", "apart"),
}

#: How many of the first frames the still may ask for, and into how many parts of the width a place is told.
NUM_ASKED, NUM_PLACES = 6, 8

_PAINTS = ("red", "blue", "green", "violet")
_PARTS = tuple(str(part + 1) for part in range(NUM_PLACES))

#: {fact that a frame shows by itself: its classes}
SHOWN_FACTS: dict[str, tuple[str, ...]] = {
    "lamp": ("red", "green", "blue"),
    "light": ("off", "on"),
    "sign": ("blank", *CLIP_FACTS["cue"]),
    "flash": ("no", "yes"),
    "paint": _PAINTS,
    "ball_at": _PARTS,
    "box_at": _PARTS,
}

#: {fact of a single frame: its classes}
FRAME_FACTS: dict[str, tuple[str, ...]] = {**SHOWN_FACTS, "echo": ("off", "on"), "recall": CLIP_FACTS["cue"]}

#: {fact that the still shows: its classes}
STILL_FACTS: dict[str, tuple[str, ...]] = {
    "still_paint": _PAINTS,
    "asks_for": tuple(str(frame) for frame in range(NUM_ASKED)),
}

MOVING_CLASSES = ("background", "moving")

#: Frames at the beginning that show the cue, and at the end that show another sign.
CUE_FRAMES = 2

#: Least and largest way of the mover between two frames, in widths of the picture.
SPEEDS = (0.05, 0.09)

_STREAMS = {"latents": 100, "image": 101, "clip": 102, "flashes": 103}


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
        flashes: the two frames in which the strip flashes, in order.
        asks_for: the frame whose light is asked, as the still marks it.
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
    flashes: tuple[int, int]
    asks_for: int
    brightness: float

    @property
    def still(self) -> dict[str, int]:
        """{fact of the still: class number}, see `STILL_FACTS`."""
        return {"still_paint": self.still_paint, "asks_for": self.asks_for}

    @property
    def mover(self) -> str:
        """What moves: ball or box."""
        return CLIP_FACTS["mover"][self.facts["mover"]]

    @property
    def way(self) -> float:
        """How far to the right the mover goes in a frame, in widths."""
        return self.speed if CLIP_FACTS["heading"][self.facts["heading"]] == "rightward" else -self.speed

    def lamp(self, frame: int) -> int:
        """The lamp's colour in a frame."""
        step = 1 if self.facts["order"] == 0 else -1
        return (self.phase + step * frame) % len(SHOWN_FACTS["lamp"])

    def sign(self, frame: int, num_frames: int) -> int | None:
        """The sign's colour in a frame; None: it is blank."""
        if frame < CUE_FRAMES:
            return self.facts["cue"]
        return self.decoy if frame >= num_frames - CUE_FRAMES else None

    def x(self, thing: str, frame: int) -> float:
        """Where ball or box is, in widths: what leaves the picture at one side comes in at the other."""
        if thing != self.mover:
            return self.starts[thing]
        return (self.starts[thing] + self.way * frame) % 1.0


def draw_moving(rules: MovingRules, split: str, index: int) -> Moving:
    """What happens in one clip."""
    numbers = generator_of(rules, split, index, "latents").random(16 + rules.num_frames)
    drawn = ("mover", "heading", "order", "cue", "match")
    facts = {name: int(number * len(CLIP_FACTS[name])) for name, number in zip(drawn, numbers, strict=False)}
    more = numbers[len(drawn) : 16]
    light = tuple((numbers[16:] < 0.5).tolist())
    strip = generator_of(rules, split, index, "flashes")
    asks_for = int(strip.integers(NUM_ASKED))
    pair, flashes = _draw_flashes(rules.num_frames, strip)
    facts |= {"asked": int(light[asks_for]), "pair": pair}
    paint, step = int(more[1] * len(_PAINTS)), 1 + int(more[2] * (len(_PAINTS) - 1))
    same = CLIP_FACTS["match"][facts["match"]] == "same"
    return Moving(
        facts=facts,
        decoy=int(more[0] * len(CLIP_FACTS["cue"])),
        paint=paint,
        still_paint=paint if same else (paint + step) % len(_PAINTS),
        still_shape="ball" if more[3] < 0.5 else "box",
        starts={"ball": float(more[4]), "box": float(more[5]), "still": float(more[6])},
        speed=SPEEDS[0] + (SPEEDS[1] - SPEEDS[0]) * float(more[7]),
        phase=int(more[8] * len(SHOWN_FACTS["lamp"])),
        light=light,
        flashes=flashes,
        asks_for=asks_for,
        brightness=0.85 + 0.3 * float(more[9]),
    )


def third_of(frame: int, num_frames: int) -> int:
    """Which third of a clip a frame is in; run backwards, first and last change places."""
    first = num_frames // 3
    return 0 if frame < first else 2 if frame >= num_frames - first else 1


def _draw_flashes(num_frames: int, strip: np.random.Generator) -> tuple[int, tuple[int, int]]:
    """The class number of `pair`, and the two frames, in two thirds or in one that has two frames."""
    thirds = [[t for t in range(num_frames) if third_of(t, num_frames) == third] for third in range(3)]
    pair = int(strip.integers(2))
    if CLIP_FACTS["pair"][pair] == "apart":
        chosen = [strip.choice(thirds[third]) for third in strip.choice(3, 2, replace=False)]
    else:
        chosen = list(strip.choice(thirds[strip.integers(3)], 2, replace=False))
    first, second = sorted(int(frame) for frame in chosen)
    return pair, (first, second)


def frame_label(rules: MovingRules, moving: Moving, fact: str, frame: int) -> int | None:
    """The class number of one frame; None where it is not asked."""
    if fact == "echo":
        return int(moving.light[frame - rules.short]) if frame >= rules.short else None
    if fact == "recall":
        return moving.facts["cue"] if frame >= rules.first_recall else None
    if fact in ("ball_at", "box_at"):
        return int(moving.x(fact.removesuffix("_at"), frame) * NUM_PLACES)
    sign = moving.sign(frame, rules.num_frames)
    return {
        "lamp": moving.lamp(frame),
        "light": int(moving.light[frame]),
        "sign": 0 if sign is None else 1 + sign,
        "flash": int(frame in moving.flashes),
        "paint": moving.paint,
    }[fact]


def generator_of(rules: MovingRules, split: str, index: int, stream: str) -> np.random.Generator:
    """The generator of one stream of one sample; it depends on nothing else."""
    return np.random.default_rng([rules.seed, SPLITS.index(split), index, _STREAMS[stream]])
