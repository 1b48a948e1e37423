"""The schema is what the signatures say, and says the same to editors as to the loader."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from weft import registry
from weft.config_tree import Place, from_plain
from weft.config_walk import Walk
from weft.docstrings import arguments_of, summary_of
from weft.reference import describe, list_kinds, list_options, list_parts, reference
from weft.registry import Part, Range
from weft.schema import FILE, SchemaError, add_part, as_json, build, link, part_names, shipped, with_registered


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return build()


class Whole:
    """Everything that an option can be.

    A second paragraph
    over two lines.

    Args:
        number: a number,
            in two lines.
        bounded, count: two at once.
        choice: one of some.
        pair: two of them.
        many: any number of them.
        table: by name.
        maybe: or not.
        decoder: a part.

    Reference: Somebody, 2020, eq. 1.
    """

    def __init__(
        self,
        passed_by_weft: int,
        *,
        number: float,
        bounded: Annotated[float, Range(0, 1, open_high=True)] = 0.5,
        count: Annotated[int, Range(1)] | None = None,
        choice: Literal["a", "b"] = "a",
        pair: tuple[int, int] = (1, 2),
        many: list[str] | None = None,
        table: dict[str, float] = {},  # noqa: B006 (a default of a signature that is only read)
        maybe: bool | None = None,
        decoder: Annotated[Part, "decoder"] = Part("decoder", "unet"),  # noqa: B008
    ) -> None: ...


def schema_of(part: Any, kind: str = "loss") -> dict[str, Any]:
    schema = {"$defs": {}}
    add_part(schema, kind, "whole", part)
    link(schema)
    return schema["$defs"][f"{kind}.whole"]


def test_shipped_schema_is_what_the_signatures_say(built: dict[str, Any]) -> None:
    assert as_json(built) == FILE.read_text(encoding="utf-8"), "run: python -m weft.schema"


def test_reference_page_is_what_the_signatures_say(built: dict[str, Any]) -> None:
    page = Path(__file__).parents[1] / "docs" / "configuration.md"
    assert reference(built) == page.read_text(encoding="utf-8"), "run: python -m weft.schema"


def test_every_option_of_every_part_has_help(built: dict[str, Any]) -> None:
    without = []

    def look(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, option in node.get("properties", {}).items():
                if isinstance(option, dict) and not option.get("description"):
                    without.append(f"{path}.{name}")
            for name, inner in node.items():
                look(inner, f"{path}.{name}")
        elif isinstance(node, list):
            for inner in node:
                look(inner, path)

    look(built, "")
    assert without == []


def test_every_part_says_what_it_is(built: dict[str, Any]) -> None:
    assert [name for name, part in built["$defs"].items() if not part["description"]] == []


def test_help_names_no_option_that_is_not_there() -> None:
    stale = []
    for kind in registry.PACKAGES:
        for name in registry.names(kind):
            part = registry.get(kind, name)
            stale += [
                f"{kind} {name}: {option}"
                for option in arguments_of(part.__doc__ or "")
                if option not in inspect.signature(part).parameters
            ]
    assert stale == []


def test_every_default_is_allowed_by_its_own_option(built: dict[str, Any]) -> None:
    wrong = []
    for name, part in built["$defs"].items():
        for option, node in part["properties"].items():
            if "default" in node:
                problems: list[Any] = []
                Walk(built, problems).value(from_plain(node["default"], Place()), node, (name, option))
                wrong += problems
    assert [str(problem) for problem in wrong] == []


def test_names_that_torch_modules_hold_are_reserved(built: dict[str, Any]) -> None:
    reserved = set(built["properties"]["tasks"]["propertyNames"]["not"]["enum"])
    assert {"fused", "keys", "values", "train", "type", "forward", "half"} <= reserved


def test_a_signature_becomes_a_schema() -> None:
    part = schema_of(Whole)
    options = part["properties"]
    assert part["required"] == ["number"]
    assert "passed_by_weft" not in options
    assert options["number"] == {"type": "number", "description": "a number, in two lines."}
    assert options["bounded"]["minimum"] == 0
    assert options["bounded"]["exclusiveMaximum"] == 1
    assert options["count"]["anyOf"] == [{"type": "integer", "minimum": 1}, {"type": "null"}]
    assert options["count"]["description"] == options["bounded"]["description"] == "two at once."
    assert options["choice"]["enum"] == ["a", "b"]
    assert options["pair"]["prefixItems"] == [{"type": "integer"}] * 2
    assert options["pair"]["default"] == [1, 2]
    assert options["table"]["additionalProperties"] == {"type": "number"}
    assert options["decoder"]["default"] == {"type": "unet"}
    assert part["additionalProperties"] is False


def test_summary_is_the_text_before_the_sections_and_the_reference() -> None:
    assert summary_of(Whole) == (
        "Everything that an option can be.\n\nA second paragraph over two lines.\n\nReference: Somebody, 2020, eq. 1."
    )


def test_options_of_a_target_stand_beside_those_of_its_task() -> None:
    class Target:
        """Target.

        Args:
            classes: names.
        """

        def __init__(self, facts: object, *, classes: list[str] | None = None) -> None: ...

    class Task:
        """Task.

        Args:
            hidden: width.
        """

        def __init__(self, views: object, field: object, *, hidden: int = 0) -> None: ...

    Task.Target = Target  # type: ignore[attr-defined]
    assert set(schema_of(Task, "task")["properties"]) == {
        "type",
        "target",
        "weight",
        "over",
        "hidden",
        "classes",
    }


def test_an_option_given_twice_is_refused() -> None:
    class Task:
        """Task.

        Args:
            weight: of the common options.
        """

        def __init__(self, *, weight: float = 1.0) -> None: ...

    with pytest.raises(SchemaError, match="has the option 'weight' twice"):
        schema_of(Task, "task")


def test_a_hint_that_cannot_be_read_is_refused() -> None:
    class Bad:
        """Bad."""

        def __init__(self, *, path: Path) -> None: ...

    with pytest.raises(SchemaError, match="loss 'whole', option 'path': weft cannot read the type hint"):
        schema_of(Bad)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "a number (0 <= x < 1)"),
        ({"type": "integer", "minimum": 1}, "a whole number (x >= 1)"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number (x > 0)"),
        ({"type": "number", "maximum": 3}, "a number (x <= 3)"),
        ({"enum": ["a", 1, True]}, "one of a, 1, true"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"type": "array", "prefixItems": [{"type": "boolean"}] * 2}, "[true or false, true or false]"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "a mapping from names to text"),
    ],
)
def test_bounds_and_types_are_told_in_words(schema: dict[str, Any], words: str) -> None:
    assert describe(schema) == words


def test_parts_can_be_listed(built: dict[str, Any]) -> None:
    assert "fusion" in list_kinds(built)
    assert re.search(r"^concat +\S", list_parts(built, "fusion"), flags=re.M)
    assert "momentum: a number (0 <= x < 1); by default 0.9" in list_options(built, "optimizer", "sgd")


def test_nothing_is_added_when_nothing_new_is_registered() -> None:
    assert with_registered(shipped()) is shipped()


def test_editors_and_the_loader_agree(built: dict[str, Any]) -> None:
    whole = {
        "name": "x",
        "data": {"format": "nyuv2", "root": "r", "size": [240, 320]},
        "modalities": {
            "image": {"encoder": {"type": "timm", "name": "resnet18"}},
            "depth": {"encoder": {"share": "image"}},
        },
        "tasks": {"rooms": {"type": "segmentation", "decoder": "unet"}, "classification": {}},
        "train": {"optimizer": {"lr": 0.1}, "schedule": "poly"},
    }
    assert fits(whole, built, built)
    for path, value in [
        (("name",), 3),
        (("data", "size"), [240]),
        (("data", "sise"), [240, 320]),
        (("data", "format"), "nyu"),
        (("modalities", "image", "encoder"), "timm"),  # its name has no default
        (("modalities", "thermal"), {"encoder": {"share": "image"}}),  # no modality of that name, and no type
        (("modalities", "fused"), whole["modalities"]["image"]),
        (("tasks", "rooms", "decoder"), {"type": "unet", "nothing": 1}),
        (("tasks", "rooms", "weight"), -1),
        (("train", "epochs"), "5"),
        (("train", "optimizer", "momentum"), 0.9),  # adamw, the default, has none
        (("train", "schedule"), None),
    ]:
        changed = json.loads(json.dumps(whole))
        inner = changed
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        problems: list[Any] = []
        Walk(built, problems).value(from_plain(changed, Place()), built)
        assert problems, path
        assert not fits(changed, built, built), path


def test_every_reference_in_the_schema_leads_somewhere(built: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', as_json(built)))
    assert references <= set(built["$defs"])
    assert {f"encoder.{name}" for name in part_names(built, "encoder")} <= references


def fits(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether a value is valid: the keywords of JSON Schema that weft writes, after their specification."""
    if isinstance(schema, bool):
        return schema
    types = {
        "object": lambda v: isinstance(v, dict),
        "array": lambda v: isinstance(v, list),
        "string": lambda v: isinstance(v, str),
        "boolean": lambda v: isinstance(v, bool),
        "null": lambda v: v is None,
        "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
        "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    }
    number = types["number"](value)
    text, mapping, items = isinstance(value, str), isinstance(value, dict), isinstance(value, list)
    properties, fixed = schema.get("properties", {}), schema.get("prefixItems", [])
    checks = [
        "$ref" not in schema or fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root),
        "type" not in schema or types[schema["type"]](value),
        "const" not in schema or value == schema["const"],
        "enum" not in schema or value in schema["enum"],
        "anyOf" not in schema or any(fits(value, one, root) for one in schema["anyOf"]),
        "oneOf" not in schema or sum(fits(value, one, root) for one in schema["oneOf"]) == 1,
        "not" not in schema or not fits(value, schema["not"], root),
        not number or value >= schema.get("minimum", value),
        not number or value <= schema.get("maximum", value),
        not number or "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"],
        not number or "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"],
        not text or "pattern" not in schema or re.search(schema["pattern"], value) is not None,
        not items or schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)),
        not items or all(fits(item, one, root) for item, one in zip(value, fixed, strict=False)),
        not items or all(fits(item, schema.get("items", True), root) for item in value[len(fixed) :]),
        not mapping or set(schema.get("required", ())) <= set(value),
        not mapping or len(value) >= schema.get("minProperties", 0),
        not mapping or all(fits(name, schema.get("propertyNames", True), root) for name in value),
        not mapping
        or all(
            fits(item, properties.get(name, schema.get("additionalProperties", True)), root)
            for name, item in value.items()
        ),
    ]
    return all(checks)
