"""One table of classes for a column of several data sets, and which of the classes each set annotated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weft.errors import did_you_mean

#: {joined class: {set: its class or classes; an empty list: looked for in that set, and not in it}}.
Table = Mapping[str, Mapping[str, str | Sequence[str]]]


@dataclass(frozen=True)
class Joined:
    """The classes of a column of several sets as one vocabulary.

    Attributes:
        classes: of all sets, in the order of their numbers.
        numbers: {set: {its own class: number of the joined class}}; a class that is not in it is not known.
        annotated: {set: the joined classes that it annotated, in their order}.
    """

    classes: tuple[str, ...]
    numbers: dict[str, dict[str, int]]
    annotated: dict[str, tuple[str, ...]]

    def name_of(self, data_set: str, own: str) -> str | None:
        """The joined class of a set's own class; None where there is none."""
        number = self.numbers[data_set].get(own)
        return None if number is None else self.classes[number]


def join_classes(own: Mapping[str, Sequence[str]], rest: Mapping[str, str], table: Table | None) -> Joined:
    """The classes of several sets as one vocabulary, by a table or else by their names.

    A set's `rest` class ("background") says that none of the set's other classes is there. It is kept only where the
    set annotated every joined class: otherwise it hides those that the set did not look for, and is not known.

    Args:
        own: {set: its classes in the order of their numbers}.
        rest: {set: the class that means none of the others} of those that have one.
        table: that `mistakes` has nothing to say against; None: equal names are one class.
    """
    if table is None:
        names = dict.fromkeys(name for classes in own.values() for name in classes)
        table = {name: {one: name for one, classes in own.items() if name in classes} for name in names}
    numbers: dict[str, dict[str, int]] = {one: {} for one in own}
    annotated: dict[str, tuple[str, ...]] = {}
    for number, by_set in enumerate(table.values()):
        for one, given in by_set.items():
            numbers[one] |= dict.fromkeys(as_list(given), number)
    for one in own:
        annotated[one] = tuple(name for name, by_set in table.items() if one in by_set)
        if one in rest and len(annotated[one]) < len(table):
            hidden = numbers[one].pop(rest[one], -1)
            if hidden >= 0 and hidden not in numbers[one].values():
                annotated[one] = tuple(name for name in annotated[one] if name != tuple(table)[hidden])
    return Joined(tuple(table), numbers, annotated)


def mistakes(own: Mapping[str, Sequence[str]], sets: Sequence[str], table: Table) -> Iterator[tuple[str, str]]:
    """(joined class or "", what is wrong) of a table that a person wrote.

    Args:
        own: {set: its classes} of the sets that have the column.
        sets: all sets.
        table: as written.
    """
    given_to: dict[tuple[str, str], str] = {}
    for joined, by_set in table.items():
        for one, given in by_set.items():
            if one not in own:
                there = f"; those with the column are {', '.join(own)}{did_you_mean(one, list(own))}"
                said = "does not have this column" if one in sets else "is no set"
                yield joined, f"{one!r} {said}{there}"
                continue
            for name in as_list(given):
                if name not in own[one]:
                    yield (
                        joined,
                        f"{one} has no class {name!r}; it has {', '.join(own[one])}{did_you_mean(name, own[one])}",
                    )
                elif (one, name) in given_to:
                    yield (
                        joined,
                        f"the class {name!r} of {one} is given to {given_to[one, name]!r} already; give it once",
                    )
                else:
                    given_to[one, name] = joined
    for one in own:
        if not any(one in by_set for by_set in table.values()):
            yield "", f"no class names the set {one}, so that none of its labels would be used; name its classes too"


def as_list(given: str | Sequence[str]) -> list[str]:
    """One class or several as a list."""
    return [given] if isinstance(given, str) else list(given)
