"""The camera, and where its rays meet the room, balls, boxes and cones: metres, y up, the camera above z = 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from weft.data.scenes.latents import WALL, Rules, Thing, cell_bounds

#: Camera: its height in metres, its tilt below the horizon, and the tangent of half the vertical field of view.
CAMERA_HEIGHT = 2.0
TILT = np.deg2rad(30.0)
TANGENT = np.tan(np.deg2rad(30.0))

#: Size of every shape in radii of the ball that it fits in: half its width, half its height.
EXTENT = {"ball": (1.0, 1.0), "box": (0.62, 0.62), "cone": (0.80, 0.80)}

#: How far the niche goes back, or the bulge comes forward, in metres.
RELIEF = 0.8


@dataclass(frozen=True)
class Room:
    """The empty room as the camera sees it.

    Attributes:
        rays: (H, W, 3) directions with one metre along the optical axis, so that a hit at t is t metres deep.
        depth: (H, W) metres, without niche and bulge.
        floor: (H, W) bool, where the floor is seen.
        points: (H, W, 3) metres, what is seen there.
        middle: (H, W) bool, the part of the wall that is a niche or a bulge.
        x, y: (H, W) columns and rows in heights from the middle of the picture, [-1, 1] for y.
    """

    rays: np.ndarray
    depth: np.ndarray
    floor: np.ndarray
    points: np.ndarray
    middle: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Hit:
    """Where the rays of one cell meet its thing, taken as solid.

    Attributes:
        window: the rows and columns of the cell.
        mask: (h, w) bool, the outline.
        depth: (n,) metres along the optical axis, at the n pixels of the mask.
        normals: (n, 3) unit vectors, outward.
        local: (n, 3) the points in the thing's own axes, from its centre, its half width being 1.
        foot: (x, z) on the floor, and the radius there, in metres.
    """

    window: tuple[slice, slice]
    mask: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    local: np.ndarray
    foot: tuple[float, float, float]


def ray(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    """(..., 3) the direction of a place in the picture, in heights from its middle."""
    up_y, up_z = np.cos(TILT), np.sin(TILT)
    return np.stack([TANGENT * x, -up_z - TANGENT * y * up_y, up_y - TANGENT * y * up_z + 0 * x], -1)


@lru_cache(maxsize=8)
def room(height: int, width: int) -> Room:
    """The empty room in one resolution."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    y, x = (2 * rows + 1 - height) / height, (2 * columns + 1 - width) / height
    rays = ray(x, y)
    junction = ray(0.0, 2 * WALL - 1)
    wall_z = CAMERA_HEIGHT / -junction[1] * junction[2]
    floor = y > 2 * WALL - 1
    depth = np.where(floor, CAMERA_HEIGHT / np.maximum(-rays[..., 1], 1e-9), wall_z / rays[..., 2])
    middle = ~floor & (np.abs(x) < 0.5 * width / height)
    points = depth[..., None] * rays + (0.0, CAMERA_HEIGHT, 0.0)
    return Room(rays, depth, floor, points, middle, x, y)


def hit(rules: Rules, thing: Thing) -> Hit:
    """Cast the rays of a thing's cell at it, as if it were solid."""
    scene = room(rules.height, rules.width)
    top, bottom, left, right = cell_bounds(rules, thing.cell)
    window = (slice(top, bottom), slice(left, right))
    half_width, half_height = EXTENT[thing.shape]
    x, y = (2 * thing.x - rules.width) / rules.height, (2 * thing.y - rules.height) / rules.height
    middle = ray(x, y)
    # Seen aslant, a ball of given radius covers more of the picture: keep what it covers.
    scale = 2 * thing.radius / rules.height * TANGENT / np.sqrt(1 + (TANGENT * x) ** 2 + (TANGENT * y) ** 2)
    # The distance at which it is of this size and stands on the floor.
    distance = CAMERA_HEIGHT / (scale * half_height - middle[1])
    radius = scale * distance
    centre = distance * middle + (0.0, CAMERA_HEIGHT, 0.0)

    cosine, sine = np.cos(thing.yaw), np.sin(thing.yaw)
    turn = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
    directions = scene.rays[window].reshape(-1, 3) @ turn / (radius * half_width)
    origin = (np.array([0.0, CAMERA_HEIGHT, 0.0]) - centre) @ turn / (radius * half_width)
    depth, normals = _MEET[thing.shape](origin, directions)
    inside = np.isfinite(depth)
    depth = depth[inside]
    return Hit(
        window=window,
        mask=inside.reshape(bottom - top, right - left),
        depth=depth,
        normals=normals[inside] @ turn.T,
        local=origin + depth[:, None] * directions[inside],
        foot=(float(centre[0]), float(centre[2]), float(radius * half_width)),
    )


def _meet_ball(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest hit (n,), infinite where there is none, and normals (n, 3) of the unit ball."""
    a = (directions**2).sum(1)
    b = directions @ origin
    discriminant = b * b - a * (origin @ origin - 1)
    depth = np.where(discriminant > 0, (-b - np.sqrt(np.maximum(discriminant, 0))) / a, np.inf)
    return depth, origin + np.where(np.isfinite(depth), depth, 0)[:, None] * directions


def _meet_box(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_meet_ball`, of the cube from -1 to 1."""
    directions = np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    near = -origin / directions - np.abs(1 / directions)
    far = -origin / directions + np.abs(1 / directions)
    axis = near.argmax(1)
    enter = near.max(1)
    normals = np.zeros_like(directions)
    rows = np.arange(len(axis))
    normals[rows, axis] = -np.sign(directions[rows, axis])
    return np.where(enter < far.min(1), enter, np.inf), normals


def _meet_cone(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_meet_ball`, of the upright cone from y = -1, where its radius is 1, to its tip at y = 1."""
    weights = np.array([1.0, -0.25, 1.0])  # x² + z² = (1 - y)² / 4
    from_tip = origin - (0.0, 1.0, 0.0)
    a = (directions**2) @ weights
    a = np.where(np.abs(a) < 1e-9, 1e-9, a)
    b = directions @ (weights * from_tip)
    discriminant = b * b - a * (from_tip**2 @ weights)
    root = np.sqrt(np.maximum(discriminant, 0))
    both = np.stack([(-b - root) / a, (-b + root) / a])
    heights = origin[1] + both * directions[:, 1]
    both = np.where((np.abs(heights) < 1) & (both > 0) & (discriminant > 0), both, np.inf)
    depth = both.min(0)
    normals = (origin + np.where(np.isfinite(depth), depth, 0)[:, None] * directions) * (1.0, 0.0, 1.0)
    normals[:, 1] = np.hypot(normals[:, 0], normals[:, 2]) / 2
    return depth, normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


_MEET = {"ball": _meet_ball, "box": _meet_box, "cone": _meet_cone}
