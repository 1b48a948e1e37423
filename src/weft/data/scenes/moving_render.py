"""The built-in clips: how the frames of one and its still show what happens in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weft.data.scenes.moving import NUM_ASKED, Moving, MovingRules, draw_moving, generator_of

LAMPS = np.array([(225, 50, 45), (60, 190, 75), (60, 95, 225)], np.float64)
SIGNS = np.array([(245, 215, 60), (70, 210, 220), (215, 80, 205), (245, 145, 50)], np.float64)
PAINTS = np.array([(170, 60, 50), (50, 120, 170), (90, 140, 60), (150, 110, 170)], np.float64)
BLANK = np.array((128.0, 128.0, 128.0))
LIGHT = np.array([(40, 40, 44), (250, 248, 235)], np.float64)
FLASH = np.array((40.0, 60.0, 130.0))
FLOOR = np.array((196.0, 188.0, 176.0))

#: Where the strip begins, at the foot of the clip, and where the still marks the frame that it asks for, in heights.
FOOT = 0.94

#: (x, y) of what stands still and the heights of the two lanes, in widths and heights of the picture; their radii in
#: heights.
PLACES = {"lamp": (0.17, 0.15), "light": (0.5, 0.15), "sign": (0.83, 0.15)}
LANES = {"ball": 0.47, "box": 0.80}
SMALL, LARGE = 0.09, 0.13

#: The points whose places are told in every frame: the two things, and the one of them that moves.
TRACKED = ("ball", "box", "mover")


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
        """(H, W, 3) uint8: a ball or a box, and at the foot a mark whose place says which frame it asks for."""
        colours = self._floor()
        places = np.arange(self.rules.width) * NUM_ASKED // self.rules.width
        colours[round(FOOT * self.rules.height) :, places == self.moving.asks_for] = FLASH
        at = self._covered(self.moving.still_shape, self.moving.starts["still"], 0.5)
        colours[at] = PAINTS[self.moving.still_paint]
        return self._photograph(colours, generator_of(self.rules, self.split, self.index, "image"))

    def clip(self) -> np.ndarray:
        """(T, H, W, 3) uint8."""
        noise = generator_of(self.rules, self.split, self.index, "clip")
        return np.stack([self._photograph(colours, noise) for colours in self._frames()])

    def moves(self) -> np.ndarray:
        """(T, H, W) uint8: 1 where the thing is that moves."""
        lane = LANES[self.moving.mover]
        frames = range(self.rules.num_frames)
        masks = [self._covered(self.moving.mover, self.moving.x(self.moving.mover, t), lane) for t in frames]
        return np.stack(masks).astype(np.uint8)

    def flow(self) -> np.ndarray:
        """(T, H, W, 2) float32: how far each pixel goes to the right and down until the next frame, in pixels; from the
        last frame, until the one that would follow.
        """
        right = self.moves() * np.float32(self.moving.way * self.rules.width)
        return np.stack([right, np.zeros_like(right)], -1)

    def track(self) -> np.ndarray:
        """(T, 3, 2) x and y of the middle of each of `TRACKED`, in pixels."""
        things = ("ball", "box", self.moving.mover)
        frames = range(self.rules.num_frames)
        middles = [[(self.moving.x(thing, frame), LANES[thing]) for thing in things] for frame in frames]
        return np.array(middles) * (self.rules.width, self.rules.height)

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
            if t in moving.flashes:
                colours[round(FOOT * self.rules.height) :] = FLASH
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
