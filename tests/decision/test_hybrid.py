"""Hybrid fusion: the fused view and the modalities' own, decided together; and tasks that read different views."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.contracts.contract_cases import GRIDS, VECTORS, features_of
from tests.tasks.task_cases import DECODER
from weft.model import Model
from weft.registry import Part
from weft.tasks.class_label import ClassLabel
from weft.tasks.classification import Classification
from weft.tasks.label_map import LabelMap
from weft.tasks.segmentation import Segmentation
from weft.types import Features

SIZE = (32, 48)
SPECS = {m: VECTORS[m] for m in ("a", "b")}
FIELD = ClassLabel({"classes": ["x", "y", "z"]})
HYBRID = ("fused", "a", "b")


def features(present: dict[str, Tensor]) -> dict[str, Features]:
    return {m: features_of(spec, present[m], SIZE, seed=ord(m)) for m, spec in SPECS.items()}


def everywhere(num_rows: int = 4) -> dict[str, Tensor]:
    return {m: torch.ones(num_rows, dtype=torch.bool) for m in SPECS}


def model_over(views: tuple[str, ...], rule: str = "mean") -> Model:
    """A network over some views; heads and fusion are those of the hybrid one, whichever views are read."""
    torch.manual_seed(0)
    fusion = Part("fusion", "concat")(SPECS)
    specs = {**fusion.specs, **SPECS}
    whole = Classification({view: specs[view] for view in HYBRID}, FIELD, dropout=0.0)
    task = Classification({view: specs[view] for view in views}, FIELD, dropout=0.0)
    task.heads.load_state_dict({k: v for k, v in whole.heads.state_dict().items() if k.split(".")[0] in views})
    decision = Part("decision", rule)(views, "classes")
    return Model({}, {}, fusion, {"task": task}, decisions={"task": decision}).eval()


def answer(model: Model, seen: dict[str, Features]) -> Tensor:
    with torch.no_grad():
        return model.answer(model.decode(seen, SIZE))["task"].value


@pytest.mark.parametrize("rule", ["mean", "vote", "maximum", "linear", "product", "uncertainty"])
def test_a_hybrid_answer_is_none_of_its_parents(rule: str) -> None:
    seen = features(everywhere(16))
    hybrid = answer(model_over(HYBRID, rule), seen)
    for parent in (("fused",), ("a", "b")):
        assert not torch.allclose(hybrid, answer(model_over(parent, rule), seen), atol=1e-3)


def test_a_hybrid_answer_is_that_of_its_three_views() -> None:
    seen = features(everywhere())
    views = [answer(model_over((view,)), seen) for view in HYBRID]
    torch.testing.assert_close(answer(model_over(HYBRID), seen), torch.stack(views).mean(0))


def test_the_view_of_an_absent_modality_drops_out_and_the_fused_one_stays() -> None:
    present = everywhere()
    present["b"] = torch.tensor([True, False, True, False])
    seen = features(present)
    decided = answer(model_over(HYBRID), seen)
    fused, alone = answer(model_over(("fused",)), seen), answer(model_over(("a",)), seen)
    torch.testing.assert_close(decided[~present["b"]], ((fused + alone) / 2)[~present["b"]])
    # and the fused view itself is that of the one modality left, not of both
    complete = answer(model_over(("fused",)), features(everywhere()))
    assert not torch.allclose(fused[~present["b"]], complete[~present["b"]], atol=1e-3)


def test_tasks_read_views_of_their_own() -> None:
    torch.manual_seed(0)
    specs = {"picture": GRIDS["a"], "words": VECTORS["b"]}
    tasks = {
        "masks": Segmentation({"picture": specs["picture"]}, LabelMap({}, num_classes=3), decoder=DECODER),
        "kind": Classification(specs, FIELD),
    }
    decisions = {name: Part("decision", "linear")(tuple(task.heads), task.answer) for name, task in tasks.items()}
    model = Model({}, {}, Part("fusion", "none")(specs), tasks, decisions=decisions).eval()
    present = {"picture": torch.tensor([True, False]), "words": torch.tensor([True, True])}
    seen = {m: features_of(spec, present[m], SIZE, seed=1) for m, spec in specs.items()}
    outputs = model.decode(seen, SIZE)
    assert {name: tuple(logits) for name, logits in outputs.logits.items()} == {
        "masks": ("picture",),
        "kind": ("picture", "words"),
    }
    answers = model.answer(outputs)
    assert answers["masks"].answered.tolist() == [True, False]
    assert answers["kind"].answered.tolist() == [True, True]
    assert not decisions["masks"].learns
    assert decisions["kind"].learns
