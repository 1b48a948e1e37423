"""The best that can be reached on a split of the scenes, for every task and every subset of the modalities.

How they are derived: a scene is drawn from independent latents, and each sensor shows a stated part of them, so what a
subset of the modalities reveals is known exactly. An oracle is given that part and nothing else, and answers as well as
one can from it; its figure on the split is the ceiling. For the dense tasks, what is revealed of a pixel is

* the look of the thing in its cell (see `evidence`), as far as these modalities show it, and whether the pixel is on
  the outline they show, or inside, or beside it;
* where they show no outline, only the pixel's place in the picture, in 64 places, and what the sentence names there.

Pixels of which the same is revealed form a group, and no rule can tell them apart. The counts of true classes in the
groups give the best pixel accuracy (the most common class), the best mIoU and F1 (see `best`), and the least squared
error of depth: at a pixel on a thing's outline the answer is `room + p * (solid - room)`, p being the share of solid
things in the group, elsewhere the room's depth and the group's mean deviation. Facts are counted in the same way.

The oracle is generous: it takes outlines, shapes and marks from any sensor that shows them without error. It is fitted
to the split itself, so what it reaches there is a bound; on few samples it is above what the next sample will give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import numpy as np

from weft.data.scenes.best import best_accuracy, best_f1, best_miou, weighted_median
from weft.data.scenes.evidence import (
    EDGE_BESIDE,
    EDGE_INSIDE,
    INSIDE,
    NUM_PARTS,
    OTHER_LOOKS,
    Evidence,
    gather,
    left_of_looks,
    outlined_and_said,
)
from weft.data.scenes.latents import CLASSES, FACTS, MARKS, MODALITIES, Rules, Scene, mark_position
from weft.metrics.ranking import average_precision

Subset = frozenset[str]

#: {column of classes: the facts that decide it}
DECIDED_BY: dict[str, tuple[str, ...]] = {
    "heating": ("heating",),
    "room": ("floor", "relief"),
    "parity": ("floor", "relief"),
    "event": ("time", "tone"),
    "drift": ("drift",),
}

#: {mark: the modalities of which each shows it}
MARK_SHOWN_BY = {"lamp": {"image", "clip"}, "knob": {"depth"}, "hot_spot": {"thermal"}}


def ceilings(
    rules: Rules, *, split: str, num_samples: int, modalities: Iterable[str] = MODALITIES
) -> dict[str, dict[Subset, float]]:
    """The ceilings of one split; of errors, the floors.

    Args:
        rules: how scenes are drawn.
        split: train, val or test.
        num_samples: how many samples the split has.
        modalities: those whose subsets are wanted; all 2^M of them are stated, the empty one too.

    Returns:
        {"column/figure": {subset: value}}. mIoU, pixel accuracy, F1, accuracy, average precision and exact match are
        the highest, RMSE (metres) and MAE (pixels) the lowest that can be reached.
    """
    evidence = gather(rules, split, num_samples)
    names = tuple(modalities)
    subsets = [frozenset(subset) for size in range(len(names) + 1) for subset in combinations(names, size)]
    figures: dict[str, dict[Subset, float]] = {}
    known: dict[tuple[str, Subset], dict[str, float]] = {}
    for subset in subsets:
        for name, (figure, needs) in _FIGURES.items():
            needs = needs if rules.named else needs - _NAMING.get(name, frozenset())
            seen = frozenset("image" if m == "clip" and "clip" not in needs else m for m in subset) & needs
            if (name, seen) not in known:
                known[name, seen] = figure(evidence, seen, rules)
            for key, value in known[name, seen].items():
                figures.setdefault(key, {})[subset] = value
    return figures


def class_of(scene: Scene, column: str) -> int:
    """The class of a scene in one of the columns of `DECIDED_BY`."""
    values = [scene.facts[fact] for fact in DECIDED_BY[column]]
    if column == "parity":
        return values[0] ^ values[1]
    return int("".join(map(str, values)), 2)


def _dense(evidence: Evidence, seen: Subset, rules: Rules) -> dict[str, float]:
    """Segmentation, edges and depth."""
    left = left_of_looks(seen)
    outlined, said = outlined_and_said(left)
    shown = {name: np.zeros(sums.shape[:3]) for name, sums in evidence.pixels.items()}
    placed = {name: np.zeros((len(OTHER_LOOKS), *sums.shape[1:])) for name, sums in evidence.pixels.items()}
    for name, sums in evidence.pixels.items():
        np.add.at(shown[name], left[outlined], sums[outlined].sum(3))  # (looks, classes, parts)
        np.add.at(placed[name], said[~outlined], sums[~outlined])  # (named, classes, parts, places)

    on_thing = [INSIDE, EDGE_INSIDE]
    off_thing = [part for part in range(NUM_PARTS) if part not in on_thing]
    count, place_count = shown["count"], placed["count"]
    by_place = place_count[:, :, on_thing].sum(2).swapaxes(1, 2)  # (named, places, classes)
    by_place[..., 0] += place_count[:, :, off_thing].sum((1, 2))
    beside = np.zeros((1, len(CLASSES)))
    beside[0, 0] = count[:, :, off_thing].sum()  # beside what is seen: surely background
    counts = np.concatenate([count[:, :, on_thing].sum(2), by_place.reshape(-1, len(CLASSES)), beside])

    edges = [EDGE_INSIDE, EDGE_BESIDE]  # of things; the outline of a stain is none
    positives = np.concatenate([count[:, 1:, edges].sum(1).ravel(), place_count[:, 1:, edges].sum((1, 2)).ravel()])
    sizes = np.concatenate([count[:, :, edges].sum(1).ravel(), place_count.sum((1, 2)).ravel()])
    return {
        "label/mIoU": best_miou(counts),
        "label/pixel_accuracy": best_accuracy(counts),
        "edges/F1": best_f1(positives, sizes),
        "true_depth/RMSE": 0.0 if "depth" in seen else _depth_error(shown, placed),
    }


def _depth_error(shown: Mapping[str, np.ndarray], placed: Mapping[str, np.ndarray]) -> float:
    """Root of the mean squared error of the best guess at depth, in metres."""
    total = shown["count"].sum() + placed["count"].sum()
    shown = {name: sums.sum(1)[:, [INSIDE, EDGE_INSIDE]].sum(1) for name, sums in shown.items()}
    placed = {name: sums.sum((1, 2)) for name, sums in placed.items()}
    step = np.maximum(shown["step_squared"], 1e-12)  # a look that no thing has
    on_things = shown["error_squared"] - shown["error_step"] ** 2 / step
    in_places = placed["error_squared"] - placed["error"] ** 2 / np.maximum(placed["count"], 1)
    return float(np.sqrt(max(on_things.sum() + in_places.sum(), 0.0) / total))


def _contents(evidence: Evidence, seen: Subset, rules: Rules) -> dict[str, float]:
    """Which classes are in the room, and the whole caption, from what is revealed of the cells, each by itself."""
    left = left_of_looks(seen)[evidence.looks]
    counts = np.zeros((left.max() + 1, len(CLASSES)))
    np.add.at(counts, (left, evidence.classes), 1)
    chance = (counts / np.maximum(counts.sum(1, keepdims=True), 1))[left]  # (scenes, cells, classes)
    scores = 1 - (1 - chance[..., 1:]).prod(1)
    truth = (evidence.classes[..., None] == np.arange(1, len(CLASSES))).any(1)
    return {
        "contents/average_precision_macro": float(np.nanmean(average_precision(scores, truth))),
        "caption/exact_match": float(chance.max(2).prod(1).mean()),
    }


def _classes(evidence: Evidence, seen: Subset, rules: Rules) -> dict[str, float]:
    """The accuracy of every column of classes that facts decide; other facts are independent of it and left out."""
    shown = {name for name, (_, modality) in FACTS.items() if modality in seen or (name == "floor" and "clip" in seen)}
    accuracies = {}
    for column, facts in DECIDED_BY.items():
        counts = np.zeros((3,) * len(facts) + (2 ** len(facts),))
        for scene in evidence.scenes:
            group = tuple(scene.facts[name] if name in shown else 2 for name in facts)
            counts[(*group, class_of(scene, column))] += 1
        accuracies[f"{column}/accuracy"] = best_accuracy(counts.reshape(-1, 2 ** len(facts)))
    return accuracies


def _marks(evidence: Evidence, seen: Subset, rules: Rules) -> dict[str, float]:
    """Mean distance of the visible marks in x and y, and of the mark that the sentence means."""
    low, high = np.array(mark_position(rules, 0, 0)), np.array(mark_position(rules, 1, 1))
    errors: dict[str, list[float]] = {name: [] for name in MARKS}
    meant = []
    for scene in evidence.scenes:
        for name, mark in scene.marks.items():
            if mark.visible:
                known = bool(MARK_SHOWN_BY[name] & seen)
                distance = 0.0 if known else float(np.abs((low + high) / 2 - (mark.x, mark.y)).mean())
                errors[name].append(distance)
        if scene.meant is not None:
            guess = _guess_meant(scene, seen, rules, low, high)
            truth = scene.marks[scene.meant]
            meant.append(float(np.abs(guess - (truth.x, truth.y)).mean()))
    everything = [distance for distances in errors.values() for distance in distances]
    figures = {f"marks/MAE/{name}": _mean(distances) for name, distances in errors.items()}
    return {"marks/MAE": _mean(everything), **figures, "meant/MAE": _mean(meant)}


def _guess_meant(scene: Scene, seen: Subset, rules: Rules, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(x, y) of least expected distance to the mark that is meant: a median over the marks that may be meant."""
    shown = {name for name in MARKS if MARK_SHOWN_BY[name] & seen}
    if "text" in seen:
        weights = {name: float(name == scene.meant) for name in MARKS}
    else:
        weights = _chance_of_meant({name: scene.marks[name].visible for name in shown}, rules.visible)
    hidden = sum(weight for name, weight in weights.items() if name not in shown)
    guess = []
    for axis in range(2):
        atoms = [((scene.marks[name].x, scene.marks[name].y)[axis], weights[name]) for name in shown if weights[name]]
        guess.append(weighted_median(atoms, hidden, low[axis], high[axis]))
    return np.array(guess)


def _chance_of_meant(visible: Mapping[str, bool], chance: float) -> dict[str, float]:
    """{mark: probability that it is meant}, up to a factor, when only the visibility of some marks is known."""
    unknown = [name for name in MARKS if name not in visible]
    weights = dict.fromkeys(MARKS, 0.0)
    for number in range(2 ** len(unknown)):
        case = {name: bool(number >> place & 1) for place, name in enumerate(unknown)}
        share = float(np.prod([chance if there else 1 - chance for there in case.values()]))
        there = [name for name, is_visible in {**visible, **case}.items() if is_visible]
        for name in there:
            weights[name] += share / len(there)
    return weights


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


_Figure = Callable[[Evidence, Subset, Rules], dict[str, float]]

#: {what: (how its figures are worked out, the modalities that bear on them)}
_FIGURES: dict[str, tuple[_Figure, Subset]] = {
    "dense": (_dense, frozenset({"image", "depth", "thermal", "text"})),
    "contents": (_contents, frozenset({"image", "depth", "thermal", "text"})),
    "classes": (_classes, frozenset(MODALITIES)),
    "marks": (_marks, frozenset({"image", "depth", "thermal", "text"})),
}

#: {what: the modalities that bear on it only where camouflaged things are named}
_NAMING: dict[str, Subset] = {"dense": frozenset({"text"}), "contents": frozenset({"text"})}
