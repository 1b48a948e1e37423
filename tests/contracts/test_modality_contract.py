"""What every registered modality keeps: how a cell is read, what is learned of it, and what its encoder is given."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weft.modalities.base import Modality
from weft.registry import get, names
from weft.types import InputSpec

NAMES = names("modality")


def _random() -> np.random.Generator:
    return np.random.default_rng(0)


def _depths() -> list[np.ndarray]:
    depths = _random().uniform(0.5, 9, (3, 24, 32)).astype(np.float32)
    depths[0, :4], depths[1, 5, 5] = 0, np.nan
    return list(depths)


def _flows() -> list[np.ndarray]:
    flows = _random().normal(0, 3, (3, 2, 24, 32, 2)).astype(np.float32)
    flows[0, 0, :4], flows[1, 1, 5, 5, 0] = np.nan, 1e10
    return list(flows)


#: {modality: its options, and three cells, of which some hold what is not known}. A new modality needs a line here.
CASES: dict[str, tuple[Mapping[str, Any], Callable[[], list[Any]]]] = {
    "image": ({}, lambda: list(_random().integers(0, 256, (3, 24, 32, 3), np.uint8))),
    "depth": ({"validity": True}, _depths),
    "video": ({}, lambda: list(_random().integers(0, 256, (3, 2, 24, 32, 3), np.uint8))),
    "flow": ({"validity": True}, _flows),
    "audio": ({"sample_rate": 8000, "mels": 16}, lambda: list(_random().normal(0, 0.1, (3, 4000)).astype(np.float32))),
    "text": ({"min_count": 1}, lambda: ["a red box", "a ball", "red and blue and red"]),
    "table": ({"min_count": 1}, lambda: [{"age": 3, "kind": "a"}, {"age": None, "kind": "b"}, {"age": 5, "kind": "a"}]),
}

#: {kind: the axis of its channels}; those of a text are the words that there are.
CHANNELS = {"raster": 1, "video": 2, "audio": 2, "table": 1}


def fitted(name: str) -> tuple[Modality, list[np.ndarray]]:
    """(the modality with its facts, the values of its three cells)."""
    options, cells = CASES[name]
    bare: Modality = get("modality", name)({}, **options)
    facts = bare.fit(bare.read(cell, _as_given) for cell in cells())
    modality: Modality = get("modality", name)(json.loads(json.dumps(facts)), **options)
    return modality, [modality.read(cell, _as_given) for cell in cells()]


def _as_given(cell: Any) -> Path | np.ndarray:
    given: Path | np.ndarray = cell
    return given


def prepared(modality: Modality, value: np.ndarray) -> torch.Tensor:
    """What the encoder is given of one value alone, without what is random."""
    ready: torch.Tensor = modality.preprocessor(InputSpec()).eval()(modality.to_tensor(value)[None])
    return ready


def test_every_modality_has_a_case() -> None:
    assert sorted(CASES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_facts_can_be_kept_and_leave_nothing_to_learn(name: str) -> None:
    modality, values = fitted(name)
    assert not modality.wants_fit
    for value, again in zip(values, fitted(name)[1], strict=True):
        np.testing.assert_array_equal(value, again)


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_is_given_numbers_whatever_is_not_known(name: str) -> None:
    modality, values = fitted(name)
    for value in values:
        ready = prepared(modality, value)
        assert bool(torch.isfinite(ready).all())
        if modality.kind in CHANNELS:
            assert ready.shape[CHANNELS[modality.kind]] == modality.num_channels


@pytest.mark.parametrize("name", [name for name in NAMES if get("modality", name).kind in ("raster", "video")])
def test_what_lies_outside_the_picture_disturbs_no_pixel(name: str) -> None:
    modality, values = fitted(name)
    frames = values[0]
    rows, columns = (1, 2) if modality.geometry.has_frames else (0, 1)
    around = [(0, 0)] * frames.ndim
    around[rows], around[columns] = (0, 3), (0, 5)
    wider = np.pad(frames, around, constant_values=modality.geometry.fill)
    inside = prepared(modality, wider)[..., :24, :32]
    torch.testing.assert_close(inside, prepared(modality, frames), rtol=0, atol=0)
    assert bool(torch.isfinite(prepared(modality, wider)).all())


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_process_reads_what_this_one_reads(name: str) -> None:
    modality, values = fitted(name)
    sent: Modality = pickle.loads(pickle.dumps(modality))
    cells = CASES[name][1]()
    for cell, value in zip(cells, values, strict=True):
        np.testing.assert_array_equal(sent.read(cell, _as_given), value)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_drawn_for_a_person(name: str) -> None:
    modality, values = fitted(name)
    for value in values:
        picture = modality.draw(value)
        assert isinstance(picture, Image.Image)
        assert min(picture.size) > 0
