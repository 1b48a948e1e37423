"""Text as numbers: by a vocabulary of one's own, or by the tokenizer that an encoder brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

from weft.data.text.splitting import SPLITS, Split
from weft.optional import require

#: What stands for the space after the end, for a word that is in no vocabulary, and for a text without any word. No
#: text is split into such words, so none can be mistaken for them.
PADDING, UNKNOWN, EMPTY = SPECIAL = ("<padding>", "<unknown>", "<empty>")


class Numbering(Protocol):
    """Texts as numbers and back.

    Attributes:
        size: all numbers are below this.
        padding: what follows the end in a batch.
    """

    size: int
    padding: int

    def tokens(self, text: str) -> list[str]:
        """All of its tokens as the vocabulary writes them, not cut; none for an empty text."""

    def numbers(self, text: str) -> list[int]:
        """The numbers of its first tokens: one at least, at most as many as are taken."""

    def words(self, numbers: Sequence[int]) -> list[str]:
        """The tokens of numbers as a person reads them, one for each."""

    def text(self, numbers: Sequence[int]) -> str:
        """The tokens of numbers joined to a text as well as can be."""


class Vocabulary:
    """Words and their numbers: padding 0, unknown 1, empty 2, then the words.

    Args:
        known: the words, the most frequent first.
        split: how texts are split.
        max_length: so many words of a text are taken.
    """

    padding = SPECIAL.index(PADDING)

    def __init__(self, known: Sequence[str], *, split: Split, max_length: int) -> None:
        self._words = (*SPECIAL, *known)
        self._split, self._max_length = split, max_length
        self._numbers = {word: number for number, word in enumerate(self._words)}
        self.size = len(self._words)

    def tokens(self, text: str) -> list[str]:
        """See `Numbering.tokens`."""
        return list(SPLITS[self._split](text))

    def numbers(self, text: str) -> list[int]:
        """See `Numbering.numbers`; what lies beyond is not even split."""
        unknown = SPECIAL.index(UNKNOWN)
        first = islice(SPLITS[self._split](text), self._max_length)
        return [self._numbers.get(word, unknown) for word in first] or [SPECIAL.index(EMPTY)]

    def words(self, numbers: Sequence[int]) -> list[str]:
        """See `Numbering.words`."""
        return [self._words[number] for number in numbers]

    def text(self, numbers: Sequence[int]) -> str:
        """See `Numbering.text`: with spaces between."""
        return " ".join(self.words(numbers))


class Tokenizer:
    """The tokenizer of a pretrained network. What it puts around a text stays where the text is cut.

    Args:
        content: of its tokenizer.json.
        padding: number of the token that pads.
        empty: number of the token that stands for a text without any.
        size: rows of the network's table of embeddings.
        max_length: so many tokens of a text are taken.
    """

    def __init__(self, content: str, *, padding: int, empty: int, size: int, max_length: int) -> None:
        self._content, self._empty, self._max_length = content, empty, max_length
        self.padding, self.size = padding, size

    @cached_property
    def _whole(self) -> Any:
        tokenizer = require("tokenizers", extra="text").Tokenizer.from_str(self._content)
        tokenizer.no_padding()  # files often ask for a fixed length, and the collation of a batch knows better
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _cutting(self) -> Any:
        tokenizer = require("tokenizers", extra="text").Tokenizer.from_str(self._content)
        tokenizer.no_padding()
        tokenizer.enable_truncation(self._max_length)
        return tokenizer

    def tokens(self, text: str) -> list[str]:
        """See `Numbering.tokens`."""
        return list(self._whole.encode(text).tokens)

    def numbers(self, text: str) -> list[int]:
        """See `Numbering.numbers`."""
        return list(self._cutting.encode(text).ids) or [self._empty]

    def words(self, numbers: Sequence[int]) -> list[str]:
        """See `Numbering.words`."""
        written = (self._cutting.decode([number], skip_special_tokens=False).strip() for number in numbers)
        return [word or str(self._cutting.id_to_token(n)) for word, n in zip(written, numbers, strict=True)]

    def text(self, numbers: Sequence[int]) -> str:
        """See `Numbering.text`: word pieces become words, and what the tokenizer put around them is left out."""
        return str(self._cutting.decode(list(numbers), skip_special_tokens=True))


def most_frequent(counts: Mapping[str, int], *, most: int, min_count: int) -> list[str]:
    """The words of a vocabulary: the most frequent first, equally frequent ones in the order of their letters.

    Args:
        counts: of every word.
        most: so many words at most.
        min_count: words that occur less often are left out.
    """
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    return [word for _, word in kept[:most]]
