"""From a scene to what its sensors show and to the targets that are known exactly."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from weft.data.scenes.geometry import RELIEF, Hit, Room, hit, room
from weft.data.scenes.latents import CLASSES, FACTS, WALL, Rules, Scene, Thing, draw, random
from weft.data.scenes.words import sound

PALETTE = np.array(
    [(214, 69, 65), (240, 150, 40), (244, 208, 63), (60, 165, 90), (52, 120, 196), (142, 78, 176)], np.float64
)
FLOORS = np.array([(196, 180, 160), (176, 178, 184), (188, 170, 140), (164, 158, 150)], np.float64)
WALLS = np.array([(226, 218, 204), (206, 214, 220), (214, 222, 206), (228, 212, 212)], np.float64)
RIBBON = np.array((250, 246, 236), np.float64)

#: Grey levels of the thermal raster: the room, what is warm, and the heating along the foot of the wall.
ROOM_HEAT, WARM, HEATING = 60.0, 180.0, 70.0

#: How bright a patch is beside the floor around it.
PATCH = 0.8

#: Radius of the marks, in heights of the picture.
MARK_RADIUS = 0.055


class Rendering:
    """One scene as its sensors see it. Every array is made when it is asked for; the ray casting is shared.

    Args:
        rules: how scenes are drawn.
        split, index: which sample; the noise of its sensors depends on these.
        scene: another scene than the sample's own, to see what a change of it changes.
    """

    def __init__(self, rules: Rules, split: str, index: int, scene: Scene | None = None) -> None:
        self.rules, self.split, self.index = rules, split, index
        self.scene = draw(rules, split, index) if scene is None else scene

    @cached_property
    def hits(self) -> list[tuple[Thing, Hit]]:
        """Every thing with where it is met, taken as solid."""
        return [(thing, hit(self.rules, thing)) for thing in self.scene.things]

    @property
    def patches(self) -> list[Hit]:
        """What shows as an outline of darker floor: stains, and camouflaged things where those are named."""
        named = [at for thing, at in self.hits if self.rules.named and thing.mode == "camouflaged"]
        return named + [at for _, at in self.stains]

    @cached_property
    def stains(self) -> list[tuple[Thing, Hit]]:
        """Every stain with where its outline is, as if it were a solid thing."""
        return [(stain, hit(self.rules, stain)) for stain in self.scene.stains]

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8: plain things and pictures, which look alike; the lamp; tiles or planks."""
        return self._photograph(self._colours(), 0.0, self._noise_of_frame(self.rules.num_frames // 2))

    def clip(self) -> np.ndarray:
        """(T, H, W, 3) uint8: the pool of light drifts to one side; frame T // 2 is the image."""
        colours = self._colours()
        direction = 1 if FACTS["drift"][0][self.scene.facts["drift"]] == "rightward" else -1
        still = self.rules.num_frames // 2
        frames = [
            self._photograph(colours, direction * 1.2 * (t - still) / self.rules.num_frames, self._noise_of_frame(t))
            for t in range(self.rules.num_frames)
        ]
        return np.stack(frames)

    def depth(self) -> np.ndarray:
        """(H, W) float32 metres, 0 unknown: plain and camouflaged things, the knob, niche or bulge; noise and holes."""
        generator = random(self.rules, self.split, self.index, "depth")
        depth = self.true_depth()
        depth += self.rules.noise * generator.standard_normal(depth.shape, np.float32)
        depth[generator.random(depth.shape, np.float32) < self.rules.holes] = 0
        return depth

    def true_depth(self) -> np.ndarray:
        """(H, W) float32 metres: what the depth sensor would show without noise and holes."""
        depth = self._room.depth.copy()
        side = 1 if FACTS["relief"][0][self.scene.facts["relief"]] == "niche" else -1
        depth[self._room.middle] += side * RELIEF
        knob = self.scene.marks["knob"]
        if knob.visible:
            radius = MARK_RADIUS * self.rules.height
            depth -= 0.7 * np.sqrt(np.maximum(1 - self._squares(knob.x, knob.y) / radius**2, 0))
        for thing, at in self.hits:
            if thing.in_depth:
                depth[at.window][at.mask] = at.depth
        return depth.astype(np.float32)

    def thermal(self) -> np.ndarray:
        """(H, W) uint8: outlines of warm things, the hot spot, and the heating along the left or right wall."""
        heat = ROOM_HEAT - 10 * self._room.y
        on_right = FACTS["heating"][0][self.scene.facts["heating"]] == "right"
        rows = slice(round((WALL - 0.06) * self.rules.height), round(WALL * self.rules.height))
        half = self.rules.width // 2
        heat[rows, half:] += HEATING * on_right
        heat[rows, :half] += HEATING * (not on_right)
        spot = self.scene.marks["hot_spot"]
        if spot.visible:
            heat += 110 * np.exp(-self._squares(spot.x, spot.y) / (0.8 * MARK_RADIUS * self.rules.height) ** 2)
        for thing, at in self.hits:
            if thing.warm:
                heat[at.window][at.mask] = WARM
        generator = random(self.rules, self.split, self.index, "thermal")
        heat += 255 * self.rules.noise * generator.standard_normal(heat.shape, np.float32)
        return np.clip(heat, 0, 255).astype(np.uint8)

    def audio(self) -> np.ndarray:
        """(samples,) float32 in [-1, 1]."""
        return sound(self.rules, self.scene, self.split, self.index)

    def label(self) -> np.ndarray:
        """(H, W) uint8: the class of every pixel, as `CLASSES` counts."""
        label = np.zeros(self._room.depth.shape, np.uint8)
        for thing, at in self.hits:
            label[at.window][at.mask] = CLASSES.index(thing.class_name)
        return label

    def instances(self) -> np.ndarray:
        """(H, W) uint8: 0 background, then 1 for the first thing, in the order of `boxes`."""
        instances = np.zeros(self._room.depth.shape, np.uint8)
        for number, (_, at) in enumerate(self.hits, start=1):
            instances[at.window][at.mask] = number
        return instances

    def boxes(self) -> np.ndarray:
        """(n, 5) float32: x0, y0, x1, y1 in pixels around each thing's pixels, ends excluded, and its class, from 0 for
        the first after the background.
        """
        rows = []
        for thing, at in self.hits:
            ys, xs = np.nonzero(at.mask)
            top, left = at.window[0].start, at.window[1].start
            box = (xs.min() + left, ys.min() + top, xs.max() + left + 1, ys.max() + top + 1)
            rows.append((*box, CLASSES[1:].index(thing.class_name)))
        return np.array(rows, np.float32).reshape(-1, 5)

    def edges(self) -> np.ndarray:
        """(H, W) uint8: 1 at pixels whose right or lower neighbour belongs to another thing, or to none."""
        return outline(self.instances())

    @property
    def _room(self) -> Room:
        return room(self.rules.height, self.rules.width)

    def _squares(self, x: float, y: float) -> np.ndarray:
        """(H, W) squared distances of the pixels' centres from a point."""
        rows, columns = np.arange(self.rules.height) + 0.5, np.arange(self.rules.width) + 0.5
        return (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2

    def _colours(self) -> np.ndarray:
        """(H, W, 3) floor, wall and what stands on them, shaded, before the pool of light."""
        looks = self.scene.looks
        light = np.array([1.2 * looks[0] - 0.6, 0.9, -0.5])
        light /= np.linalg.norm(light)
        colours = np.where(
            self._room.floor[..., None],
            FLOORS[int(looks[1] * len(FLOORS))] * self._pattern()[..., None],
            WALLS[int(looks[2] * len(WALLS))],
        )
        board = slice(round((WALL - 0.03) * self.rules.height), round(WALL * self.rules.height))
        colours[board] = 238
        for at in self.patches:
            colours[at.window][at.mask] *= PATCH
        for thing, at in self.hits:
            if thing.in_image:
                colours *= self._shadow(at, light)[..., None]
        for thing, at in self.hits:
            if thing.in_image:
                colours[at.window][at.mask] = _shaded(thing, at, light)
        lamp = self.scene.marks["lamp"]
        if lamp.visible:
            squares = self._squares(lamp.x, lamp.y) / (MARK_RADIUS * self.rules.height) ** 2
            colours *= 1 + 0.25 * np.exp(-squares / 4)[..., None] * (1.0, 0.85, 0.4)
            colours[squares < 0.8] = (255, 236, 140)
        return colours

    def _pattern(self) -> np.ndarray:
        """(H, W) brightness of tiles or planks."""
        x, z = self._room.points[..., 0], self._room.points[..., 2]
        if FACTS["floor"][0][self.scene.facts["floor"]] == "tiles":
            tiles = np.floor(x / 0.7 + self.scene.looks[3]) + np.floor(z / 0.7 + self.scene.looks[4])
            return 1 - 0.13 * (tiles % 2)
        planks = x / 0.35 + self.scene.looks[3]
        number = np.floor(planks)
        tone = 1 - 0.06 * np.abs(np.sin(12.9 * number + 6 * self.scene.looks[4]))
        return np.where(planks - number < 0.14, 0.82, tone)

    def _shadow(self, at: Hit, light: np.ndarray) -> np.ndarray:
        """(H, W) what a thing leaves of the light on the floor: a soft dark patch beside its foot."""
        x, z, radius = at.foot
        points = self._room.points
        squares = (points[..., 0] - x + light[0] * radius) ** 2 + (points[..., 2] - z + light[2] * radius) ** 2
        return 1 - 0.5 * np.exp(-squares / (1.2 * radius) ** 2) * self._room.floor

    def _noise_of_frame(self, frame: int) -> np.random.Generator:
        """The camera's noise; the still is one of the frames, to the last bit."""
        return random(self.rules, self.split, self.index, "image", frame)

    def _photograph(self, colours: np.ndarray, drift: float, noise: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8: colours under the pool of light, moved by `drift` half heights, and sensor noise."""
        centre = 0.8 * self.scene.looks[5] - 0.4 + drift
        pool = np.exp(-((self._room.x - centre) ** 2 + (self._room.y - 0.1) ** 2) / 0.9)
        lit = colours * (0.78 + 0.26 * pool)[..., None]
        lit += 255 * self.rules.noise * noise.standard_normal(lit.shape, np.float32)
        return np.clip(lit, 0, 255).astype(np.uint8)


def outline(instances: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 1 where the right or lower neighbour has another number."""
    edges = np.zeros(instances.shape, np.uint8)
    edges[:, :-1] |= instances[:, :-1] != instances[:, 1:]
    edges[:-1] |= instances[:-1] != instances[1:]
    return edges


def _shaded(thing: Thing, at: Hit, light: np.ndarray) -> np.ndarray:
    """(n, 3) colours of a thing's pixels: diffuse light from one side, light from all around, a soft highlight."""
    colours = np.broadcast_to(PALETTE[thing.colour], at.local.shape)
    if thing.ribbon:
        # A face's own axis is the one on which the point is at ±1; the ribbon runs along the middle of the other two.
        colours = np.where((np.abs(at.local) < 0.24).any(1, keepdims=True), RIBBON, colours)
    facing = np.maximum(at.normals @ light, 0)
    around = 0.5 + 0.12 * at.normals[:, 1]
    highlight = 60 * facing**12
    return colours * (around + 0.55 * facing)[:, None] + highlight[:, None]
