"""YAML text, plain mappings and overrides as one tree in which every value knows where it was written.

The YAML is a strict part of YAML 1.2: its core schema (`1e-3` is a number, `no` is text), one document, no tags, no
anchors and aliases, no key twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any

import yaml

#: A configuration larger or deeper than this is a mistake or an attack; a real one has some kilobytes and ten levels.
MAX_CHARACTERS = 256 * 1024
MAX_DEPTH = 32

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_DIGITS = 400  # the longest finite double has 309; Python refuses to print integers of more than 4300
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

Plain = None | bool | int | float | str


@dataclass(frozen=True, order=True)
class Place:
    """Where something was written; places sort in the order a person reads them: the file, then the overrides.

    Attributes:
        override: number of the override, from 1; 0 in the file.
        line: in the file, from 1; 0 where there is none.
        text: as shown, such as `experiment.yaml:12`; empty where nothing can be said.
    """

    override: int = 0
    line: int = 0
    text: str = ""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, its place, and its path in the configuration."""

    place: Place
    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.place.text, ".".join(self.path), self.message) if part)
        # what a file holds must not reach the terminal as control codes
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass
class Scalar:
    """One value; `text` is how it was written."""

    place: Place
    value: Plain
    text: str


@dataclass
class Items:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass
class Entries:
    """A mapping. `shorthand` is the name (`decoder: unet`) that an override has put options beside."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    shorthand: Scalar | None = None


@dataclass
class Broken:
    """A value that has been reported already, or that cannot be reported on (an object from Python)."""

    place: Place
    message: str = ""


Node = Scalar | Items | Entries | Broken


class TooDeep(ValueError):
    """The configuration is nested deeper than `MAX_DEPTH`."""

    def __init__(self) -> None:
        super().__init__(f"nested deeper than {MAX_DEPTH} levels")


def from_text(text: str, at: Callable[[int], Place], problems: list[Problem]) -> Node:
    """The tree of a YAML document.

    Args:
        text: the YAML.
        at: from a line (from 1) to its place.
        problems: what is wrong is added here; the tree is what could be read.
    """
    if len(text) > MAX_CHARACTERS:
        problems.append(Problem(at(0), (), f"{len(text)} characters; a configuration has at most {MAX_CHARACTERS}"))
        return Broken(at(0))
    try:
        return _Reader(yaml.parse(text, Loader=yaml.SafeLoader), at, problems).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        began = f"{error.context} (line {error.context_mark.line + 1})" if error.context_mark else error.context
        said = " ".join(part for part in (began, error.problem) if part)
        problems.append(Problem(at(mark.line + 1 if mark else 0), (), f"not YAML: {said}{_yaml_hint(said)}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.append(Problem(at(line), (), f"the character #x{ord(text[error.position]):04x} is not allowed"))
    except TooDeep as error:
        problems.append(Problem(at(0), (), str(error)))
    except (ValueError, OverflowError) as error:  # PyYAML lets these out for escapes and versions beyond all bounds
        problems.append(Problem(at(0), (), f"not YAML: {error}"))
    return Broken(at(0))


def from_plain(value: Any, place: Place, depth: int = 0) -> Node:
    """The tree of values from Python: mappings, sequences, numbers, text, paths and None.

    Raises:
        TooDeep: nested too deep, or holding itself.
    """
    if depth > MAX_DEPTH:
        raise TooDeep
    if isinstance(value, str) and _FORBIDDEN.search(value):
        return Broken(place, f"{value!r} has a control character in it")
    if value is None or isinstance(value, (bool, str)):
        return Scalar(place, value, _written(value))
    if isinstance(value, PathLike):
        return Scalar(place, str(fspath(value)), str(fspath(value)))
    if isinstance(value, Integral):
        return Scalar(place, int(value), _written(int(value)))
    if isinstance(value, Real):
        return Scalar(place, float(value), str(float(value)))
    if isinstance(value, Mapping):
        return Entries(place, {str(name): from_plain(item, place, depth + 1) for name, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return Items(place, [from_plain(item, place, depth + 1) for item in value])
    return Broken(
        place, f"an object of type {type(value).__name__} was given; allowed: text, numbers, lists and mappings"
    )


def override(tree: Node, assignment: str, number: int, problems: list[Problem]) -> Node:
    """The tree with one `key=value` put in; keys on the way that are not there are made.

    Args:
        tree: it is changed where it is a mapping.
        assignment: as given by the user.
        number: of the override, from 1.
        problems: what is wrong is added here.
    """
    place = Place(override=number, text=f"override {assignment!r}")
    key, equals, text = assignment.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        problems.append(Problem(place, (), "not of the form key=value, such as train.epochs=5"))
        return tree
    value = from_text(text, lambda line: place, problems)
    if isinstance(tree, Broken):
        return tree
    if not isinstance(tree, Entries):
        tree = Entries(place)
    inner = tree
    for depth, name in enumerate(names[:-1]):
        step = inner.entries.get(name)
        if isinstance(step, Items):
            path = ".".join(names[: depth + 1])
            problems.append(Problem(place, tuple(names), f"{path} is a list; give it whole: {path}=[…]"))
            return tree
        if not isinstance(step, Entries):
            named = isinstance(step, Scalar) and isinstance(step.value, str)
            step = inner.entries[name] = Entries(place, shorthand=step if named else None)  # type: ignore[arg-type]
        inner = step
    inner.entries[names[-1]] = value
    return tree


def resolve(text: str) -> Plain:
    """The value of an unquoted scalar, after the core schema of YAML 1.2."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan") if text[-1].isalpha() else text)
    return text


def find(tree: Node, path: Sequence[str]) -> Place:
    """Where the value at `path` was written, or the nearest thing around it that was."""
    for name in path:
        inner = tree.entries.get(name) if isinstance(tree, Entries) else None
        if inner is None:
            break
        tree = inner
    return tree.place


class _Reader:
    """Parser events → tree. An event says whether a tag or an anchor was written, which a composed node does not."""

    def __init__(self, events: Iterator[yaml.Event], at: Callable[[int], Place], problems: list[Problem]) -> None:
        self.events, self.at, self.problems = events, at, problems

    def document(self) -> Node:
        tree: Node = Scalar(self.at(0), None, "")
        num_documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                num_documents += 1
                if num_documents > 1:
                    self.report(event, (), "a second document begins here; a configuration is one document")
                    break
                tree = self.node(next(self.events), (), 0)
        return tree

    def node(self, event: yaml.Event, path: tuple[str, ...], depth: int, place: Place | None = None) -> Node:
        if depth > MAX_DEPTH:
            raise TooDeep
        place = place or self.place(event)
        refused = self.refused(event)
        if refused:
            self.report(event, path, refused)
        if isinstance(event, yaml.AliasEvent):
            return Broken(place)
        tree: Node
        if isinstance(event, yaml.ScalarEvent):
            tree = self.scalar(event, path, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self.items(path, depth, place)
        else:
            tree = self.entries(path, depth, place)
        return Broken(place) if refused else tree

    def items(self, path: tuple[str, ...], depth: int, place: Place) -> Items:
        result = Items(place)
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            result.items.append(self.node(event, (*path, str(len(result.items))), depth + 1))
        return result

    def entries(self, path: tuple[str, ...], depth: int, place: Place) -> Entries:
        result = Entries(place)
        first: dict[str, Place] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, path, depth + 1)
            here = self.place(event)
            name = event.value if isinstance(event, yaml.ScalarEvent) else None
            value = self.node(next(self.events), (*path, name or "?"), depth + 1, here)
            if isinstance(key, Broken):
                continue
            if name is None:
                self.report(event, path, "a list or mapping cannot be a key")
            elif name in first:
                self.report(event, (*path, name), f"given twice; the first is {first[name].text or 'before it'}")
            else:
                first[name] = here
                result.entries[name] = value
        return result

    def scalar(self, event: yaml.ScalarEvent, path: tuple[str, ...], place: Place) -> Scalar | Broken:
        text = event.value
        if _FORBIDDEN.search(text):
            self.report(event, path, f"{text!r} has a control character in it")
            return Broken(place)
        return Scalar(place, resolve(text) if event.implicit[0] else text, text)

    def refused(self, event: Any) -> str:
        if isinstance(event, yaml.AliasEvent):
            return f"the alias *{event.anchor} is not allowed; write the value out, or put the text in quotes"
        if event.anchor is not None:
            return f"the anchor &{event.anchor} is not allowed; write the value out, or put the text in quotes"
        if event.tag is not None:
            return f"the tag {event.tag} is not allowed; values are plain YAML"
        return ""

    def place(self, event: Any) -> Place:
        return self.at(event.start_mark.line + 1)

    def report(self, event: yaml.Event, path: tuple[str, ...], message: str) -> None:
        self.problems.append(Problem(self.place(event), path, message))


def _written(value: bool | int | str | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**_MAX_DIGITS:
        return f"a number of more than {_MAX_DIGITS} digits"  # Python refuses to print much longer ones
    return str(value)


def _yaml_hint(said: str) -> str:
    if "\\t" in said:
        return "; indent with spaces"
    if "cannot start any token" in said:
        return "; put the text in quotes"
    return ""
