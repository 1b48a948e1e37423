"""Weights of classes: by name, in order, from counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weft.losses.base import TargetFacts
from weft.losses.binary_cross_entropy import BinaryCrossEntropy
from weft.losses.class_weights import positive_weights_of, weights_of
from weft.losses.cross_entropy import CrossEntropy
from weft.losses.focal import Focal

COUNTED = TargetFacts("classes", classes=("road", "pole", "sky"), counts=(80, 4, 16), num_counted=100)
LABELS = TargetFacts("labels", classes=("hernia", "mass", "none"), counts=(2, 0, 10), num_counted=10)


def weights(given, facts: TargetFacts = COUNTED, beta: float | None = None) -> list[float]:
    found = weights_of(given, facts, beta=beta)
    assert found is not None
    return found.tolist()


def test_classes_that_are_not_named_weigh_one() -> None:
    assert weights({"pole": 5.0}) == [1, 5, 1]
    assert weights([0.5, 5.0, 0.0]) == [0.5, 5, 0]
    assert weights_of(None, COUNTED, beta=None) is None


def test_inverse_gives_every_class_the_same_share() -> None:
    found = torch.tensor(weights("inverse"))
    torch.testing.assert_close(found * torch.tensor([80.0, 4, 16]), torch.full((3,), 100 / 3))


def test_effective_numbers_by_hand() -> None:
    # β = 0.9: (1 − 0.9^n) / 0.1 is 9.9978 of 80, 3.439 of 4 and 8.147 of 16
    share = [1 / 9.99782, 1 / 3.439, 1 / 8.146980]
    scale = 100 / (80 * share[0] + 4 * share[1] + 16 * share[2])
    assert weights("effective", beta=0.9) == pytest.approx([scale * one for one in share], rel=1e-5)


def test_effective_numbers_reach_from_equal_to_inverse() -> None:
    assert weights("effective", beta=0.0) == [1, 1, 1]
    assert weights("effective", beta=1 - 1e-9) == pytest.approx(weights("inverse"), rel=1e-5)


def test_by_default_counts_of_pixels_weigh_as_counts_of_samples_do() -> None:
    pixels = TargetFacts("classes", classes=("a", "b"), counts=(900_000_000, 1_000_000), num_counted=0)
    samples = TargetFacts("classes", classes=("a", "b"), counts=(9000, 10), num_counted=0)
    assert weights("effective", pixels) == pytest.approx(weights("effective", samples), rel=0.01)
    assert weights("effective", pixels)[1] > 100


def test_what_follows_from_counts_is_one_on_average_and_a_class_that_never_occurs_weighs_one() -> None:
    facts = TargetFacts("classes", classes=("a", "b", "c"), counts=(30, 10, 0), num_counted=40)
    for found in (weights("inverse", facts), weights("effective", facts, 0.99)):
        assert found[2] == 1
    assert 30 * weights("effective", facts, 0.99)[0] + 10 * weights("effective", facts, 0.99)[1] == pytest.approx(40)
    assert 80 * weights("inverse")[0] + 4 * weights("inverse")[1] + 16 * weights("inverse")[2] == pytest.approx(100)


def test_the_positive_term_weighs_negatives_over_positives() -> None:
    found = positive_weights_of("inverse", LABELS)
    assert found is not None
    assert found.tolist() == [4, 1, 1]  # the second has no positive, the third no negative
    unsure = positive_weights_of("inverse", replace(LABELS, known=(5, 0, 10)))
    assert unsure is not None
    assert unsure.tolist() == [1.5, 1, 1]
    named = positive_weights_of({"mass": 7.0}, LABELS)
    assert named is not None
    assert named.tolist() == [1, 7, 1]


@pytest.mark.parametrize(
    ("given", "beta", "message"),
    [
        (
            {"pol": 2.0, "roda": 1.0},
            None,
            "names 'pol', 'roda', which are no classes; there are road, pole, sky; did you",
        ),
        ({"pol": 2.0}, None, "names 'pol', which is no class; there are road, pole, sky; did you mean 'pole'"),
        ([1.0, 2.0], None, "has 2 numbers for 3 classes; give one each"),
        ([1.0, -2.0, 1.0], None, "not below 0"),
        ([0.0, 0.0, 0.0], None, "one at least is above"),
        ([1.0, 2.0, 3.0], 0.9, "beta is of `class_weights: effective`"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(given, beta, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weights(given, beta=beta)
    if beta is None:
        with pytest.raises(ValueError, match=message):
            BinaryCrossEntropy(TargetFacts("labels", classes=COUNTED.classes), pos_weight=given)


def test_weights_from_counts_need_counts() -> None:
    bare = TargetFacts("classes", classes=("a", "b"))
    with pytest.raises(ValueError, match="how often each class occurs in training, which is not known here"):
        CrossEntropy(bare, class_weights="inverse")


def test_weights_of_the_other_kind_of_target_are_refused() -> None:
    with pytest.raises(ValueError, match="these are labels; give `alpha`"):
        Focal(LABELS, class_weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="alpha is of labels"):
        Focal(COUNTED, alpha=0.5)


def test_only_weights_that_follow_from_counts_want_counts() -> None:
    assert CrossEntropy.wants_counts({"class_weights": "effective"})
    assert BinaryCrossEntropy.wants_counts({"pos_weight": "inverse"})
    assert not CrossEntropy.wants_counts({"class_weights": {"pole": 2.0}})
    assert not CrossEntropy.wants_counts({})
