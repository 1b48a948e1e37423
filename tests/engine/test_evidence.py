"""What modalities did is told from hand-made shares and records, and drawn where it belongs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from weft.engine import inference as looking
from weft.engine.attention import looked_at, over_picture
from weft.engine.evaluate import _absent_result
from weft.engine.evidence import Shares, agreement, example_ids, per_sample, share_summary, shares_by_answer
from weft.engine.likeness import Likeness
from weft.engine.pictures import PLAIN_COLOUR, PLAIN_SIZE, _Drawing
from weft.engine.score import Scored
from weft.modalities.base import Geometry
from weft.tasks.classification import Classification
from weft.types import Batch, Features, FeatureSpec, Records

M = ("image", "text")
TASK = Classification({"fused": FeatureSpec("vector", 2)}, Classification.Target({}, classes=["cat", "dog"]))


def answers(right: str, truth: str = "ccdd") -> Records:
    """Records of one character per sample: "+" right, "-" wrong, "." no answer."""
    rows = [(i, t, r) for i, (t, r) in enumerate(zip(truth, right, strict=True)) if r != "."]
    numbers = np.array(["cd".index(t) for _, t, _ in rows])
    said = np.array([n if r == "+" else 1 - n for n, (_, _, r) in zip(numbers, rows, strict=True)])
    return Records([f"s{i}" for i, _, _ in rows], {"scores": np.eye(2)[said], "truth": numbers})


def shares(values: list[list[float]], present: list[list[bool]] | None = None) -> Records:
    there = np.ones((len(values), 2), bool) if present is None else np.array(present)
    return Records([f"s{i}" for i in range(len(values))], {"vector": np.array(values), "present": there})


def test_the_mean_share_counts_the_samples_that_have_the_modality_beside_another() -> None:
    found = share_summary(shares([[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]], [[True, True], [True, True], [True, False]]), M)
    assert found is not None
    assert found["sums_to_one"]
    assert found["levels"]["vector"]["image"] == {
        "count": 2,
        "mean": pytest.approx(0.4),
        "low": pytest.approx(0.24),
        "high": pytest.approx(0.56),
    }
    assert found["levels"]["vector"]["text"]["mean"] == pytest.approx(0.6)


def test_weights_that_are_no_shares_are_told_apart() -> None:
    found = share_summary(shares([[0.9, 0.8], [0.6, 0.4]]), M)
    assert found is not None
    assert not found["sums_to_one"]


def test_a_fusion_with_nothing_to_say_says_nothing() -> None:
    assert share_summary(Records(), M) is None
    assert shares_by_answer(TASK, answers("++--"), Records(), M) == []


def test_shares_are_told_by_right_and_wrong_and_by_class() -> None:
    found = shares_by_answer(TASK, answers("+-+."), shares([[0.1, 0.9], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1]]), M)
    assert [(part["kind"], part["name"], part["count"]) for part in found] == [
        ("answers", "right", 2),
        ("answers", "wrong", 1),
        ("class", "cat", 2),
        ("class", "dog", 1),
    ]
    assert [part["modalities"]["image"] for part in found] == pytest.approx([0.2, 0.5, 0.3, 0.3])


def test_where_nothing_is_right_or_wrong_the_better_half_stands_for_it() -> None:
    task = SimpleNamespace(
        right=lambda records: None, badness=lambda records: records.rows["error"], classes_of=lambda records: {}
    )
    records = Records(["s0", "s1", "s2"], {"error": np.array([3.0, 1.0, 9.0])})
    found = shares_by_answer(task, records, shares([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1]]), M)  # type: ignore[arg-type]
    assert [(part["name"], part["count"]) for part in found] == [("better half", 2), ("worse half", 1)]
    assert found[0]["modalities"]["image"] == pytest.approx(0.3)


def test_every_sample_is_in_one_kind_of_agreement() -> None:
    by_subset = {"image": answers("++--"), "text": answers("+-+-"), "image+text": answers("+-++")}
    found = agreement(TASK, by_subset, M, "image+text")
    assert found is not None
    assert (found["count"], found["together"], found["any_alone"]) == (4, 3, 3)
    assert [(row["which"], row["modality"], row["right"], row["wrong"]) for row in found["rows"]] == [
        ("none", None, 1, 0),  # s3: only together
        ("only", "image", 0, 1),  # s1: lost together
        ("only", "text", 1, 0),  # s2
        ("all", None, 1, 0),  # s0
    ]
    assert found["examples"] == [
        {"kind": "only", "modality": "image", "ids": ["s1"]},
        {"kind": "only", "modality": "text", "ids": ["s2"]},
        {"kind": "together", "modality": None, "ids": ["s3"]},
    ]
    assert example_ids(found) == ["s1", "s2", "s3"]


def test_agreement_is_over_the_samples_that_all_could_answer() -> None:
    by_subset = {"image": answers("++.-"), "text": answers("+-+-"), "image+text": answers("+-+-")}
    found = agreement(TASK, by_subset, M, "image+text")
    assert found is not None
    assert found["count"] == 3
    assert {"kind": "none", "modality": None, "ids": ["s3"]} in found["examples"]


def test_several_of_three_are_a_kind_of_their_own() -> None:
    by_subset = {"a": answers("+++-"), "b": answers("++--"), "c": answers("+---"), "a+b+c": answers("++++")}
    found = agreement(TASK, by_subset, ("a", "b", "c"), "a+b+c")
    assert found is not None
    counts = {(row["which"], row["modality"]): row["right"] + row["wrong"] for row in found["rows"]}
    assert counts == {("none", None): 1, ("only", "a"): 1, ("only", "b"): 0, ("only", "c"): 0, ("several", None): 1,
                      ("all", None): 1}  # fmt: skip


def test_what_was_not_scored_alone_cannot_be_compared() -> None:
    assert agreement(TASK, {"image+text": answers("++--")}, M, "image+text") is None
    assert agreement(TASK, {"image": answers("++--")}, ("image",), "image") is None


def test_maps_and_frames_are_averaged_per_sample() -> None:
    weights = torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]])  # 2 frames of one clip
    assert per_sample(weights, 1).tolist() == [[0.75, 0.25]]
    assert per_sample(weights, 2).tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert per_sample(torch.tensor([[0.3, 0.7]]), 1).tolist() == [pytest.approx([0.3, 0.7])]


class Explains:
    """A fusion that gives the present modalities equal shares."""

    timed = ("text",)

    def explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        present = torch.stack([features[m].present for m in M], dim=1).float()
        return {"share": present / present.sum(1, keepdim=True), "attention/text": torch.ones(len(present), 3)}

    def compared(self, features: dict[str, Features]) -> dict[str, dict[str, Tensor]]:
        return {}


def seen(batch: Batch, features: dict[str, Features]) -> looking.Seen:
    return looking.Seen(looking.Look(batch, flipped=False, window=None), features)


def test_shares_are_collected_over_batches_without_what_is_left_out() -> None:
    model = SimpleNamespace(encoders=dict.fromkeys(M), fusion=Explains())
    there = {"image": torch.tensor([True, True]), "text": torch.tensor([True, False])}
    features = {m: Features.of_vector(torch.ones(2, 4)).keep(there[m]) for m in M}
    batch = Batch({}, {}, there, {}, ("a", "b"))
    collected = Shares(model, M, precision="fp32")  # type: ignore[arg-type]
    collected.observe(batch, [seen(batch, features)])
    records = collected.records()
    assert records.ids == ["a", "b"]
    assert records.rows["share"].tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert records.rows["present"].tolist() == [[True, True], [True, False]]
    assert set(records.rows) == {"share", "present"}
    alone = Shares(model, ("image",), precision="fp32")  # type: ignore[arg-type]
    alone.observe(batch, [seen(batch, features)])
    assert alone.summary() is None


def test_what_a_part_looked_at_is_told_over_the_samples_in_which_it_saw_anything() -> None:
    rows = shares([[0.2, 0.8], [0.6, 0.4]])
    rows.rows["part/inter"] = np.array([[0.25, 0.75], [0.0, 0.0]])
    found = share_summary(rows, M)
    assert found is not None
    assert set(found["levels"]) == {"vector"}
    assert found["sums_to_one"]
    assert found["parts"]["inter"]["text"] == {"count": 1, "mean": 0.75, "low": 0.75, "high": 0.75}


def test_likeness_is_linear_cka_whatever_the_batches() -> None:
    """Against its other form, over inner products of the samples (Kornblith et al., equations 2 and 3)."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 3))
    y = np.concatenate([x[:, :2] + 0.1 * generator.normal(size=(40, 2)), generator.normal(size=(40, 3))], axis=1)
    both = np.arange(40) % 4 > 0
    centre = np.eye(both.sum()) - 1 / both.sum()
    k, other = (centre @ z[both] @ z[both].T @ centre for z in (x, y))
    expected = (k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum())
    collected = Likeness(M)
    for rows in np.split(np.arange(40), [7, 20]):
        features = {"image": torch.tensor(x[rows]), "text": torch.tensor(y[rows])}
        there = {"image": torch.tensor(both[rows]), "text": torch.ones(len(rows), dtype=torch.bool)}
        collected.observe({"before": features, "after": {**features, "text": features["image"]}}, there)
    before, after = collected.summary()
    assert before == {"stage": "before", "one": "image", "other": "text", "count": 30, "cka": pytest.approx(expected)}
    assert after["cka"] == pytest.approx(1)


def modality(kind: str, words: list[str] | None = None) -> SimpleNamespace:
    return SimpleNamespace(geometry=Geometry(kind), words=lambda value: words or [])  # type: ignore[arg-type]


def test_attention_is_on_words_on_the_picture_and_along_the_sound() -> None:
    features = {
        "text": Features.of_sequence(torch.zeros(1, 4, 2), torch.tensor([3])),
        "image": Features.of_pyramid([torch.zeros(1, 2, 2, 2)]),
        "sound": Features.of_sequence(torch.zeros(1, 2, 2), torch.tensor([2])),
        "row": Features.of_vector(torch.zeros(1, 2)),
    }
    explained = {
        "attention/text": torch.tensor([[0.1, 0.2, 0.05, 0.0]]),
        "attention/image": torch.tensor([[0.0, 0.3, 0.0, 0.0]]),
        "attention/sound": torch.tensor([[0.2, 0.0]]),
        "attention/row": torch.tensor([[0.15]]),
    }
    modalities = {
        "text": modality("sequence", ["a", "red", "<b>"]),
        "image": modality("image"),
        "sound": modality("sequence"),
        "row": modality("none", ["rooms", "area"]),
    }
    pictures = {"image": Image.new("RGB", (30, 20), "grey"), "sound": Image.new("RGB", (40, 10), "grey")}
    values = dict.fromkeys(features, np.zeros(1))
    found = looked_at(explained, features, modalities, values, pictures, (32, 32))  # type: ignore[arg-type]
    assert found["text"].words == (("a", pytest.approx(0.1)), ("red", pytest.approx(0.2)), ("<b>", pytest.approx(0.05)))
    assert [round(found[m].share, 3) for m in features] == [0.35, 0.3, 0.2, 0.15]
    assert found["row"].words == ()  # one token, two columns: told by modality only
    assert found["row"].picture is None
    image, sound = found["image"].picture, found["sound"].picture
    assert image is not None
    assert sound is not None
    assert (image.size, sound.size) == ((30, 20), (40, 10))
    assert warmth(image, 28, 2) > warmth(image, 2, 2)  # the second token is the upper right quarter
    assert warmth(image, 28, 2) > warmth(image, 28, 19)
    assert warmth(sound, 2, 5) > warmth(sound, 37, 5)


def warmth(picture: Image.Image, x: int, y: int) -> int:
    """How far from grey."""
    red, _, blue = picture.getpixel((x, y))  # type: ignore[misc]
    return int(abs(red - blue))


def test_padding_is_cut_off_before_attention_is_laid_over() -> None:
    picture = Image.new("RGB", (10, 10), "grey")
    places = np.array([[0.0, 1.0], [0.0, 1.0]])  # all of it in the right half of 20 pixels: padding
    drawn = np.asarray(over_picture(picture, places, (10, 20)))
    assert (drawn[:, 0] == 128).all()
    assert warmth(Image.fromarray(drawn), 9, 5) > 0  # where the halves meet
    assert np.array_equal(np.asarray(over_picture(picture, np.ones((2, 2)))), np.asarray(picture))  # nowhere more


def test_weights_by_place_are_drawn_on_an_absolute_scale() -> None:
    features = {m: Features.of_pyramid([torch.zeros(1, 2, 1, 2)]) for m in ("image", "depth")}
    explained = {"stride 8": torch.tensor([[[[0.0, 0.5]], [[1.0, 0.5]]]]), "stride 16": torch.zeros(1, 2, 1, 1)}
    modalities = {m: modality("image") for m in features}
    pictures = {m: Image.new("RGB", (20, 10), "grey") for m in features}
    values = dict.fromkeys(features, np.zeros(1))
    found = looked_at(explained, features, modalities, values, pictures, (10, 20))  # type: ignore[arg-type]
    assert {m: (one.what, one.share) for m, one in found.items()} == {
        "image": ("stride 8", 0.25),
        "depth": ("stride 8", 0.75),
    }
    assert found["image"].picture is not None
    assert found["image"].picture.getpixel((0, 5)) == (128, 128, 128)


def test_absent_is_told_on_the_samples_that_were_corrupted() -> None:
    scored = Scored("test", full="image+text")
    scored.records = {"kind": {"text": answers("+-++"), "image+text": answers("++++")}}
    scored.corrupted = {
        ("image", "blur", 0): {"kind": answers("++..")},
        ("image", "blur", 1): {"kind": answers("-+..")},
    }
    assert _absent_result("kind", TASK, scored) == {"image": 0.5}  # right, wrong; the others were not corrupted
    scored.full, scored.records = "image", {"kind": {"image": answers("++++")}}
    assert _absent_result("kind", TASK, scored) == {}


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        (["sound", "image"], (20, 30), "image"),  # the first that shows the scene, not the first
        (["sound", "other"], (20, 30), (30, 20)),  # a picture of another scene is no ground to draw on
        (["sound"], (0, 0), PLAIN_SIZE),
    ],
)
def test_answers_are_drawn_over_the_scene_or_on_a_plain_ground(
    given: list[str], size: tuple[int, int], expected: str | tuple[int, int]
) -> None:
    modalities = {
        "sound": modality("sequence"),
        "image": modality("image"),
        "other": SimpleNamespace(geometry=Geometry("image", aligned=False)),
    }
    pictures = {name: Image.new("RGB", (7 + place, 9), "red") for place, name in enumerate(modalities)}
    loaded = SimpleNamespace(data=SimpleNamespace(modalities=modalities))
    drawing = _Drawing(loaded, SimpleNamespace(size=size), Path(), "00")  # type: ignore[arg-type]
    ground = drawing._background({name: pictures[name] for name in given})
    if isinstance(expected, str):
        assert ground.size == pictures[expected].size
    else:
        assert ground.size == expected
        assert ground.getpixel((0, 0)) == PLAIN_COLOUR
