"""Several manifests as one: ids behind the names of their sets, columns by name, classes by one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from weft.data.class_tables import Joined, Table, join_classes, mistakes
from weft.data.manifest import SET, Column, DataSet, Manifest
from weft.errors import ConfigError, DataFault
from weft.modalities.base import Field
from weft.registry import Part

#: Column of the groups of all sets, each behind the name of its set.
GROUP = "set_group"

#: Facts that say how a set stores what it holds: they may differ, and each set is read by its own.
STORED = frozenset(
    ("ignore", "remap", "colours", "metres_per_unit", "boxes", "units", "instances", "rest", "join", "joined")
) | {"annotated", "category_ids", "category_id"}

#: Kinds of columns of which a format knows nothing more.
_UNKNOWN = ("", "path")


@dataclass(frozen=True)
class Given:
    """One of several data sets, opened.

    Attributes:
        format: that it comes from.
        manifest: of its samples, with the columns as they are called in the whole.
        share: of the training samples of an epoch.
    """

    format: Part
    manifest: Manifest
    share: float | None = None


def join(sets: Mapping[str, Given], tables: Mapping[str, Table]) -> Manifest:
    """The samples of several data sets, in their order.

    Ids stand behind the name of their set (`rooms/0001`), the column `set` names it, and what a set lacks is absent in
    it. Cells are read as their own set says (`Manifest.sets`).

    Args:
        sets: by name.
        tables: {column: its table of classes}; where there is none, equal names are one class.

    Raises:
        ConfigError: a table of classes does not fit the sets.
        DataFault: a column is one thing in a set and another in the next.
    """
    _refuse_reserved(sets)
    _refuse_clashes(sets)
    vocabularies = _vocabularies(sets, tables)
    parts, members, notes = [], [], []
    for name, given in sets.items():
        manifest = given.manifest
        columns = {column: _known(known, vocabularies.get(column), name) for column, known in manifest.columns.items()}
        parts.append(_rows(name, manifest, vocabularies))
        members.append(
            DataSet(
                name,
                given.format,
                manifest.root,
                roots=manifest.roots,
                arrays=manifest.arrays,
                made=manifest.made,
                columns=columns,
                clip=manifest.clip,
                share=given.share,
            )
        )
        notes += [f"{name}: {note}" for note in manifest.notes]
    notes += [note for column, one in vocabularies.items() for note in _said(column, one, sets)]
    table = pa.concat_tables(parts, promote_options="permissive")
    grouped = any(given.manifest.group is not None for given in sets.values())
    return Manifest(
        table,
        members[0].root,
        _common(sets, vocabularies),
        notes=tuple(notes),
        group=GROUP if grouped else None,
        sets=tuple(members),
    )


def readings(manifest: Manifest, column: str, whole: Field, options: Mapping[str, Any]) -> tuple[Field, ...]:
    """A field for each data set that reads a column as that set stores it; empty where there is one set only.

    Args:
        manifest: of all sets.
        column: that is read.
        whole: the field of all sets, which says what values are alike.
        options: that it was made with.

    Raises:
        ValueError: the options do not fit one of the sets.
    """
    common = {name: value for name, value in whole.facts.items() if name not in STORED}
    fields: list[Field] = []
    for one in manifest.sets:
        known = one.columns.get(column)
        try:
            # whoever registers a field takes facts first, then options
            fields.append(whole if known is None else type(whole)({**common, **known.facts}, **options))  # type: ignore[call-arg]
        except ValueError as error:
            raise ValueError(f"in the set {one.name}: {error}") from error
    return tuple(fields)


def _refuse_reserved(sets: Mapping[str, Given]) -> None:
    for name, given in sets.items():
        for column in (SET, GROUP):
            if column in given.manifest.names:
                raise ConfigError(
                    [
                        f"data.sets.{name}.rename: the set has a column {column!r}, which is weft's own where "
                        f"there are several sets; give it another name, such as {{{column}: own_{column}}}"
                    ]
                )


def _refuse_clashes(sets: Mapping[str, Given]) -> None:
    """Columns of one name must hold one thing."""
    for column in dict.fromkeys(name for given in sets.values() for name in given.manifest.names):
        having = {name: given.manifest for name, given in sets.items() if column in given.manifest.names}
        known = {name: one.columns[column] for name, one in having.items() if column in one.columns}
        said = next(_clashes(having, known, column), None)
        if said is not None:
            last = list(having)[-1]
            raise DataFault(
                f"the column {column!r} {said}; where they are different things, call one by another name: "
                f"data.sets.{last}.rename: {{{column}: {last}_{column}}}",
                code="sets-clash",
            )


def _clashes(having: Mapping[str, Manifest], known: Mapping[str, Column], column: str) -> Iterator[str]:
    kinds = {name: one.kind for name, one in known.items() if one.kind not in _UNKNOWN}
    if len(set(kinds.values())) > 1:
        yield "is " + " and ".join(f"{kind} in {name}" for name, kind in kinds.items())
    classes = [name for name in having if name in known and "classes" in known[name].facts]
    without = [name for name in having if name not in classes]
    if classes and without:
        yield f"has classes in {', '.join(classes)}, and {', '.join(without)} does not name its own (see its `columns`)"
    facts = {fact for one in known.values() for fact in one.facts if fact not in STORED and fact != "classes"}
    for fact in sorted(facts):
        values = {name: one.facts[fact] for name, one in known.items() if fact in one.facts}
        first = next(iter(values.values()))
        if any(value != first for value in values.values()):
            yield f"differs in its {fact}: " + " and ".join(f"{value} in {name}" for name, value in values.items())
    types = {name: pa.schema([(column, _plain(one.table.schema.field(column).type))]) for name, one in having.items()}
    try:
        pa.unify_schemas(list(types.values()), promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        yield "holds " + " and ".join(f"{schema.field(0).type} in {name}" for name, schema in types.items())


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _vocabularies(sets: Mapping[str, Given], tables: Mapping[str, Table]) -> dict[str, Joined]:
    """{column: the classes of all sets} of the columns that have any.

    Raises:
        ConfigError: with all that is wrong in the tables.
    """
    own: dict[str, dict[str, list[str]]] = {}
    rest: dict[str, dict[str, str]] = {}
    for name, given in sets.items():
        for column, known in given.manifest.columns.items():
            if "classes" in known.facts and column in given.manifest.names:
                own.setdefault(column, {})[name] = [str(one) for one in known.facts["classes"]]
                if "rest" in known.facts:
                    rest.setdefault(column, {})[name] = str(known.facts["rest"])
    problems = [
        f"data.classes.{column}: no set has a column {column!r} with classes; those that have are "
        f"{', '.join(own) or 'none'}"
        for column in tables
        if column not in own
    ]
    problems += [
        f"data.classes.{column}{'.' if joined else ''}{joined}: {said}"
        for column, table in tables.items()
        if column in own
        for joined, said in mistakes(own[column], list(sets), table)
    ]
    if problems:
        raise ConfigError(problems)
    return {column: join_classes(one, rest.get(column, {}), tables.get(column)) for column, one in own.items()}


def _known(column: Column, joined: Joined | None, name: str) -> Column:
    """What is known about a column in one set, with how its classes are those of the whole."""
    if joined is None:
        return column
    own = [str(one) for one in column.facts["classes"]]
    facts: dict[str, Any] = {"joined": list(joined.classes), "annotated": list(joined.annotated[name])}
    if column.kind == "class":  # its cells have the joined names already
        return replace(column, facts={**column.facts, **facts, "classes": list(joined.classes)})
    return replace(column, facts={**column.facts, **facts, "join": [joined.numbers[name].get(one, -1) for one in own]})


def _common(sets: Mapping[str, Given], vocabularies: Mapping[str, Joined]) -> dict[str, Column]:
    """What is known about the columns of the whole: what the first set says that has them, and the joined classes."""
    columns: dict[str, Column] = {SET: Column("class"), GROUP: Column("class")}
    for given in sets.values():
        for name, known in given.manifest.columns.items():
            before = columns.get(name, Column())
            kind = before.kind if before.kind not in _UNKNOWN else known.kind
            columns[name] = Column(kind, {**known.facts, **before.facts})
    for name, joined in vocabularies.items():
        facts = {fact: value for fact, value in columns[name].facts.items() if fact not in STORED}
        columns[name] = Column(columns[name].kind, {**facts, "classes": list(joined.classes)})
    return columns


def _rows(name: str, manifest: Manifest, vocabularies: Mapping[str, Joined]) -> pa.Table:
    """A set's table as a part of the whole."""
    table = manifest.table if manifest.rows is None else manifest.table.take(pa.array(manifest.rows))
    ids = pc.cast(table.column("id"), pa.string())
    columns = {column: _undone(table.column(column)) for column in table.column_names}
    columns["id"] = pc.binary_join_element_wise(name, ids, "/")
    columns["split"] = pc.cast(columns["split"], pa.string())
    columns[SET] = pa.repeat(pa.scalar(name), len(table))
    if manifest.group is not None and manifest.group in columns:
        groups = pc.coalesce(pc.cast(columns[manifest.group], pa.string()), ids)
        columns[GROUP] = pc.binary_join_element_wise(name, groups, "/")
    for column, joined in vocabularies.items():
        known = manifest.columns.get(column)
        if column in columns and known is not None and known.kind == "class":
            columns[column] = _renamed(columns[column], name, known.facts["classes"], joined)
    return pa.table(columns)


def _undone(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without the dictionary that its values may stand in."""
    return pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _renamed(cells: pa.ChunkedArray, name: str, own: Sequence[str], joined: Joined) -> pa.ChunkedArray:
    """Cells of one class with the names of the whole; empty where it has none. What is no class stays, to be named."""
    text = pc.cast(cells, pa.string())
    classes = [str(one) for one in own]
    meant = {one: joined.name_of(name, one) for one in classes}
    if not any(one.isdecimal() for one in classes):  # a whole number is then a place in the set's own table
        meant |= {str(place): meant[one] for place, one in enumerate(classes)}
    places = pc.index_in(text, pa.array(list(meant), pa.string()))
    return pc.if_else(pc.is_null(places), text, pa.array(list(meant.values()), pa.string()).take(places))


def _said(column: str, joined: Joined, sets: Mapping[str, Given]) -> Iterator[str]:
    """Which classes of a set are not used, and which of the whole it did not annotate."""
    for name, numbers in joined.numbers.items():
        own = [str(one) for one in sets[name].manifest.columns[column].facts["classes"]]
        left = [one for one in own if one not in numbers]
        if left:
            yield f"{column}: of {name}, {', '.join(left)} counts as not labelled"
        missing = [one for one in joined.classes if one not in joined.annotated[name]]
        if missing:
            yield f"{column}: {name} did not annotate {', '.join(missing)}"
