"""What a scene says: its sentence, its sound and its captions."""

from __future__ import annotations

import numpy as np

from weft.data.scenes.latents import FACTS, Rules, Scene, Thing, random

TIMES = {
    "morning": ("in the morning", "at dawn", "before breakfast", "as the sun comes up"),
    "night": ("at night", "after midnight", "long after dark", "when all are asleep"),
}
VERBS = ("find", "look for", "go to", "point at")
NAMES = {"lamp": "the lamp", "knob": "the knob", "hot_spot": "the hot spot"}
PLACES = {(0, 0): "back left", (0, 1): "back right", (1, 0): "front left", (1, 1): "front right"}


#: Ways to say that things are hard to see.
HIDING = ("hard to see", "blending in", "not to be overlooked", "in disguise")


def sentence(scene: Scene, *, named: bool = False) -> str:
    """The input sentence: the time of day in one of several ways, and the mark that is meant.

    Args:
        scene: what it is about.
        named: go on with the camouflaged things and their places.
    """
    phrases = TIMES[FACTS["time"][0][scene.facts["time"]]]
    phrase = phrases[int(scene.looks[9] * len(phrases))]
    verb = VERBS[int(scene.looks[10] * len(VERBS))]
    target = NAMES[scene.meant] if scene.meant else "nothing"
    said = f"{verb} {target} {phrase}" if scene.looks[11] < 0.5 else f"{phrase}, {verb} {target}"
    parts = [_with_place(thing) for thing in scene.things if named and thing.mode == "camouflaged"]
    said = said.capitalize() + "."
    if not parts:
        return said
    return f"{said} {HIDING[int(scene.looks[6] * len(HIDING))].capitalize()}: {_joined(parts)}."


def captions(scene: Scene) -> list[str]:
    """What is in the room and where, in the two orders that one would say it in; each says it all."""
    parts = [_with_place(thing) for thing in scene.things]
    if not parts:
        return ["An empty room."]
    orders = [parts] if len(parts) == 1 else [parts, parts[::-1]]
    return [_joined(order).capitalize() + "." for order in orders]


def sound(rules: Rules, scene: Scene, split: str, index: int) -> np.ndarray:
    """(samples,) float32 in [-1, 1]: a note that rises or falls by a fifth, of random pitch and loudness, and noise."""
    num_samples = max(round(rules.sample_rate * rules.seconds), 1)
    progress = np.arange(num_samples) / num_samples
    upward = FACTS["tone"][0][scene.facts["tone"]] == "rising"
    base = rules.sample_rate * (0.04 + 0.04 * scene.looks[7])
    frequency = base * 1.5 ** (progress if upward else 1 - progress)
    phase = 2 * np.pi * np.cumsum(frequency) / rules.sample_rate
    envelope = np.sin(np.pi * progress) ** 0.5 * (0.3 + 0.5 * scene.looks[8])
    noise = random(rules, split, index, "audio").standard_normal(num_samples)
    wave = envelope * (np.sin(phase) + 0.25 * np.sin(2 * phase)) / 1.25 + rules.noise * noise
    return np.clip(wave, -1, 1).astype(np.float32)


def _with_place(thing: Thing) -> str:
    return f"a {thing.class_name} at the {PLACES[thing.cell]}"


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
