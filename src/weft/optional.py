"""Packages that only some parts need, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from weft.errors import WeftError


def require(package: str, *, extra: str) -> Any:
    """The imported package.

    Args:
        package: as it is imported; a submodule is written with dots.
        extra: of weft that brings it.

    Raises:
        WeftError: it is missing or broken; the message names the extra to install.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise WeftError(
            f"the package {package.partition('.')[0]!r} is missing or broken: {error}; install it with: "
            f"pip install 'weft[{extra}]'",
            code="no-package",
        ) from error
