"""From a column to what reads it: one field, or one for each of several data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weft.data.dataset import Source
from weft.data.joining import readings
from weft.data.manifest import Manifest
from weft.errors import ConfigError
from weft.experiment import ModalityConfig, TaskConfig
from weft.modalities.base import Field
from weft.registry import Part


def source_of(
    manifest: Manifest,
    form: Part,
    name: str,
    given: ModalityConfig | TaskConfig,
    field: Field,
    *,
    options: Mapping[str, Any],
) -> Source:
    """What reads a modality or a target.

    Args:
        manifest: that its column is in.
        form: the format of the data.
        name: of the modality or task.
        given: it, as configured.
        field: fitted.
        options: that the field was made with.

    Raises:
        ConfigError: the options do not fit one of several data sets.
    """
    column = given.source(name) if isinstance(given, ModalityConfig) else given.target
    dropout = given.dropout if isinstance(given, ModalityConfig) else 0.0
    try:
        own = readings(manifest, column, field, options)
    except ValueError as error:
        raise ConfigError([f"{name}: {error}"]) from error
    sets = tuple(
        Source(column, one, _key(member.format, given, one)) for member, one in zip(manifest.sets, own, strict=True)
    )
    return Source(column, field, _key(form, given, field), dropout, sets)


def _key(form: Part, given: ModalityConfig | TaskConfig, field: Field) -> str:
    """What, besides its cell, decides what reading a cell gives."""
    words = [form.type, dict(form.options), given.type, dict(given.options), dict(field.reading)]
    return json.dumps(words, sort_keys=True, default=str)
