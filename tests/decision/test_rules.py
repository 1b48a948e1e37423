"""Decision rules on numbers that can be worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft.decision.base import Decision
from weft.decision.weights import RATE, ViewWeights
from weft.registry import Part
from weft.types import Answer

VIEWS = ("image", "depth", "text")


def rule(name: str, answer: Answer, **options: object) -> Decision:
    decide = Part("decision", name, options)(VIEWS, answer)
    assert isinstance(decide, Decision)
    return decide


def decide(decision: Decision, *rows: list[float], present: tuple[bool, ...] = (True, True, True)) -> list[float]:
    """The answer of one sample from a list of numbers per view."""
    said = {view: torch.tensor([row]) for view, row in zip(VIEWS, rows, strict=True)}
    there = {view: torch.tensor([is_there]) for view, is_there in zip(VIEWS, present, strict=True)}
    numbers: list[float] = decision(said, there)[0].tolist()
    return numbers


def learned(decision: Decision, **logarithms: float) -> Decision:
    """The rule with the learned logarithms of the views' weights."""
    with torch.no_grad():
        for name, parameter in decision.named_parameters():
            *of, view = name.split(".")
            if of[-1] == "scores":
                parameter.fill_(logarithms[view] / RATE)
    return decision


def test_mean() -> None:
    assert decide(rule("mean", "labels"), [0.1, 0.6], [0.4, 0.6], [1.0, 0.0]) == pytest.approx([0.5, 0.4])
    without = decide(rule("mean", "labels"), [0.1, 0.6], [0.4, 0.6], [1.0, 0.0], present=(True, False, True))
    assert without == pytest.approx([0.55, 0.3])


class TestVote:
    def test_the_majority_wins_against_one_that_is_surer(self) -> None:
        said = ([0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.0, 0.9, 0.1])
        assert decide(rule("vote", "classes"), *said) == pytest.approx([0.55, 0.35, 0.1])  # of the two who said it
        assert max(decide(rule("mean", "classes"), *said)) == decide(rule("mean", "classes"), *said)[1]

    def test_a_tie_goes_to_the_higher_mean_probability(self) -> None:
        # one vote each; summed 0.9, 1.2, 0.9
        said = ([0.3, 0.4, 0.3], [0.5, 0.4, 0.1], [0.1, 0.4, 0.5])
        assert decide(rule("vote", "classes"), *said) == pytest.approx([0.3, 0.4, 0.3])
        # without the first: a vote for class 0, a vote for class 2, and 0.6 each; the lower number
        assert decide(rule("vote", "classes"), *said, present=(False, True, True)) == pytest.approx([0.5, 0.4, 0.1])

    def test_a_class_without_votes_does_not_win_by_its_mean(self) -> None:
        # class 2 is second with both: 0.9 in sum, more than either winner's 0.85; but nobody voted for it
        said = ([0.5, 0.05, 0.45], [0.05, 0.5, 0.45], [0.0, 0.0, 0.0])
        first, second, third = decide(rule("vote", "classes"), *said, present=(True, True, False))
        assert (first, second, third) == pytest.approx((0.5, 0.05, 0.45))

    def test_labels_are_voted_on_one_by_one(self) -> None:
        said = ([0.9, 0.4, 0.5], [0.7, 0.1, 0.2], [0.1, 0.9, 0.3])
        # yes, yes, no -> the mean of 0.9 and 0.7; no, no, yes -> of 0.4 and 0.1; yes (just), no, no -> of 0.2 and 0.3
        assert decide(rule("vote", "labels"), *said) == pytest.approx([0.8, 0.25, 0.25])
        # of two that differ the mean decides which one counts: 1.3 / 2, 0.5 / 2, 0.7 / 2
        split = decide(rule("vote", "labels"), [0.9, 0.4, 0.6], [0.4, 0.6, 0.1], [0, 0, 0], present=(True, True, False))
        assert split == pytest.approx([0.9, 0.6, 0.1])

    def test_of_numbers_it_is_the_median(self) -> None:
        said = ([1.0, -5.0], [2.0, 7.0], [90.0, 8.0])
        assert decide(rule("vote", "values"), *said) == pytest.approx([2.0, 7.0])
        assert decide(rule("vote", "values"), *said, present=(True, False, True)) == pytest.approx([45.5, 1.5])
        assert decide(rule("vote", "values"), *said, present=(False, False, False)) == [0, 0]

    def test_every_pixel_votes_for_itself(self) -> None:
        masks = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]]])  # (1, 2, 1, 2)
        said = {"image": masks, "depth": masks.flip(-1), "text": masks}
        there = dict.fromkeys(VIEWS, torch.tensor([True]))
        torch.testing.assert_close(rule("vote", "classes")(said, there), masks)


class TestMaximum:
    def test_of_classes_it_is_divided_by_the_sum(self) -> None:
        said = ([0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1])
        assert decide(rule("maximum", "classes"), *said) == pytest.approx([0.3, 0.4, 0.3])  # 0.6, 0.8, 0.6 over 2

    def test_of_labels_and_values_it_is_the_largest(self) -> None:
        said = ([0.6, 0.3], [0.2, 0.9], [0.1, 0.0])
        assert decide(rule("maximum", "labels"), *said) == pytest.approx([0.6, 0.9])
        assert decide(rule("maximum", "values"), [-3.0], [-2.0], [-9.0], present=(True, False, True)) == [-3.0]


class TestLinear:
    WEIGHTS = {"image": 3.0, "depth": 1.0, "text": 4.0}  # noqa: RUF012

    def test_fixed_weights_are_shared_out_among_those_present(self) -> None:
        said = ([0.8, 0.2], [0.4, 0.6], [0.1, 0.9])
        fixed = rule("linear", "classes", weights=self.WEIGHTS)
        assert decide(fixed, *said) == pytest.approx([(2.4 + 0.4 + 0.4) / 8, (0.6 + 0.6 + 3.6) / 8])
        without = decide(fixed, *said, present=(True, True, False))
        assert without == pytest.approx([0.7, 0.3])  # 3/4 and 1/4
        assert not fixed.learns
        assert fixed.explain() == pytest.approx({"image": 3 / 8, "depth": 1 / 8, "text": 4 / 8})

    def test_learned_weights_begin_with_the_mean_and_follow_their_logarithms(self) -> None:
        linear = rule("linear", "values")
        assert decide(linear, [1.0], [2.0], [6.0]) == pytest.approx([3.0])
        learned(linear, image=math.log(1), depth=math.log(2), text=math.log(5))
        assert decide(linear, [1.0], [2.0], [6.0]) == pytest.approx([(1 + 4 + 30) / 8])
        assert decide(linear, [1.0], [2.0], [6.0], present=(True, True, False)) == pytest.approx([(1 + 4) / 3])
        assert linear.explain() == pytest.approx({"image": 1 / 8, "depth": 2 / 8, "text": 5 / 8})

    def test_a_view_without_a_weight_is_named(self) -> None:
        with pytest.raises(ValueError, match="given for image, depth, and not for text; give one for each"):
            rule("linear", "classes", weights={"image": 1.0, "depth": 1.0})

    def test_weights_may_name_views_that_only_other_tasks_read(self) -> None:
        fewer = Part("decision", "linear", {"weights": self.WEIGHTS})(("text", "depth"), "classes")
        assert fewer.explain() == pytest.approx({"text": 0.8, "depth": 0.2})


class TestProduct:
    SAID = ([0.5, 0.5], [0.2, 0.8], [0.4, 0.6])

    def test_evidence_adds_up(self) -> None:
        odds = (0.5 * 0.2 * 0.4) / (0.5 * 0.8 * 0.6)
        said = decide(rule("product", "classes", evidence="sum"), *self.SAID)
        assert said == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])

    def test_or_is_averaged_geometrically(self) -> None:
        odds = ((0.5 * 0.2 * 0.4) / (0.5 * 0.8 * 0.6)) ** (1 / 3)
        assert decide(rule("product", "classes"), *self.SAID) == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
        pair = (0.25 / 1.5) ** 0.5
        without = decide(rule("product", "classes"), *self.SAID, present=(False, True, True))
        odds = (0.2 * 0.4 / (0.8 * 0.6)) ** 0.5
        assert odds == pytest.approx(pair)
        assert without == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])

    def test_labels_multiply_their_odds(self) -> None:
        said = ([0.5, 0.9], [0.8, 0.9], [0.75, 0.9])
        added = decide(rule("product", "labels", evidence="sum"), *said)
        assert added == pytest.approx([12 / 13, 729 / 730])  # odds 1 · 4 · 3; 9 · 9 · 9
        mean = 12 ** (1 / 3)
        assert decide(rule("product", "labels"), *said) == pytest.approx([mean / (1 + mean), 0.9])

    def test_learned_powers_are_exponents(self) -> None:
        decision = rule("product", "classes", powers="learned")
        learned(decision, image=0.0, depth=0.0, text=math.log(2))
        odds = (0.5 / 0.5) ** 0.25 * (0.2 / 0.8) ** 0.25 * (0.4 / 0.6) ** 0.5
        assert decide(decision, *self.SAID) == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])

    def test_numbers_are_weighted_by_learned_precision(self) -> None:
        decision = learned(rule("product", "values"), image=math.log(4), depth=math.log(1), text=math.log(1))
        assert decide(decision, [1.0], [4.0], [7.0]) == pytest.approx([(4 + 4 + 7) / 6])
        assert decide(decision, [1.0], [4.0], [7.0], present=(False, True, True)) == pytest.approx([5.5])

    def test_one_view_can_rule_a_class_out(self) -> None:
        said = ([0.0, 0.6, 0.4], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05])
        assert decide(rule("product", "classes"), *said)[0] < 1e-10
        assert decide(rule("mean", "classes"), *said)[0] == pytest.approx(0.6)

    def test_what_float32_has_rounded_away_is_no_infinity(self) -> None:
        certain = ([1.0, 0.0], [0.0, 1.0], [0.0, 1.0])
        assert decide(rule("product", "classes", evidence="sum"), *certain) == pytest.approx([0, 1])
        assert decide(rule("product", "labels"), *certain, present=(True, True, False)) == pytest.approx([0.5, 0.5])


class TestUncertainty:
    def test_a_view_that_knows_nothing_counts_nothing(self) -> None:
        decision = rule("uncertainty", "classes")
        said = decide(decision, [0.5, 0.5], [1.0, 0.0], [0.5, 0.5])
        assert said == pytest.approx([1.0, 0.0], abs=1.5e-3)  # the floor under every certainty
        assert decide(decision, [0.5, 0.5], [1.0, 0.0], [0.5, 0.5], present=(True, False, True)) == pytest.approx(
            [0.5, 0.5]
        )

    def test_certainty_is_one_minus_the_entropy_over_the_largest(self) -> None:
        sure = 1 - (-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25))
        said = decide(rule("uncertainty", "classes"), [1.0, 0.0], [0.25, 0.75], [0, 0], present=(True, True, False))
        weight = (1 + 1e-3) / (1 + 1e-3 + sure + 1e-3)
        assert said == pytest.approx([weight + (1 - weight) * 0.25, (1 - weight) * 0.75])

    def test_every_label_and_every_pixel_has_its_own(self) -> None:
        said = decide(rule("uncertainty", "labels"), [1.0, 0.5], [0.5, 0.0], [0, 0], present=(True, True, False))
        assert said == pytest.approx([1.0, 0.0], abs=1.5e-3)
        masks = {"image": torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])[None], "depth": torch.full((1, 2, 1, 2), 0.5)}
        masks["depth"][0, :, 0, 1] = torch.tensor([0.0, 1.0])
        there = dict.fromkeys(masks, torch.tensor([True]))
        decided: Tensor = rule("uncertainty", "classes")(masks, there)
        torch.testing.assert_close(decided[0, :, 0], torch.eye(2), atol=1.5e-3, rtol=0)

    def test_numbers_are_weighted_by_learned_inverse_variance(self) -> None:
        decision = learned(rule("uncertainty", "values"), image=math.log(1), depth=math.log(1), text=math.log(2))
        assert decide(decision, [0.0], [4.0], [6.0]) == pytest.approx([4.0])
        assert decision.explain() == pytest.approx({"image": 0.25, "depth": 0.25, "text": 0.5})


def test_weights_however_far_apart_neither_overflow_nor_vanish() -> None:
    weights = ViewWeights(("a", "b"))
    with torch.no_grad():
        weights.scores["a"].fill_(500 / RATE)
        weights.scores["b"].fill_(-500 / RATE)
    both, one = torch.tensor([True, True]), torch.tensor([True, False])
    shares = weights({"a": one, "b": both})
    assert [share.tolist() for share in shares.values()] == [[1, 0], [0, 1]]


def test_a_learned_rule_finds_the_view_that_is_right() -> None:
    torch.manual_seed(0)
    truth = torch.randn(200, 1)
    spread = {"image": 0.1, "depth": 0.2, "text": 0.4}
    said = {view: truth + size * torch.randn_like(truth) for view, size in spread.items()}
    there = dict.fromkeys(VIEWS, torch.ones(200, dtype=torch.bool))
    decision = rule("product", "values")
    optimizer = torch.optim.Adam(decision.parameters(), lr=2e-3)
    for _ in range(300):
        optimizer.zero_grad()
        (decision(said, there) - truth).square().mean().backward()
        optimizer.step()
    # inverse variances 100 : 25 : 6.25
    assert decision.explain() == pytest.approx({"image": 0.762, "depth": 0.19, "text": 0.048}, abs=0.06)


def test_what_a_view_is_worth_can_depend_on_which_others_are_absent() -> None:
    weights = ViewWeights(("fused", "image", "depth"))
    with torch.no_grad():
        weights.absences["depth"]["fused"].fill_(-math.log(3) / RATE)
    depth = torch.tensor([True, False])
    there = torch.tensor([True, True])
    shares = weights({"fused": there, "image": there, "depth": depth})
    torch.testing.assert_close(shares["fused"], torch.tensor([1 / 3, 1 / 4]))
    torch.testing.assert_close(shares["image"], torch.tensor([1 / 3, 3 / 4]))
    # a view that is lacking altogether is absent from every row
    torch.testing.assert_close(weights({"fused": there, "image": there})["fused"], torch.tensor([1 / 4, 1 / 4]))
    assert weights.shares() == pytest.approx(dict.fromkeys(weights.views, 1 / 3))


def test_a_learned_rule_finds_whom_to_trust_when_a_view_is_absent() -> None:
    torch.manual_seed(0)
    truth, noise = torch.randn(400, 1), torch.randn(400, 1)
    depth = torch.arange(400) % 2 == 0
    said = {"fused": torch.where(depth[:, None], truth, truth + noise), "image": truth + noise.flip(0) / 5}
    said["depth"] = truth + 3 * noise.flip(0)
    there = {"fused": torch.ones(400, dtype=torch.bool), "image": torch.ones(400, dtype=torch.bool), "depth": depth}
    decision = Part("decision", "linear")(("fused", "image", "depth"), "values")
    optimizer = torch.optim.Adam(decision.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        (decision(said, there) - truth).square().mean().backward()
        optimizer.step()
    shares = {view: share.flatten()[:2].tolist() for view, share in decision.weights(there).items()}
    assert shares["fused"][0] > 0.8
    assert shares["image"][1] > 0.8
