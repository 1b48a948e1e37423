"""Losses per pixel: by hand, and against the libraries that have them."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from weft.losses.base import TargetFacts
from weft.losses.binary_cross_entropy import BalancedBinaryCrossEntropy
from weft.losses.boundary import Boundary
from weft.losses.cross_entropy import CrossEntropy
from weft.losses.focal import Focal
from weft.losses.ohem_cross_entropy import OhemCrossEntropy
from weft.losses.regions import Dice, Lovasz
from weft.losses.weighted_sum import build_loss
from weft.registry import Part

PIXELS = TargetFacts("classes", maps=True, classes=("a", "b", "c"))
EDGES = TargetFacts("labels", maps=True, classes=("edge",))


def example(num_rows: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    target = torch.randint(0, 3, (num_rows, 6, 7))
    target[0, :2] = -100
    return torch.randn(num_rows, 3, 6, 7), target


def mean(loss, prediction: Tensor, target: Tensor) -> Tensor:
    total, count = loss(prediction, target)
    return total / count


def logits_for(probabilities: list[list[float]]) -> Tensor:
    """(1, K, 1, n) logits of probabilities, a list for each pixel of a row."""
    return torch.tensor(probabilities).log().T[None, :, None]


# ---- focal


def test_focal_of_labels_is_torchvisions() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(5, 3), (torch.rand(5, 3) > 0.6).float()
    for alpha, given in ((0.25, 0.25), (-1, None)):
        loss = Focal(TargetFacts("labels", classes=("a", "b", "c")), gamma=1.5, alpha=given)
        expected = sigmoid_focal_loss(logits, target, alpha=alpha, gamma=1.5, reduction="mean")
        torch.testing.assert_close(mean(loss, logits, target), expected)


def test_focal_of_classes_by_hand() -> None:
    logits, target = logits_for([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]]), torch.tensor([[[0, 1]]])
    expected = (-(0.3**2) * torch.tensor(0.7).log() - 0.75**2 * torch.tensor(0.25).log()) / 2
    torch.testing.assert_close(mean(Focal(PIXELS), logits, target), expected)
    weighed = (-(0.3**2) * torch.tensor(0.7).log() - 3 * 0.75**2 * torch.tensor(0.25).log()) / 4
    torch.testing.assert_close(mean(Focal(PIXELS, class_weights={"b": 3.0}), logits, target), weighed)


# ---- regions


def test_dice_is_that_of_the_library_over_the_classes_that_occur() -> None:
    logits, target = example()
    target[1][target[1] == 2] = 0  # of the second sample, one class is absent
    theirs = smp.losses.DiceLoss("multiclass", smooth=0.5, ignore_index=-100)  # theirs halves all sums
    losses = [theirs(logits[row : row + 1], target[row : row + 1]) for row in (0, 1)]
    losses[1] = losses[1] * 3 / 2  # there it divides by all classes, absent ones having no loss
    known = torch.tensor([28.0, 42.0])
    torch.testing.assert_close(mean(Dice(PIXELS), logits, target), (known * torch.stack(losses)).sum() / known.sum())


def test_dice_of_labels_is_that_of_the_library() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(1, 1, 6, 7), (torch.rand(1, 1, 6, 7) > 0.7).float()
    expected = smp.losses.DiceLoss("binary", smooth=0.5)(logits, target)
    torch.testing.assert_close(mean(Dice(EDGES), logits, target), expected)


def test_lovasz_of_sure_answers_is_one_minus_the_mean_iou_of_the_sample() -> None:
    target = torch.tensor([[[0, 0, 0, 1]]])
    logits = F.one_hot(torch.tensor([[[0, 0, 1, 1]]]), 3).movedim(-1, 1) * 50.0
    torch.testing.assert_close(mean(Lovasz(PIXELS), logits, target), torch.tensor(1 - (2 / 3 + 1 / 2) / 2))


def test_a_sample_counts_as_its_known_pixels() -> None:
    logits, target = example()
    for loss in (Dice(PIXELS), Lovasz(PIXELS), OhemCrossEntropy(PIXELS)):
        total, count = loss(logits, target)
        alone = [mean(loss, logits[row : row + 1], target[row : row + 1]) for row in (0, 1)]
        assert count.item() == 70
        torch.testing.assert_close(total, 28 * alone[0] + 42 * alone[1])


# ---- hard pixels


def test_ohem_takes_what_is_below_the_threshold() -> None:
    logits = logits_for([[0.9, 0.05, 0.05], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    target = torch.tensor([[[0, 0, 0, 0]]])
    hard = -(torch.tensor(0.6).log() + torch.tensor(0.1).log()) / 2
    torch.testing.assert_close(mean(OhemCrossEntropy(PIXELS, threshold=0.7), logits, target), hard)


def test_ohem_fills_up_with_the_hardest_of_the_others() -> None:
    logits = logits_for([[0.9, 0.05, 0.05], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    target = torch.tensor([[[0, 0, 0, -100]]])
    three = OhemCrossEntropy(PIXELS, threshold=0.05, keep=0.5)  # half of three known ones: two
    torch.testing.assert_close(mean(three, logits, target), -(torch.tensor(0.6).log() + torch.tensor(0.1).log()) / 2)


def test_ohem_of_all_pixels_is_the_mean_cross_entropy_of_each_sample() -> None:
    logits, target = example(1)
    weights = {"a": 0.3, "c": 4.0}
    whole = mean(CrossEntropy(PIXELS, class_weights=weights), logits, target)
    torch.testing.assert_close(mean(OhemCrossEntropy(PIXELS, keep=1.0, class_weights=weights), logits, target), whole)


# ---- edges


def test_positives_and_negatives_weigh_as_in_equation_2_of_xie_and_tu() -> None:
    logits = torch.tensor([[[[0.3, -1.0, 2.0, 0.5]]]])
    target = torch.tensor([[[[1.0, 0.0, 0.0, torch.nan]]]])
    beta = 2 / 3
    expected = -beta * F.logsigmoid(logits[..., 0]) - (1 - beta) * F.logsigmoid(-logits[..., 1:3]).sum()
    total, count = BalancedBinaryCrossEntropy(EDGES)(logits, target)
    assert count.item() == 3
    torch.testing.assert_close(total, expected.squeeze())


# ---- boundary


def by_definition(logits: Tensor, target: Tensor, matrix: Tensor) -> float:
    """Σ Λ ‖∇P − ∇Y‖² with one-hot labels, a pair at a time."""
    said, truth = logits.softmax(1), F.one_hot(target.clamp(min=0), logits.shape[1]).movedim(-1, 1).float()
    total = 0.0
    num_rows, height, width = target.shape
    for row in range(num_rows):
        for y in range(height):
            for x in range(width):
                for down, right in ((0, 1), (1, 0)):
                    if y + down >= height or x + right >= width:
                        continue
                    p, q = (row, slice(None), y, x), (row, slice(None), y + down, x + right)
                    a, b = target[row, y, x], target[row, y + down, x + right]
                    if a < 0 or b < 0:
                        continue
                    total += float(matrix[a, b] * ((said[q] - said[p]) - (truth[q] - truth[p])).square().sum())
    return total


def test_the_boundary_loss_is_its_definition() -> None:
    logits, target = example()
    matrix = torch.tensor([[0.2, 3.0, 1.0], [3.0, 0.2, 0.5], [1.0, 0.5, 0.9]])
    loss = Boundary(PIXELS, pairs={"a": {"b": 3.0}, "c": {"b": 0.5, "c": 0.9}}, inside=0.2)
    total, count = loss(logits, target)
    assert total.item() == pytest.approx(by_definition(logits, target, matrix), rel=1e-5)
    assert count.item() == 70


def test_a_step_where_the_labels_have_one_costs_nothing_and_one_pixel_aside_twice_two() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    right, aside = (
        F.one_hot(torch.tensor([[numbers]]), 3).movedim(-1, 1) * 60.0 for numbers in ([0, 0, 1, 1], [0, 1, 1, 1])
    )
    assert Boundary(PIXELS)(right, target)[0].item() == pytest.approx(0, abs=1e-6)
    assert Boundary(PIXELS)(aside, target)[0].item() == pytest.approx(4)  # one step missing, one that is too many
    assert Boundary(PIXELS, inside=0.0)(aside, target)[0].item() == pytest.approx(2)


def test_pairs_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs names 'z', which is no class; there are a, b, c"):
        Boundary(PIXELS, pairs={"a": {"z": 1.0}})
    with pytest.raises(ValueError, match="gives b and a 2 and, the other way round, 1"):
        Boundary(PIXELS, pairs={"a": {"b": 1.0}, "b": {"a": 2.0}})


# ---- sums


def test_a_sum_adds_the_means_of_its_losses_by_their_weights() -> None:
    logits, target = example()
    both = build_loss([Part("loss", "cross_entropy"), Part("loss", "dice", {"weight": 0.5})], PIXELS)
    expected = mean(CrossEntropy(PIXELS), logits, target) + 0.5 * mean(Dice(PIXELS), logits, target)
    torch.testing.assert_close(mean(both, logits, target), expected)


def test_class_weights_in_a_sum_are_not_divided_out() -> None:
    logits, target = example()
    counted = TargetFacts("classes", maps=True, classes=("a", "b", "c"), counts=(60, 30, 10), num_counted=100)
    loss = CrossEntropy(counted, class_weights="inverse")
    summed = build_loss([Part("loss", "cross_entropy", {"class_weights": "inverse"})], counted)
    torch.testing.assert_close(summed(logits, target)[0], loss(logits, target)[0])
    assert summed.count(target).item() == 70


@pytest.mark.parametrize(
    ("facts", "chosen", "message"),
    [
        (
            PIXELS,
            Part("loss", "l1"),
            "the loss 'l1' is not for exclusive classes per pixel; losses that are: boundary, ",
        ),
        (
            TargetFacts("classes", classes=("a", "b")),
            Part("loss", "dice"),
            "not for exclusive classes of whole samples",
        ),
        (TargetFacts("values"), [Part("loss", "l1"), Part("loss", "focal")], "'focal' is not for values"),
        (PIXELS, [Part("loss", "dice"), Part("loss", "dice")], "'dice' is given twice in the sum"),
        (PIXELS, [], "an empty list of losses"),
        (PIXELS, Part("loss", "dice", {"weight": 2.0}), "give the task a `weight` instead"),
    ],
)
def test_losses_that_do_not_fit_are_refused(facts: TargetFacts, chosen, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_loss(chosen, facts)
