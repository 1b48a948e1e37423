"""What an evaluation finds besides figures is shown as it is, and whatever stands in texts stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.report.fake_findings import TEXT, make_found_run
from tests.report.fake_run import EVIL, TASKS, make_run
from tests.report.test_report import evaluation_of, parsed, text_of
from weft.errors import WeftError
from weft.report import write_report
from weft.report.evidence import agreement_table, calibration, decided
from weft.report.findings import Agreement, AgreementRow, Bin
from weft.report.pictures import MAX_LETTERS, MAX_LINES, MAX_WORDS, cut, gallery
from weft.report.reading import read_evaluation


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of picture, text and columns with all there is to find."""
    run = make_found_run(tmp_path_factory.mktemp("found") / "run", num_samples=24)
    write_report(run, tasks=TASKS)
    return run


@pytest.fixture(scope="module")
def found_page(found: Path) -> str:
    return (found / "report.html").read_text(encoding="utf-8")


def with_evaluation(run: Path, change: Any) -> Path:
    path = run / "evaluation/test/evaluation.json"
    evaluation = json.loads(path.read_text())
    change(evaluation)
    path.write_text(json.dumps(evaluation))
    return run


def test_the_page_is_whole_and_nothing_in_it_is_markup(found_page: str) -> None:
    parser = parsed(found_page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert EVIL not in found_page
    assert found_page.count("<script") == 1
    assert not re.search(r"https?:", found_page)


@pytest.mark.parametrize("evil", ['"><img src=x onerror=alert(1)>', "</title></style></script><b>", "{{ 7*7 }}"])
def test_markup_in_words_columns_answers_and_notes_is_escaped(tmp_path: Path, evil: str) -> None:
    def change(evaluation: dict[str, Any]) -> None:
        for picture in evaluation["pictures"]:
            picture["texts"]["note"] = [["", evil]]
            picture["texts"]["columns"] = [[evil, evil]]
            picture["looked"]["note"]["words"] = [[evil, 0.5]]
            picture["looked"]["image"]["what"] = evil
            picture["tasks"]["scene"] = {"truth": [["", evil]], "prediction": [[evil, evil]], "error": None}
            picture["alone"] = {"scene": {evil: [[evil, evil]]}}
        evaluation["notes"] = [evil]
        evaluation["tasks"]["scene"]["decision"] = {evil: 1.0}
        evaluation["tasks"]["scene"]["shares"][0]["name"] = evil
        evaluation["tasks"]["scene"]["agreement"]["rows"][1]["modality"] = evil
        evaluation["fusion"]["levels"] = {evil: evaluation["fusion"]["levels"]["share"]}

    run = with_evaluation(make_found_run(tmp_path / "run", num_samples=8, pictures=2), change)
    page = write_report(run).read_text(encoding="utf-8")
    assert parsed(page).open == []
    assert page.count("<script") == 1
    if "<" in evil:
        assert evil not in page
        assert evil.split("<")[1].split(">")[0].split()[0] in page  # it is there, as text


def test_shares_are_shown_by_level_answer_and_class(found: Path, found_page: str) -> None:
    text = text_of(found_page)
    assert "What the network listens to" in text
    for shares in evaluation_of(found)["fusion"]["levels"].values():
        for one in shares.values():
            assert f"{100 * one['mean']:.1f} {100 * one['low']:.1f} to {100 * one['high']:.1f}" in text
    for name in ("right answers 41 samples", "wrong answers 19 samples", "kitchen 12 samples"):
        assert name in text
    decision = evaluation_of(found)["tasks"]["scene"]["decision"]
    assert all(f"{100 * share:.1f}" in text for share in decision.values())


def test_weights_that_do_not_sum_to_one_are_no_percentages(tmp_path: Path) -> None:
    def change(evaluation: dict[str, Any]) -> None:
        evaluation["fusion"]["sums_to_one"] = False
        evaluation["fusion"]["levels"]["share"]["image"] = {"count": 9, "mean": 1.5, "low": 1.25, "high": 1.75}

    run = with_evaluation(make_found_run(tmp_path / "run", num_samples=8), change)
    table = decided(read_evaluation(run / "evaluation/test")).fusion
    assert table is not None
    cell = table.rows[2].cells["image"]
    assert (cell.value, cell.span) == ("1.50", "1.25 to 1.75")
    assert cell.bar is not None
    assert cell.bar.width == 100
    assert "add up to 100" not in text_of(write_report(run).read_text(encoding="utf-8"))


def test_parts_of_a_fusion_and_the_likeness_of_the_features_are_told(tmp_path: Path) -> None:
    def change(evaluation: dict[str, Any]) -> None:
        evaluation["fusion"]["parts"] = {"long_memory": {"image": {"count": 9, "mean": 0.3, "low": 0.2, "high": 0.4}}}
        pair = {"one": "image", "other": "text", "count": 60}
        evaluation["fusion"]["likeness"] = [
            {"stage": "before the exchange", "cka": 0.25, **pair},
            {"stage": "after the exchange", "cka": 0.125, **pair},
        ]

    run = with_evaluation(make_found_run(tmp_path / "run", num_samples=8), change)
    text = text_of(write_report(run).read_text(encoding="utf-8"))
    assert "long memory 9 samples 30.0 20.0 to 40.0" in text
    assert "Features of before the exchange after the exchange image and text 60 samples 0.250 0.125" in text


def test_the_sentence_on_agreement_counts_what_is_won_and_lost() -> None:
    rows = (
        AgreementRow("none", "", right=3, wrong=7),
        AgreementRow("only", "image", right=20, wrong=4),
        AgreementRow("only", "text", right=10, wrong=1),
        AgreementRow("all", "", right=50, wrong=5),
    )
    task = make_task(agreement=Agreement(100, 83, 90, rows, ()))
    table = agreement_table(task)
    assert table is not None
    assert table.sentence.replace("\u00a0", " ") == (
        "Of 100 samples 83 (83.0 %) are right from all modalities together, and 90 (90.0 %) from at least one "
        "modality alone. Together, 3 are won that none gets right alone, and 10 are lost that some modality would "
        "have got right."
    )
    assert [(line.name, line.total) for line in table.lines] == [
        ("none", 10),
        ("only image", 24),
        ("only text", 11),
        ("each of them", 55),
    ]


def test_calibration_says_whether_answers_are_too_sure() -> None:
    sure = calibration(make_task(reliability=(Bin(30, 0.9, 0.6), Bin(10, 0.5, 0.5))))
    assert sure is not None
    assert sure.sentence.replace("\u00a0", " ") == (
        "Answers are given with 80.0 % probability on average, and 57.5 % come true: too sure. The expected "
        "calibration error is 22.5 points."
    )
    assert "task, said, % 90: 60" in str(sure.chart)
    unsure = calibration(make_task(reliability=(Bin(10, 0.5, 0.75),)))
    level = calibration(make_task(reliability=(Bin(10, 0.5, 0.0), Bin(10, 0.5, 1.0))))
    assert unsure is not None
    assert level is not None
    assert "not sure enough" in unsure.sentence
    assert "come true." in level.sentence
    assert calibration(make_task()) is None


def make_task(**changes: Any) -> Any:
    """A task's result of which only some parts matter."""
    return SimpleNamespace(**{"name": "task", "agreement": None, "reliability": (), **changes})


def test_examples_of_every_kind_are_among_the_samples(found_page: str) -> None:
    text = text_of(found_page)
    for kind in (
        "right alone only from image",
        "right alone only from note",
        "right only from all together",
        "right from none, nor from all together",
    ):
        assert f"scene: {kind}" in text
    assert "note alone kitchen 71%" in text


def test_words_carry_their_attention_and_word_pieces_are_joined(found: Path, found_page: str) -> None:
    strip = gallery(read_evaluation(found / "evaluation/test")).samples[0]
    words = next(tile.words for tile in strip.tiles if tile.of == "note")
    assert max(word.opacity for word in words) == pytest.approx(0.75)
    assert [word.text for word in words if not word.spaced] == ["ing", "ous"]
    assert len(words) == len(TEXT.split())
    assert "walk</span><span" in found_page  # no space before "ing"
    assert "% of all attention" in found_page


def test_columns_are_shaded_where_the_fusion_looked(found: Path) -> None:
    strip = gallery(read_evaluation(found / "evaluation/test")).samples[0]
    (tile,) = [tile for tile in strip.tiles if tile.of == "columns"]
    assert [(line.name, line.text) for line in tile.lines[:2]] == [("area", "2 300"), ("bedrooms", "4")]
    assert tile.lines[1].opacity == pytest.approx(0.75)
    assert tile.kind == "attention, 20\u00a0% of all"


def test_a_long_text_is_cut_at_a_word_and_the_rest_is_counted() -> None:
    kept, rest = cut("word " * 1000)
    assert len(kept) == MAX_LETTERS - 1
    assert kept.endswith("word")
    assert rest == f"… {5000 - len(kept):,} letters more".replace(",", "\u202f")
    assert cut("x" * 700) == ("x" * 600, "… 100 letters more")
    assert cut("short") == ("short", "")
    assert cut(" " * 601)[1] == "… 1 letters more"


def test_what_does_not_fit_into_a_tile_is_counted(tmp_path: Path) -> None:
    def change(evaluation: dict[str, Any]) -> None:
        first, second = evaluation["pictures"][:2]
        first["texts"] = {"note": [["", "x " * 100_000]], "columns": [[f"c{k}", "1"] for k in range(MAX_LINES + 5)]}
        del first["looked"]["note"], first["looked"]["columns"]
        second["looked"]["note"]["words"] = [["w", 0.001]] * (MAX_WORDS + 50)

    run = with_evaluation(make_found_run(tmp_path / "run", num_samples=8, pictures=4), change)
    page = write_report(run).read_text(encoding="utf-8")
    text = text_of(page)
    assert "… 5 more" in text
    assert "… 199 401 letters more" in text
    assert "… 50 more, with 5 % of all" in text
    assert len(page) < 3_000_000


def test_of_many_subsets_the_telling_ones_stand_open(tmp_path: Path) -> None:
    modalities = ("image", "depth", "note", "columns", "sound")
    page = write_report(make_found_run(tmp_path / "run", modalities=modalities, num_samples=8)).read_text()
    opened, folded = (part.split("</table>")[0] for part in page.split('class="sortable subsets"')[1:3])
    assert opened.count("<tr") - 1 == 1 + 5 + 5
    assert folded.count("<tr") - 1 == 31
    assert "All 31 subsets that were scored" in page
    few = write_report(make_run(tmp_path / "few", num_samples=8)).read_text()
    assert few.count('class="sortable subsets"') == 1


def test_notes_of_the_scored_split_stand_beside_those_of_training(found: Path, found_page: str) -> None:
    text = text_of(found_page)
    assert "When the test split was scored:" in text
    assert "note: 12 of 60 test texts (20.0 %) are cut at 512 tokens" in text


def test_a_report_without_findings_has_none_of_their_sections(page: str) -> None:
    for words in ("What the network listens to", "right alone", "Calibration", "When the test split was scored"):
        assert words not in page


def test_findings_that_are_broken_are_refused_by_name(tmp_path: Path) -> None:
    run = with_evaluation(make_run(tmp_path / "run", num_samples=4), lambda e: e.update(fusion={"levels": 3}))
    with pytest.raises(WeftError, match=r"evaluation\.json is not"):
        write_report(run)
