"""What every data format is."""

from __future__ import annotations

from typing import Protocol

from weft.data.manifest import Manifest


class Format(Protocol):
    """Where samples come from. Constructors take keyword-only options; `root` is one of them where there is a folder.

    Constructing looks at nothing; `manifest` reads tables and folders, and decodes no sample.
    """

    def manifest(self) -> Manifest:
        """All samples of all splits.

        Raises:
            DataFault: the files are not as the format says.
        """
