"""Text files in a declared encoding."""

from __future__ import annotations

import codecs
from pathlib import Path

from weft.modalities.base import BadCell

#: Encodings that are tried, in this order, to say what a file may be in. Nothing is ever guessed for training.
COMMON = ("utf-8", "gb18030", "utf-16", "big5", "shift_jis", "euc_kr", "cp1251", "cp1252", "latin-1")

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def text_encoding(name: str) -> str:
    """The encoding's usual name.

    Raises:
        ValueError: Python knows no text encoding of that name.
    """
    try:
        found = codecs.lookup(name)
    except LookupError as error:
        raise ValueError(f"encoding is {name!r}; give one that Python knows, such as {', '.join(COMMON)}") from error
    if not found._is_text_encoding:
        raise ValueError(f"encoding is {name!r}, which is not of text; give one such as {', '.join(COMMON)}")
    return found.name


def read_text(path: Path, encoding: str) -> str:
    """The whole of a text file, without a byte order mark.

    Raises:
        BadCell: it cannot be read, or its bytes are not of that encoding; the message says which may fit.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise BadCell("missing-file", f"{path} {reason}") from error
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} (0x{content[error.start]:02x})"
        raise BadCell(
            "wrong-encoding", f"{path} is not in {encoding}: {byte} does not fit; {_advice(content)}"
        ) from error
    if "\0" in text:
        place = text.index("\0")
        raise BadCell(
            "wrong-encoding",
            f"{path} has a zero at letter {place}, so it is no text in {encoding}; it may "
            "be in utf-16-le or utf-16-be, or no text at all",
        )
    return text.removeprefix("\ufeff")


def _advice(content: bytes) -> str:
    """What to write in the place of an encoding that does not fit."""
    marked = [name for mark, name in _MARKS if content.startswith(mark)]
    fitting = marked or [name for name in COMMON if _fits(content, name)]
    return f"set `encoding` to what it was written in, or convert it; its bytes fit {', '.join(fitting)}"


def _fits(content: bytes, encoding: str) -> bool:
    try:
        return "\0" not in content.decode(encoding)
    except UnicodeDecodeError:
        return False
