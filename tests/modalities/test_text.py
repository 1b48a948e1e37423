"""Text: cleaned, split and numbered; files in declared encodings; empty, endless and mixed texts."""

from __future__ import annotations

import pickle
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from tests.encoders.tiny_transformer import tiny_bert
from weft.data.text.cleaning import STEPS, clean
from weft.data.text.splitting import SPLITS, characters, jieba_words, words
from weft.data.text.vocabulary import SPECIAL, most_frequent
from weft.encoders.huggingface import HuggingFaceEncoder
from weft.modalities.base import BadCell
from weft.modalities.text import TextModality
from weft.types import InputSpec

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
THUMB = "\U0001f44d\U0001f3fd"


def given(cell: object) -> object:
    return cell


def fitted(*texts: str, **options: object) -> TextModality:
    """A modality with the vocabulary of some texts, every word of which counts."""
    options = {"min_count": 1, **options}
    first = TextModality({}, **options)  # type: ignore[arg-type]
    return TextModality(first.fit(first.read(text, given) for text in texts), **options)  # type: ignore[arg-type]


def read(modality: TextModality, text: object) -> list[int]:
    return modality.read(text, given).tolist()  # type: ignore[arg-type]


# ---- cleaning


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ("unicode", "cafe\u0301 na\u00adive\u200b\ufeff a\x07b", "café naive a b"),
        ("entities", "Tom &amp; Jerry &lt;3 &#39;", "Tom & Jerry <3 '"),
        ("urls", "see https://t.co/aB?x=1 or WWW.w3.org now", "see http or http now"),
        ("mentions", "RT @Bob_1: mail a@b.com", "RT @user: mail a@b.com"),
        ("hashtags", "#NewYorkCity2016 #BBCNews #a_b #1 c#", "New York City 2016 BBC News a b #1 c#"),
        ("lowercase", "ÀB Σ", "àb σ"),
        ("whitespace", "  a\t b\n\nc\u3000d ", "a b c d"),
    ],
)
def test_a_step_of_cleaning_does_what_it_says_and_no_other_does_it(step: str, before: str, after: str) -> None:
    assert clean(before, (step,)) == after  # type: ignore[arg-type]
    assert clean(before, ()) == before


def test_steps_come_in_one_order_however_they_are_given() -> None:
    text = "&#35;MyHouse  &amp; HTTP://X.y"
    assert clean(text, tuple(STEPS)) == clean(text, tuple(reversed(STEPS))) == "my house & http"


def test_emoji_and_the_joiners_of_words_survive_cleaning() -> None:
    text = f"{FAMILY} {THUMB} می‌روم क्‍ष"
    assert clean(text, tuple(STEPS)) == text


# ---- splitting


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Don't pay 3.14, or 1,000!", ["Don't", "pay", "3.14", ",", "or", "1,000", "!"]),
        ("naïve Straße Привет", ["naïve", "Straße", "Привет"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می‌روم خانه", ["می‌روم", "خانه"]),
        ("안녕하세요 세계", ["안녕하세요", "세계"]),
        ("我爱NBA日本", ["我", "爱", "NBA", "日", "本"]),
        (f"ok{THUMB}{FAMILY}🇨🇳🇫🇷1️⃣go", ["ok", THUMB, FAMILY, "🇨🇳", "🇫🇷", "1️⃣", "go"]),
        ("@user #tag a@b 35th", ["@user", "#tag", "a", "@b", "35th"]),
        ("cafe\u0301", ["cafe\u0301"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words_are_found_in_any_script(text: str, parts: list[str]) -> None:
    assert list(words(text)) == parts


def test_characters_keep_their_marks_and_emoji_whole() -> None:
    assert list(characters(f"e\u0301a {THUMB}हि我")) == ["e\u0301", "a", THUMB, "हि", "我"]


def test_chinese_is_split_as_jieba_splits_it() -> None:
    import jieba

    text = "我来到北京清华大学，他来到了网易杭研大厦"
    assert list(jieba_words(text)) == jieba.lcut(text)
    assert list(jieba_words(f"我爱北京{FAMILY} hi")) == ["我", "爱", "北京", FAMILY, "hi"]


def test_nothing_but_white_space_is_lost_in_splitting() -> None:
    letters = "".join(chr(code) for code in [*range(0x21, 0x3000), *range(0x4E00, 0x4F00), *range(0x1F300, 0x1F700)])
    text = "".join(letter for letter in letters if not letter.isspace())
    assert "".join(words(text)) == text
    assert "".join(characters(text)) == text


# ---- vocabulary and numbers


def test_the_vocabulary_has_the_most_frequent_words_first_and_equal_ones_in_order() -> None:
    assert most_frequent({"b": 2, "a": 2, "c": 5, "d": 1}, most=3, min_count=2) == ["c", "a", "b"]
    assert most_frequent({"b": 2, "a": 2, "c": 5, "d": 1}, most=2, min_count=1) == ["c", "a"]


def test_numbers_by_hand() -> None:
    modality = fitted("the cat sat", "the cat", "the")
    assert modality.facts["vocabulary"] == ["the", "cat", "sat"]
    assert modality.num_channels == 6
    assert read(modality, "The dog sat") == [3, 1, 5]
    assert modality.words(np.array([3, 1, 5])) == ["the", "<unknown>", "sat"]


def test_a_person_is_told_the_text_that_the_network_reads() -> None:
    modality = fitted("the cat sat", "the cat", "the", max_length=3)
    assert modality.describe(modality.read("The dog sat down", given)) == (("", "the <unknown> sat"),)


def test_rare_words_are_unknown_and_the_vocabulary_is_capped() -> None:
    texts = ["a b c", "a b", "a"]
    assert fitted(*texts, min_count=2).facts["vocabulary"] == ["a", "b"]
    assert fitted(*texts, vocabulary=1).facts["vocabulary"] == ["a"]


def test_an_empty_text_is_one_token_of_its_own_and_not_padding() -> None:
    modality = fitted("a")
    for text in ("", "   ", "\u200b"):
        assert modality.words(modality.read(text, given)) == ["<empty>"]
    assert read(modality, "") != [int(modality.geometry.fill)]
    assert modality.geometry.fill == SPECIAL.index("<padding>")


@pytest.mark.parametrize("word", SPECIAL)
def test_no_text_is_taken_for_a_special_token(word: str) -> None:
    modality = fitted(word, word)
    assert not set(read(modality, word)) & {0, 2}
    assert word not in modality.facts["vocabulary"]


@pytest.mark.parametrize("text", ["x", "😀", f"a {FAMILY} 我 Привет हिन्दी", "word " * 100_000, "我" * 100_000])
@pytest.mark.parametrize("split", ["words", "characters", "jieba"])
def test_texts_of_any_length_and_script_become_one_to_max_length_numbers(text: str, split: str) -> None:
    modality = fitted(text[:200], split=split, max_length=50)
    value = modality.read(text, given)  # type: ignore[arg-type]
    assert value.dtype == np.int64
    assert 1 <= len(value) <= 50
    assert len(modality.words(value)) == len(value)
    assert modality.draw(value).size[0] > 0


@hypothesis.given(text=st.text(), split=st.sampled_from(["words", "characters"]))
@hypothesis.settings(deadline=None)
def test_any_text_is_read_and_splitting_it_loses_only_white_space(text: str, split: str) -> None:
    modality = fitted(text, split=split, max_length=20)
    value = modality.read(text, given)  # type: ignore[arg-type]
    assert 1 <= len(value) <= 20
    assert all(0 < number < modality.num_channels for number in value.tolist())
    cleaned = clean(text, modality.clean)
    assert "".join(SPLITS[split](cleaned)) == "".join(cleaned.split())  # type: ignore[index]
    assert clean(cleaned, ("whitespace",)) == cleaned


def test_what_is_cut_is_counted_and_said() -> None:
    modality = fitted("a b c d", "a b", "a", max_length=2)
    assert modality.facts["texts"] == {"number": 3, "median": 2.0, "longest": 4, "cut": 1}
    assert any("1 of 3 training texts (33.3 %)" in note and "cut at 2" in note for note in modality.facts["notes"])
    assert read(modality, "a b c d") == read(modality, "a b")
    assert not any("cut" in note for note in fitted("a b c d", "a").facts["notes"])


def test_facts_are_all_that_is_needed_to_read_the_same_again() -> None:
    modality = fitted("the cat", "the dog")
    again = TextModality(modality.facts, min_count=1)
    assert not again.wants_fit
    assert read(again, "the dog and the cat") == read(modality, "the dog and the cat")
    travelled = pickle.loads(pickle.dumps(modality))
    assert read(travelled, "the dog") == read(modality, "the dog")


def test_numbers_are_read_as_their_digits_and_lists_are_refused() -> None:
    assert read(fitted("2016", "3.5"), 2016) == [3]
    with pytest.raises(BadCell, match="list was given"):
        read(fitted("a"), ["a", "b"])
    with pytest.raises(BadCell, match="halves of letters"):
        read(fitted("a"), "a \ud83d b")


def test_the_length_of_a_cell_is_known_without_reading_it() -> None:
    assert TextModality({}).length("four") == 4
    assert TextModality({}, file=True).length("a/b.txt") == 0


def test_numbers_reach_the_encoder_as_they_are() -> None:
    ids = torch.tensor([[3, 4], [5, 0]])
    preprocessor = TextModality({}).preprocessor(InputSpec())
    assert torch.equal(preprocessor(ids), ids)
    assert torch.equal(preprocessor.lengths(torch.tensor([2, 1])), torch.tensor([2, 1]))


# ---- files


def from_file(path: Path, **options: object) -> list[str]:
    modality = TextModality({}, file=True, **options)  # type: ignore[arg-type]
    return modality.read(path.name, lambda cell: path.parent / cell).tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "utf-8-sig", "big5"])
def test_a_file_is_read_in_its_declared_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("你好 world".encode(encoding))
    assert from_file(tmp_path / "a.txt", encoding=encoding) == ["你", "好", "world"]


def test_a_byte_order_mark_is_no_word(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("hi".encode("utf-8-sig"))
    assert from_file(tmp_path / "a.txt", clean=()) == ["hi"]


def test_a_file_in_another_encoding_is_refused_with_the_byte_and_what_to_try(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("ab 你好".encode("gb18030"))
    with pytest.raises(BadCell, match=r"a\.txt is not in utf-8: byte 3 \(0xc4\) .*gb18030") as caught:
        from_file(tmp_path / "a.txt")
    assert caught.value.code == "wrong-encoding"


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        ("hello".encode("utf-16"), "utf-8", r"byte 0 .*its bytes fit utf-16$"),
        ("hello".encode("utf-16-le"), "utf-8", "zero at letter 1.*utf-16-le"),
        (b"caf\xe9", "gb18030", "latin-1"),
    ],
)
def test_the_likely_encoding_is_named(tmp_path: Path, content: bytes, encoding: str, said: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(BadCell, match=said):
        from_file(tmp_path / "a.txt", encoding=encoding)


def test_an_empty_file_is_an_empty_text_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    assert from_file(tmp_path / "a.txt") == []
    with pytest.raises(BadCell, match="does not exist"):
        from_file(tmp_path / "b.txt")


def test_a_path_is_a_file_and_a_str_a_text_where_a_person_gives_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    for file in (False, True):
        modality = TextModality({}, file=file)
        assert modality.read(tmp_path / "a.txt", given).tolist() == ["from", "a", "file"]  # type: ignore[arg-type]
        assert modality.read("as given", given).tolist() == ["as", "given"]  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=f"{encoding}.*gb18030"):
        TextModality({}, encoding=encoding)


def test_published_texts_read_in_their_own_encoding(shared: Path) -> None:
    folder = shared / "data" / "mvsa" / "raw_text_sample"
    files = sorted(folder.glob("*.txt"))
    assert files
    for path in files:
        assert from_file(path, encoding="gb18030"), path.name


# ---- the tokenizer of an encoder


@pytest.fixture(scope="module")
def brought() -> dict[str, object]:
    return dict(HuggingFaceEncoder.brings({"weights": str(tiny_bert())}))


def test_an_encoder_s_tokenizer_numbers_the_text_as_its_own_library_does(brought: dict[str, object]) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tiny_bert())
    modality = TextModality({**brought, "texts": {}})
    for text in ("the cat sat on the mats", "", "UNSEEN 我", "a ball at left.", "😀"):
        assert read(modality, text) == theirs(text, padding=False, truncation=False)["input_ids"]
    assert modality.num_channels == len(theirs)
    assert modality.geometry.fill == theirs.pad_token_id


def test_a_cut_text_keeps_what_the_tokenizer_puts_around_it(brought: dict[str, object]) -> None:
    modality = TextModality({**brought, "texts": {}}, max_length=5)
    assert modality.words(modality.read("the cat sat on the mat", given)) == ["[CLS]", "the", "cat", "sat", "[SEP]"]  # type: ignore[arg-type]
    assert modality.words(modality.read("", given)) == ["[CLS]", "[SEP]"]  # type: ignore[arg-type]
    assert len(read(TextModality({**brought, "texts": {}}), "cat " * 100_000)) == 24  # what the network takes


def test_more_tokens_than_the_encoder_takes_are_refused(brought: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="max_length is 25, but the encoder takes 24"):
        TextModality(brought, max_length=25)


def test_texts_for_a_tokenizer_are_counted_and_need_no_vocabulary(brought: dict[str, object]) -> None:
    modality = TextModality(brought, max_length=4)
    facts = modality.fit(modality.read(text, given) for text in ("the cat sat on the mat", "a"))  # type: ignore[arg-type]
    assert facts["texts"] == {"number": 2, "median": 5.5, "longest": 8, "cut": 1}
    assert "vocabulary" not in facts


def test_case_is_left_to_a_tokenizer_unless_it_is_asked_for(brought: dict[str, object]) -> None:
    assert "lowercase" not in TextModality(brought).clean
    assert "lowercase" in TextModality({}).clean
    assert TextModality(brought, clean=("lowercase",)).clean == ("lowercase",)
