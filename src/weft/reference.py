"""A schema in words: what an option allows, the lists of `weft list`, and the reference page in `docs/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from weft.schema import WITHIN, Schema, part_names, part_schema

_ARTICLES = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}

_PREFACE = """\
# Configuration

<!-- Written by `python -m weft.schema` from the signatures and docstrings of the code; change those, not this page. -->

An experiment is one YAML file. `weft check FILE` says everything that is wrong with it at once, with line numbers;
`weft schema --out schema.json` writes a JSON schema for your editor: begin the file with
`# yaml-language-server: $schema=schema.json` to be helped while writing. `weft train FILE key=value …` changes single
values: `weft train my.yaml train.epochs=5 modalities.depth.dropout=0.3 "data.size=[240, 320]"`.

Wherever a part is chosen (an encoder, a decoder, an optimiser, …) its name alone will do where all its options have
defaults: `decoder: unet` is `decoder: {type: unet}`. Options without `type` change the part that is the default:
`optimizer: {lr: 0.01}`. Modalities and tasks have names of your own (letters, digits, `_`); their `type` defaults to
that name. The YAML is YAML 1.2 without tags, anchors and aliases: `1e-3` is a number, and `no`, `yes`, `on`, `off` are
text, so write `false` and `true`.
"""


def describe(schema: Schema) -> str:
    """What a value may be, in words: `0 <= x < 1`, `one of block, group, random`."""
    if "x-kind" in schema:
        return f"{article(schema['x-kind'])} with its options"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(show, schema['enum']))}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(describe(alternative) for alternative in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "null":
        return "null"
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(describe(item) for item in schema['prefixItems'])}]"
        return f"a list of {describe(schema['items'])}"
    if kind == "object":
        if "x-named" in schema:
            return f"a mapping from names of yours to {article(schema['x-named'])} each"
        if "properties" in schema:
            return f"a mapping with {', '.join(schema['properties'])}"
        inner = schema.get("additionalProperties")
        return f"a mapping from names to {describe(inner)}" if isinstance(inner, dict) else "a mapping"
    bounds = describe_bounds(schema)
    return _ARTICLES.get(kind or "", "anything") + (f" ({bounds})" if bounds else "")


def describe_bounds(schema: Schema) -> str:
    """The bounds of a number, such as `0 <= x < 1`; empty where there are none."""
    low, open_low = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, open_high = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is None and open_low is None and high is None and open_high is None:
        return ""
    left = f"{low:g} <= " if low is not None else f"{open_low:g} < " if open_low is not None else ""
    right = f" <= {high:g}" if high is not None else f" < {open_high:g}" if open_high is not None else ""
    if left and not right:
        return f"x >= {low:g}" if low is not None else f"x > {open_low:g}"
    return f"{left}x{right}"


def article(noun: str) -> str:
    """`an encoder`, `a task`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def show(value: Any) -> str:
    """A value as YAML would have it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def default_of(name: str, schema: Schema, required: list[str]) -> str:
    """The default of an option, in words."""
    if name in required:
        return "required"
    if schema.get("x-default-name"):
        return "the name"
    value = schema.get("default")
    if isinstance(value, dict):
        return str(value["type"]) if set(value) == {"type"} else show(value) if value else "as below"
    return show(value)


def kinds(schema: Schema) -> list[str]:
    """The kinds of parts that there are, in the order of the schema; not those that are another kind's, within it."""
    return [kind for kind in dict.fromkeys(key.split(".")[0] for key in schema["$defs"]) if kind not in WITHIN.values()]


def list_kinds(schema: Schema) -> str:
    """Every kind with the names of its parts."""
    found = kinds(schema)
    width = max(map(len, found), default=0)
    return "\n".join(f"{kind:{width}}  {', '.join(part_names(schema, kind))}" for kind in found)


def list_parts(schema: Schema, kind: str) -> str:
    """The parts of a kind, each with its first sentence."""
    names = part_names(schema, kind)
    width = max(map(len, names), default=0)
    return "\n".join(f"{name:{width}}  {_first_line(part_schema(schema, kind, name))}" for name in names)


def list_options(schema: Schema, kind: str, name: str) -> str:
    """One part with its options: what is allowed, the default, the help."""
    part = part_schema(schema, kind, name)
    lines = [f"{kind} {name}", "", part["description"], ""]
    required = part.get("required", [])
    options = [(option, node) for option, node in part["properties"].items() if "const" not in node]
    if not options:
        return "\n".join([*lines, "It has no options."])
    for option, node in options:
        default = default_of(option, node, required)
        otherwise = default if default == "required" else f"by default {default}"
        lines.append(f"  {option}: {describe(node)}; {otherwise}")
        lines.append(f"      {node['description']}")
    return "\n".join(lines)


def reference(schema: Schema) -> str:
    """The page `docs/configuration.md`."""
    lines = [_PREFACE]
    lines += ["## The experiment", "", *_table(schema), ""]
    for path, node in _inner_objects(schema["properties"], ""):
        lines += [f"### `{path}`", "", node["description"], "", *_table(node), ""]
    for kind in kinds(schema):
        lines += [f"## {kind}", ""]
        for name in part_names(schema, kind):
            part = part_schema(schema, kind, name)
            lines += [f"### {kind} `{name}`", "", part["description"], ""]
            options = _table(part)
            lines += [*options, ""] if options else ["It has no options.", ""]
            for path, node in _inner_objects(part["properties"], ""):
                if kind != "format" or name == part_names(schema, kind)[0]:  # the same beside every format
                    lines += [f"#### `{path}`", "", node["description"], "", *_table(node), ""]
            for option, inner in _held(part["properties"]):
                lines += [f"#### `{option}.<name>`", "", f"Beside the options of the {kind} itself:", ""]
                lines += [*_table(_beside(schema, kind, inner)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(schema: Schema) -> list[str]:
    required = schema.get("required", [])
    rows = []
    for name, node in schema["properties"].items():
        if "const" not in node:
            cells = (_allowed(node), default_of(name, node, required), node["description"])
            rows.append(f"| `{name}` | {' | '.join(map(_cell, cells))} |")
    return ["| option | allowed | default | what it is |", "|---|---|---|---|", *rows] if rows else []


def _allowed(node: Schema) -> str:
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(map(_allowed, node["anyOf"])))
    return "options of its own (below)" if "properties" in node and "x-named" not in node else describe(node)


def _inner_objects(properties: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Options that are mappings with options of their own."""
    for name, node in properties.items():
        for inner in (node, *node.get("anyOf", ())):
            if "properties" in inner and "x-named" not in inner:
                yield f"{path}{name}", {"description": node["description"], **inner}
                yield from _inner_objects(inner["properties"], f"{path}{name}.")


def _held(properties: Schema) -> Iterator[tuple[str, str]]:
    """(option, kind) of options that are parts by names of the user's, of a kind that stands within another."""
    for name, node in properties.items():
        inner = node.get("additionalProperties")
        if isinstance(inner, dict) and inner.get("x-kind") in WITHIN.values():
            yield name, inner["x-kind"]


def _beside(schema: Schema, kind: str, inner: str) -> Schema:
    """The options that every part of `inner` has and the part of `kind` of the same name has not."""
    name = part_names(schema, inner)[0]
    own = part_schema(schema, kind, name)["properties"]
    options = part_schema(schema, inner, name)["properties"]
    return {"properties": {option: node for option, node in options.items() if option not in own}}


def _first_line(part: Schema) -> str:
    return str(part["description"]).split("\n", 1)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
