"""What every registered task keeps to; a new task is tested by being in `task_cases.CASES`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tasks.task_cases import CASES, ROWS, SIZE, Case
from weft import registry
from weft.tasks.base import Task
from weft.tasks.exchange import Origin
from weft.types import FeatureSpec, Records

pytestmark = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def logits_of(task: Task, case: Case) -> torch.Tensor:
    return task(case.features(), view="fused", size=SIZE)


def answers(case: Case) -> tuple[Task, torch.Tensor, torch.Tensor]:
    """An untrained task in evaluation, its prediction and the target."""
    torch.manual_seed(0)
    task = case.build().eval()
    with torch.no_grad():
        return task, task.predict(logits_of(task, case)), case.target()


def ids(num: int = ROWS) -> list[str]:
    return [f"s{number}" for number in range(num)]


def test_every_registered_task_has_a_case(case: Case) -> None:
    assert {one.type for one in CASES.values()} == set(registry.names("task"))


def test_the_count_of_the_loss_is_that_of_the_target(case: Case) -> None:
    task, target = case.build(), case.target()
    total, count = task.loss(logits_of(task, case), target)
    assert total.dtype == count.dtype == torch.float32
    assert total.shape == count.shape == ()
    assert count.item() == task.count(target).item() > 0
    assert torch.isfinite(total)


def test_the_losses_of_two_halves_add_up_to_that_of_the_whole(case: Case) -> None:
    task, target = case.build(), case.target()
    logits = logits_of(task, case)
    whole = task.loss(logits, target)
    halves = [task.loss(logits[part], target[part]) for part in (slice(0, 1), slice(1, ROWS))]
    for number in (0, 1):
        torch.testing.assert_close(sum(half[number] for half in halves), whole[number], rtol=1e-5, atol=1e-4)


def test_no_labelled_row_costs_nothing(case: Case) -> None:
    task, target = case.build(), case.target()
    total, count = task.loss(logits_of(task, case)[:0], target[:0])
    assert (total.item(), count.item()) == (0, 0)
    total.backward()
    assert all(p.grad is None or bool((p.grad == 0).all()) for p in task.parameters())


def test_every_parameter_gets_a_gradient(case: Case) -> None:
    torch.manual_seed(0)
    task = case.build()
    total, count = task.loss(logits_of(task, case), case.target())
    (total / count).backward()
    missing = [name for name, p in task.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert missing == []


def test_training_lowers_the_loss(case: Case) -> None:
    torch.manual_seed(0)
    task, target = case.build(), case.target()
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    means = []
    for _ in range(30):
        total, count = task.loss(logits_of(task, case), target)
        means.append((total / count).item())
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    assert means[-1] < means[0]


def test_bf16_logits_give_a_float32_loss_near_the_exact_one(case: Case) -> None:
    task, target = case.build(), case.target()
    logits = logits_of(task, case)
    exact, _ = task.loss(logits, target)
    rounded, _ = task.loss(logits.bfloat16(), target)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.1)


def test_a_row_is_answered_the_same_alone_and_in_a_batch(case: Case) -> None:
    task, prediction, _ = answers(case)
    with torch.no_grad():
        alone = task.predict(task(case.features().select(torch.tensor([2])), view="fused", size=SIZE))
    torch.testing.assert_close(alone[0], prediction[2], rtol=1e-4, atol=1e-5)


def test_the_logits_of_an_answer_say_and_cost_the_same(case: Case) -> None:
    task, target = case.build().eval(), case.target()
    if task.answer == "boxes":
        pytest.skip("no rule that combines boxes learns")
    with torch.no_grad():
        logits = logits_of(task, case)
        prediction = task.predict(logits)
        again = task.logits_of(prediction, size=SIZE)
        torch.testing.assert_close(task.predict(again), prediction, rtol=1e-4, atol=1e-5)
        for mine, theirs in zip(task.loss(again, target), task.loss(logits, target), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_the_logits_of_answers_that_round_to_nothing_or_all_are_finite(case: Case) -> None:
    task = case.build().eval()
    if task.answer not in ("values", "boxes"):
        sure = case.perfect(case.target())
        assert task.logits_of(sure, size=SIZE).isfinite().all()
        assert all(part.isfinite() for part in task.loss(task.logits_of(1 - sure, size=SIZE), case.target()))


def test_records_of_parts_merge_to_those_of_the_whole(case: Case) -> None:
    task, prediction, target = answers(case)
    whole = task.records(prediction, target, ids())
    parts = [slice(0, 1), slice(1, 3), slice(3, 4)]
    merged = Records.merge([task.records(prediction[part], target[part], ids()[part]) for part in parts])
    assert merged.ids == whole.ids
    assert merged.rows.keys() == whole.rows.keys()
    for name, values in whole.rows.items():
        assert len(values) == ROWS
        if values.dtype.kind in "iub":
            np.testing.assert_array_equal(merged.rows[name], values)
        np.testing.assert_allclose(merged.rows[name], values, rtol=1e-12)
    for name, values in whole.totals.items():
        np.testing.assert_array_equal(merged.totals[name], values)
    assert task.figures(merged) == pytest.approx(task.figures(whole), rel=1e-12, nan_ok=True)


def test_a_perfect_prediction_has_perfect_figures(case: Case) -> None:
    task, target = case.build(), case.target()
    records = task.records(case.perfect(target), target, ids())
    figures = task.figures(records)
    assert {name: figures[name] for name in case.best} == pytest.approx(case.best)
    assert task.badness(records) == pytest.approx(np.zeros(ROWS))


def test_figures_come_with_a_main_one_and_a_direction_for_each(case: Case) -> None:
    task, prediction, target = answers(case)
    records = task.records(prediction, target, ids())
    figures = task.figures(records)
    assert task.main_figure in figures
    assert all(isinstance(value, float) for value in figures.values())
    assert {name.split("/")[0] for name in figures} <= set(task.higher_is_better)
    assert task.badness(records).shape == (ROWS,)


def test_figures_follow_resampled_rows_without_totals(case: Case) -> None:
    task, prediction, target = answers(case)
    records = task.records(prediction, target, ids())
    again = task.figures(records.take(np.arange(ROWS)))
    assert again == pytest.approx(task.figures(records), nan_ok=True)


def test_figures_of_no_samples_are_untold(case: Case) -> None:
    task, prediction, target = answers(case)
    none = task.records(prediction, target, ids()).take(np.zeros(0, np.int64))
    assert all(np.isnan(value) for value in task.figures(none).values())


def test_answers_are_written_and_drawn(case: Case, tmp_path) -> None:
    task, prediction, _ = answers(case)
    background = Image.new("RGB", SIZE[::-1], "grey")
    for number, sample in enumerate(["a", "../b/c"]):
        row = prediction[number].numpy()
        task.write(row, Origin(sample, (64, 96), SIZE), tmp_path / "out")
        for shown in task.by_frame(row) or [row]:
            assert task.draw(shown, background).size[0] >= SIZE[1]
    assert [path for path in tmp_path.iterdir() if path.name != "out"] == []
    assert len(list((tmp_path / "out").iterdir())) >= 1


def test_a_flat_view_is_refused_where_maps_are_needed(case: Case) -> None:
    task = case.build()
    build = type(task)
    vector = {"text": FeatureSpec("vector", 16)}
    if task.need not in vector["text"].provides:
        with pytest.raises(ValueError, match="'text' is a vector"):
            build(vector, task.field)
    else:
        assert build({**vector, "fused": case.spec}, task.field).heads.keys() == {"text", "fused"}
