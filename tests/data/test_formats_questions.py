"""Questions about the frames of NYU Depth v2: which answers are classes, what is left out, and the real files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from weft.data.formats.nyuv2 import NyuV2
from weft.data.leaks import find_leaks
from weft.data.nyuv2_questions import OTHER, as_set
from weft.data.splits import with_validation
from weft.errors import DataFault
from weft.experiment import Validation

TRAIN = """image,question,answer
0002,what is on the desk,"lamp, books"
0001,how many chairs are there,2
0001,what color is the wall,white
0001,what is on the table,"books, lamp"
0002,what is red,carton
0002,how many lamps are there,2
"""
TEST = """image,question,answer
0003,how many beds are there,2
0003,what is on the bed,pillow
0009,what is that,chair
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("image", "depth", "label"):
        (tmp_path / folder).mkdir()
        for number in (1, 2, 3):
            (tmp_path / folder / f"{number:04d}.png").touch()
    classes = [f"{number},thing {number},{number % 13},kind {number % 13}" for number in range(39)]
    (tmp_path / "classes.csv").write_text("\n".join(["label,name39,label13,name13", *classes]))
    (tmp_path / "train.txt").write_text("0001\n0002\n")
    (tmp_path / "test.txt").write_text("0003\n")
    (tmp_path / "questions_train.csv").write_text(TRAIN)
    (tmp_path / "questions_test.csv").write_text(TEST)
    return tmp_path


def test_a_row_is_a_question_with_its_frame(root: Path) -> None:
    manifest = NyuV2(root=str(root), answers=10).manifest()
    assert manifest.row(0) == {
        "id": "0001-001",
        "split": "train",
        "scene": "0001",
        "image": "image/0001.png",
        "depth": "depth/0001.png",
        "label": "label/0001.png",
        "question": "how many chairs are there",
        "answer": "2",
        "asks": "number",
        "picture": "0001",
    }
    assert manifest.values("id").to_pylist() == [
        *("0001-001", "0001-002", "0001-003", "0002-001", "0002-002", "0002-003", "0003-001", "0003-002"),
    ]
    assert manifest.values("asks").to_pylist()[:3] == ["number", "colour", "thing"]
    assert {manifest.columns[name].kind for name in ("question", "answer", "image", "depth")} == {
        *("text", "class", "image", "depth"),
    }


def test_the_frequent_answers_of_the_training_split_are_the_classes(root: Path) -> None:
    manifest = NyuV2(root=str(root), answers=2).manifest()
    assert manifest.columns["answer"].facts["classes"] == ["2", "books, lamp", OTHER]
    train, test = manifest.split("train"), manifest.split("test")
    assert train.values("answer").to_pylist() == ["2", "books, lamp", "books, lamp", "2"]  # the others are left out
    assert test.values("answer").to_pylist() == ["2", OTHER]  # and here they count as wrong
    assert manifest.notes == (
        "1 questions are about frames in no list and are left out",
        "2 training questions are left out: their answer is not among the 2 most frequent",
        "1 questions of the other splits have such an answer, and count as wrong",
    )


def test_an_answer_that_lists_things_is_a_set() -> None:
    assert as_set("lamp, books") == as_set("books,lamp , books") == "books, lamp"


def test_questions_about_one_picture_stay_together(root: Path) -> None:
    manifest = NyuV2(root=str(root), answers=10).manifest()
    assert manifest.group == "picture"
    cut = with_validation(manifest, Validation(by="group", fraction=0.5), group=None, seed=0)
    assert {len(cut.split("train")), len(cut.split("val"))} == {3}
    assert find_leaks(cut, []) == []


def test_without_answers_rows_are_frames(root: Path) -> None:
    assert NyuV2(root=str(root)).manifest().values("id").to_pylist() == ["0001", "0002", "0003"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"questions_train.csv": None, "questions_test.csv": None}, "has no questions_train.csv"),
        ({"questions_train.csv": "image,question\n0001,what\n"}, "has no column 'answer'"),
        ({"questions_train.csv": "image,question,answer\n0001,,2\n"}, "row 1 has an empty cell"),
        ({"questions_train.csv": "image,question,answer\n0003,what,2\n"}, "about a frame of the training split"),
    ],
)
def test_files_that_are_not_as_described_are_refused(root: Path, changes: dict[str, str | None], why: str) -> None:
    for name, content in changes.items():
        if content is None:
            (root / name).unlink()
        else:
            (root / name).write_text(content)
    with pytest.raises(DataFault, match=why):
        NyuV2(root=str(root), answers=2).manifest()


def test_the_real_questions(shared: Path) -> None:
    manifest = NyuV2(root=str(shared / "data" / "nyuv2"), answers=300).manifest()
    train, test = manifest.split("train"), manifest.split("test")
    assert len(test) == 2545
    assert len(train) == 6085  # of 6795
    assert len(set(train.values("answer").to_pylist())) == 300
    answers = Counter(test.values("answer").to_pylist())
    assert answers[OTHER] == 366
    assert manifest.columns["answer"].facts["classes"][0] == "2"
    assert answers["2"] / len(test) == pytest.approx(0.063, abs=0.001)  # what the most frequent answer alone reaches
    assert manifest.present("image").all()
    assert manifest.present("depth").all()
    assert find_leaks(manifest, []) == []
