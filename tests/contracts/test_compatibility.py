"""The table of fusion × task × kinds of modalities is true, and a configuration is refused where it says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weft import registry
from weft.compatibility import MIXTURES, refusal, tasks_by_reading, with_table
from weft.config import load_experiment
from weft.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "fusion.md"
TINY = {"type": "timm", "name": "test_resnet"}

#: A modality of each kind.
MODALITIES: dict[str, dict[str, Any]] = {
    "picture": {"type": "image", "encoder": TINY},
    "sequence": {"type": "text", "encoder": "text_rnn"},
    "vector": {"type": "image", "encoder": {**TINY, "vector": 8}},
    "clip": {"type": "video", "encoder": {"type": "frame_maps", "backbone": TINY}},
}

#: What is told of a refusal, by the reason in the table.
TOLD = {
    "takes only modalities that have maps": "needs maps from every modality, and has none from",
    "no modality has maps": "needs maps, and no modality gives any",
    "has none: name the other views": "has none; leave it out of its `over`",
    "answers for one picture": "name a view of pictures in its `over`, or choose a task that answers for every frame",
}


def problems(fusion: str, kinds: tuple[str, ...], task: str) -> str:
    """What is wrong with an experiment; empty where nothing is."""
    modalities = {f"{kind}_{place}": MODALITIES[kind] for place, kind in enumerate(kinds)}
    try:
        load_experiment(
            {
                "name": "cell",
                "data": {"format": "scenes"},
                "modalities": modalities,
                "fusion": fusion,
                "tasks": {"task": OPTIONS_OF.get(task, {}) | {"type": task}},
            }
        )
    except ConfigError as error:
        return str(error)
    return ""


#: Options that a task cannot do without.
OPTIONS_OF: dict[str, dict[str, Any]] = {"segmentation": {"decoder": "unet"}, "pixel_regression": {"decoder": "unet"}}


def test_the_table_in_the_documentation_is_as_things_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "run: python -m weft.schema"


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        with_table("# Fusion\n")


@pytest.mark.parametrize("fusion", registry.names("fusion"))
def test_a_configuration_is_refused_where_the_table_says_no_and_nowhere_else(fusion: str) -> None:
    for (need, over_time), tasks in tasks_by_reading().items():
        for kinds in MIXTURES:
            reason = refusal(fusion, kinds, need, over_time=over_time)
            for task in tasks:
                told = problems(fusion, kinds, task)
                if reason is None or reason.endswith("has frames") or "without frames" in reason:  # told when built
                    assert told == "", (kinds, task)
                else:
                    expected = next(words for part, words in TOLD.items() if part in reason)
                    assert expected in told, (kinds, task)
