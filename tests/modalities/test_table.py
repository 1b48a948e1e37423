"""Tables: what columns are taken for, what their cells become, what is missing, refused and left out."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from decimal import Decimal
from math import cos, isnan, nan, pi, sin
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from sklearn.preprocessing import StandardScaler

from weft.config import load_experiment
from weft.data.checks import given_away
from weft.data.manifest import Column as ManifestColumn
from weft.data.manifest import Manifest
from weft.data.pipeline import build_data
from weft.engine.build import build_model
from weft.errors import ConfigError, DataFault
from weft.modalities.base import BadCell
from weft.modalities.columns import Column, Layout, guess_kind
from weft.modalities.table import TableModality
from weft.types import InputSpec


def given(cell: object) -> object:
    return cell


def fitted(*rows: dict[str, object], **options: object) -> TableModality:
    """A modality that has seen some rows, where a category counts when it is there once."""
    options = {"min_count": 1, **options}
    bare = TableModality(options.pop("facts", {}), **options)  # type: ignore[arg-type]
    facts = bare.fit(bare.read(row, given) for row in rows)  # type: ignore[arg-type]
    return TableModality(json.loads(json.dumps(facts)), **options)  # type: ignore[arg-type]


def read(modality: TableModality, row: object) -> list[float]:
    return modality.read(row, given).tolist()  # type: ignore[arg-type]


def prepared(modality: TableModality, *rows: dict[str, object]) -> list[list[float]]:
    values = torch.stack([modality.to_tensor(modality.read(row, given)) for row in rows])  # type: ignore[arg-type]
    return modality.preprocessor(InputSpec())(values).tolist()


def kinds(modality: TableModality) -> dict[str, str]:
    return {column.name: column.kind for column in modality.columns}


# ---- what columns are


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2.5, None], "number"),
        (["1", " 2.5", "-3e4", None], "number"),
        ([Decimal("1.5"), Decimal(2)], "number"),
        (["85266", "00501"], "category"),
        (["0", "0.5", "10"], "number"),
        ([True, False], "category"),
        (["F", "M"], "category"),
        (["2024-03-31", "2024-04-01 12:30"], "date"),
        ([dt.date(2024, 3, 31), dt.datetime(2024, 4, 1)], "date"),
        (["1", "2", "many"], "number"),
        (["1", "many", "few"], "category"),
        (["1_000", "inf", "infinity"], "category"),
        ([None, "", nan], "category"),
    ],
)
def test_a_column_is_what_more_than_half_of_its_cells_are(cells: list[object], kind: str) -> None:
    assert guess_kind(cells) == kind


def test_options_come_before_what_the_format_says_and_that_before_a_guess() -> None:
    rows = [{"zip": "1", "grade": "1", "year": "20240331"}, {"zip": "2", "grade": "2", "year": "20240401"}]
    assert kinds(fitted(*rows)) == dict.fromkeys(("zip", "grade", "year"), "number")
    declared = {"kinds": {"zip": "class", "grade": "class", "year": "text"}}
    modality = fitted(*rows, facts=declared, numbers=("grade",), dates=("year",))
    assert kinds(modality) == {"zip": "category", "grade": "number", "year": "date"}


def test_a_column_of_two_kinds_or_of_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="'zip' is named as number and as category"):
        TableModality({}, numbers=("zip",), categories=("zip",))
    with pytest.raises(ConfigError, match="'zipcode' is said to be a category, and `columns` has only zip, age"):
        fitted({"zip": "1", "age": 3}, categories=("zipcode",))


# ---- what cells become


def test_values_by_hand() -> None:
    modality = fitted({"age": 2, "sex": "M", "seen": "2000-01-03"}, {"age": "4.5", "sex": "F", "seen": "2000-01-01"})
    assert read(modality, {"seen": "2000-01-02", "sex": "M", "age": "3"}) == [3, 2, 1]
    assert modality.describe(modality.read({"age": 1e6, "sex": "F", "seen": "1999-12-25"}, given)) == (
        ("age", "1e+06"),
        ("sex", "F"),
        ("seen", "1999-12-25"),
    )
    assert modality.words(np.zeros(3)) == ["age", "sex", "seen"]


@pytest.mark.parametrize("cell", [3, 3.0, "3", " 3 ", np.int64(3), np.float32(3)])
def test_three_is_one_category_however_it_is_written(cell: object) -> None:
    modality = fitted({"k": 3, "n": 1}, {"k": "5", "n": 2}, categories=("k",))
    assert read(modality, {"k": cell, "n": 1})[0] == 1


def test_numbers_are_standardised_as_scikit_learn_does_it() -> None:
    numbers = np.random.default_rng(0).normal(300, 20, (50, 2))
    rows = [{"a": a, "b": b} for a, b in numbers.tolist()]
    modality = fitted(*rows)
    expected = StandardScaler().fit_transform(numbers)
    np.testing.assert_allclose(prepared(modality, *rows), expected, atol=2e-5)  # float32 of numbers around 300
    np.testing.assert_allclose(prepared(modality, {"a": numbers[:, 0].mean(), "b": None})[0], [0, 0], atol=1e-6)


def test_quantile_scaling_gives_normal_scores_of_ranks_and_ties_share_one() -> None:
    numbers = np.exp(np.random.default_rng(0).normal(0, 2, 60))
    modality = fitted(*({"a": number} for number in numbers), scaling="quantile")
    ranks = (stats.rankdata(numbers) - 0.5) / len(numbers)
    got = np.array(prepared(modality, *({"a": number} for number in numbers)))[:, 0]
    np.testing.assert_allclose(got, stats.norm.ppf(ranks), atol=1e-4)
    low, high = prepared(modality, {"a": -1e9}, {"a": 1e9})
    assert (low[0], high[0]) == pytest.approx((got.min(), got.max()))
    tied = fitted(*({"a": number, "b": place} for place, number in enumerate([1, 1, 3, 5])), scaling="quantile")
    scores = [row[0] for row in prepared(tied, *({"a": number, "b": 0} for number in (1, 2, 3, 5)))]
    one, three, five = (stats.norm.ppf(rank) for rank in (0.25, 0.625, 0.875))
    assert scores == pytest.approx([one, (one + three) / 2, three, five], abs=1e-5)


def test_many_different_numbers_are_remembered_at_some_of_them_and_dates_are_not_ranked() -> None:
    numbers = np.random.default_rng(0).gamma(1, 1, 5000)
    rows = [{"a": number, "b": "2024-01-0" + "12"[place % 2]} for place, number in enumerate(numbers)]
    modality = fitted(*rows, scaling="quantile")
    assert 50 <= len(modality.columns[0].knots) <= 64
    assert modality.columns[1].knots == ()
    got = np.array(prepared(modality, *rows))
    np.testing.assert_allclose(got[:, 0], stats.norm.ppf((stats.rankdata(numbers) - 0.5) / 5000), atol=0.05)
    np.testing.assert_allclose(sorted(set(got[:, 1].round(4))), [-1, 1])


def test_dates_become_when_they_were_and_where_in_the_year_the_week_and_the_day() -> None:
    rows = [{"t": "2000-01-01 00:00"}, {"t": dt.datetime(2000, 1, 8, 18)}, {"t": "2000-01-03T06:00:00+02:00"}]
    modality = fitted(*rows)
    days = np.array([0, 7.75, 2.25])
    expected = [
        [(day - days.mean()) / days.std()]
        + [wave(2 * pi * day / period) for period in (365.2425, 7, 1) for wave in (sin, cos)]
        for day in days
    ]
    np.testing.assert_allclose(prepared(modality, *rows), expected, atol=1e-4)
    before = prepared(modality, {"t": "1999-12-25 00:00"})[0]
    np.testing.assert_allclose(before[3:], [0, 1, 0, 1], atol=1e-4)  # the same day of the week, the same time
    no_times = fitted({"t": "2000-01-01"}, {"t": dt.date(2000, 1, 8)})
    assert no_times.num_channels == len(prepared(no_times, {"t": "2000-01-02"})[0]) == 5
    assert modality.describe(modality.read(rows[1], given)) == (("t", "2000-01-08 18:00"),)


def test_minutes_survive_float32_a_hundred_years_from_now() -> None:
    modality = fitted({"t": "2024-01-01 00:01"}, {"t": "2124-01-01 23:59"})
    for text in ("2024-02-29 13:37", "2077-07-07 07:07"):
        (said,) = modality.describe(modality.read({"t": text}, given))
        parted = dt.datetime.fromisoformat(said[1]) - dt.datetime.fromisoformat(text)
        assert abs(parted) <= dt.timedelta(minutes=2)


# ---- what is missing, rare or unknown


def test_what_is_missing_has_the_mean_and_a_mark_where_training_has_seen_that() -> None:
    modality = fitted(
        {"a": 1, "b": 1, "c": "x", "d": "x"},
        {"a": 3, "b": None, "c": "y", "d": None},
        {"a": 2, "b": 5, "c": "x", "d": "y"},
    )
    layout = Layout(modality.columns)
    assert (layout.parts, layout.codes, layout.width) == ({"a": [0], "b": [1, 2]}, {"c": 3, "d": 4}, 5)
    assert prepared(modality, {"a": 2, "b": None, "c": "x", "d": None})[0] == [0, 0, 1, 1, 3]
    assert prepared(modality, {"b": 3})[0] == [0, 0, 0, 0, 3]  # a and c were never missing: the mean, and unknown


@pytest.mark.parametrize("nothing", [None, "", "  ", nan, "NaN"])
def test_nothing_is_written_in_several_ways(nothing: object) -> None:
    modality = fitted({"a": 1, "b": 0}, {"a": 2, "b": 1})
    assert isnan(read(modality, {"a": nothing, "b": 1})[0])


def test_a_category_that_is_rare_or_new_is_unknown() -> None:
    rows = [{"zip": name} for name in ("x", "x", "y", "y", "z")]
    modality = fitted(*rows, min_count=2)
    assert modality.columns[0].values == ("x", "y")
    assert [read(modality, {"zip": name})[0] for name in ("x", "y", "z", "new")] == [1, 2, 0, 0]
    assert modality.describe(np.zeros(1)) == (("zip", "unknown"),)
    assert modality.facts["notes"] == [
        "zip: category of 2 values (x, y), in 1 rows a rarer one, which is unknown",
    ]


def test_no_nan_and_no_gradient_of_one_comes_out_whatever_is_missing() -> None:
    modality = fitted(
        {"a": 1, "t": "2024-01-01", "k": "x"}, {"a": None, "t": "2024-01-02", "k": None}, {"a": 2, "t": None, "k": "y"}
    )
    values = torch.full((1, 3), nan, requires_grad=True)
    out = modality.preprocessor(InputSpec())(values)
    assert out.isfinite().all()
    out.sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()


# ---- what says nothing


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([7, 7, 7], "it is 7 in all training samples"),
        ([None, "", None], "it is empty in all training samples"),
        (["a", "b", "c"], "each of its values occurs too rarely in training (min_count)"),
        (["same", "same", "same"], "it is same in all training samples"),
    ],
)
def test_a_column_that_tells_no_sample_from_another_is_left_out_and_said(cells: list[object], reason: str) -> None:
    modality = fitted(*({"n": place, "x": cell} for place, cell in enumerate(cells)), min_count=2)
    assert kinds(modality) == {"n": "number"}
    assert f"x is left out: {reason}" in modality.facts["notes"]
    assert read(modality, {"n": 1, "x": "anything at all"}) == [1]  # it may still be there, and is not looked at
    with pytest.raises(DataFault, match="no column says anything of the training samples"):
        fitted(*({"x": cell} for cell in cells), min_count=2)


def test_one_value_that_is_sometimes_missing_says_whether_it_is_there() -> None:
    modality = fitted({"n": 5}, {"n": None}, {"n": 5})
    assert prepared(modality, {"n": 5})[0] == [0, 0]
    values = torch.tensor([[nan], [5.0]])
    assert modality.preprocessor(InputSpec())(values).tolist() == [[0, 1], [0, 0]]


def test_a_table_without_training_rows_is_refused() -> None:
    with pytest.raises(DataFault, match="no column says anything"):
        TableModality({}).fit([])


# ---- what is refused


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ({"age": "old"}, "not-a-number", "the column 'age' holds numbers, and here 'old'; mend the cell"),
        ({"age": "1,5"}, "not-a-number", "holds numbers, and here '1,5'"),
        ({"age": float("inf")}, "not-a-number", "holds inf here"),
        ({"age": "1e39"}, "not-a-number", "holds 1e39 here"),
        ({"age": [1]}, "not-a-number", "holds numbers"),
        ({"seen": "31.3.2024"}, "not-a-date", "the column 'seen' holds dates, and here '31.3.2024'; write 2024-03-31"),
        ({"seen": 5}, "not-a-date", "holds dates, and here '5'"),
        ({"sexx": "F"}, "no-column", "no column 'sexx'; there are age, sex, seen; did you mean 'sex'?"),
        ({"age": None, "sex": ""}, "empty-row", "no value; give one at least of age, sex, seen"),
        ({}, "empty-row", "no value"),
        ("age=3", "not-a-row", "name the columns in `columns`"),
    ],
)
def test_a_bad_row_is_refused_by_column(row: object, code: str, message: str) -> None:
    modality = fitted({"age": 1, "sex": "F", "seen": "2024-01-01"}, {"age": 2, "sex": "M", "seen": "2024-01-02"})
    with pytest.raises(BadCell) as caught:
        modality.read(row, given)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert message in str(caught.value)


def test_text_among_numbers_is_said_at_once_and_refused_by_sample_when_it_is_read(tmp_path: Path) -> None:
    rows = "".join(f"s{place},{place},{'ab'[place % 2]},{place}\n" for place in range(9))
    (tmp_path / "t.csv").write_text(f"id,age,sex,price\n{rows}s9,old,b,9\n")
    experiment = load_experiment(
        {
            "name": "t",
            "data": {"format": "table", "root": str(tmp_path), "file": "t.csv", "workers": 0},
            "modalities": {"facts": {"type": "table", "columns": ["age", "sex"], "encoder": "table_mlp"}},
            "tasks": {"sex": {"type": "classification"}},
            "train": {"output": str(tmp_path / "runs")},
        }
    )
    data = build_data(experiment)
    assert "leak: the target 'sex' of sex is also read by facts" in data.notes
    assert any("1 rows cannot be used: the column 'age' holds numbers, and here 'old'" in note for note in data.notes)
    with pytest.raises(DataFault, match=r"sample s9 of train, column 'facts': the column 'age' holds numbers"):
        list(data.batches("train"))


# ---- in a model


def manifest(columns: dict[str, list[object]], known: dict[str, ManifestColumn]) -> Manifest:
    size = len(next(iter(columns.values())))
    table = pa.table({"id": [str(place) for place in range(size)], "split": ["train"] * size, **columns})
    return Manifest(table, Path("/"), known)


def test_columns_are_joined_with_what_their_format_says_of_them() -> None:
    known = {"zip": ManifestColumn("class", {"classes": ["1", "2"]}), "price": ManifestColumn("number")}
    joined = manifest({"zip": ["1", None], "age": [3, None], "price": [1.0, 2.0]}, known).with_joined(
        "facts", ["zip", "age"]
    )
    assert joined.columns["facts"].facts == {"kinds": {"zip": "class"}}
    assert joined.columns["price"].kind == "number"
    assert joined.present("facts").tolist() == [True, False]


@pytest.mark.parametrize("encoder", ["table_mlp", "table_tokens"])
def test_garbage_in_a_missing_column_changes_no_bit(encoder: str) -> None:
    """A value that is not there cannot be garbage, but what stands for it could leak: NaN of any sign and payload."""
    rows = [{"a": 1, "k": "x"}, {"a": None, "k": "y"}, {"a": 4, "k": None}]
    modality = fitted(*rows)
    from weft.registry import Part

    torch.manual_seed(0)
    network = Part("encoder", encoder, {"dim": 8})(modality.num_channels, True, modality.facts).eval()
    strange = np.array([0x7FC12345, 0xFFC00001], np.uint32).view(np.float32)
    results = []
    for filler in (nan, *strange):
        values = torch.tensor([[filler, 2.0], [1.0, filler]], dtype=torch.float32)
        features = network(modality.preprocessor(InputSpec())(values))
        results.append((features.tokens, features.pooled))
        assert features.tokens.isfinite().all()
    assert all(torch.equal(one, two) for result in results for one, two in zip(results[0], result, strict=True))


def test_facts_rebuild_the_same_modality_and_it_can_be_pickled() -> None:
    modality = fitted({"a": 1, "k": "x", "t": "2024-01-01"}, {"a": 2, "k": None, "t": "2024-01-02 03:04"})
    again = pickle.loads(pickle.dumps(modality))
    assert again.columns == modality.columns
    assert Column.of_facts(json.loads(json.dumps(modality.columns[2].facts))) == modality.columns[2]


def test_tables_share_an_encoder_only_where_codes_and_numbers_mean_the_same() -> None:
    one, same = (fitted({"a": 1, "k": "x"}, {"a": 2, "k": "y"}) for _ in range(2))
    assert one.means_as(same)
    assert not one.means_as(fitted({"a": 1, "k": "x"}, {"a": 2, "k": "z"}))
    assert not one.means_as(fitted({"a": 1, "k": "x"}, {"a": 3, "k": "y"}))


def test_a_table_alone_trains_a_class_from_yaml(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["id,split,age,zone,label"]
    for place in range(60):
        age, zone = random.integers(20, 80), "abc"[place % 3]
        lines.append(f"{place},{'val' if place % 5 == 0 else 'train'},{age if place % 7 else ''},{zone},{age > 50}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    experiment = load_experiment(
        {
            "name": "t",
            "data": {"format": "table", "root": str(tmp_path), "file": "t.csv", "workers": 0},
            "modalities": {"facts": {"type": "table", "columns": ["age", "zone"], "encoder": "table_tokens"}},
            "fusion": {"type": "transformer", "dim": 16, "heads": 2, "layers": 1},
            "tasks": {"label": {"type": "classification"}},
        }
    )
    data = build_data(experiment)
    model = build_model(experiment, data)
    batch = next(iter(data.batches("train")))
    assert batch.inputs["facts"].shape == (8, 2)
    assert model.predict(batch)["label"].value.shape == (8, 2)
    shown = model.fusion.explain(model.encode(batch))["attention/facts"]
    assert shown.shape == (8, 2)  # one for each column
    sample = data.sample_from({"facts": {"age": 33}})
    assert sample.inputs["facts"].tolist()[0] == 33


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ([], True),
        (["modalities.facts.columns=[age]"], False),
        (["tasks.sex.over=[other]"], False),
        (["tasks.sex.over=[fused]", "fusion=concat"], True),
        (["over=[other]"], False),
        (["modalities.other.columns=[sex]", "tasks.sex.over=[other]"], True),
    ],
)
def test_a_target_among_the_inputs_of_its_task_is_told(changes: list[str], given: bool) -> None:
    tree = {
        "name": "t",
        "data": {"format": "table", "root": ".", "file": "t.csv"},
        "modalities": {
            "facts": {"type": "table", "columns": ["age", "sex"], "encoder": "table_mlp"},
            "other": {"type": "table", "columns": ["height"], "encoder": "table_mlp"},
        },
        "tasks": {"sex": {"type": "classification"}},
    }
    assert bool(given_away(load_experiment(tree, changes))) == given


def test_columns_belong_to_tables_only() -> None:
    with pytest.raises(ConfigError, match=r"modalities\.image\.columns: image is image and reads one"):
        load_experiment(
            {
                "name": "t",
                "data": {"format": "table", "root": ".", "file": "t.csv"},
                "modalities": {
                    "image": {"columns": ["a", "b"], "encoder": {"type": "timm", "name": "resnet18"}},
                },
                "tasks": {"label": {"type": "classification"}},
            }
        )
