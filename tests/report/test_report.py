"""The report shows the numbers it was given, escapes every text, fetches nothing, and says what is missing."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.report.fake_run import CLASSES, EVIL, TASKS, make_run
from weft.errors import WeftError
from weft.report import write_report
from weft.report.pictures import gallery
from weft.report.reading import read_evaluation, read_run

VOID = {"meta", "img", "br", "hr", "input", "link", "wbr", "path", "circle", "line", "rect"}


class Balance(HTMLParser):
    """Checks that every element that opens closes, and keeps what tests ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def parsed(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    parser.close()
    return parser


def evaluation_of(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((run / "evaluation/test/evaluation.json").read_text())
    return loaded


def text_of(page: str) -> str:
    """The words of a page, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.replace("\u00a0", " ")))


def test_every_element_is_closed_and_no_id_is_given_twice(page: str) -> None:
    parser = parsed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))


def test_every_link_of_the_contents_leads_somewhere(page: str) -> None:
    parser = parsed(page)
    targets = [a["href"][1:] for tag, a in parser.attributes if tag == "a" and (a.get("href") or "").startswith("#")]
    assert targets
    assert set(targets) <= set(parser.ids)


def test_nothing_is_fetched(page: str) -> None:
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:", without_namespaces)
    for tag, attributes in parsed(page).attributes:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/")), (tag, name, value)
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_forbids_every_script_but_its_own(page: str) -> None:
    assert "default-src 'none'; img-src data:;" in page.replace("&#39;", "'")
    assert page.count("<script") == 1


def test_markup_in_names_is_escaped(page: str) -> None:
    assert EVIL in CLASSES
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "evil", ['"><img src=x onerror=alert(1)>', "</title></style></script><b>", "{{ 7*7 }}", "' onmouseover='alert(1)"]
)
def test_markup_anywhere_in_the_run_is_escaped(tmp_path: Path, evil: str) -> None:
    run = make_run(tmp_path / "run", num_samples=6, pictures=2)
    path = run / "evaluation/test/evaluation.json"
    path.write_text(path.read_text().replace('"wall"', json.dumps(evil)).replace('"day"', json.dumps(evil)))
    evaluation = json.loads(path.read_text())
    evaluation["pictures"][0]["id"] = evil
    evaluation["checkpoint"] = evil
    path.write_text(json.dumps(evaluation))
    summary = json.loads((run / "summary.json").read_text())
    summary.update(name=evil, created=evil, machine=evil)
    summary["data"]["notes"] = [evil]
    (run / "summary.json").write_text(json.dumps(summary))
    page = write_report(run).read_text(encoding="utf-8")
    assert parsed(page).open == []
    if "<" in evil or "'" in evil:
        assert evil not in page
    assert page.count("<script") == 1
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)


def test_figures_shown_are_the_figures_given(run: Path, page: str) -> None:
    text = text_of(page)
    for task in evaluation_of(run)["tasks"].values():
        for subset in task["subsets"].values():
            figure = subset["figures"][task["main_figure"]]
            assert f"{100 * figure['value']:.1f}" in text
            assert f"{100 * figure['low']:.1f} to {100 * figure['high']:.1f}" in text
        for name, figure in task["subsets"]["image+depth"]["figures"].items():
            if "/" in name and figure["value"] is not None:
                assert f"{100 * figure['value']:.1f}" in text


def test_verdict_names_what_is_reached_and_what_depth_is_worth(run: Path, page: str) -> None:
    subsets = evaluation_of(run)["tasks"]["rooms"]["subsets"]
    both, alone = (subsets[key]["figures"]["mIoU"]["value"] for key in ("image+depth", "image"))
    expected = (
        f"Image and depth together reach {100 * both:.1f} % mIoU on rooms; without depth, {100 * alone:.1f} %: "
        f"depth is worth {100 * (both - alone):.1f} points."
    )
    assert expected in text_of(page)


def test_a_modality_whose_gain_may_be_chance_is_called_noise(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", modalities=("image", "thermal"), tasks=("scene",), num_samples=12)
    records = run / "evaluation/test/records"
    (records / "scene__image.npz").write_bytes((records / "scene__image+thermal.npz").read_bytes())
    evaluation = evaluation_of(run)
    evaluation["tasks"]["scene"]["subsets"]["image"] = evaluation["tasks"]["scene"]["subsets"]["image+thermal"]
    (run / "evaluation/test/evaluation.json").write_text(json.dumps(evaluation))
    text = text_of(write_report(run, tasks=TASKS).read_text(encoding="utf-8"))
    assert "thermal makes no difference beyond noise (0.0, 0.0 to 0.0)" in text


def test_every_section_is_there(page: str) -> None:
    ids = parsed(page).ids
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    for words in ("truth", "prediction", "error", "Worst of rooms", "By subgroup", "pixel dropout", "Learning rate"):
        assert words in page


SECTIONS = ["result", "setup", "training", "tasks", "modalities", "corruption", "pictures", "faults", "made"]


def test_absent_classes_are_called_absent(page: str) -> None:
    assert "absent in this split" in page
    assert not re.search(r"\bnan\b", text_of(page), re.IGNORECASE)


def test_lower_is_better_is_said_and_turns_the_gain(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("corners",), num_samples=20)
    text = text_of(write_report(run, tasks=TASKS).read_text(encoding="utf-8"))
    subsets = evaluation_of(run)["tasks"]["corners"]["subsets"]
    gain = subsets["image"]["figures"]["MAE"]["value"] - subsets["image+depth"]["figures"]["MAE"]["value"]
    assert gain > 0
    assert f"depth is worth {gain:.2f} px" in text
    assert "lower is better" in text


def test_the_dashed_line_is_of_the_samples_that_were_corrupted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("scene",), num_samples=8)
    path = run / "evaluation/test/evaluation.json"
    evaluation = evaluation_of(run)
    evaluation["tasks"]["scene"]["corruptions_absent"] = {"image": 0.123, "depth": 0.456}
    evaluation["corrupted_samples"] = 5
    path.write_text(json.dumps(evaluation))
    page = write_report(run).read_text(encoding="utf-8")
    assert "without image: 12.3" in page
    assert "without depth: 45.6" in page
    assert "scored on 5 of the 8 samples" in text_of(page)


def test_three_modalities_are_ranked_by_worth(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", modalities=("thermal", "depth", "image"), tasks=("rooms",), num_samples=12)
    text = text_of(write_report(run).read_text(encoding="utf-8"))
    assert re.search(r"image is worth [\d.]+ points, depth [\d.]+ points and thermal [\d.]+ points\.", text)


def test_pictures_are_inside_and_labelled(run: Path, page: str) -> None:
    images = [a for tag, a in parsed(page).attributes if tag == "img" and a.get("src")]
    assert len(images) == sum(
        len(picture["inputs"])
        + sum(
            sum(path is not None for path in kinds.values())
            for task, kinds in picture["tasks"].items()
            if not picture["worst_of"] or task in picture["worst_of"]
        )
        for picture in evaluation_of(run)["pictures"]
    )
    for attributes in images:
        assert attributes["alt"]
        assert attributes["width"]
    first = (images[0]["src"] or "").split(",", 1)[1]
    assert Image.open(io.BytesIO(base64.b64decode(first))).size == (320, 240)


@pytest.mark.parametrize("budget", [30_000, 4_000])
def test_pictures_keep_within_their_budget(run: Path, budget: int) -> None:
    few = gallery(read_evaluation(run / "evaluation/test"), budget=budget)
    strips = [*few.samples, *(strip for strips in few.worst.values() for strip in strips)]
    uris = {tile.picture.uri for strip in strips for tile in strip.tiles}
    assert sum(len(base64.b64decode(uri.partition(",")[2])) for uri in uris) <= budget
    assert (few.num_left_out > 0) == (budget < 30_000)  # first all are made smaller, then some are left out


def test_pictures_outside_the_run_are_not_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    run = make_run(tmp_path / "run", num_samples=6, pictures=2)
    path = run / "evaluation/test/evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["pictures"][0]["inputs"]["image"] = "../../../secret.png"
    evaluation["pictures"][0]["inputs"]["depth"] = "pictures/gone.png"
    path.write_text(json.dumps(evaluation))
    (run / "evaluation/test/pictures/0000-rooms-prediction.png").write_bytes(b"not a picture")
    page = write_report(run).read_text(encoding="utf-8")
    for problem in ("outside the run folder", "picture missing", "picture broken"):
        assert problem in page


def test_drops_and_skipped_steps_are_listed(page: str) -> None:
    text = text_of(page)
    assert "2 cells or samples were dropped." in text
    assert "truncated-image" in text
    assert "image file is truncated (12 bytes not processed)" in text
    assert "1 step was left out" in text


def test_experiment_file_is_shown_whole(run: Path, page: str) -> None:
    assert "weight_decay: 0.01" in page
    assert read_run(run).experiment_text.strip() in page.replace("&#39;", "'")


def test_a_run_that_was_not_scored_says_what_to_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", evaluated=False)
    page = write_report(run).read_text(encoding="utf-8")
    assert f"weft evaluate {run}" in page
    assert "Training" in page
    assert parsed(page).open == []


def test_a_run_that_has_just_begun_still_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", evaluated=False)
    for name in ("summary.json", "metrics.csv", "dropped.csv"):
        (run / name).unlink()
    page = write_report(run).read_text(encoding="utf-8")
    assert "no epochs in metrics.csv yet" in page
    assert "Nothing was dropped" in page


def test_a_single_modality_has_nothing_to_leave_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", modalities=("image",), num_samples=8)
    page = write_report(run, tasks=TASKS).read_text(encoding="utf-8")
    assert "there is nothing to leave out" in page
    assert "Image alone reaches" in page


def test_a_quick_evaluation_says_how_to_get_the_rest(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_samples=8)
    path = run / "evaluation/test/evaluation.json"
    evaluation = json.loads(path.read_text())
    for task in evaluation["tasks"].values():
        task["subsets"] = {"image+depth": task["subsets"]["image+depth"]}
        task["corruptions"] = {}
    evaluation["pictures"] = []
    path.write_text(json.dumps(evaluation))
    page = write_report(run, tasks=TASKS).read_text(encoding="utf-8")
    assert "Only one subset was scored" in page
    assert 'id="corruption"' not in page


def test_a_task_without_labels_in_the_split_is_said_to_have_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_samples=8)
    path = run / "evaluation/test/evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["tasks"]["scene"].update(subsets={}, corruptions={}, subgroups={}, confusion=None, worst=[])
    path.write_text(json.dumps(evaluation))
    page = write_report(run, tasks=TASKS).read_text(encoding="utf-8")
    assert "cannot tell how well scene is solved" in page


def test_an_evaluation_with_a_modality_left_out_stands_beside_the_whole_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_samples=8)
    other = make_run(tmp_path / "other", num_samples=8, modalities=("image",))
    target = run / "evaluation/test-without-depth"
    (other / "evaluation/test").rename(target)
    path = target / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"without": ["depth"]}))
    page = write_report(run, tasks=TASKS).read_text(encoding="utf-8")
    assert list(read_run(run).evaluations) == ["test", "test-without-depth"]
    assert "test without depth" in page
    assert "Image and depth together reach" in page


def test_a_metrics_file_cut_short_by_a_kill_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", evaluated=False)
    path = run / "metrics.csv"
    path.write_text(path.read_text()[:-40])
    assert "best epoch" in write_report(run).read_text(encoding="utf-8")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeftError, match=r"no experiment.yaml; give the folder"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"split": "test"}', '{"split": 1, "samples": "x", "tasks": 3}'])
def test_a_broken_evaluation_is_refused_by_name(tmp_path: Path, content: str) -> None:
    run = make_run(tmp_path / "run", num_samples=4)
    (run / "evaluation/test/evaluation.json").write_text(content)
    with pytest.raises(WeftError, match=r"evaluation\.json is not"):
        write_report(run)


def test_the_report_replaces_an_older_one_whole(run: Path) -> None:
    before = (run / "report.html").read_bytes()
    write_report(run, tasks=TASKS)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob("*.partial"))


def test_nan_and_null_read_alike(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_samples=4)
    path = run / "evaluation/test/evaluation.json"
    path.write_text(path.read_text().replace('"value": null', '"value": NaN'))
    task = read_evaluation(path.parent).tasks["rooms"]
    assert math.isnan(task.subsets["image"].figures["IoU/bag"].value)
