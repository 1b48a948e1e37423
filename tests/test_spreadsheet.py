"""What a spreadsheet would compute is written as text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weft.spreadsheet import quoted


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("=1", "'=1"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("x=1", "x=1"),
        ("", ""),
    ],
)
def test_texts_that_would_be_formulas_are_put_behind_an_apostrophe(cell: str, text: str) -> None:
    assert quoted(cell) == text


@pytest.mark.parametrize("cell", ["-1.50", "+3", "-1e-05", "0012", "-0"])
def test_texts_that_are_numbers_stay_as_they_are(cell: str) -> None:
    assert quoted(cell) == cell


@pytest.mark.parametrize("cell", ["-inf", "-nan", "-1_x", "-1 ", "\t-1", "-1+2"])
def test_what_only_begins_like_a_number_is_a_text(cell: str) -> None:
    assert quoted(cell) == "'" + cell


@pytest.mark.parametrize(
    ("cell", "text"), [(-1.5, "-1.5"), (np.float64(0.25), "0.25"), (7, "7"), (True, "True"), (math.nan, "")]
)
def test_numbers_are_written_in_full(cell: float, text: str) -> None:
    assert quoted(cell) == text
