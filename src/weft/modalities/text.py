"""Text: cleaned, split and numbered, by a vocabulary of the training split or by the encoder's own tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.text.cleaning import STEPS, Step, clean
from weft.data.text.files import read_text, text_encoding
from weft.data.text.picture import page
from weft.data.text.splitting import Split
from weft.data.text.vocabulary import Numbering, Tokenizer, Vocabulary, most_frequent
from weft.modalities.base import BadCell, CellKind, Facts, Geometry, Lines, Modality, Preprocessor, Resolve
from weft.registry import Range, register
from weft.types import InputSpec

#: Words of a text that are taken where nobody says how many.
_MAX_LENGTH = 512


@register("modality", "text")
class TextModality(Modality):
    """A text of any language and length: one word or a hundred thousand.

    An empty text is present: it is the one token `<empty>`. Only an empty cell is absent. An encoder with a tokenizer
    of its own numbers the text by that, and then `split`, `vocabulary` and `min_count` are of no matter.

    Args:
        file: a cell is the path of a text file, instead of the text itself.
        encoding: of the files, such as utf-8, gb18030 or latin-1.
        clean: steps of cleaning, always taken in this order. unicode: composed letters, and no invisible ones;
            entities: `&amp;` becomes `&`; urls: a link becomes `http`; mentions: a user's name becomes `@user`;
            hashtags: `#NewYork` becomes `New York`; lowercase; whitespace: single spaces. Emoji stay. By default all
            of them, lowercase left to the tokenizer where an encoder brings one.
        split: words: at spaces and punctuation, Chinese and Japanese by single characters; jieba: Chinese by words;
            characters: every character by itself.
        vocabulary: so many words at most, the most frequent of the training split.
        min_count: words that occur less often there are unknown.
        max_length: tokens of a text that are taken, the first ones; by default 512, or as many as the encoder takes.
    """

    kind: ClassVar[str] = "text"
    cell: ClassVar[CellKind] = "value"

    def __init__(
        self,
        facts: Facts,
        *,
        file: bool = False,
        encoding: str = "utf-8",
        clean: tuple[Step, ...] | None = None,
        split: Split = "words",
        vocabulary: Annotated[int, Range(1)] = 20000,
        min_count: Annotated[int, Range(1)] = 2,
        max_length: Annotated[int, Range(1)] | None = None,
    ) -> None:
        self.facts = facts
        self.file = file
        self.encoding = text_encoding(encoding)
        self.split: Split = split
        self.vocabulary = vocabulary
        self.min_count = min_count
        brought = "tokenizer" in facts
        by_default = tuple(step for step in STEPS if not (brought and step == "lowercase"))
        self.clean: tuple[Step, ...] = by_default if clean is None else clean
        self.max_length = self._length_limit(max_length)
        self.geometry = Geometry("sequence", fill=self.numbering.padding)

    def _length_limit(self, asked: int | None) -> int:
        limit: int | None = self.facts.get("max_length")
        if asked is not None and limit is not None and asked > limit:
            raise ValueError(f"max_length is {asked}, but the encoder takes {limit} tokens at most")
        return asked or limit or _MAX_LENGTH

    @cached_property
    def numbering(self) -> Numbering:
        """How texts become numbers."""
        if "tokenizer" not in self.facts:
            known = self.facts.get("vocabulary", ())
            return Vocabulary(known, split=self.split, max_length=self.max_length)
        return Tokenizer(
            self.facts["tokenizer"],
            padding=self.facts["padding"],
            empty=self.facts["empty"],
            size=self.facts["num_tokens"],
            max_length=self.max_length,
        )

    @property
    def num_channels(self) -> int:
        """How many different tokens there are."""
        return self.numbering.size

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(L,) int64 numbers of the tokens, 1 <= L <= max_length; until fitted, all tokens as strings.

        Args:
            cell: the text, or with `file` the path of a file. A `Path` is always a file.
            resolve: what a path cell stands for.

        Raises:
            BadCell: not a text, or a file that is not in the declared encoding.
        """
        text = clean(self._text(cell, resolve), self.clean)
        if self.wants_fit:
            return np.array(self.numbering.tokens(text), dtype=object)
        return np.array(self.numbering.numbers(text), np.int64)

    def _text(self, cell: Any, resolve: Resolve) -> str:
        source = resolve(cell) if self.file or isinstance(cell, Path) else cell
        if isinstance(source, Path):
            return read_text(source, self.encoding)
        if isinstance(source, (int, float, np.integer, np.floating)):  # a column of years is read as numbers
            return str(source)
        if not isinstance(source, str):
            raise BadCell("not-text", f"{type(source).__name__} was given where a text is read: {str(source)[:60]!r}")
        if not source.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in source):
            raise BadCell("not-text", f"the text {source[:60]!a} has halves of letters in it; it was decoded wrongly")
        return source

    def length(self, cell: Any) -> int:
        """Its letters; nothing is known of files."""
        return len(cell) if isinstance(cell, str) and not self.file else 0

    @property
    def wants_fit(self) -> bool:
        """Until the texts of the training split have been counted."""
        return "texts" not in self.facts

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """The vocabulary, unless an encoder brought one, and how long the texts are.

        Args:
            values: all tokens of each text, as strings.
        """
        counts: Counter[str] = Counter()
        lengths: list[int] = []
        for tokens in values:
            lengths.append(max(len(tokens), 1))
            counts.update(tokens.tolist())
        facts: dict[str, Any] = {"texts": _lengths(lengths, self.max_length)}
        facts["notes"] = _notes(facts["texts"], self.max_length)
        if "tokenizer" not in self.facts:
            known = most_frequent(counts, most=self.vocabulary, min_count=self.min_count)
            covered, total = sum(counts[word] for word in known), max(counts.total(), 1)
            said = f"a vocabulary of {len(known)} words covers {100 * covered / total:.1f} % of the words in them"
            facts |= {"vocabulary": known, "notes": [*facts["notes"], said]}
        return facts

    def means_as(self, other: Modality) -> bool:
        """Two texts, if one vocabulary or one tokenizer numbers both."""
        return all(self.facts.get(name) == other.facts.get(name) for name in ("vocabulary", "tokenizer"))

    @property
    def names_file(self) -> bool:
        """See `Field.names_file`: with `file`."""
        return self.file

    @property
    def reading(self) -> Facts:
        """How words are numbered."""
        return {name: fact for name, fact in self.facts.items() if name not in ("texts", "notes")}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(L,) int64."""
        return torch.from_numpy(value)

    def words(self, value: np.ndarray) -> list[str]:
        """The L tokens of a value as a person reads them, `<unknown>` and `<empty>` among them."""
        return self.numbering.words(value.tolist())

    def describe(self, value: np.ndarray) -> Lines:
        """The text as its tokens tell it: cleaned, cut, and without the words that nobody knows."""
        return (("", self.numbering.text(value.tolist())),)

    def draw(self, value: np.ndarray) -> Image.Image:
        """Its tokens as lines of print."""
        return page(self.words(value))

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Numbers go to the encoder as they are."""
        return TextPreprocessor()


class TextPreprocessor(Preprocessor):
    """Leaves token numbers as they are."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, L) int64, unchanged."""
        return inputs


def _lengths(lengths: Sequence[int], limit: int) -> dict[str, float]:
    """What is kept of the lengths of the training texts."""
    return {
        "number": len(lengths),
        "median": float(median(lengths)) if lengths else 0.0,
        "longest": max(lengths, default=0),
        "cut": sum(length > limit for length in lengths),
    }


def _notes(texts: Mapping[str, float], limit: int) -> list[str]:
    number, cut = texts["number"], texts["cut"]
    notes = [f"{number} training texts of {texts['median']:g} tokens (median), the longest of {texts['longest']}"]
    if cut:
        share = f"{100 * cut / number:.1f} %"
        notes.append(f"{cut} of {number} training texts ({share}) are longer than max_length and cut at {limit} tokens")
    return notes
