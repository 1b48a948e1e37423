"""MVSA: published labels made one, encodings, near-duplicates, and the real folder."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFilter

from weft.config import load_experiment
from weft.data.duplicates import joined, same_pictures, same_texts
from weft.data.formats.mvsa import Mvsa, agreed, detected
from weft.data.guess import guess
from weft.data.leaks import find_leaks
from weft.data.pipeline import build_data
from weft.errors import DataFault


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hashes are kept here, and nowhere else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(seed: int, size: tuple[int, int] = (96, 128)) -> Image.Image:
    """Smooth shapes, as photographs have them."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
    return small.resize(size[::-1], Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mvsa" / "data").mkdir(parents=True)
    return tmp_path / "mvsa"


def add(folder: Path, name: str, text: bytes | None, seed: int | None) -> None:
    if text is not None:
        (folder / "data" / f"{name}.txt").write_bytes(text)
    if seed is not None:
        picture(seed).save(folder / "data" / f"{name}.jpg", quality=90)


def lists(folder: Path, **splits: dict[str, int]) -> None:
    for split, labels in splits.items():
        rows = "".join(f"{name},{label}\n" for name, label in labels.items())
        (folder / f"ID-label-{split}.txt").write_text("ID,label\n" + rows)


def rows(manifest) -> dict[str, dict]:
    return {manifest.id(place): manifest.row(place) for place in range(len(manifest))}


@pytest.mark.parametrize(
    ("pairs", "label"),
    [
        ([("positive", "positive")], "positive"),
        ([("neutral", "neutral")], "neutral"),
        ([("neutral", "negative")], "negative"),
        ([("positive", "neutral")], "positive"),
        ([("positive", "negative")], "conflict"),
        ([("negative", "positive")], "conflict"),
        ([("positive", "neutral"), ("positive", "positive"), ("negative", "positive")], "positive"),
        ([("neutral", "negative"), ("neutral", "negative"), ("positive", "positive")], "negative"),
        ([("positive", "positive"), ("neutral", "positive"), ("negative", "positive")], "no majority"),
        ([("positive", "positive"), ("positive", "neutral"), ("positive", "negative")], "no majority"),
        ([("positive", "negative"), ("positive", "negative"), ("neutral", "neutral")], "conflict"),
    ],
)
def test_judgements_of_text_and_picture_become_one_label(pairs: list[tuple[str, str]], label: str) -> None:
    assert agreed(pairs) == label


def test_the_published_single_set_is_read_with_its_rules(folder: Path) -> None:
    for place, name in enumerate(["1", "2", "3", "10"]):
        add(folder, name, f"post number {name}".encode(), place)
    (folder / "labelResultAll.txt").write_text(
        "ID\ttext,image\n1\tneutral,positive\n2\tpositive,negative\n3\tnegative,negative\n10\tneutral,neutral\n"
    )
    manifest = Mvsa(root=str(folder)).manifest()
    assert {name: row["label"] for name, row in rows(manifest).items()} == {
        "1": "positive",
        "3": "negative",
        "10": "neutral",
    }
    assert manifest.splits == ["train"]
    assert "1 posts are left out: the text is positive and the picture negative, or the other way round" in (
        manifest.notes
    )
    assert manifest.columns["label"].facts["classes"] == ["positive", "neutral", "negative"]
    assert rows(manifest)["10"]["text"] == "post number 10"
    assert rows(manifest)["10"]["image"] == "data/10.jpg"


def test_the_published_multiple_set_is_read_by_majority(folder: Path) -> None:
    (folder / "labelResultAll.txt").write_text(
        "ID\ttext,image\ttext,image\ttext,image\n"
        "1\tpositive,neutral\tpositive,positive\tneutral,positive\n"
        "2\tpositive,neutral\tnegative,positive\tneutral,positive\n"
        "3\tneutral,neutral\tneutral,neutral\tpositive,neutral\n"
    )
    manifest = Mvsa(root=str(folder)).manifest()
    assert {name: row["label"] for name, row in rows(manifest).items()} == {"1": "positive", "3": "neutral"}
    assert "1 posts are left out: their annotators have no majority" in manifest.notes


def test_lists_give_the_split_and_come_before_the_published_labels(folder: Path) -> None:
    add(folder, "5", b"five", 5)
    add(folder, "6", b"six", 6)
    lists(folder, train={"5": 0}, val={"6": 2})
    (folder / "labelResultAll.txt").write_text("ID\ttext,image\n6\tneutral,neutral\n")
    both = rows(Mvsa(root=str(folder)).manifest())
    assert [(row["split"], row["label"]) for row in both.values()] == [("train", "positive"), ("val", "negative")]
    published = rows(Mvsa(root=str(folder), labels="official").manifest())
    assert [(row["split"], row["label"]) for row in published.values()] == [("train", "neutral")]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("ID-label-train.txt", "ID,label\n5,3\n", r"line 2: '5,3'; a post is written N,0"),
        ("ID-label-train.txt", "ID,label\n5\n", r"line 2: '5'"),
        ("labelResultAll.txt", "ID\ttext,image\n5\tpositive\n", r"line 2: .*for each annotator a tab and text,image"),
        ("labelResultAll.txt", "ID\ttext,image\n5\tpositive,happy\n", "line 2"),
        ("nothing.txt", "", "neither ID-label-train.txt nor labelResultAll.txt"),
    ],
)
def test_labels_that_are_not_as_described_are_refused_with_their_line(
    folder: Path, file: str, content: str, why: str
) -> None:
    (folder / file).write_text(content)
    with pytest.raises(DataFault, match=why):
        Mvsa(root=str(folder)).manifest()


def test_texts_in_gb18030_are_told_from_texts_in_utf_8(folder: Path) -> None:
    said = {"1": "我很高兴 #happy", "2": "plain words", "3": "That’s right…"}
    lists(folder, train=dict.fromkeys(said, 0))
    for encoding in ("utf-8", "gb18030"):
        for name, text in said.items():
            add(folder, name, text.encode(encoding), None)
        manifest = Mvsa(root=str(folder)).manifest()
        assert {name: row["text"] for name, row in rows(manifest).items()} == said
        assert f"the texts are read as {encoding}: of 2 with letters beyond ASCII" in manifest.notes[0]


def test_one_odd_text_does_not_change_the_encoding_of_all(folder: Path) -> None:
    for name, content in {"1": "schön".encode(), "2": "größer".encode(), "3": b"caf\xe9"}.items():
        add(folder, name, content, None)
    lists(folder, train=dict.fromkeys("123", 1))
    with pytest.raises(DataFault, match=r"3\.txt is not utf-8 \(byte 3\); give another `encoding`") as caught:
        Mvsa(root=str(folder)).manifest()
    assert caught.value.code == "encoding"
    manifest = Mvsa(root=str(folder), undecodable="replace").manifest()
    assert rows(manifest)["3"]["text"] == "caf\ufffd"
    assert "1 texts have \ufffd where a byte is not utf-8" in manifest.notes
    with pytest.raises(DataFault, match="there is no encoding 'utf-9'"):
        Mvsa(root=str(folder), encoding="utf-9").manifest()


def test_a_post_without_text_or_picture_is_absent_there(folder: Path) -> None:
    add(folder, "1", b" \n", 1)
    add(folder, "2", None, 2)
    add(folder, "3", b"words", None)
    lists(folder, train={"1": 0, "2": 1, "3": 2})
    manifest = Mvsa(root=str(folder)).manifest()
    assert manifest.present("text").tolist() == [False, False, True]
    assert manifest.present("image").tolist() == [True, True, False]
    assert "2 of 3 posts have no text" in manifest.notes
    assert "column 'image': 1 of 3 samples have no file" in manifest.notes


def test_equal_texts_are_found_behind_names_links_and_marks() -> None:
    texts = [
        "RT @someone: Why do you feel so #happy today? http://t.co/abc",
        "why do you feel so happy TODAY!! ht",
        "Why do you feel so happy tonight",
        "@a @b http://t.co/1",  # nothing is left
        "@c http://t.co/2",
        "wow",
        "wow",
        None,
    ]
    assert same_texts(texts) == [(0, 1)]


def test_the_same_picture_is_found_in_another_size_format_and_quality(tmp_path: Path) -> None:
    one = picture(0, (240, 320))
    one.save(tmp_path / "a.png")
    one.resize((160, 120), Image.Resampling.LANCZOS).save(tmp_path / "b.jpg", quality=50)
    one.filter(ImageFilter.GaussianBlur(2)).convert("L").save(tmp_path / "c.jpg")
    one.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    for seed in range(1, 40):
        picture(seed).save(tmp_path / f"other{seed:02d}.jpg")
    for name in ("black", "black too"):
        Image.new("RGB", (64, 64), "black").save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    files = [*sorted(path for path in tmp_path.iterdir() if path.is_file()), None]
    pairs, notes = same_pictures(files)
    assert [(files[one].name, files[other].name) for one, other in pairs] == [
        ("a.png", "b.jpg"),
        ("a.png", "c.jpg"),
        ("b.jpg", "c.jpg"),
    ]
    assert notes == ()


def test_hashes_are_kept_and_taken_again_when_a_file_changes(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{seed}.png" for seed in (1, 2, 3)]
    for path, seed in zip(files, (1, 1, 3), strict=True):
        picture(seed).save(path)
    assert same_pictures(files)[0] == [(0, 1)]
    assert len(list((own_cache / "weft" / "hashes").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", lambda path: pytest.fail("decoded again"))
        assert same_pictures(files)[0] == [(0, 1)]
    picture(3, (100, 130)).save(files[1])
    assert same_pictures(files)[0] == [(1, 2)]


def test_samples_are_joined_directly_and_through_others() -> None:
    assert joined("abcdef", [(1, 2), (4, 3), (3, 1)]) == ["a", "b", "b", "b", "b", "f"]


def test_posts_of_one_text_or_one_picture_are_one_group(folder: Path) -> None:
    for name, text, seed in [("1", b"one and the same words", 1), ("2", b"one and the same words", 2)]:
        add(folder, name, text, seed)
    add(folder, "3", b"other words entirely", 2)
    add(folder, "4", b"again some other words", 4)
    lists(folder, train={"1": 0, "2": 0, "4": 1}, val={"3": 2})
    manifest = Mvsa(root=str(folder)).manifest()
    assert {name: row["group"] for name, row in rows(manifest).items()} == {"1": "1", "2": "1", "3": "1", "4": "4"}
    assert "3 posts share their text or picture with another; they form 1 groups" in manifest.notes
    assert [leak.value for leak in find_leaks(manifest, [])] == ["1"]
    apart = Mvsa(root=str(folder), near_duplicates=False).manifest()
    assert [row["group"] for row in rows(apart).values()] == ["1", "2", "4", "3"]


def test_init_knows_the_folder_and_batches_hold_words_pixels_and_classes(folder: Path) -> None:
    for number in range(12):
        add(folder, str(number), f"post number {number} is here".encode(), number)
    lists(folder, train={str(number): number % 3 for number in range(12)})
    tree = yaml.safe_load(guess(folder).config_text)
    assert tree["data"]["format"] == "mvsa"
    assert tree["modalities"].keys() == {"text", "image"}
    data = build_data(load_experiment({**tree, "train": {"batch_size": 4, "device": "cpu"}}))
    assert data.groups("train") == {name: name for name in data.ids("train")}
    batch = next(data.batches("train"))
    assert batch.inputs["image"].shape == (4, 3, 224, 224)
    assert batch.lengths["text"].tolist() == [5] * 4  # a number is a word
    assert batch.targets["label"].tolist() == [int(name) % 3 for name in batch.ids]


def test_the_real_folder_is_read_in_seconds(shared: Path) -> None:
    start = time.process_time()
    manifest = Mvsa(root=str(shared / "data" / "mvsa")).manifest()
    assert time.process_time() - start < 10  # 3 s of a core where no hashes are kept
    assert {split: len(manifest.split(split)) for split in manifest.splits} == {"train": 3611, "val": 450}
    labels = Counter(manifest.values("label").to_pylist())
    assert labels == {"positive": 2147 + 268, "neutral": 376 + 47, "negative": 1088 + 135}
    assert manifest.present("text").all()
    assert manifest.present("image").all()
    groups = Counter(manifest.values("group").to_pylist())
    assert 150 <= sum(size > 1 for size in groups.values()) <= 170
    assert max(groups.values()) < 30


def test_the_published_texts_are_told_to_be_gb18030(shared: Path) -> None:
    raw = [path.read_bytes() for path in sorted((shared / "data" / "mvsa" / "raw_text_sample").iterdir())]
    encoding, said = detected(raw)
    assert encoding == "gb18030"
    assert said == "the texts are read as gb18030: of 40 with letters beyond ASCII 0 are valid UTF-8"
    assert sum("…" in content.decode(encoding) for content in raw) > 20
