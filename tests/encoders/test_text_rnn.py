"""Words by LSTM and GRU: equal to torch's own on each text alone; vectors from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from weft.data.text.vectors import read_vectors
from weft.encoders.text_rnn import TextRNN
from weft.errors import WeftError

VOCABULARY = ["the", "cat", "dog"]
SIZE = 3 + len(VOCABULARY)
FACTS = {"vocabulary": VOCABULARY}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_tokens_and_summary_are_those_of_each_text_alone(cell: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    encoder = TextRNN(9, embedding=4, hidden=3, layers=2, cell=cell, bidirectional=bidirectional).eval()  # type: ignore[arg-type]
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [2, 0, 0, 0]])
    features = encoder(ids, torch.tensor([4, 2, 1]))
    assert features.mask.sum(1).tolist() == [4, 2, 1]
    for row, length in enumerate([4, 2, 1]):
        outputs, state = encoder.rnn(encoder.embedding(ids[row : row + 1, :length]))
        last = state[0] if cell == "lstm" else state
        torch.testing.assert_close(features.tokens[row, :length], outputs[0])
        expected = torch.cat([last[-2, 0], last[-1, 0]]) if bidirectional else last[-1, 0]
        torch.testing.assert_close(features.pooled[row], expected)
    assert encoder.spec.dim == (6 if bidirectional else 3)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("header", [[], ["3 2"]], ids=["GloVe", "word2vec"])
def test_vectors_of_a_file_are_taken_and_what_it_has_is_said(tmp_path: Path, header: list[str]) -> None:
    path = write(tmp_path / "vectors.txt", *header, "cat 1 2", "The 3 4", "bird 5 6")
    encoder = TextRNN(SIZE, True, {**FACTS, **TextRNN.brings({"vectors": str(path)})}, vectors=str(path))
    assert encoder.embedding.weight[4].tolist() == [1, 2]
    assert encoder.embedding.weight[3].tolist() == [3, 4]  # "the", which the file has as "The"
    assert encoder.notes == ("vectors.txt has vectors of 2 of the 3 words (66.7 %)",)
    assert not torch.equal(encoder.embedding.weight[5], torch.zeros(2))


def test_a_word_as_it_is_written_comes_before_another_case_of_it(tmp_path: Path) -> None:
    for lines in (("The 1", "the 2", "THE 3"), ("the 2", "The 1")):
        path = write(tmp_path / "vectors.txt", *(f"{line} 0" for line in lines))
        assert read_vectors(path, ["the"])["the"].tolist() == [2, 0]


def test_frozen_vectors_stay_and_other_words_learn(tmp_path: Path) -> None:
    path = write(tmp_path / "vectors.txt", "cat 1 2 3", "the 4 5 6")
    facts = {**FACTS, **TextRNN.brings({"vectors": str(path)})}
    encoder = TextRNN(SIZE, True, facts, vectors=str(path), freeze_vectors=True, hidden=2, dropout=0.0)
    ids = torch.tensor([[3, 4, 5]])
    before = encoder.embedding(ids).detach().clone()
    encoder(ids).tokens.sum().backward()
    torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.5).step()
    after = encoder.embedding(ids)
    assert torch.equal(after[0, :2], before[0, :2])
    assert before[0, :2].tolist() == [[4, 5, 6], [1, 2, 3]]
    assert not torch.equal(after[0, 2], before[0, 2])


def test_a_run_needs_the_file_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "vectors.txt", "cat 1 2 3")
    facts = {**FACTS, **TextRNN.brings({"vectors": str(path)})}
    options = {"vectors": str(path), "freeze_vectors": True, "hidden": 2}
    first = TextRNN(SIZE, True, facts, **options).eval()  # type: ignore[arg-type]
    path.unlink()
    second = TextRNN(SIZE, False, facts, **options).eval()  # type: ignore[arg-type]
    second.load_state_dict(first.state_dict())
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(first(ids).tokens, second(ids).tokens)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cat 1 2\nthe 1\n", "line 2: 'the 1.*a word and its 2 numbers"),
        (b"cat 1 2\nthe 1 nan\n", "line 2.*2 finite"),
        (b"cat 1 2\nthe 1 x\n", "line 2: the vector of 'the' is not all numbers"),
        (b"cat\n", "line 1: 'cat.*a word and its numbers"),
        (b"", "holds no word vectors"),
        (b"3 2\ncat \xff\xfe\x00\x01", "word2vec's binary files"),
    ],
)
def test_a_file_that_is_no_vectors_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(WeftError, match=said):
        read_vectors(path, ["the", "cat"])


def test_words_with_spaces_in_them_are_read_from_the_right(tmp_path: Path) -> None:
    path = write(tmp_path / "vectors.txt", "cat 1 2", ". . . 3 4", "the 5 6")
    assert read_vectors(path, ["the"])["the"].tolist() == [5, 6]


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeftError, match=r"none\.txt are not there"):
        TextRNN.brings({"vectors": str(tmp_path / "none.txt")})


def test_freezing_without_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="freeze_vectors needs"):
        TextRNN(SIZE, freeze_vectors=True)


def test_words_that_the_file_lacks_are_of_the_size_of_the_others(tmp_path: Path) -> None:
    numbers = 5 + 0.1 * np.random.default_rng(0).standard_normal((200, 8))
    words = [f"w{place}" for place in range(400)]
    path = write(
        tmp_path / "v.txt", *(f"{w} {' '.join(map(str, row))}" for w, row in zip(words, numbers, strict=False))
    )
    encoder = TextRNN(403, True, {"vocabulary": words, "vector_width": 8}, vectors=str(path))
    lacking = encoder.embedding.weight[203:]
    assert lacking.mean().item() == pytest.approx(5, abs=0.05)
    assert lacking.std().item() == pytest.approx(0.1, rel=0.2)
