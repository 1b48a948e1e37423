"""Small XML files read with suspicion."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from weft.errors import DataFault

#: An annotation has some kilobytes; what is larger is none.
LARGEST = 4 << 20


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file in UTF-8 that declares no document type: entities could be made to fill the memory.

    Raises:
        DataFault: it is missing, too large, in another encoding, declares a document type, or is no XML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataFault(f"{path} does not exist", code="missing-file") from error
    except UnicodeDecodeError as error:
        raise DataFault(f"{path} is not UTF-8 (byte {error.start}); save it so", code="encoding") from error
    except OSError as error:
        raise DataFault(f"{path} cannot be read: {error}", code="unreadable-file") from error
    if len(content) > LARGEST:
        raise DataFault(f"{path} is larger than {LARGEST >> 20} MiB, which no annotation is", code="bad-xml")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataFault(f"{path} declares a document type; annotations have none: remove it", code="bad-xml")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataFault(f"{path} is no XML: {error}", code="bad-xml") from error
    except ValueError as error:  # text that declares another encoding
        raise DataFault(f"{path} is no XML in UTF-8: {error}", code="bad-xml") from error
