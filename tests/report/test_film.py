"""Clips on the page: strips that can be played, with what the fusion looked at beneath the frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment, PackageLoader
from PIL import Image

from weft.report import findings
from weft.report.embed import Album
from weft.report.film import film, reels
from weft.report.pictures import Strip


@pytest.fixture
def drawn(tmp_path: Path) -> findings.Picture:
    """A sample of a clip of two frames and two tasks."""
    rows = []
    for of, kind, shares in (("clip", "input", [0.1, 0.4]), ("masks", "truth", []), ("other", "truth", [])):
        paths = [f"{of}-{place}.png" for place in range(2)]
        for place, path in enumerate(paths):
            Image.new("RGB", (20, 10), (0, 100 * place, 0)).save(tmp_path / path)
        rows.append({"of": of, "kind": kind, "pictures": paths, "shares": shares})
    return findings.picture(
        {"id": "<b>a</b>", "inputs": {}, "tasks": {}, "film": {"frames": [4, 12], "rows": rows}, "worst_of": []}
    )


def test_rows_of_other_tasks_are_left_out(drawn: findings.Picture, tmp_path: Path) -> None:
    shown = reels(drawn.film, Album(tmp_path), ["masks"])
    assert [(reel.of, reel.kind) for reel in shown] == [("clip", "input"), ("masks", "truth")]
    assert [frame.number for frame in shown[0].frames] == [4, 12]


def test_a_share_is_told_in_words_and_by_its_height_beside_the_largest(drawn: findings.Picture, tmp_path: Path) -> None:
    first, second = reels(drawn.film, Album(tmp_path), [])[0].frames
    assert (first.share, second.share) == ("10.0 %", "40.0 %")
    assert (first.height, second.height) == pytest.approx((25, 100))


def test_a_sample_without_frames_has_no_strip() -> None:
    assert film(None).rows == findings.picture({"id": "a", "inputs": {}, "tasks": {}}).film.rows == ()


def test_on_the_page_every_frame_says_what_it_is_and_markup_is_escaped(drawn: findings.Picture, tmp_path: Path) -> None:
    (tmp_path / "clip-1.png").unlink()
    macros = "{% from '_macros.html' import strip %}{{ strip(one) }}"
    page = Environment(loader=PackageLoader("weft.report"), autoescape=True).from_string(macros)
    text = page.render(one=Strip(drawn.id, (), reels(drawn.film, Album(tmp_path), ["masks"])))
    assert 'alt="masks: truth, frame 12"' in text
    assert 'data-frame="4"' in text
    assert "picture missing" in text
    assert "<b>a</b>" not in text
    assert 'tabindex="0"' in text
