"""What works with what: the table of fusions, tasks and kinds of modalities in `docs/fusion.md`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from weft import registry
from weft.fusion.base import Fusion
from weft.tasks.base import Task
from weft.types import FeatureSpec, Need

#: What the encoder of a modality can give, one example of each.
KINDS = {
    "picture": FeatureSpec("grid", 8, (4, 8), (4, 16)),
    "sequence": FeatureSpec("sequence", 8),
    "vector": FeatureSpec("vector", 8),
    "clip": FeatureSpec("clip", 8, (4, 8), (4, 16)),
}

#: Kinds that can meet; more of a kind change nothing.
MIXTURES = (
    ("picture", "picture"),
    ("picture", "sequence"),
    ("picture", "vector"),
    ("picture", "sequence", "vector"),
    ("sequence", "sequence"),
    ("sequence", "vector"),
    ("vector", "vector"),
    ("clip", "clip"),
    ("clip", "picture"),
    ("clip", "sequence"),
)

#: What tasks read: what they need, and whether they answer for every frame of a clip.
Reading = tuple[Need, bool]

_READINGS: dict[Reading, str] = {
    ("vector", False): "one vector",
    ("tokens", False): "tokens",
    ("frames", False): "frames",
    ("maps", False): "maps of one picture",
    ("maps", True): "maps of every frame",
}

_BEGIN = "<!-- Written by `python -m weft.schema`; it builds every combination. -->\n"
_END = "<!-- end -->\n"


def refusal(fusion: str, kinds: Sequence[str], need: Need, *, over_time: bool = False) -> str | None:
    """Why a task cannot read modalities of these kinds through a fusion's views; None: it can.

    Args:
        fusion: a registered fusion, built with its defaults.
        kinds: of `KINDS`, one for each modality.
        need: what the task needs of every view that it reads.
        over_time: whether it answers for every frame of a clip.
    """
    views = _views(fusion, tuple(kinds))
    if views is None:
        return f"`{fusion}` takes only modalities that have maps"
    without = [view for view, spec in views.items() if need not in spec.provides]
    if len(without) == len(views):
        return f"no modality has {need}"
    if without:
        return f"the view of a modality without {need} has none: name the other views in the task's `over`"
    clips = [view for view, spec in views.items() if spec.layout == "clip"]
    if need != "maps" or over_time or not clips:
        return None
    if len(clips) == len(views):
        return "the task answers for one picture, and the view is a clip"
    return "the task answers for one picture, and a view is a clip: name the other views in its `over`"


def tasks_by_reading() -> dict[Reading, list[str]]:
    """{what they read: names of the registered tasks}."""
    tasks: dict[str, type[Task]] = {
        name: registry.get("task", name)  # type: ignore[misc]  # every task is a class
        for name in registry.names("task")
    }
    found: dict[Reading, list[str]] = {reading: [] for reading in _READINGS}
    for name, task in tasks.items():
        found[task.need, task.need == "maps" and task.over_time].append(name)
    return {reading: names for reading, names in found.items() if names}


def with_table(page: str) -> str:
    """A page of documentation with the table, as it is now, in its place.

    Raises:
        ValueError: the page has no such place.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"there is no place for the table: the page needs the lines {_BEGIN!r} and {_END!r}")
    return before + begin + "\n".join(_lines()) + "\n" + end + after


@cache
def _views(fusion: str, kinds: tuple[str, ...]) -> dict[str, FeatureSpec] | None:
    """The views of a fusion of such modalities; None where it does not take what has no maps."""
    part: type[Fusion] = registry.get("fusion", fusion)  # type: ignore[assignment]  # every fusion is a class
    try:
        return part({f"{kind}_{place}": KINDS[kind] for place, kind in enumerate(kinds)}).specs
    except ValueError:
        if not part.needs_maps:
            raise
        return None


def _lines() -> Iterator[str]:
    reasons: list[str] = []
    for (need, over_time), tasks in tasks_by_reading().items():
        reading = _READINGS[need, over_time]
        yield f"\nTasks that read {reading}: {', '.join(f'`{task}`' for task in tasks)}\n"
        yield f"| fusion | {' | '.join(' + '.join(kinds) for kinds in MIXTURES)} |"
        yield "|---" * (1 + len(MIXTURES)) + "|"
        for fusion in registry.names("fusion"):
            cells = (_cell(refusal(fusion, kinds, need, over_time=over_time), reasons) for kinds in MIXTURES)
            yield f"| `{fusion}` | {' | '.join(cells)} |"
    yield ""
    yield from (f"{number}. {reason[0].upper()}{reason[1:]}." for number, reason in enumerate(reasons, start=1))
    yield ""


def _cell(reason: str | None, reasons: list[str]) -> str:
    """What stands in the table: yes, or the number of the reason, which is noted."""
    if reason is None:
        return "yes"
    if reason not in reasons:
        reasons.append(reason)
    return f"no ({reasons.index(reason) + 1})"
