"""The losses' numbers, against PyTorch and by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from weft.losses.base import TargetFacts
from weft.losses.binary_cross_entropy import BinaryCrossEntropy
from weft.losses.cross_entropy import CrossEntropy
from weft.losses.regression import L1, MSE, Huber, ScaleInvariant

THREE = TargetFacts("classes", maps=True, classes=("a", "b", "c"))
LABELS = TargetFacts("labels", classes=("a", "b", "c"))
VALUES = TargetFacts("values", maps=True)


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 4.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(7,), (7, 4, 5)])
def test_cross_entropy_is_pytorchs(weights, smoothing, shape) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(shape[0], 3, *shape[1:]), torch.randint(0, 3, shape)
    target[2] = -100
    total, count = CrossEntropy(THREE, class_weights=weights, label_smoothing=smoothing)(logits, target)
    expected = F.cross_entropy(
        logits, target, weight=None if weights is None else torch.tensor(weights), label_smoothing=smoothing
    )
    torch.testing.assert_close(total / count, expected)


def test_cross_entropy_is_the_same_whatever_the_memory_format() -> None:
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    one, _ = CrossEntropy(THREE)(logits, target)
    other, _ = CrossEntropy(THREE)(logits.contiguous(memory_format=torch.channels_last), target)
    torch.testing.assert_close(one, other)


def test_binary_cross_entropy_is_pytorchs() -> None:
    torch.manual_seed(0)
    logits, target, weight = torch.randn(6, 3), (torch.rand(6, 3) > 0.5).float(), [1.0, 3.0, 0.5]
    total, count = BinaryCrossEntropy(LABELS, pos_weight=weight)(logits, target)
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(weight))
    torch.testing.assert_close(total / count, expected)


def test_absolute_and_squared_errors_by_hand() -> None:
    prediction, target = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([3.0, torch.nan, 1.0])
    assert [number.item() for number in L1(VALUES)(prediction, target)] == [3.0, 2.0]
    assert [number.item() for number in MSE(VALUES)(prediction, target)] == [5.0, 2.0]


@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_huber_is_pytorchs(delta: float) -> None:
    prediction, target = torch.tensor([1.0, 5.0, 2.0, 0.0]), torch.tensor([3.0, torch.nan, 1.9, -0.6])
    total, count = Huber(VALUES, delta=delta)(prediction, target)
    known = torch.tensor([0, 2, 3])
    torch.testing.assert_close(total / count, F.huber_loss(prediction[known], target[known], delta=delta))


def test_scale_invariant_is_equation_4_of_eigen() -> None:
    # one sample, d = log 2, log 4: Σd²/n − λ(Σd)²/n² with n = 2
    prediction, target = torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 1.0]])
    log2 = torch.tensor(2.0).log().item()
    expected = (log2**2 + (2 * log2) ** 2) / 2 - 0.5 * (3 * log2) ** 2 / 4
    total, count = ScaleInvariant(VALUES)(prediction, target)
    assert (total / count).item() == pytest.approx(expected)


def test_scale_invariant_with_balance_one_ignores_the_scale() -> None:
    target = torch.rand(2, 9) + 0.1
    total, _ = ScaleInvariant(VALUES, balance=1.0)(target * torch.tensor([[3.0], [0.2]]), target)
    assert total.item() == pytest.approx(0, abs=1e-5)


def test_scale_invariant_stays_finite_at_predictions_of_zero() -> None:
    prediction = torch.zeros(1, 4, requires_grad=True)
    total, _ = ScaleInvariant(VALUES)(prediction, torch.ones(1, 4))
    total.backward()
    assert torch.isfinite(total)
    assert bool(torch.isfinite(prediction.grad).all())
