"""Attention before the decoder, a second stage after it and heads beside it: what they read, say and cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tasks.task_cases import SIZE, SPEC, features
from weft import load_experiment, registry
from weft.config import to_yaml
from weft.errors import ConfigError
from weft.registry import Part
from weft.tasks.dense import DenseDesign
from weft.tasks.dense_stages import Attention, Auxiliary, Refine
from weft.tasks.label_map import LabelMap
from weft.tasks.pixel_regression import PixelRegression
from weft.tasks.pixel_values import PixelValues
from weft.tasks.segmentation import Segmentation
from weft.types import Features

#: Reads the deepest level alone.
DEEPEST = Part("decoder", "fcn", {"stride": 32, "channels": 8, "hidden": 8, "dropout": 0.0})
STAGES: dict[str, Any] = {
    "refine": Refine(stride=4, channels=8, layers=1, weight=0.5),
    "auxiliary": Auxiliary(strides=(4, 8), weight=0.25, channels=8),
}
K = 3


def segmentation(**options: Any) -> Segmentation:
    torch.manual_seed(0)
    return Segmentation({"fused": SPEC}, LabelMap({}, num_classes=K), decoder=DEEPEST, dropout=0.0, **options)


def labels() -> Tensor:
    target = torch.randint(0, K, (4, *SIZE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    target[:, :4] = 255
    return target


def test_training_answers_for_every_stage_and_evaluation_for_the_last() -> None:
    task = segmentation(**STAGES)
    assert task.train()(features(), view="fused", size=SIZE).shape == (4, 4 * K, 8, 12)
    assert task.eval()(features(), view="fused", size=SIZE).shape == (4, K, *SIZE)
    plain = segmentation()
    assert plain.train()(features(), view="fused", size=SIZE).shape == (4, K, 2, 3)


def test_the_losses_of_the_stages_are_added_by_their_weights() -> None:
    task, target = segmentation(**STAGES).train(), labels()
    logits = task(features(), view="fused", size=SIZE)
    alone = [task.loss(logits[:, first : first + K], target) for first in range(0, 4 * K, K)]
    total, count = task.loss(logits, target)
    expected = alone[0][0] + 0.5 * alone[1][0] + 0.25 * alone[2][0] + 0.25 * alone[3][0]
    torch.testing.assert_close(total, expected)
    assert count == task.count(target) == alone[0][1]


def test_the_losses_of_the_stages_of_a_value_are_added_by_their_weights() -> None:
    torch.manual_seed(0)
    field = PixelValues({"mean": 3.0, "std": 2.0, "low": 0.5, "high": 6.0})
    task = PixelRegression({"fused": SPEC}, field, decoder=DEEPEST, loss=Part("loss", "l1"), **STAGES).train()
    logits = task(features(), view="fused", size=SIZE)
    target = torch.full((4, 1, *SIZE), 2.0)
    assert logits.shape == (4, 4, *SIZE)
    errors = [(task.predict(logits[:, place : place + 1]) - target).abs().sum() / 2.0 for place in range(4)]
    total, count = task.loss(logits, target)
    torch.testing.assert_close(total, errors[0] + 0.5 * errors[1] + 0.25 * errors[2] + 0.25 * errors[3])
    assert count == target.numel()


def test_an_answer_in_training_is_that_of_the_last_stage() -> None:
    task = segmentation(**STAGES).train()
    logits = task.alike({"fused": task(features(), view="fused", size=SIZE)})["fused"]
    prediction = task.predict(logits)
    assert prediction.shape == (4, K, 8, 12)
    torch.testing.assert_close(prediction, logits[:, :K].softmax(1))


def test_auxiliary_heads_change_no_answer() -> None:
    plain, supervised = segmentation(), segmentation(auxiliary=Auxiliary(strides=(8,), channels=8))
    supervised.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        ours, theirs = (task.eval()(features(), view="fused", size=SIZE) for task in (supervised, plain))
    assert torch.equal(ours, theirs)


def test_the_second_stage_reads_the_fine_level_and_the_coarse_answer() -> None:
    head = DenseDesign(DEEPEST, 0.0, refine=Refine(stride=4, channels=8)).build(SPEC, K).eval()
    assert head.refine is not None
    levels = tuple(level.requires_grad_() for level in features().pyramid)
    coarse = torch.randn(4, K, 2, 3, requires_grad=True)
    added = head.refine(coarse, levels) - torch.nn.functional.interpolate(coarse, (8, 12), mode="bilinear")
    gradients = torch.autograd.grad(added.square().sum(), [*levels, coarse], allow_unused=True)
    assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == [True, False, False, True]


def test_the_second_stage_finds_detail_that_the_first_cannot_see() -> None:
    fine = features()
    target = (fine.pyramid[0][:, 0] > 0).repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)
    right = {}
    for name, options in {"coarse": {}, "refined": {"refine": Refine(stride=4, channels=8)}}.items():
        task = segmentation(**options).train()
        optimizer = torch.optim.Adam(task.parameters(), lr=0.05)
        for _ in range(25):
            total, count = task.loss(task(fine, view="fused", size=SIZE), target)
            optimizer.zero_grad()
            (total / count).backward()
            optimizer.step()
        with torch.no_grad():
            answer = task.eval().predict(task(fine, view="fused", size=SIZE)).argmax(1)
        right[name] = float((answer == target).float().mean())
    assert right["refined"] > 0.8 > right["coarse"], right


def test_with_attention_every_place_sees_every_other() -> None:
    given = features(1)
    *finer, deep = given.pyramid
    changed = deep.clone()
    changed[:, :, 0, 0] += 5
    for attention, reaches in ((None, False), (Attention(heads=2, dim=8, dropout=0.0), True)):
        decoder = Part("decoder", "fcn", {**DEEPEST.options, "kernel_size": 1})
        head = DenseDesign(decoder, 0.0, attention=attention).build(SPEC, K).eval()
        with torch.no_grad():
            difference = head.answer(Features.of_pyramid([*finer, changed])) - head.answer(given)
        assert bool(difference[..., 0, 0].any())
        assert bool(difference[..., -1, -1].any()) == reaches


def test_what_the_stages_read_is_kept_of_the_pyramid() -> None:
    task: Any = registry.get("task", "segmentation")
    options = {"decoder": "pspnet", "auxiliary": {"strides": [16]}, "refine": {"stride": 2}}
    assert task.strides_read({"decoder": "pspnet"}) == ()
    assert task.strides_read(options) == (2, 16)
    assert task.strides_read({**options, "decoder": {"type": "fcn", "stride": 16}}) == (2, 16)
    assert task.strides_read({**options, "decoder": "unet"}) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"auxiliary": Auxiliary(strides=(16, 32))}, "mean the same level"),
        ({"auxiliary": Auxiliary(strides=())}, "give one stride at least"),
        ({"attention": Attention(heads=3, dim=16)}, "multiple of the heads"),
    ],
)
def test_stages_that_cannot_be_are_refused_with_what_to_give(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        segmentation(**options)


def content(**options: Any) -> dict[str, Any]:
    encoder = {"type": "timm", "name": "test_resnet"}
    return {
        "name": "stages",
        "data": {"format": "scenes"},
        "modalities": {"image": {"encoder": encoder}},
        "tasks": {"label": {"type": "segmentation", **options}},
    }


def test_a_configuration_says_them_and_keeps_their_defaults(tmp_path: Any) -> None:
    experiment = load_experiment(content(attention={"heads": 4}, auxiliary={"strides": [8]}, refine={}))
    options = experiment.tasks["label"].options
    assert registry.as_group(Attention, options["attention"]) == Attention(heads=4)
    assert registry.as_group(Auxiliary, options["auxiliary"]) == Auxiliary(strides=(8,))
    assert registry.as_group(Refine, options["refine"]) == Refine()
    (tmp_path / "again.yaml").write_text(to_yaml(experiment))
    assert load_experiment(tmp_path / "again.yaml").tasks == experiment.tasks
    stages = {name: options[name] for name in ("attention", "auxiliary", "refine")}
    task = Part("task", "segmentation", {**stages, "decoder": DEEPEST})({"fused": SPEC}, LabelMap({}, num_classes=K))
    assert len(task.heads["fused"].stages(features())[0]) == 3 * K


def test_mistakes_in_them_are_told_with_their_path() -> None:
    with pytest.raises(ConfigError) as told:
        load_experiment(content(auxiliary={"stride": [8], "weight": -1}, refine={"stride": 0}))
    for words in ("tasks.label.auxiliary.stride", "did you mean 'strides'", "auxiliary.weight", "refine.stride"):
        assert words in str(told.value)
