"""Text as words or characters, in any script."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from typing import Any, Literal

from weft.optional import require

Split = Literal["words", "jieba", "characters"]

#: A picture, and what may follow it: a variation selector, a skin colour, flags of regions.
_PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_MODIFIED = f"{_PICTURE}[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"

#: One emoji: a flag of two letters, a key cap, or pictures joined into one.
EMOJI = f"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_MODIFIED}(?:\u200d{_MODIFIED})*"

#: Chinese characters and Japanese syllables: written without spaces, they are words of one letter unless jieba splits.
UNSPACED = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"

_emoji = re.compile(f"({EMOJI})")

#: Chinese without any mark of punctuation; jieba's time grows with the square of such a passage.
_passage = re.compile(f"([{UNSPACED}]{{500}})")


def words(text: str) -> Iterator[str]:
    """Words, numbers, marks of punctuation and emoji, in order; `don't`, `3.14`, `#tag` and `@user` stay whole.

    Characters of scripts without spaces between words come one by one if they are Chinese or Japanese; a passage in
    another (Thai, Khmer, Lao, Burmese) is one word.
    """
    return (found[0] for found in _patterns()[0].finditer(text))


def characters(text: str) -> Iterator[str]:
    """Single characters with their combining marks, and emoji; white space is left out."""
    return (found[0] for found in _patterns()[1].finditer(text))


def jieba_words(text: str) -> Iterator[str]:
    """Chinese words as jieba finds them; emoji stay whole, white space is left out.

    A passage of more than 500 characters without punctuation is looked at in pieces.

    Reference: jieba, github.com/fxsjy/jieba (a word graph over a dictionary, a hidden Markov model for other words).

    Raises:
        WeftError: jieba is not installed.
    """
    cut = _jieba().cut
    for place, part in enumerate(_emoji.split(text)):
        if place % 2:
            yield part
        else:
            yield from (word for piece in _passage.split(part) for word in cut(piece) if not word.isspace())


SPLITS: dict[Split, Callable[[str], Iterator[str]]] = {
    "words": words,
    "jieba": jieba_words,
    "characters": characters,
}


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """(words, characters). Python's \\w leaves out combining marks, by which half of Asia writes its vowels."""
    marks = _combining_marks()
    unspaced = f"[{UNSPACED}][{marks}]*"
    letter = f"(?:(?![{UNSPACED}]|{_PICTURE})[\\w{marks}\u200c\u200d])"
    number = r"\d+(?:[.,:]\d+)*"
    word = f"[#@]?{letter}+(?:['’]{letter}+)*"
    either = f"{EMOJI}|{unspaced}|{number}(?!{letter})|{word}|\\S[{marks}]*"
    return re.compile(either), re.compile(f"{EMOJI}|\\S[{marks}\u200c\u200d]*")


def _combining_marks() -> str:
    """The inside of a character class of all combining marks, as ranges."""
    marks = (code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("M"))
    runs = [[code for _, code in run] for _, run in groupby(enumerate(marks), key=lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


@cache
def _jieba() -> Any:
    """jieba's splitter with its own dictionary, read anew in each process: nothing is left in shared folders."""
    jieba = require("jieba", extra="text")
    jieba.setLogLevel(logging.WARNING)
    splitter = jieba.Tokenizer()
    splitter.FREQ, splitter.total = splitter.gen_pfdict(splitter.get_dict_file())
    splitter.initialized = True
    return splitter
