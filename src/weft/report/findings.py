"""What an evaluation found besides figures, as the report reads it: shares, agreement, reliability, drawn samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weft.metrics.curves import Curves
from weft.report.film import Film, film

#: (name, text) of each part; a text alone has the name "".
Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Share:
    """What one modality got at one level: the mean over `count` samples, and the 10th and 90th percentile."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Likeness:
    """Linear CKA of the features of two modalities at one stage, over `count` samples."""

    stage: str
    one: str
    other: str
    count: int
    cka: float


@dataclass(frozen=True)
class FusionShares:
    """What a fusion gave to each modality: {level: {modality: Share}}.

    Attributes:
        sums_to_one: whether what a sample's modalities get adds up to one.
        parts: what each part of the fusion looked at, likewise.
        likeness: of the features of every two modalities, stage by stage.
    """

    levels: Mapping[str, Mapping[str, Share]]
    sums_to_one: bool
    parts: Mapping[str, Mapping[str, Share]] = field(default_factory=dict)
    likeness: tuple[Likeness, ...] = ()


@dataclass(frozen=True)
class PartShares:
    """The same for a part of the samples: right answers, a class. `kind` is answers or class."""

    kind: str
    name: str
    count: int
    modalities: Mapping[str, float]


@dataclass(frozen=True)
class AgreementRow:
    """Samples on which the same modalities are right alone, by whether all together are right.

    Attributes:
        which: none, only (with its `modality`), several or all.
        right, wrong: samples that all together get right, and wrong.
    """

    which: str
    modality: str
    right: int
    wrong: int


@dataclass(frozen=True)
class Example:
    """Samples of one kind: only (one `modality` is right alone), together (all of them, none alone), none."""

    kind: str
    modality: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """Which modalities are right alone, and whether all together are.

    Attributes:
        count: samples that every modality alone and all together could answer.
        together: of these, right together.
        any_alone: right from at least one modality alone.
    """

    count: int
    together: int
    any_alone: int
    rows: tuple[AgreementRow, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Bin:
    """Answers given with about one probability: how many, their mean probability, the share that came true."""

    count: int
    confidence: float
    true: float


@dataclass(frozen=True)
class Looked:
    """Where a fusion looked in one modality: in words, or in a picture by its path, or only how much.

    Attributes:
        what: "attention", or the level whose weights these are.
        share: what the modality got of all.
        words: (word, share of all attention).
    """

    what: str
    share: float
    words: tuple[tuple[str, float], ...]
    picture: str


@dataclass(frozen=True)
class Answer:
    """What is shown of an answer or a truth: a picture by its path, or lines of text."""

    picture: str = ""
    lines: Lines = ()


@dataclass(frozen=True)
class Picture:
    """One sample; pictures are paths below the evaluation's folder.

    Attributes:
        inputs: {modality: what went in}.
        looked: {modality: where the fusion looked}.
        tasks: {task: {truth, prediction or error: Answer}}.
        alone: {task: {modality: lines of the answer from it alone}}.
        film: what is shown frame by frame.
        spread: whether it is one of those evenly spread over the split.
        worst_of: tasks that have it among their worst.
    """

    id: str
    inputs: Mapping[str, Answer]
    tasks: Mapping[str, Mapping[str, Answer]]
    spread: bool
    worst_of: tuple[str, ...]
    looked: Mapping[str, Looked] = field(default_factory=dict)
    alone: Mapping[str, Mapping[str, Lines]] = field(default_factory=dict)
    film: Film = field(default_factory=Film)


def fusion_shares(data: Mapping[str, Any] | None) -> FusionShares | None:
    """From evaluation.json; None where the fusion had nothing to say."""
    if not data:
        return None
    return FusionShares(
        _shares(data["levels"]),
        bool(data["sums_to_one"]),
        _shares(data.get("parts") or {}),
        tuple(
            Likeness(str(one["stage"]), str(one["one"]), str(one["other"]), int(one["count"]), float(one["cka"]))
            for one in data.get("likeness") or ()
        ),
    )


def _shares(data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Share]]:
    return {
        str(level): {
            str(m): Share(float(one["mean"]), float(one["low"]), float(one["high"]), int(one["count"]))
            for m, one in shares.items()
        }
        for level, shares in data.items()
    }


def part_shares(data: list[Mapping[str, Any]]) -> tuple[PartShares, ...]:
    """From evaluation.json."""
    return tuple(
        PartShares(
            kind=str(one["kind"]),
            name=str(one["name"]),
            count=int(one["count"]),
            modalities={str(m): float(share) for m, share in one["modalities"].items()},
        )
        for one in data
    )


def agreement(data: Mapping[str, Any] | None) -> Agreement | None:
    """From evaluation.json; None where the task has none."""
    if not data:
        return None
    return Agreement(
        count=int(data["count"]),
        together=int(data["together"]),
        any_alone=int(data["any_alone"]),
        rows=tuple(
            AgreementRow(str(row["which"]), str(row["modality"] or ""), int(row["right"]), int(row["wrong"]))
            for row in data["rows"]
        ),
        examples=tuple(
            Example(str(one["kind"]), str(one["modality"] or ""), tuple(map(str, one["ids"])))
            for one in data["examples"]
        ),
    )


def reliability(data: Mapping[str, Any] | None) -> tuple[Bin, ...]:
    """From evaluation.json, the bins that hold answers; empty where the task gives no probabilities."""
    if not data:
        return ()
    sums = zip(data["count"], data["confidence"], data["true"], strict=True)
    return tuple(Bin(int(n), float(said) / n, float(true) / n) for n, said, true in sums if n)


def curves(data: Sequence[Mapping[str, Any]]) -> tuple[Curves, ...]:
    """From evaluation.json; a line without a point is left out."""
    return tuple(
        Curves(
            name=str(one["name"]),
            x_label=str(one["x_label"]),
            y_label=str(one["y_label"]),
            lines={str(n): [(float(x), float(y)) for x, y in points] for n, points in one["lines"].items() if points},
            points={str(n): (float(x), float(y)) for n, (x, y) in (one.get("points") or {}).items()},
            about=str(one.get("about") or ""),
            bands={str(n): [(float(x), float(a), float(b)) for x, a, b in band] for n, band in _bands(one) if band},
        )
        for one in data
    )


def _bands(curves: Mapping[str, Any]) -> Iterable[tuple[str, list[Any]]]:
    """None in an evaluation of a weft that drew none."""
    return (curves.get("bands") or {}).items()


def picture(data: Mapping[str, Any]) -> Picture:
    """From evaluation.json; what is a text and what a path is told by its type."""
    texts = {str(m): Answer(lines=_lines(lines)) for m, lines in (data.get("texts") or {}).items()}
    drawn = {str(m): Answer(picture=str(path)) for m, path in data["inputs"].items() if path}
    return Picture(
        id=str(data["id"]),
        inputs=drawn | texts,
        tasks={
            str(task): {kind: _answer(shown) for kind, shown in kinds.items() if shown}
            for task, kinds in data["tasks"].items()
        },
        spread=bool(data.get("spread", not data.get("worst_of"))),
        worst_of=tuple(data.get("worst_of") or ()),
        looked={str(m): _looked(one) for m, one in (data.get("looked") or {}).items()},
        alone={
            str(task): {str(m): _lines(lines) for m, lines in by_modality.items()}
            for task, by_modality in (data.get("alone") or {}).items()
        },
        film=film(data.get("film")),
    )


def _answer(shown: object) -> Answer:
    return Answer(lines=_lines(shown)) if isinstance(shown, list) else Answer(picture=str(shown))


def _lines(data: Any) -> Lines:
    return tuple((str(name), str(text)) for name, text in data)


def _looked(data: Mapping[str, Any]) -> Looked:
    return Looked(
        what=str(data["what"]),
        share=float(data["share"]),
        words=tuple((str(word), float(share)) for word, share in data.get("words") or ()),
        picture=str(data.get("picture") or ""),
    )
