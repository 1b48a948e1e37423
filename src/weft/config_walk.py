"""A configuration held against the schema: every problem in a person's words, every default filled in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from weft.config_tree import Broken, Entries, Items, Node, Place, Problem, Scalar, from_plain
from weft.errors import did_you_mean
from weft.reference import article, describe, describe_bounds
from weft.registry import Part
from weft.schema import Schema, part_names, part_schema

Path = tuple[str, ...]

#: Returned for a value that has been reported; it is left out of what is built.
INVALID: Any = object()

_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class Walk:
    """One pass over a configuration.

    Args:
        schema: what is allowed.
        problems: what is wrong is added here.
    """

    def __init__(self, schema: Schema, problems: list[Problem]) -> None:
        self.schema, self.problems = schema, problems

    def value(self, node: Node, schema: Schema, path: Path = ()) -> Any:
        """The value with its defaults, parts as `Part`, tuples where the signature has them; INVALID when reported."""
        if isinstance(node, Broken):
            return self.report(node.place, path, node.message) if node.message else INVALID
        if "x-kind" in schema:
            return self.part(node, schema, path)
        if "anyOf" in schema:
            return self.any_of(node, schema, path)
        if "enum" in schema:
            known = isinstance(node, Scalar) and any(_same(node.value, choice) for choice in schema["enum"])
            return node.value if known else self.wrong(node, schema, path, near=schema["enum"])  # type: ignore[union-attr]
        readers: dict[str, Callable[[Node, Schema, Path], Any]] = {
            "object": self.mapping,
            "array": self.array,
            "number": self.number,
            "integer": self.number,
        }
        return readers.get(schema["type"], self.simple)(node, schema, path)

    def part(self, node: Node, schema: Schema, path: Path) -> Any:
        """A part: its name alone, or a mapping with its options and, unless it is the default, its name."""
        kind, tag = schema["x-kind"], schema["x-tag"]
        default = schema.get("default") or {}
        default_name = default.get("type", schema.get("x-default-part"))
        alone = isinstance(node, Scalar) and isinstance(node.value, str)
        if alone:
            node = Entries(node.place, {tag: node})
        if not isinstance(node, Entries):
            return self.wrong(node, schema, path)
        entries = dict(node.entries)
        name_node = entries.pop(tag, node.shorthand)
        names = part_names(self.schema, kind)
        if name_node is None and default_name is None:
            return self.report(node.place, (*path, tag), f"missing; there are {', '.join(names)}")
        if name_node is None:
            given = {option: from_plain(value, node.place) for option, value in default.items() if option != "type"}
            entries, name = {**given, **entries}, default_name
        elif isinstance(name_node, Broken):
            return self.value(name_node, schema, (*path, tag))
        else:
            name = name_node.value if isinstance(name_node, Scalar) else None
        if name not in names:
            assert name_node is not None  # a default is a part that there is
            near = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            message = f"there is no {tag if tag != 'type' else kind} {_given(name_node)}{near}"
            return self.report(name_node.place, path if alone else (*path, tag), message)
        options = self.options(replace(node, entries=entries), part_schema(self.schema, kind, name), path, skip=tag)
        return Part(kind, name, options) if schema.get("x-part") else {tag: name, **options}

    def any_of(self, node: Node, schema: Schema, path: Path) -> Any:
        """The alternative that has the shape of what was given; where several have, the first that it fits."""
        fitting = [alternative for alternative in schema["anyOf"] if _shape(node) in _shapes(alternative)]
        if not fitting:
            return self.wrong(node, schema, path)
        if isinstance(node, Entries):
            whole = [one for one in fitting if set(one.get("required", ())) <= set(node.entries)]
            fitting = [*whole, fitting[-1]][:1]
        if len(fitting) == 1:
            return self.value(node, fitting[0], path)
        for alternative in fitting:
            value = Walk(self.schema, []).value(node, alternative, path)
            if value is not INVALID:
                return value
        return self.wrong(node, schema, path)

    def mapping(self, node: Node, schema: Schema, path: Path) -> Any:
        """A mapping: with options, with names of the user's, or with any keys."""
        if not isinstance(node, Entries) or node.shorthand is not None:
            return self.wrong(node, schema, path)
        if "x-named" in schema:
            return self.named(node, schema, path)
        if "properties" in schema:
            return self.options(node, schema, path)
        inner = schema["additionalProperties"]
        values = {name: self.value(item, inner, (*path, name)) for name, item in node.entries.items()}
        return {name: value for name, value in values.items() if value is not INVALID}

    def named(self, node: Entries, schema: Schema, path: Path) -> Any:
        """Parts by names of the user's; a name that is also a part's is that part unless told otherwise."""
        rule = schema["propertyNames"]
        values = {}
        if not node.entries:
            self.report(node.place, path, f"empty; give {article(schema['x-named'])} at least")
        for name, item in node.entries.items():
            here = (*path, name)
            if not re.fullmatch(rule["pattern"].strip("^$"), name):
                self.report(item.place, here, "not a name; allowed: letters, digits and _, with a letter first")
            elif name in rule["not"]["enum"]:
                self.report(item.place, here, f"weft or torch has that name; choose another, such as {name}_1")
            values[name] = self.value(item, schema["properties"].get(name, schema["additionalProperties"]), here)
        return {name: value for name, value in values.items() if value is not INVALID}

    def options(self, node: Entries, schema: Schema, path: Path, *, skip: str = "") -> dict[str, Any]:
        """All options of an object, given or by default, without those that were reported."""
        values = {}
        properties = {name: option for name, option in schema["properties"].items() if name != skip}
        for name, option in properties.items():
            here = (*path, name)
            if name in node.entries:
                values[name] = self.value(node.entries[name], option, here)
            elif "default" in option:
                values[name] = self.value(from_plain(option["default"], node.place), option, here)
            elif option.get("x-default-name"):
                values[name] = path[-1]
            elif name in schema.get("required", ()):
                self.report(node.place, here, f"missing; allowed: {describe(option)}")
        for name, item in node.entries.items():
            if name not in properties:
                self.report(item.place, (*path, name), f"unknown option{self._instead(name, properties, skip)}")
        return {name: value for name, value in values.items() if value is not INVALID}

    def array(self, node: Node, schema: Schema, path: Path) -> Any:
        """A list; a tuple where the signature has one."""
        if not isinstance(node, Items):
            return self.wrong(node, schema, path)
        fixed = schema.get("prefixItems")
        if fixed is not None and len(fixed) != len(node.items):
            count = f"{len(node.items)} values were given" if len(node.items) != 1 else "1 value was given"
            return self.report(node.place, path, f"{count}; allowed: {describe(schema)}")
        each = fixed or [schema["items"]] * len(node.items)
        values = [
            self.value(item, inner, (*path, str(index)))
            for index, (item, inner) in enumerate(zip(node.items, each, strict=True))
        ]
        if any(value is INVALID for value in values):
            return INVALID
        return tuple(values) if schema.get("x-tuple") else values

    def number(self, node: Node, schema: Schema, path: Path) -> Any:
        """A finite number within its bounds; integers fit in 64 bits."""
        whole = schema["type"] == "integer"
        if _shape(node) != "number":
            return self.wrong(node, schema, path)
        assert isinstance(node, Scalar)
        assert isinstance(node.value, (int, float))
        value = node.value
        if isinstance(value, float) and not math.isfinite(value):
            return self.report(node.place, path, f"{node.text} was given; allowed: {describe(schema)}, finite")
        if whole and isinstance(value, float):
            return self.wrong(node, schema, path)
        if isinstance(value, int) and abs(value) >= 2**63:
            return self.report(node.place, path, f"{node.text} was given; allowed: numbers below 2 ** 63")
        if not _within(value, schema):
            return self.report(node.place, path, f"{node.text} was given; allowed: {describe_bounds(schema)}")
        return value if whole else float(value)

    def simple(self, node: Node, schema: Schema, path: Path) -> Any:
        """Text, a boolean or null."""
        shapes = {"string": "text", "boolean": "boolean", "null": "null"}
        if not isinstance(node, Scalar) or _shape(node) != shapes[schema["type"]]:
            return self.wrong(node, schema, path)
        return node.value

    def wrong(self, node: Node, schema: Schema, path: Path, *, near: list[Any] | None = None) -> Any:
        """Report a value of the wrong kind, with what to write instead where that is clear."""
        hint = _hint(node, schema)
        if not hint and near and isinstance(node, Scalar):
            hint = did_you_mean(node.value, [choice for choice in near if isinstance(choice, str)])
        allowed = describe(schema)
        if "x-kind" in schema:
            allowed += f"; there are {', '.join(part_names(self.schema, schema['x-kind']))}"
        return self.report(node.place, path, f"{_given(node)} was given; allowed: {allowed}{hint}")

    def report(self, place: Place, path: Path, message: str) -> Any:
        """Add a problem."""
        self.problems.append(Problem(place, path, message))
        return INVALID

    def _instead(self, name: str, options: Schema, tag: str) -> str:
        """What was probably meant by an option that there is not here."""
        near = did_you_mean(name, [*options, tag])
        if near:
            return near
        for outer, option in options.items():
            if name in self._options_within(option):
                return f"; did you mean {outer}.{name}?"
        return f"; there are {', '.join(options)}" if options else "; there are none"

    def _options_within(self, option: Schema) -> set[str]:
        names = set(option.get("properties", ()))
        if "x-kind" in option:
            for part in part_names(self.schema, option["x-kind"]):
                names |= set(part_schema(self.schema, option["x-kind"], part)["properties"])
        for alternative in option.get("anyOf", ()):
            names |= self._options_within(alternative)
        return names - {"type"}


def _shape(node: Node) -> str:
    if isinstance(node, Items):
        return "list"
    if not isinstance(node, Scalar):
        return "mapping"
    if isinstance(node.value, bool):
        return "boolean"
    if node.value is None:
        return "null"
    return "text" if isinstance(node.value, str) else "number"


def _shapes(schema: Schema) -> set[str]:
    """The shapes that a value of this schema can have."""
    if "x-kind" in schema:
        return {"mapping", "text"}
    if "anyOf" in schema:
        return {shape for alternative in schema["anyOf"] for shape in _shapes(alternative)}
    if "enum" in schema:
        return {_shape(from_plain(choice, Place())) for choice in schema["enum"]}
    shapes = {"object": "mapping", "array": "list", "string": "text", "integer": "number"}
    return {shapes.get(str(schema["type"]), str(schema["type"]))}


def _same(value: Any, choice: Any) -> bool:
    return type(value) is type(choice) and bool(value == choice)  # 1 == True, and they are not the same


def _within(value: float, schema: Mapping[str, Any]) -> bool:
    return (
        value >= schema.get("minimum", -math.inf)
        and value <= schema.get("maximum", math.inf)
        and value > schema.get("exclusiveMinimum", -math.inf)
        and value < schema.get("exclusiveMaximum", math.inf)
    )


def _given(node: Node) -> str:
    if isinstance(node, Items):
        return "a list"
    if not isinstance(node, Scalar):
        return "a mapping"
    if node.value is None:
        return "nothing" if node.text in ("", "~") else "null"
    text = node.text if len(node.text) <= 80 else node.text[:77] + "…"
    return repr(text) if isinstance(node.value, str) else text


def _hint(node: Node, schema: Schema) -> str:
    """What to write instead, where that is clear from what was written."""
    if not isinstance(node, Scalar) or "x-kind" in schema:
        return ""
    shapes = _shapes(schema)
    shape, text = _shape(node), node.text
    if shape == "text" and "boolean" in shapes and text.lower() in _BOOLEANS:
        return f"; write {_BOOLEANS[text.lower()]}"
    if shape == "text" and "number" in shapes:
        digits = text.replace("_", "").strip()
        return f"; write {digits}" if re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", digits) else ""
    if isinstance(node.value, float) and shapes == {"number"} and node.value.is_integer():
        return f"; write {int(node.value)}" if abs(node.value) < 1e15 else ""
    if shape in ("number", "boolean") and "text" in shapes:
        return f'; write "{text}" in quotes'
    if shape in ("text", "number") and "list" in shapes:
        return f"; write [{text}]"
    return ""
