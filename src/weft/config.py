"""YAML and `key=value` → `Experiment`, with every problem told at once, and back to YAML. Imports no torch."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from weft import schema as schemas
from weft.config_checks import cross_check
from weft.config_tree import (
    MAX_CHARACTERS,
    Broken,
    Entries,
    Items,
    Node,
    Place,
    Problem,
    Scalar,
    TooDeep,
    find,
    from_plain,
    from_text,
    override,
    resolve,
)
from weft.config_walk import INVALID, Walk
from weft.errors import ConfigError
from weft.experiment import DataConfig, Experiment, ModalityConfig, TaskConfig
from weft.registry import Part
from weft.schema import Schema, SchemaError

T = TypeVar("T")


def load_experiment(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that a YAML file or a mapping describes.

    Args:
        source: a file, or the same as nested mappings.
        overrides: `key=value` with dotted keys, such as "train.epochs=5"; values are YAML.

    Returns:
        the experiment with every default filled in; `resolved` holds it as plain values.

    Raises:
        ConfigError: with all problems, in the order of the lines.

    Example:
        >>> from weft import load_experiment
        >>> load_experiment("my.yaml", ["train.epochs=5"])  # doctest: +SKIP
    """
    problems: list[Problem] = []
    shown = "configuration" if isinstance(source, Mapping) else str(source)
    folder = Path() if isinstance(source, Mapping) else Path(source).parent
    tree = _with_sets(_tree(source, shown, problems))
    for number, assignment in enumerate(overrides, start=1):
        tree = override(tree, assignment, number, problems)
    _import_parts(tree, folder, problems)
    schema = _schema(tree, problems)
    values = INVALID if isinstance(tree, Broken) else Walk(schema, problems).value(tree, schema)
    if values is not INVALID:
        problems += [Problem(find(tree, path), path, message) for path, message in cross_check(values, schema)]
    if problems:
        ordered = sorted(problems, key=lambda problem: (problem.place, problem.path))
        raise ConfigError(list(dict.fromkeys(map(str, ordered))), source=shown)
    return _experiment(values)


def to_yaml(experiment: Experiment) -> str:
    """The resolved experiment as YAML, which loads as an equal experiment."""
    return dump(experiment.resolved)


def dump(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that `load_experiment` reads as the same: text such as `1e-3` or `no` in quotes."""
    # default_flow_style None: the innermost lists and mappings stay on one line
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120, "default_flow_style": None}
    text: str = yaml.dump(dict(values), Dumper=_Dumper, **options)
    return text


def _tree(source: str | Path | Mapping[str, Any], shown: str, problems: list[Problem]) -> Node:
    if isinstance(source, Mapping):
        try:
            return from_plain(source, Place())
        except TooDeep as error:
            problems.append(Problem(Place(), (), str(error)))
            return Broken(Place())

    def at(line: int) -> Place:
        return Place(line=line, text=f"{shown}:{line}" if line else shown)

    text = _read(Path(source), at, problems)
    return Broken(at(0)) if text is None else from_text(text, at, problems)


def _read(path: Path, at: Any, problems: list[Problem]) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(4 * MAX_CHARACTERS + 1)  # a character has at most four bytes
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = at(content.count(b"\n", 0, error.start) + 1)
        problems.append(Problem(place, (), f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"))
    except FileNotFoundError:
        problems.append(Problem(at(0), (), "there is no such file"))
    except IsADirectoryError:
        problems.append(Problem(at(0), (), "is a folder; give a YAML file"))
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        problems.append(Problem(at(0), (), f"cannot be read: {error}"))
    return None


def _with_sets(tree: Node) -> Node:
    """The tree with a list of data sets as what it is short for: `sets` of the format `several`, by their names.

    A set's `name` is its format's unless it says otherwise.
    """
    listed = tree.entries.get("data") if isinstance(tree, Entries) else None
    if not isinstance(tree, Entries) or not isinstance(listed, Items):
        return tree
    sets = Entries(listed.place)
    for item in listed.items:
        entries = dict(item.entries) if isinstance(item, Entries) else {}
        node = entries.pop("name", entries.get("format", item))
        name = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else "set"
        number = 1 + sum(other.rpartition("_")[0] == name or other == name for other in sets.entries)
        sets.entries[name if number == 1 else f"{name}_{number}"] = (
            Entries(item.place, entries) if isinstance(item, Entries) else item
        )
    tree.entries["data"] = Entries(listed.place, {"format": Scalar(listed.place, "several", "several"), "sets": sets})
    return tree


def _import_parts(tree: Node, folder: Path, problems: list[Problem]) -> None:
    """Import the user's files, whose paths become absolute in the tree: a run folder must find them too."""
    node = tree.entries.get("imports") if isinstance(tree, Entries) else None
    for item in node.items if isinstance(node, Items) else []:
        if not isinstance(item, Scalar) or not isinstance(item.value, str):
            continue  # told by the walk
        path = (folder / item.value).resolve()
        item.value = item.text = str(path)
        try:
            _import_file(path)
        except (OSError, ImportError, SyntaxError, ValueError) as error:
            problems.append(Problem(item.place, ("imports",), f"{path} cannot be imported: {error}"))


def _import_file(path: Path) -> None:
    """Execute a Python file once per process, as a module of its own."""
    name = f"weft_imports_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file (.py)")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _schema(tree: Node, problems: list[Problem]) -> Schema:
    """What ships with weft, and what this process has registered beyond it."""
    try:
        return schemas.with_registered(schemas.shipped())
    except (ValueError, SchemaError) as error:
        problems.append(Problem(find(tree, ["imports"]), ("imports",), str(error)))
        return schemas.shipped()


def _experiment(values: dict[str, Any]) -> Experiment:
    data = values["data"]
    common = {field.name for field in fields(DataConfig)}
    form = Part("format", data["format"], {name: value for name, value in data.items() if name not in common})
    return _of(
        Experiment,
        {
            **values,
            "data": _of(DataConfig, {**{name: data[name] for name in common & data.keys()}, "format": form}),
            "modalities": {name: _modality(one) for name, one in values["modalities"].items()},
            "tasks": {name: _of(TaskConfig, _options_apart(TaskConfig, one)) for name, one in values["tasks"].items()},
            "resolved": schemas.plain(values),
        },
    )


def _modality(values: dict[str, Any]) -> ModalityConfig:
    values = _options_apart(ModalityConfig, values)
    if isinstance(values["encoder"], Mapping):
        values |= {"share": values["encoder"]["share"], "encoder": None}
    return _of(ModalityConfig, values)


def _options_apart(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """What is not a field of `kind` goes to its `options`."""
    common = {field.name for field in fields(kind)}
    options = {name: value for name, value in values.items() if name not in common}
    return {**{name: value for name, value in values.items() if name in common}, "options": options}


def _of(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass and the dataclasses in it, from nested mappings."""
    hints = get_type_hints(kind)
    return kind(
        **{
            name: _of(hints[name], value) if is_dataclass(hints[name]) and isinstance(value, Mapping) else value
            for name, value in values.items()
        }
    )


class _Dumper(yaml.SafeDumper):
    """YAML as `config_tree` reads it: no aliases, and text that would be read as something else in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = None if isinstance(resolve(value), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)
