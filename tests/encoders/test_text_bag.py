"""The bag of words and runs: hand-worked sums, runs within the text only, and what order it keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.encoders.text_bag import TextBag


def built(**options: int) -> TextBag:
    torch.manual_seed(0)
    return TextBag(10, dim=4, **options).eval()  # type: ignore[arg-type]


def vector(encoder: TextBag, words: list[int], padded_to: int | None = None) -> Tensor:
    row = torch.tensor([words + [0] * ((padded_to or len(words)) - len(words))])
    return encoder(row, torch.tensor([len(words)])).pooled[0].detach()


def test_words_alone_are_summed_over_the_root_of_their_number() -> None:
    encoder = built(longest=1)
    table = encoder.embedding.weight.detach()
    assert len(table) == 10
    torch.testing.assert_close(vector(encoder, [3, 5, 5, 7]), (table[3] + 2 * table[5] + table[7]) / 2)


def test_runs_are_counted_beside_the_words() -> None:
    encoder = built(longest=3, buckets=1)  # every run shares the one bucket
    table = encoder.embedding.weight.detach()
    words = table[3] + table[5] + table[7] + table[4]
    torch.testing.assert_close(vector(encoder, [3, 5, 7, 4]), (words + (3 + 2) * table[10]) / 9**0.5)


def test_padding_is_neither_a_word_nor_part_of_a_run() -> None:
    encoder = built(longest=3, buckets=50)
    assert torch.equal(vector(encoder, [3, 5, 7]), vector(encoder, [3, 5, 7], padded_to=9))
    assert torch.equal(vector(encoder, [3]), vector(encoder, [3], padded_to=2))


def test_order_matters_through_the_runs() -> None:
    assert torch.allclose(vector(built(longest=1), [3, 5]), vector(built(longest=1), [5, 3]))
    assert not torch.allclose(
        vector(built(longest=2, buckets=5000), [3, 5]), vector(built(longest=2, buckets=5000), [5, 3])
    )


def test_runs_spread_over_the_buckets() -> None:
    encoder = TextBag(200, longest=2, buckets=1000)
    first, second = torch.meshgrid(torch.arange(100), torch.arange(100, 200), indexing="ij")
    pairs = torch.stack([first.flatten(), second.flatten()], dim=1)
    places, _ = encoder._runs(pairs, torch.full((len(pairs),), 2))
    counts = torch.bincount(places[:, 2] - 200, minlength=1000)
    assert len(counts) == 1000
    # 10,000 pairs in 1,000 buckets: a random spread has a deviation of about the root of 10
    assert counts.float().std() < 2 * 10**0.5


def test_dropout_leaves_out_in_training_only() -> None:
    encoder = TextBag(10, dropout=0.5)
    row, length = torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([6])
    assert torch.equal(encoder.eval()(row, length).tokens, encoder(row, length).tokens)
    encoder.train()
    assert not torch.equal(encoder(row, length).tokens, encoder(row, length).tokens)
