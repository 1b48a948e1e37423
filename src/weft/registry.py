"""The one registry: every extension point, and the schema that a part's constructor signature is.

A part is a class or function registered under a kind and a name. Its keyword-only parameters are its options: their
types, defaults and choices are the schema, their help is the `Args:` section of the docstring. Positional parameters
are what weft passes (specs, fitted facts) and never come from a configuration.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from weft.errors import did_you_mean

T = TypeVar("T", bound=Callable[..., Any])
G = TypeVar("G")

#: Where the parts of each kind live. Importing such a package's modules registers them.
PACKAGES = {
    "format": "weft.data.formats",
    "modality": "weft.modalities",
    "encoder": "weft.encoders",
    "fusion": "weft.fusion",
    "sharing": "weft.sharing",
    "decision": "weft.decision",
    "decoder": "weft.decoders",
    "task": "weft.tasks",
    "loss": "weft.losses",
    "balancing": "weft.balancing",
    "sampling": "weft.data.sampling",
    "optimizer": "weft.engine.optimizers",
    "schedule": "weft.engine.schedules",
}

_parts: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in PACKAGES}
_imported: set[str] = set()


class UnknownPart(ValueError):
    """No part of that name is registered."""


@dataclass(frozen=True)
class Range:
    """Bounds of a number, for `Annotated[float, Range(0, 1)]`. `None`: unbounded.

    Attributes:
        low, high: the bounds, allowed themselves unless `open_low` or `open_high`.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False


@dataclass(frozen=True)
class Part:
    """A part that is chosen but not yet built: calling it with the positional arguments of its constructor builds it.

    Attributes:
        kind: the extension point, such as "decoder".
        type: the registered name.
        options: its options.

    Example:
        >>> from weft import Part
        >>> Part("loss", "cross_entropy", {"label_smoothing": 0.1}).type
        'cross_entropy'
    """

    kind: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *context: Any, **more: Any) -> Any:
        """The built part, from the positional arguments of its constructor; `more` are further options."""
        part = get(self.kind, self.type)
        options = {**self.options, **more}
        for name, kind in nested_kinds(part).items():
            if name in options:
                options[name] = as_part(kind, options[name])
        for name, group in nested_groups(part).items():
            if name in options:
                options[name] = as_group(group, options[name])
        return part(*context, **options)


def as_part(kind: str, value: Any) -> Any:
    """`value` as a `Part`: a name, a mapping with `type`, or already something that builds one (returned as it is).

    Several in a list become a list of them.
    """
    if isinstance(value, list):
        return [as_part(kind, item) for item in value]
    if isinstance(value, str):
        return Part(kind, value)
    if isinstance(value, Mapping):
        return Part(kind, value["type"], {name: option for name, option in value.items() if name != "type"})
    return value


def as_group(group: type[G], value: G | Mapping[str, Any] | None) -> G | None:
    """`value` as the dataclass `group`, from a mapping of its fields; what already is one, and None, as they are."""
    return group(**value) if isinstance(value, Mapping) else value


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator: make a class or function available to configurations as `type: name`.

    Args:
        kind: one of the extension points in `PACKAGES`.
        name: the name in configurations.

    Raises:
        ValueError: the kind does not exist, or the name is taken.
    """
    if kind not in _parts:
        raise ValueError(f"there is no extension point {kind!r}; there are {', '.join(_parts)}")

    def add(part: T) -> T:
        taken = _parts[kind].get(name)
        if taken is not None and taken is not part:
            raise ValueError(
                f"{kind} {name!r} is taken by {taken.__module__}.{taken.__qualname__}; choose another name"
            )
        _parts[kind][name] = part
        return part

    return add


def names(kind: str) -> list[str]:
    """The registered names of a kind, sorted."""
    _import(kind)
    return sorted(_parts[kind])


def get(kind: str, name: str) -> Callable[..., Any]:
    """The class or function registered under a name.

    Raises:
        UnknownPart: there is none; the message names the nearest.
    """
    _import(kind)
    if name not in _parts[kind]:
        hint = did_you_mean(name, _parts[kind])
        raise UnknownPart(f"there is no {kind} {name!r}; there are {', '.join(sorted(_parts[kind]))}{hint}")
    return _parts[kind][name]


def registered(kind: str) -> dict[str, Callable[..., Any]]:
    """{name: part} of what this process has registered so far, without importing anything."""
    return dict(_parts[kind])


def options_of(part: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """The options of a part: {name: (type hint with its annotations, default or `inspect.Parameter.empty`)}."""
    target = part.__init__ if inspect.isclass(part) else part
    hints = get_type_hints(target, include_extras=True)
    return {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(part).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def nested_kinds(part: Callable[..., Any]) -> dict[str, str]:
    """Which options are parts themselves, `Annotated[Part, kind]`: {option: kind}."""
    kinds = {name: nested_kind(hint) for name, (hint, _) in options_of(part).items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def nested_groups(part: Callable[..., Any]) -> dict[str, type]:
    """Which options are groups of options, a dataclass or `dataclass | None`: {option: dataclass}."""
    groups = {}
    for name, (hint, _) in options_of(part).items():
        for choice in (hint, *get_args(hint)):
            if isinstance(choice, type) and is_dataclass(choice) and choice is not Part:
                groups[name] = choice
    return groups


def nested_kind(hint: Any) -> str | None:
    """The kind in `Annotated[Part, kind]`, also inside `... | None`; None for any other hint, a mapping among them."""
    if get_origin(hint) is Annotated and get_args(hint)[0] is Part:
        return str(get_args(hint)[1])
    if get_origin(hint) is dict:  # parts by names of the user's are for whoever takes them to build
        return None
    for argument in get_args(hint):
        kind = nested_kind(argument)
        if kind is not None:
            return kind
    return None


def _import(kind: str) -> None:
    if kind in _imported:
        return
    _imported.add(kind)
    package = importlib.import_module(PACKAGES[kind])
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        importlib.import_module(f"{package.__name__}.{module.name}")
