"""Drawn samples: what went in, where the fusion looked, what is true, what came out, and where it is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weft.report import numbers
from weft.report.embed import BUDGET, LONGEST_SIDE, Album, Embedded
from weft.report.film import Reel, reels
from weft.report.findings import Answer, Example, Looked, Picture
from weft.report.run import Evaluation
from weft.report.steps import StepCharts, step_charts

#: About so many bytes a picture of the longest side takes; many pictures are shrunk so that all fit.
TYPICAL_BYTES = 45_000
SHORTEST_SIDE = 160
#: A longer text is cut at the last word that fits, and what is left out is counted.
MAX_LETTERS = 600
#: So many words are shown with their attention, the first ones; what the others got is added up.
MAX_WORDS = 150
#: So many parts of a row or an answer are shown.
MAX_LINES = 24
#: What is shown of an answer, in this order.
KINDS = ("truth", "prediction", "error")
#: Opacity behind the word with the most attention.
STRONGEST = 0.75


@dataclass(frozen=True)
class Word:
    """One word: `opacity` of its background, and whether a space goes before it."""

    text: str
    opacity: float
    title: str
    spaced: bool


@dataclass(frozen=True)
class Line:
    """One part of a row or an answer, with the background of its name where a fusion looked at it."""

    name: str
    text: str
    opacity: float = 0.0
    title: str = ""


@dataclass(frozen=True)
class Tile:
    """One thing that is shown: a picture, lines of text, or words with shaded backgrounds.

    Attributes:
        of: the modality or task it belongs to.
        kind: what of it.
        rest: what was left out of a long text, in words.
    """

    of: str
    kind: str
    picture: Embedded | None = None
    lines: tuple[Line, ...] = ()
    words: tuple[Word, ...] = ()
    rest: str = ""

    @property
    def alt(self) -> str:
        """What it shows, in words."""
        return f"{self.of}: {self.kind}"

    @property
    def is_text(self) -> bool:
        """Whether it needs the room of text."""
        return self.picture is None


@dataclass(frozen=True)
class Strip:
    """All that is shown of one sample: at once, frame by frame, and where in time each part of the fusion looked."""

    id: str
    tiles: tuple[Tile, ...]
    reels: tuple[Reel, ...] = ()
    steps: StepCharts | None = None


@dataclass(frozen=True)
class Gallery:
    """Samples as they come, per task examples by kind and the worst ones; `num_left_out` did not fit into the page."""

    samples: tuple[Strip, ...]
    examples: Mapping[str, Mapping[str, tuple[Strip, ...]]]
    worst: Mapping[str, tuple[Strip, ...]]
    num_left_out: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.samples or self.examples or self.worst)


def gallery(evaluation: Evaluation, *, budget: int = BUDGET) -> Gallery:
    """All samples that were drawn, with their pictures embedded.

    Args:
        evaluation: its pictures and their folder.
        budget: bytes of all pictures together.
    """
    number = sum(1 for picture in evaluation.pictures for _ in _paths(picture))
    shrink = math.sqrt(min(1.0, budget / (TYPICAL_BYTES * max(number, 1))))
    album = Album(evaluation.folder, budget, max(SHORTEST_SIDE, round(LONGEST_SIDE * shrink)))
    samples = tuple(
        _strip(picture, album, list(evaluation.tasks))
        for picture in evaluation.pictures
        if picture.spread and not picture.worst_of
    )
    examples = {name: _examples(evaluation, name, album) for name in evaluation.tasks}
    worst = {name: tuple(_worst(evaluation, name, album)) for name in evaluation.tasks}
    return Gallery(
        samples,
        {name: kinds for name, kinds in examples.items() if kinds},
        {name: strips for name, strips in worst.items() if strips},
        album.num_left_out,
    )


def _paths(picture: Picture) -> Iterator[str]:
    answers = [answer for kinds in picture.tasks.values() for answer in kinds.values()]
    yield from (one.picture for one in (*picture.inputs.values(), *answers) if one.picture)
    yield from (one.picture for one in picture.looked.values() if one.picture)
    yield from picture.film.paths


def _strip(picture: Picture, album: Album, tasks: list[str]) -> Strip:
    """A sample with some of its tasks."""
    tiles = tuple(_tiles(picture, album, [task for task in tasks if task in picture.tasks]))
    charts = step_charts(picture.film.parts, f"Sample {picture.id}")
    return Strip(picture.id, tiles, reels(picture.film, album, tasks), charts)


def _worst(evaluation: Evaluation, task: str, album: Album) -> Iterator[Strip]:
    """In the order of the task's list of worst samples."""
    rank = {sample: place for place, sample in enumerate(evaluation.tasks[task].worst)}
    chosen = [picture for picture in evaluation.pictures if task in picture.worst_of]
    for picture in sorted(chosen, key=lambda picture: rank.get(picture.id, len(rank))):
        yield _strip(picture, album, [task])


def _examples(evaluation: Evaluation, task: str, album: Album) -> dict[str, tuple[Strip, ...]]:
    """{kind in words: samples} of what the task's agreement names."""
    found = evaluation.tasks[task].agreement
    drawn = {picture.id: picture for picture in evaluation.pictures}
    kinds = {
        _kind(example): tuple(_strip(drawn[sample], album, [task]) for sample in example.ids if sample in drawn)
        for example in (found.examples if found else ())
    }
    return {kind: strips for kind, strips in kinds.items() if strips}


def _kind(example: Example) -> str:
    named = {"together": "right only from all together", "none": "right from none, nor from all together"}
    return named.get(example.kind, f"right alone only from {example.modality}")


def _tiles(picture: Picture, album: Album, tasks: list[str]) -> Iterator[Tile]:
    for modality, shown in picture.inputs.items():
        yield from _input(modality, shown, picture.looked.get(modality), album)
    for task in tasks:
        yield from _answers(task, picture, album)


def _answers(task: str, picture: Picture, album: Album) -> Iterator[Tile]:
    """A tile for each drawn answer, and one for all that are told in words."""
    shown = {kind: picture.tasks[task][kind] for kind in KINDS if kind in picture.tasks.get(task, {})}
    told = {kind: one.lines for kind, one in shown.items() if one.lines}
    alone = picture.alone.get(task, {})
    told |= {f"{modality} alone": lines for modality, lines in alone.items() if lines}
    for kind, one in shown.items():
        if one.picture:
            yield Tile(task, kind, picture=album.embed(one.picture))
    if told:
        lines = tuple(Line(kind, cut(" · ".join(_said(line) for line in said))[0]) for kind, said in told.items())
        yield Tile(task, "answers", lines=lines)


def _said(line: tuple[str, str]) -> str:
    return " ".join(part for part in line if part).replace(" %", numbers.SPACE + "%")


def _input(modality: str, shown: Answer, looked: Looked | None, album: Album) -> Iterator[Tile]:
    """What went in and where the fusion looked: in one where words or columns are shaded, else side by side."""
    if looked is None:
        yield _shown(modality, "input", shown, album)
        return
    share = f"{100 * looked.share:.0f}{numbers.SPACE}%"
    kind = f"attention, {share} of all" if looked.what == "attention" else f"weight at {looked.what}, mean {share}"
    if looked.words and [name for name, _ in shown.lines] == [word for word, _ in looked.words]:
        yield _shown(modality, kind, shown, album, opacities=[(w.opacity, w.title) for w in _words(looked.words)])
    elif looked.words and not shown.picture:
        yield _sentence(modality, kind, looked)
    else:
        yield _shown(modality, "input", shown, album)
        if looked.picture:
            yield Tile(modality, kind, picture=album.embed(looked.picture))
        elif looked.words:
            yield _sentence(modality, kind, looked)
        else:
            yield Tile(modality, kind, lines=(Line("", share),))


def _shown(
    of: str, kind: str, shown: Answer, album: Album, *, opacities: Sequence[tuple[float, str]] | None = None
) -> Tile:
    if shown.picture:
        return Tile(of, kind, picture=album.embed(shown.picture))
    shades = opacities or [(0.0, "")] * len(shown.lines)
    lines, left_out = [], []
    for (name, text), (opacity, title) in zip(shown.lines[:MAX_LINES], shades, strict=False):
        kept, rest = cut(text)
        lines.append(Line(name, kept, opacity, title))
        left_out += [rest] if rest else []
    if len(shown.lines) > MAX_LINES:
        left_out.append(f"… {len(shown.lines) - MAX_LINES} more")
    return Tile(of, kind, lines=tuple(lines), rest="; ".join(left_out))


def cut(text: str) -> tuple[str, str]:
    """At most `MAX_LETTERS` of a text, ended at a word where there is one, and how much was left out."""
    if len(text) <= MAX_LETTERS:
        return text, ""
    ends_at_word = re.match(rf"(?s).{{0,{MAX_LETTERS - 1}}}\S(?=\s)", text)
    kept = ends_at_word.group() if ends_at_word else text[:MAX_LETTERS]
    return kept, f"… {numbers.count(len(text) - len(kept))} letters more"


def _sentence(modality: str, kind: str, looked: Looked) -> Tile:
    shown, others = looked.words[:MAX_WORDS], looked.words[MAX_WORDS:]
    got = 100 * sum(one for _, one in others)
    rest = f"… {numbers.count(len(others))} more, with {got:.0f}{numbers.SPACE}% of all" if others else ""
    return Tile(modality, kind, words=tuple(_words(shown)), rest=rest)


def _words(shown: Sequence[tuple[str, float]]) -> list[Word]:
    """Shaded from the least attention to the most. Word pieces, as BERT writes them (`##ing`), are joined."""
    shares = [share for _, share in shown]
    least, span = min(shares, default=0.0), max(shares, default=0.0) - min(shares, default=0.0)
    words = []
    for text, share in shown:
        goes_on = text.startswith("##") and len(text) > 2
        opacity = STRONGEST * (share - least) / span if span > 0 else 0.0
        title = f"{100 * share:.1f}{numbers.SPACE}% of all attention"
        words.append(Word(text[2:] if goes_on else text, opacity, title, spaced=not goes_on))
    return words
