"""Run folders made of invented numbers; those that tests only read are made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.fake_run import TASKS, make_run
from weft.report import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of two modalities and two tasks, with its report."""
    folder = make_run(tmp_path_factory.mktemp("whole") / "run", num_samples=24)
    write_report(folder, tasks=TASKS)
    return folder


@pytest.fixture(scope="session")
def page(run: Path) -> str:
    """Its report."""
    return (run / "report.html").read_text(encoding="utf-8")
