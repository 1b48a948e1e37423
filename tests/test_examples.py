"""Every example runs, and those of single parts are short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", ["encoder_alone", "fusion_alone", "task_alone"])
def test_a_part_alone_takes_less_than_twenty_lines(name: str) -> None:
    (example,) = (path for path in EXAMPLES if path.stem == name)
    code = [line for line in example.read_text().splitlines()[1:] if line.strip()]
    assert len(code) < 20
