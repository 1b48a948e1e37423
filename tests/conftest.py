"""What tests share: the folder of real data, which may be absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with `data/` beside the repository (or WEFT_SHARED); the test is skipped where it is absent."""
    folder = Path(os.environ.get("WEFT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared data is not here")
    return folder
