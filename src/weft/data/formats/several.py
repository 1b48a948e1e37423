"""Several data sets in one training, each with its own modalities and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from weft.data.class_tables import Table
from weft.data.joining import Given, join
from weft.data.manifest import Column, Manifest
from weft.errors import ConfigError, DataFault, WeftError
from weft.experiment import SetConfig
from weft.registry import Part, register

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@register("format", "several")
class Several:
    """Samples of several data sets as one: masks in one, boxes in another, depth in a third.

    A sample is called `set/id`. Columns of one name are one column, and what a set lacks is absent in its samples. The
    column `set` names each sample's; results are broken down by it. Validation parts are cut from each set by itself.
    Classes are one vocabulary: by their names, or by `classes`. What a set did not annotate is not known in it, and
    never counts as "not there".

    Example:
        data:
          format: several
          size: [240, 320]
          sets:
            rooms: {format: nyuv2, root: data/nyuv2, share: 2}
            roads: {format: camvid, root: data/camvid, share: 1}
          classes:
            label: {ground: {rooms: floor, roads: [road, pavement]}, wall: {rooms: wall}, car: {roads: car, rooms: []}}

    Args:
        sets: the data sets by names of yours.
        classes: for a column, what each joined class is called in each set: {column: {class: {set: name}}}. Several
            names of a set may be one class. An empty list says that the set looked for the class and has none of it;
            without an entry the class is not known in the set. A set's classes that are in no entry count as not
            labelled. By default equal names are one class.
    """

    def __init__(
        self,
        *,
        sets: dict[str, Annotated[Part, "set"]],
        classes: dict[str, dict[str, dict[str, str | list[str]]]] | None = None,
    ) -> None:
        common = {field.name for field in fields(SetConfig)}
        self.sets = {name: SetConfig(**_some(one.options, common)) for name, one in sets.items()}
        self.formats = {
            name: Part("format", one.type, {k: value for k, value in one.options.items() if k not in common})
            for name, one in sets.items()
        }
        self.classes: Mapping[str, Table] = classes or {}

    def manifest(self) -> Manifest:
        """All samples of all sets, in their order.

        Raises:
            ConfigError: names, shares, columns or classes that do not fit the sets.
            DataFault: a set is not as its format says, or two sets call different things alike.
        """
        self._check()
        opened = {name: self._open(name) for name in self.sets}
        given = {name: Given(self.formats[name], one, self.sets[name].share) for name, one in opened.items()}
        return join(given, self.classes)

    def _check(self) -> None:
        problems = [] if self.sets else ["data.sets: empty; give one data set at least"]
        problems += [
            f"data.sets.{name}: not a name; allowed: letters, digits and _, with a letter first"
            for name in self.sets
            if not _NAME.fullmatch(name)
        ]
        without = [name for name, one in self.sets.items() if one.share is None]
        if without and len(without) < len(self.sets):
            problems.append(
                f"data.sets.{without[0]}.share: missing; give a share for every set or for none, since shares are "
                "measured against each other"
            )
        if problems:
            raise ConfigError(problems)

    def _open(self, name: str) -> Manifest:
        """One set's samples with its columns as they are called in the whole."""
        config = self.sets[name]
        try:
            manifest: Manifest = self.formats[name]().manifest()
        except ConfigError:
            raise
        except (WeftError, ValueError) as error:
            raise DataFault(f"the set {name}: {error}", code=getattr(error, "code", "bad-set")) from error
        manifest = _called(name, manifest, config.rename)
        if config.splits is None:
            return manifest
        unknown = [split for split in config.splits if split not in manifest.splits]
        if unknown:
            raise ConfigError(
                [f"data.sets.{name}.splits: there is no split {unknown[0]!r}; there are {', '.join(manifest.splits)}"]
            )
        kept = pa.array(list(config.splits), pa.string())
        wanted = np.isin(manifest.values("split").to_numpy(zero_copy_only=False), kept.to_pylist())
        return manifest.take(np.flatnonzero(wanted))


def _called(name: str, manifest: Manifest, rename: Mapping[str, str]) -> Manifest:
    """A set's samples with some columns by other names."""
    path = f"data.sets.{name}.rename"
    names = [rename.get(old, old) for old in manifest.table.column_names]
    problems = [
        f"{path}.{old}: the set has no column {old!r}; it has {', '.join(manifest.names)}"
        for old in rename
        if old not in manifest.names
    ]
    problems += [
        f"{path}.{old}: id and split are weft's own; leave them, and choose another name"
        for old, new in rename.items()
        if "id" in (new, old) or "split" in (new, old)
    ]
    problems += [
        f"{path}.{old}: the set would have two columns {new!r}; choose another name, or give the other one another too"
        for old, new in rename.items()
        if names.count(new) > 1
    ]
    if problems:
        raise ConfigError(problems)
    known: dict[str, Column] = {rename.get(old, old): column for old, column in manifest.columns.items()}
    group = None if manifest.group is None else rename.get(manifest.group, manifest.group)
    clip = None if manifest.clip is None else rename.get(manifest.clip, manifest.clip)
    return replace(manifest, table=manifest.table.rename_columns(names), columns=known, group=group, clip=clip)


def _some(options: Mapping[str, Any], names: Sequence[str] | set[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in names}
