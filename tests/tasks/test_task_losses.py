"""What a configuration may say of a task's loss, and what it is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from weft.config import load_experiment
from weft.data.pipeline import Data, build_data
from weft.engine.build import build_model
from weft.errors import ConfigError
from weft.losses.cross_entropy import CrossEntropy
from weft.losses.weighted_sum import WeightedSum
from weft.model import Model

DATA = {"format": "scenes", "num_train": 4, "num_val": 2, "num_test": 0, "workers": 0, "resolution": [48, 48]}


def built(task: dict[str, Any], **facts: Any) -> tuple[Data, Model]:
    """The data and the network of one task on images of the scenes."""
    experiment = load_experiment(
        {
            "name": "losses",
            "data": DATA,
            "modalities": {"image": {"encoder": {"type": "timm", "name": "test_resnet"}}},
            "tasks": {"rooms": task},
        }
    )
    data = build_data(experiment, **facts)
    return data, build_model(experiment, data, pretrained=False)


def told(task: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        built(task)
    return str(caught.value)


def pixels(loss: Any) -> dict[str, Any]:
    return {"type": "segmentation", "target": "label", "decoder": "unet", "loss": loss}


def test_a_list_of_losses_is_their_weighted_sum() -> None:
    data, model = built(pixels([{"type": "cross_entropy", "label_smoothing": 0.1}, {"type": "dice", "weight": 0.5}]))
    criterion = model.tasks["rooms"].criterion
    assert isinstance(criterion, WeightedSum)
    assert criterion.weights == {"cross_entropy": 1.0, "dice": 0.5}
    assert criterion.losses["cross_entropy"].label_smoothing == 0.1
    batch = next(data.batches("train", training=True))
    (total, count), expected = model.losses(model(batch), batch)["rooms"], model.counts(batch)["rooms"]
    assert count == expected == batch.targets["rooms"].numel()
    total.backward()
    assert all(parameter.grad is not None for parameter in model.tasks.parameters())


def test_options_without_a_type_are_those_of_the_usual_loss() -> None:
    _, model = built(pixels({"label_smoothing": 0.2}))
    assert isinstance(model.tasks["rooms"].criterion, CrossEntropy)
    assert model.tasks["rooms"].criterion.label_smoothing == 0.2


def test_pixels_of_the_training_split_are_counted_where_weights_follow_from_them() -> None:
    data, model = built(pixels({"type": "cross_entropy", "class_weights": "inverse"}))
    truth = np.concatenate([sample.targets["rooms"].ravel() for sample in data.samples("train")])
    classes = data.targets["rooms"].classes
    counts = np.bincount(truth, minlength=len(classes))
    assert list(data.targets["rooms"].counts) == counts.tolist()
    expected = [counts.sum() / (len(classes) * count) if count else 1.0 for count in counts]
    assert model.tasks["rooms"].criterion.class_weights.tolist() == pytest.approx(expected)
    # kept in the run: the same weights without looking at the data again
    facts = json.loads(json.dumps(data.facts))
    facts["targets"]["rooms"]["counts"][0] += 1000
    again, _ = built(pixels({"type": "cross_entropy", "class_weights": "inverse"}), facts=facts)
    assert again.targets["rooms"].counts[0] == counts[0] + 1000


def test_nothing_is_counted_where_nobody_asks() -> None:
    data, _ = built(pixels("cross_entropy"))
    assert data.targets["rooms"].counts == ()


def test_weights_by_name_reach_the_loss() -> None:
    data, model = built(pixels([{"type": "focal", "class_weights": {"ball": 4}}]))
    weights = model.tasks["rooms"].criterion.losses["focal"].class_weights
    expected = torch.tensor([4.0 if name == "ball" else 1.0 for name in data.targets["rooms"].classes])
    assert torch.equal(weights, expected)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            {"type": "cross_entropy", "class_weights": {"bal": 4}},
            "class_weights names 'bal', which is no class; there are",
        ),
        ({"type": "cross_entropy", "class_weights": [1, 2]}, "class_weights has 2 numbers for"),
        ({"type": "cross_entropy", "class_weights": {"ball": -1}}, "-1 was given; allowed: x >= 0"),
        ({"type": "boundary", "pairs": {"ball": {"bax": 2}}}, "pairs names 'bax', which is no class"),
        (
            "mse",
            "the loss 'mse' is not for exclusive classes per pixel; losses that are: boundary, cross_entropy, dice",
        ),
        ([{"type": "dice", "weight": 0}], "0 was given; allowed: x > 0"),
        ([{"type": "dise"}], "did you mean 'dice'"),
        ({"type": "dice", "weight": 2}, "give the task a `weight` instead"),
    ],
)
def test_what_cannot_be_meant_is_told_before_training(loss: Any, message: str) -> None:
    assert message in told(pixels(loss))


def test_a_loss_of_regions_is_refused_for_whole_samples() -> None:
    message = told({"type": "classification", "target": "room", "loss": "lovasz"})
    assert (
        "the loss 'lovasz' is not for exclusive classes of whole samples; losses that are: cross_entropy, focal"
        in message
    )
