"""Cleaning of text: a few named steps, always in one order."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Literal

Step = Literal["unicode", "entities", "urls", "mentions", "hashtags", "lowercase", "whitespace"]

#: Invisible characters that only disturb: soft hyphen, zero-width space, marks of direction, byte order mark. The
#: joiners U+200C and U+200D stay: Persian, Indic scripts and emoji are spelt with them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@])@\w+")
_HASHTAG = re.compile(r"(?<![\w#&])#(?=\w*[^\W\d_])(\w+)")

#: Between the words of a hashtag: aB, ABc, a1, 1a and underscores.
_SEAMS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|_+")


def _unicode(text: str) -> str:
    return _CONTROL.sub(" ", _INVISIBLE.sub("", unicodedata.normalize("NFC", text)))


def _hashtags(text: str) -> str:
    return _HASHTAG.sub(lambda found: _SEAMS.sub(" ", found[1]).strip(), text)


#: {step: what it does}, in the order in which they are taken. Emoji are touched by none.
STEPS: dict[Step, Callable[[str], str]] = {
    "unicode": _unicode,
    "entities": html.unescape,
    "urls": lambda text: _URL.sub("http", text),
    "mentions": lambda text: _MENTION.sub("@user", text),
    "hashtags": _hashtags,
    "lowercase": str.lower,
    "whitespace": lambda text: " ".join(text.split()),
}


def clean(text: str, steps: Collection[Step]) -> str:
    """The text after these steps, taken in the order of `STEPS` however they are given.

    Links become `http` and names of users `@user`, as in TweetEval (Barbieri et al., Findings of EMNLP 2020,
    arXiv:2010.12421); `#NewYorkCity` becomes `New York City`; `&amp;` becomes `&`.
    """
    for name, step in STEPS.items():
        if name in steps:
            text = step(text)
    return text
