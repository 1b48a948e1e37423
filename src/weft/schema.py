"""Signatures → JSON Schema (draft 2020-12): what a configuration may say.

It serves editors, `weft list`, the reference page, and the loader, which tells mistakes by it without importing torch.

`python -m weft.schema` writes `schema.json`, which ships with the package, `docs/configuration.md`, and the table in
`docs/fusion.md`.

Beside the standard keywords, which editors read, the loader reads these:

- `x-kind`, `x-tag`: a part, and the option that names it; `x-part`: it becomes a `Part`;
- `x-named`: a mapping from names of the user's to parts of a kind; `x-default-part`: the part that such a name means;
- `x-default-name`: an option that defaults to the user's name; `x-tuple`: a list that becomes a tuple;
- `x-module`: where a part is written; `x-need`, `x-input` and others: what its class says of itself.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from weft import registry
from weft.docstrings import help_of, summary_of
from weft.experiment import DataConfig, Experiment, LossConfig, ModalityConfig, SetConfig, TaskConfig
from weft.registry import Part, Range

Schema = dict[str, Any]

FILE = Path(__file__).with_name("schema.json")

#: Kinds whose parts stand in a configuration with these options beside their own.
BESIDE = {
    "format": DataConfig,
    "set": SetConfig,
    "modality": ModalityConfig,
    "task": TaskConfig,
    "loss": LossConfig,
}

#: The option that names the part, where it is not `type`.
TAGS = {"format": "format", "set": "format"}

#: Kinds whose parts can also stand inside one of their own, with other options beside theirs: as parts of this kind.
WITHIN = {"format": "set"}

#: Fields that are computed or stand elsewhere in the YAML.
INTERNAL = {Experiment: ("resolved",), ModalityConfig: ("options", "share"), TaskConfig: ("options",)}

#: What a class says of itself before it is built; cross checks read it.
SAID = {
    "need": "x-need",
    "over_time": "x-over_time",
    "higher_is_better": "x-higher_is_better",
    "kind": "x-input",
    "reads": "x-reads",
    "lends_to": "x-lends_to",
    "cell": "x-cell",
    "gives_maps": "x-gives_maps",
    "gives_fused": "x-gives_fused",
    "needs_maps": "x-needs_maps",
    "answer": "x-answer",
    "combines": "x-combines",
}

#: Names of modalities and tasks.
NAME_PATTERN = "^[A-Za-z][A-Za-z0-9_]*$"


class SchemaError(TypeError):
    """A part's constructor cannot be read as options; a mistake of whoever wrote the part."""


@cache
def shipped() -> Schema:
    """The schema that came with the package. Treat it as read-only."""
    schema: Schema = json.loads(FILE.read_text(encoding="utf-8"))
    return schema


def build() -> Schema:
    """The schema of everything that weft has, from the signatures. Imports every part."""
    from torch import nn  # here: only building needs it, and the schema is there so that reading does not

    # torch's own only: other libraries hang methods of theirs onto every module once they are in use
    known = ((name, getattr(nn.ModuleDict, name, None)) for name in dir(nn.ModuleDict()))
    taken = [name for name, what in known if str(getattr(what, "__module__", "torch")).startswith("torch")]
    taken = [name for name in taken if re.fullmatch(NAME_PATTERN, name)]
    schema = _skeleton(reserved=sorted(["fused", *taken]))
    for kind in registry.PACKAGES:
        for name in registry.names(kind):
            add_part(schema, kind, name, registry.get(kind, name))
    link(schema)
    return schema


def with_registered(schema: Schema) -> Schema:
    """The schema and the parts that this process has registered beyond it: the user's own.

    Raises:
        ValueError: one of them has the name of a part in the schema.
    """
    new = []
    for kind in registry.PACKAGES:
        for name, part in registry.registered(kind).items():
            known = schema["$defs"].get(f"{kind}.{name}")
            if known is None:
                new.append((kind, name, part))
            elif part.__module__ != known["x-module"] and not part.__module__.startswith("weft."):
                raise ValueError(
                    f"{part.__module__} registers the {kind} {name!r}, which weft has; choose another name"
                )
    if not new:
        return schema
    schema = deepcopy(schema)
    for kind, name, part in new:
        add_part(schema, kind, name, part)
    link(schema)
    return schema


def add_part(schema: Schema, kind: str, name: str, part: Callable[..., Any]) -> None:
    """Put one part into a schema; call `link` afterwards."""
    tag = TAGS.get(kind, "type")
    properties: Schema = {tag: {"const": name, "description": f"the {kind} {name}"}}
    required: list[str] = []
    if kind in BESIDE:
        common = _of_dataclass(BESIDE[kind])
        properties = {**common["properties"], **properties}
        required = [option for option in common.get("required", []) if option != tag]
    for source in (part, getattr(part, "Target", None)):
        if source is None:
            continue
        options, needed = _of_signature(source, f"{kind} {name!r}")
        twice = [option for option in options if option in properties]
        if twice:
            raise SchemaError(f"{kind} {name!r} has the option {twice[0]!r} twice; rename one of them")
        properties |= options
        required += needed
    schema["$defs"][f"{kind}.{name}"] = {
        "description": summary_of(part),
        "x-module": part.__module__,
        **_said(part),
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
    _add_within(schema, kind, name, part)


def _add_within(schema: Schema, kind: str, name: str, part: Callable[..., Any]) -> None:
    """Put a part into a schema also as what stands within another of its kind; one that holds such does not."""
    inner = WITHIN.get(kind)
    own = schema["$defs"][f"{kind}.{name}"]["properties"]
    if inner is not None and all(node.get("x-kind") != inner for node in _nodes(own)):
        add_part(schema, inner, name, part)


def link(schema: Schema) -> None:
    """Write, wherever a part can stand, which parts there are: a name, or a mapping with the name and options."""
    for node in list(_nodes(schema)):
        if "x-named" in node:
            kind = node["x-named"]
            node["properties"] = {name: _choice(schema, kind, name) for name in part_names(schema, kind)}
            node["additionalProperties"] = _choice(schema, kind, None)
    for node in list(_nodes(schema)):
        if "x-kind" in node:
            default = node.get("default")
            name = default["type"] if isinstance(default, Mapping) else node.get("x-default-part")
            node["oneOf"] = _alternatives(schema, node["x-kind"], node["x-tag"], name)


def part_names(schema: Schema, kind: str) -> list[str]:
    """The names of a kind's parts, sorted."""
    return sorted(key.removeprefix(f"{kind}.") for key in schema["$defs"] if key.startswith(f"{kind}."))


def part_schema(schema: Schema, kind: str, name: str) -> Schema:
    """The definition of one part; KeyError where there is none."""
    definition: Schema = schema["$defs"][f"{kind}.{name}"]
    return definition


def plain(value: Any) -> Any:
    """Configuration values as YAML and JSON have them: parts as mappings, tuples as lists."""
    if isinstance(value, Part):
        return {TAGS.get(value.kind, "type"): value.type, **plain(value.options)}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _skeleton(*, reserved: list[str]) -> Schema:
    """Everything but the parts.

    Args:
        reserved: what modalities and tasks cannot be called: torch modules hold them by name, beside their own methods.
    """
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a weft experiment",
        **_of_dataclass(Experiment),
        "$defs": {},
    }
    properties = schema["properties"]
    properties["data"] = {"description": properties["data"]["description"], "x-kind": "format", "x-tag": "format"}
    for name, kind in (("modalities", "modality"), ("tasks", "task")):
        properties[name] = {
            "description": properties[name]["description"],
            "type": "object",
            "x-named": kind,
            "propertyNames": {"pattern": NAME_PATTERN, "not": {"enum": reserved}},
            "minProperties": 1,
        }
    return schema


def _choice(schema: Schema, kind: str, default: str | None) -> Schema:
    choice: Schema = {"x-kind": kind, "x-tag": TAGS.get(kind, "type")}
    if default is not None:
        choice |= {"description": schema["$defs"][f"{kind}.{default}"]["description"], "x-default-part": default}
    return choice


def _alternatives(schema: Schema, kind: str, tag: str, default: str | None) -> list[Schema]:
    """A name alone, where nothing else is required, or a mapping; the default part's mapping need not name it."""
    names = part_names(schema, kind)
    short = [name for name in names if not part_schema(schema, kind, name).get("required")]
    alternatives: list[Schema] = [{"enum": short}] if short else []
    for name in names:
        reference: Schema = {"$ref": f"#/$defs/{kind}.{name}"}
        alternatives.append(reference if name == default else {**reference, "required": [tag]})
    return alternatives


def _of_dataclass(kind: type) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    help_texts = help_of(kind)
    properties: Schema = {}
    required: list[str] = []
    for field in fields(kind):
        if field.name in INTERNAL.get(kind, ()):
            continue
        node = _of_hint(_named_apart(kind, hints[field.name]), f"{kind.__name__}.{field.name}")
        node["description"] = help_texts.get(field.name, "")
        if field.default is not MISSING:
            node["default"] = plain(field.default)
        elif field.default_factory is not MISSING:
            node["default"] = {}  # of a dataclass or mapping: its own defaults follow
        elif field.name in _default_names(kind):
            node["x-default-name"] = True
        else:
            required.append(field.name)
        properties[field.name] = node
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _default_names(kind: type) -> frozenset[str]:
    """The fields without a default that fall back on the name the user gave the modality or task."""
    return frozenset({"type", "column", "target"}) if kind in (ModalityConfig, TaskConfig) else frozenset()


def _named_apart(kind: type, hint: Any) -> Any:
    """An encoder may be another modality's, `{share: name}`; None stands for that in Python only."""
    if kind is ModalityConfig and registry.nested_kind(hint) is not None:
        return Annotated[Part, registry.nested_kind(hint), "shared"]
    return hint


def _of_signature(part: Callable[..., Any], who: str) -> tuple[Schema, list[str]]:
    """The options of a class or function, and which of them are required."""
    properties: Schema = {}
    required: list[str] = []
    help_texts = help_of(part)
    try:
        signature = registry.options_of(part)
    except NameError as error:
        message = f"{who}: a type hint cannot be read: {error}; import what it names outside TYPE_CHECKING"
        raise SchemaError(message) from error
    for name, (hint, default) in signature.items():
        node = _of_hint(hint, f"{who}, option {name!r}")
        node["description"] = help_texts.get(name, "")
        if default is inspect.Parameter.empty:
            required.append(name)
        else:
            node["default"] = plain(default)
            for choice in node.get("anyOf", ()):  # options without `type` are of the default part
                if isinstance(default, Part) and choice.get("x-kind") == default.kind:
                    choice["x-default-part"] = default.type
        properties[name] = node
    return properties, required


def _of_hint(hint: Any, who: str) -> Schema:
    """The schema of a type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    simple = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
    if hint in simple:
        return {"type": simple[hint]}
    if is_dataclass(hint) and isinstance(hint, type):
        return _of_dataclass(hint)
    if origin is Annotated and arguments[0] is Part:
        node = {"x-kind": arguments[1], "x-tag": TAGS.get(arguments[1], "type"), "x-part": True}
        if "shared" not in arguments[2:]:
            return node
        name = {"type": "string", "description": "another modality whose encoder this one uses too"}
        share = {"type": "object", "properties": {"share": name}, "required": ["share"], "additionalProperties": False}
        return {"anyOf": [share, node]}
    if origin is Annotated:
        node = _of_hint(arguments[0], who)
        for note in arguments[1:]:
            if isinstance(note, Range):
                node |= _bounds(note)
        return node
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [_of_hint(argument, who) for argument in arguments]}
    if origin is tuple and arguments[-1] is not Ellipsis:
        items = [_of_hint(argument, who) for argument in arguments]
        size = len(items)
        return {
            "type": "array",
            "prefixItems": items,
            "items": False,
            "minItems": size,
            "maxItems": size,
            "x-tuple": True,
        }
    if origin in (list, tuple, Sequence):
        node = {"type": "array", "items": _of_hint(arguments[0], who)}
        return node if origin is list else {**node, "x-tuple": True}
    if origin in (dict, Mapping) and arguments[0] is str:
        return {"type": "object", "additionalProperties": _of_hint(arguments[1], who)}
    raise SchemaError(
        f"{who}: weft cannot read the type hint {hint}; use bool, int, float, str, Literal, list, tuple, dict[str, …], "
        "Annotated[…, Range(…)], Annotated[Part, kind] or these with `| None`"
    )


def _bounds(bounds: Range) -> Schema:
    low = "exclusiveMinimum" if bounds.open_low else "minimum"
    high = "exclusiveMaximum" if bounds.open_high else "maximum"
    pairs = ((low, bounds.low), (high, bounds.high))
    return {keyword: bound for keyword, bound in pairs if bound is not None}


def _nodes(tree: Any) -> Iterator[Schema]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _said(part: Callable[..., Any]) -> Schema:
    values = {key: getattr(part, name, None) for name, key in SAID.items()}
    return {key: plain(value) for key, value in values.items() if isinstance(value, (bool, str, tuple, Mapping))}


def as_json(schema: Schema) -> str:
    """The text of `schema.json`."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write `schema.json` and, in a checkout, `docs/configuration.md` and the table in `docs/fusion.md`."""
    from weft.compatibility import with_table  # here: these need this module, or torch
    from weft.reference import reference

    schema = build()
    FILE.write_text(as_json(schema), encoding="utf-8")
    docs = FILE.parents[2] / "docs"
    if docs.is_dir():
        (docs / "configuration.md").write_text(reference(schema), encoding="utf-8")
        page = docs / "fusion.md"
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
