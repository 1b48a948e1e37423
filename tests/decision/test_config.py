"""What a configuration may say of views and decisions, and what it is told."""

from __future__ import annotations

from typing import Any

import pytest

from weft.config import load_experiment
from weft.data.pipeline import build_data
from weft.engine.build import build_model
from weft.errors import ConfigError

TINY = {"type": "timm", "name": "test_resnet"}
VECTOR = {**TINY, "vector": 8}


def content(**changes: Any) -> dict[str, Any]:
    """A masks task and a classes task on two modalities of the scenes, without feature-level fusion."""
    return {
        "name": "views",
        "data": {"format": "scenes", "num_train": 4, "num_val": 0, "num_test": 0, "workers": 0},
        "modalities": {"image": {"encoder": TINY}, "depth": {"encoder": TINY}},
        "tasks": {"label": {"type": "segmentation", "decoder": "unet"}, "room": {"type": "classification"}},
        **changes,
    }


def over(**changes: Any) -> tuple[dict[str, tuple[str, ...]], dict[str, bool]]:
    """{task: views} and {task: whether its decision learns} of the network that is built."""
    experiment = load_experiment(content(**changes))
    model = build_model(experiment, build_data(experiment), pretrained=False)
    return dict(model.over), {name: decision.learns for name, decision in model.decisions.items()}


def told(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        over(**changes)
    return str(caught.value)


def test_without_fusion_every_modality_is_a_view_and_every_task_has_a_rule_of_its_own() -> None:
    views, learns = over(decision="linear")
    assert views == {"label": ("image", "depth"), "room": ("image", "depth")}
    assert learns == {"label": True, "room": True}


def test_hybrid_reads_the_fused_view_and_the_modalities() -> None:
    hybrid = ["fused", "image", "depth"]
    views, _ = over(fusion="gated", over=hybrid, decision="vote")
    assert views == {"label": tuple(hybrid), "room": tuple(hybrid)}


def test_a_task_may_read_other_views_than_the_rest() -> None:
    tasks = {
        "label": {"type": "segmentation", "decoder": "unet", "over": ["image"]},
        "room": {"type": "classification"},
    }
    flat = {"image": {"encoder": TINY}, "depth": {"encoder": VECTOR}}
    views, learns = over(modalities=flat, tasks=tasks, decision="linear")
    assert views == {"label": ("image",), "room": ("image", "depth")}
    assert learns == {"label": False, "room": True}


def test_a_dense_task_over_a_view_without_maps_is_refused_with_the_reason() -> None:
    flat = {"image": {"encoder": TINY}, "depth": {"encoder": VECTOR}}
    said = told(modalities=flat)
    assert "tasks.label" in said
    assert "needs maps, and the view 'depth' has none" in said
    assert "leave it out of its `over`" in said
    assert "tasks.room" not in said


def test_a_view_that_does_not_exist_is_refused_where_it_is_named() -> None:
    said = told(tasks={"room": {"type": "classification", "over": ["image", "fused"]}})
    assert "tasks.room.over" in said
    assert "no view 'fused'" in said


def test_a_view_without_a_fixed_weight_is_refused() -> None:
    said = told(decision={"type": "linear", "weights": {"image": 1.0}})
    assert "decision: weights are given for image, and not for depth" in said


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_weights_are_positive(weight: float) -> None:
    assert "allowed: x > 0" in told(decision={"type": "linear", "weights": {"image": weight, "depth": 1.0}})
