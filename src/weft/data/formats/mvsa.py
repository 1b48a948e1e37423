"""MVSA: posts of a sentence and a picture with a sentiment, as published or with the lists of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from weft.data.duplicates import joined, same_pictures, same_texts
from weft.data.listing import absent_notes, by_stem, column_of, folder, read_names, read_text
from weft.data.manifest import SPLITS, Column, Manifest
from weft.errors import DataFault
from weft.registry import register

#: In the order of their numbers in the lists.
CLASSES = ("positive", "neutral", "negative")

#: The file of the annotators' labels, as published.
OFFICIAL = "labelResultAll.txt"


@register("format", "mvsa")
class Mvsa:
    """Posts with a sentence `data/N.txt`, a picture `data/N.jpg` and a sentiment: positive, neutral or negative.

    The labels come from lists `ID-label-SPLIT.txt` (a header, then `N,0`: 0 positive, 1 neutral, 2 negative), or from
    the published `labelResultAll.txt`, in which annotators judged text and picture apart: one in MVSA-Single, three in
    MVSA-Multiple. Those become one label as is usual. Of several annotators the majority counts, for the text and for
    the picture; a post without one is left out. Then text and picture agree, or one of them is neutral and the other
    decides, or one is positive and the other negative and the post is left out. No split is published with these
    labels: every post is train.

    Columns: `text`, the sentence itself; `image`; `label`; and `group`, which posts of the same text or picture share,
    so that they stay in one part of a split.

    Reference: Niu et al., MMM 2016; the rules: Xu and Mao, CIKM 2017, doi:10.1145/3132847.3133142.

    Args:
        root: the folder that holds `data/` and the labels.
        labels: lists, official (`labelResultAll.txt`), or auto: the lists where there are any.
        encoding: of the texts, such as utf-8 or gb18030. auto: UTF-8, unless most of the texts with a letter beyond
            ASCII are not valid UTF-8, as in the published folders: then GB18030.
        undecodable: error refuses a text with bytes that are not in its encoding; replace puts � in their place, and
            counts such texts.
        near_duplicates: find posts of the same text or picture; without, every post is a group of its own.
    """

    def __init__(
        self,
        *,
        root: str,
        labels: Literal["auto", "lists", "official"] = "auto",
        encoding: str = "auto",
        undecodable: Literal["error", "replace"] = "error",
        near_duplicates: bool = True,
    ) -> None:
        self.root = root
        self.labels = labels
        self.encoding = encoding
        self.undecodable = undecodable
        self.near_duplicates = near_duplicates

    def manifest(self) -> Manifest:
        """All labelled posts: those of the lists in their order, or those of the official file.

        Raises:
            DataFault: the labels are missing or not as described, or a text is not in its encoding.
        """
        root = folder(self.root)
        data = folder(root, "data")
        labelled = self._labelled(root)
        pictures = column_of("data", labelled.ids, by_stem(data, endings=(".jpg", ".jpeg", ".png")))
        texts, notes = self._texts(data, labelled.ids)
        groups = labelled.ids
        if self.near_duplicates:
            files = [None if cell is None else root / cell for cell in pictures.to_pylist()]
            alike, said = same_pictures(files)
            groups = joined(labelled.ids, [*same_texts(texts), *alike])
            sizes = [size for size in Counter(groups).values() if size > 1]
            notes += [f"{sum(sizes)} posts share their text or picture with another; they form {len(sizes)} groups"]
            notes += said
        table = pa.table(
            {
                "id": pa.array(labelled.ids, pa.string()),
                "split": pa.array(labelled.splits, pa.string()),
                "text": pa.array(texts, pa.string()),
                "image": pictures,
                "label": pa.array(labelled.labels, pa.string()),
                "group": pa.array(groups, pa.string()),
            }
        )
        columns = {
            "text": Column("text"),
            "image": Column("image"),
            "label": Column("class", {"classes": list(CLASSES)}),
            "group": Column("class"),
        }
        absent = absent_notes(table.select(["image"]))
        return Manifest(table, root, columns, notes=(*labelled.notes, *notes, *absent), group="group")

    def _labelled(self, root: Path) -> _Labelled:
        lists = {split: root / f"ID-label-{split}.txt" for split in SPLITS}
        lists = {split: path for split, path in lists.items() if path.is_file()}
        if self.labels == "lists" or (self.labels == "auto" and lists):
            if not lists:
                raise DataFault(
                    f"{root} has no ID-label-train.txt, ID-label-val.txt or ID-label-test.txt; use labels: official "
                    f"with {OFFICIAL}",
                    code="missing-file",
                )
            return _of_lists(lists)
        if self.labels == "auto" and not (root / OFFICIAL).is_file():
            raise DataFault(f"{root} has neither ID-label-train.txt nor {OFFICIAL}; check `root`", code="missing-file")
        return _of_annotators(root / OFFICIAL)

    def _texts(self, data: Path, ids: Sequence[str]) -> tuple[list[str | None], list[str]]:
        """(each post's text, None where it is empty or missing, notes)."""
        files = by_stem(data, endings=(".txt",))
        contents = {name: (data / files[name]).read_bytes() for name in ids if name in files}
        encoding, notes = self.encoding, []
        if encoding == "auto":
            encoding, said = detected(contents.values())
            notes.append(said)
        texts = {name: self._decoded(data / files[name], content, encoding) for name, content in contents.items()}
        replaced = sum("\ufffd" in text for text in texts.values()) if self.undecodable == "replace" else 0
        if replaced:
            notes.append(f"{replaced} texts have � where a byte is not {encoding}")
        found = [texts.get(name) or None for name in ids]
        if None in found:
            notes.append(f"{found.count(None)} of {len(found)} posts have no text")
        return found, notes

    def _decoded(self, path: Path, content: bytes, encoding: str) -> str:
        try:
            text = content.decode(encoding, "strict" if self.undecodable == "error" else "replace")
            return text.removeprefix("\ufeff").strip()
        except LookupError as error:
            known = "utf-8 and gb18030 are usual"
            raise DataFault(f"there is no encoding {encoding!r}; {known}", code="encoding") from error
        except UnicodeDecodeError as error:
            raise DataFault(
                f"{path} is not {encoding} (byte {error.start}); give another `encoding`, mend the file, or say "
                "undecodable: replace",
                code="encoding",
            ) from error


def detected(contents: Iterable[bytes]) -> tuple[str, str]:
    """(the encoding of some texts, why): UTF-8 unless most of those with more than ASCII are not valid UTF-8."""
    valid = invalid = 0
    for content in contents:
        if not content.isascii():
            try:
                content.decode("utf-8")
                valid += 1
            except UnicodeDecodeError:
                invalid += 1
    encoding = "gb18030" if invalid > valid else "utf-8"
    return encoding, (
        f"the texts are read as {encoding}: of {valid + invalid} with letters beyond ASCII {valid} are valid UTF-8"
    )


@dataclass
class _Labelled:
    """Posts with their labels, in order, and what is worth saying about them."""

    ids: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, split: str, label: str) -> None:
        self.ids.append(name)
        self.splits.append(split)
        self.labels.append(label)


def _of_lists(lists: Mapping[str, Path]) -> _Labelled:
    labelled = _Labelled()
    for split, path in lists.items():
        for number, line in enumerate(read_names(path), start=1):
            name, _, label = (part.strip() for part in line.partition(","))
            if number == 1 and not name.isdigit() and label.lower() == "label":
                continue
            if label not in ("0", "1", "2", *CLASSES):
                raise DataFault(
                    f"{path}, line {number}: {line!r}; a post is written N,0 (positive), N,1 (neutral) or N,2 "
                    "(negative)",
                    code="bad-label",
                )
            labelled.add(name, split, CLASSES[int(label)] if label.isdigit() else label)
    return labelled


def _of_annotators(path: Path) -> _Labelled:
    """The published labels, several judgements of text and picture each made one."""
    labelled = _Labelled()
    counts: Counter[str] = Counter()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, *judgements = line.strip().split("\t")
        if not name or (number == 1 and not name.isdigit()):
            continue
        pairs = [tuple(word.strip().lower() for word in judgement.split(",")) for judgement in judgements]
        if not pairs or any(len(pair) != 2 or not set(pair) <= set(CLASSES) for pair in pairs):
            raise DataFault(
                f"{path}, line {number}: {line!r}; a post is written N, then for each annotator a tab and text,image, "
                f"each of them {', '.join(CLASSES)}",
                code="bad-label",
            )
        label = agreed(pairs)
        counts[label] += 1
        if label in CLASSES:
            labelled.add(name, "train", label)
    labelled.notes += [f"{counts[why]} posts are left out: {said}" for why, said in _LEFT_OUT.items() if counts[why]]
    return labelled


#: Why a post has no label.
_LEFT_OUT = {
    "no majority": "their annotators have no majority",
    "conflict": "the text is positive and the picture negative, or the other way round",
}


def agreed(pairs: Sequence[Sequence[str]]) -> str:
    """The label of a post, or "no majority" or "conflict" where it has none.

    Args:
        pairs: the judgements of text and picture, a pair for each annotator.
    """
    text, picture = (_majority([pair[place] for pair in pairs]) for place in (0, 1))
    if not text or not picture:
        return "no majority"
    found = {text, picture} - {"neutral"}
    return "conflict" if len(found) == 2 else found.pop() if found else "neutral"


def _majority(judgements: Sequence[str]) -> str:
    """What more than half of them say; empty where there is no such thing."""
    word, count = Counter(judgements).most_common(1)[0]
    return word if 2 * count > len(judgements) else ""
