"""Whatever is written in a configuration: an experiment or a `ConfigError`, never another exception."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weft.config import load_experiment, to_yaml
from weft.errors import ConfigError
from weft.experiment import Experiment
from weft.schema import part_names, part_schema, shipped

QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WHOLE: dict[str, Any] = {
    "name": "rooms",
    "data": {"format": "nyuv2", "root": "data", "size": [64, 96], "augment": {"scale": [0.5, 2], "crop": [32, 32]}},
    "modalities": {
        "image": {"encoder": {"type": "timm", "name": "resnet18"}},
        "depth": {"encoder": {"share": "image"}, "dropout": 0.2},
    },
    "fusion": {"type": "concat"},
    "over": ["fused", "image"],
    "tasks": {"rooms": {"type": "segmentation", "decoder": "unet", "loss": "cross_entropy"}, "classification": {}},
    "train": {"epochs": 3, "optimizer": {"type": "sgd", "lr": 0.1}, "best": "rooms/mIoU", "lr_factors": {"fusion": 2}},
}

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
AWKWARD = st.sampled_from(
    [
        "no",
        "1e-3",
        "~",
        "",
        "*a",
        "&a b",
        "!x y",
        "<<",
        "a: b",
        "fused",
        "keys",
        "type",
        "0x1",
        ".nan",
        "-.inf",
        "9" * 50,
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | AWKWARD | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(AWKWARD | TEXT, inner, max_size=3),
    max_leaves=6,
)


def load_or_refuse(source: Any, overrides: tuple[str, ...] = ()) -> Experiment | None:
    try:
        return load_experiment(source, overrides)
    except ConfigError as error:
        told = str(error)
    assert told.count("\n") >= 1
    assert all(character.isprintable() for line in told.split("\n") for character in line)
    return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


@QUICK
@given(data=st.data())
def test_a_mutated_configuration_is_read_or_refused(data: st.DataObject, path: Path) -> None:
    whole = mutated(data)
    load_or_refuse(whole)
    path.write_text(json.dumps(whole), encoding="utf-8")  # JSON is YAML, but for NaN and Infinity, which are text in it
    load_or_refuse(path)


@QUICK
@given(data=st.data())
def test_a_changed_character_is_read_or_refused(data: st.DataObject, path: Path) -> None:
    text = to_yaml(load_experiment(WHOLE))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 5))
        new = data.draw(
            st.sampled_from([*"\t\n :-[]{}&*!#'\"|>?%@`,~", "\r", "\x85", "\u2028", "---\n", "<<: ", ""]) | TEXT
        )
        text = text[:start] + new + text[start + length :]
    path.write_text(text, encoding="utf-8", newline="")
    load_or_refuse(path)


@QUICK
@given(content=st.binary(max_size=200) | TEXT.map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert load_or_refuse(path) is None


@QUICK
@given(
    text=st.lists(
        st.sampled_from([*"[]{}:,-?&*!|>'\"%#\n\t ~0ae", "\\", "name", "? ", "- ", ": ", "%TAG ! x\n---\n"])
    ).map("".join)
)
def test_any_yaml_like_text_is_read_or_refused(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
    assert load_or_refuse(path) is None


KEYS = [
    "train",
    "epochs",
    "optimizer",
    "lr",
    "data",
    "size",
    "modalities",
    "image",
    "encoder",
    "fusion",
    "over",
    "0",
    "x",
]


@QUICK
@given(
    keys=st.lists(st.sampled_from(KEYS) | TEXT, max_size=4),
    value=VALUES.map(json.dumps) | AWKWARD | TEXT,
)
def test_any_override_is_read_or_refused(keys: list[str], value: str) -> None:
    load_or_refuse(WHOLE, (f"{'.'.join(keys)}={value}",))
    load_or_refuse(WHOLE, (value,))


@QUICK
@given(data=st.data())
def test_resolved_always_loads_as_the_same_experiment(data: st.DataObject, path: Path) -> None:
    """Over random valid options of random parts."""
    whole = deepcopy(WHOLE)
    whole["name"] = data.draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True))
    whole["data"]["root"] = data.draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20))
    whole["train"] |= {"optimizer": _part(data, "optimizer"), "schedule": _part(data, "schedule")}
    whole["train"]["lr_factors"] = data.draw(
        st.dictionaries(TEXT.filter(str.isprintable), st.floats(0, 10), max_size=3)
    )
    whole["balancing"] = _part(data, "balancing")
    whole["fusion"] = _part(data, "fusion")
    whole["over"] = None
    whole["tasks"]["rooms"] |= {"decoder": _part(data, "decoder"), "loss": _part(data, "loss")}
    experiment = load_experiment(whole)
    path.write_text(to_yaml(experiment), encoding="utf-8", newline="")
    assert load_experiment(path) == experiment
    assert load_experiment(experiment.resolved) == experiment


def mutated(data: st.DataObject) -> dict[str, Any]:
    """The whole configuration with a few values replaced, removed or added anywhere."""
    whole = deepcopy(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        inner: Any = whole
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(inner[key], (dict, list)) and data.draw(st.booleans()):
                inner = inner[key]
                continue
            action = data.draw(st.sampled_from(["replace", "remove", "add"]))
            if action == "remove":
                del inner[key]
            elif action == "add" and isinstance(inner, dict):
                inner[data.draw(AWKWARD | TEXT | st.sampled_from(KEYS))] = data.draw(VALUES)
            else:
                inner[key] = data.draw(VALUES)
            break
    return whole


def _part(data: st.DataObject, kind: str) -> dict[str, Any]:
    name = data.draw(st.sampled_from(part_names(shipped(), kind)))
    part = part_schema(shipped(), kind, name)
    drawn = {}
    for option, node in part["properties"].items():
        if "const" not in node and (option in part.get("required", ()) or data.draw(st.booleans())):
            drawn[option] = data.draw(_values(node))
    return {"type": name, **drawn}


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Valid values of an option."""
    if "x-kind" in schema:
        return st.just(schema["default"])
    if "anyOf" in schema:
        return st.one_of([_values(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "array":
        if "prefixItems" in schema:
            return st.tuples(*(_values(item) for item in schema["prefixItems"]))
        return st.lists(_values(schema["items"]), max_size=3)
    if schema["type"] == "object":
        return st.dictionaries(TEXT.filter(str.isprintable), _values(schema["additionalProperties"]), max_size=2)
    if schema["type"] == "integer":
        return st.integers(schema.get("minimum", -(2**40)), schema.get("maximum", 2**40))
    if schema["type"] == "number":
        low, high = (
            schema.get("minimum", schema.get("exclusiveMinimum")),
            schema.get("maximum", schema.get("exclusiveMaximum")),
        )
        bounds = {"exclude_min": "exclusiveMinimum" in schema, "exclude_max": "exclusiveMaximum" in schema}
        return st.floats(low, high, allow_nan=False, allow_infinity=False, **bounds)
    return {"boolean": st.booleans(), "string": TEXT.filter(str.isprintable), "null": st.none()}[schema["type"]]
