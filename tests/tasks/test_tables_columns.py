import numpy as np
import pandas as pd
import pytest

from moduli.errors import InputError
from moduli.tasks.tables.columns import (
    CategoryColumn,
    NumberColumn,
    codes_of,
    column_type,
    distinct_values,
    fit_columns,
    mean_and_deviation,
    numbers,
)


def fit(values, scaling="standard", forced=()):
    train = pd.DataFrame({"c": values}, index=range(1, len(values) + 1))
    type_ = "category" if forced else column_type(train["c"])
    columns, notes = fit_columns(train, {"c": type_}, scaling, forced)
    return columns[0] if columns else notes[0]


def series(values, **options):
    return pd.Series(values, name="c", index=range(1, len(values) + 1), **options)


# ------------------------------------------------------------------ what a column holds


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, 2], "number"),
        ([1.5, None], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        ([1, None, 2.5], "number"),
        (["a", None], "category"),
        ([True, False], "category"),
        ([True, None], "category"),
        (pd.Categorical([1, 2]), "category"),
        (["1", "2", "3"], "category"),
        ([str(i) for i in range(21)], "number"),
        ([*map(str, range(9)), "unknown"], "number"),
        ([*map(str, range(8)), "a", "b"], "category"),
        (pd.to_datetime(["2020-01-01", None]), "dates"),
        ([[1], [2]], "lists"),
        ([1j], "complex numbers"),
    ],
)
def test_column_type(values, type_):
    assert column_type(series(values)) == type_


@pytest.mark.parametrize(
    ("values", "distinct"),
    [
        (["b", "a", None], ("a", "b")),
        ([2, 1, 2], (1, 2)),
        ([2.0, None, 1.0], (1, 2)),  # whole numbers that pandas made floats
        ([2.0, 1.0], (1.0, 2.0)),
        ([2.5, None, 1.0], (1.0, 2.5)),
        ([True, None, False], (False, True)),
        (pd.Categorical(["low", "high"], categories=["low", "mid", "high"]), ("low", "high")),
        (pd.array(["b", None], dtype="string"), ("b",)),
    ],
)
def test_distinct_values_keep_their_type(values, distinct):
    found = distinct_values(series(values))
    assert found == distinct
    assert [type(v) for v in found] == [type(v) for v in distinct]


@pytest.mark.parametrize(
    ("known", "cells", "codes"),
    [
        ((1, 2), [1.0, None, 2.0, 3.0], [0, -1, 1, 2]),
        ((1, 2), ["2", "1", "x"], [1, 0, 2]),  # another cell made the column text
        (("1", "2", "x"), [2, 1], [1, 0]),  # no cell did
        ((False, True), [True, None], [1, -1]),
        (("False", "True", "maybe"), [True, False], [1, 0]),
        ((0.5, 1.0), [1, 0], [1, 2]),
        (("a", "b"), pd.Categorical(["b", "c"]), [1, 2]),
    ],
)
def test_codes_compare_what_a_file_shows(known, cells, codes):
    assert codes_of(series(cells), known).tolist() == codes


def test_numbers_of_every_numeric_type():
    for values in ([1.0, None], pd.array([1, None], dtype="Int64"), ["1", None], pd.Categorical([1, None])):
        np.testing.assert_array_equal(numbers(series(values)), [1.0, np.nan])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "old"], "column 'c', row 2: 'old' is not a number"),
        ([1.0, np.inf], "column 'c', row 2: inf is not finite"),
        ([1.0, -np.inf], "row 2: -inf is not finite"),
        (pd.to_datetime(["2020-01-01"]), "row 1: '2020-01-01.*' is not a number"),
    ],
)
def test_cells_that_are_no_numbers(values, message):
    with pytest.raises(InputError, match=message):
        numbers(series(values))


# ------------------------------------------------------------------ numbers


def test_standard_scaling():
    values = [1.0, 2.0, 3.0, 10.0]
    scaled = fit(values).encode(series(values))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:, 0], (np.array(values) - 4.0) / np.std(values), rtol=1e-6)


def test_minmax_scaling_and_none():
    values = [2.0, 4.0, 6.0]
    np.testing.assert_allclose(fit(values, "minmax").encode(series(values))[:, 0], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(fit(values, "minmax").encode(series([8.0]))[:, 0], [1.5])
    np.testing.assert_allclose(fit(values, "none").encode(series(values))[:, 0], values)


@pytest.mark.parametrize(("scaling", "fill"), [("standard", 0.0), ("minmax", 1 / 3), ("none", 2.0)])
def test_missing_numbers_are_the_training_mean_and_marked(scaling, fill):
    values = [1.0, None, 1.0, 4.0]
    column = fit(values, scaling)
    encoded = column.encode(series(values))
    np.testing.assert_allclose(encoded[1], [fill, 1.0], atol=1e-7)
    assert encoded[:, 1].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_missing_first_after_training_has_no_indicator():
    column = fit([1.0, 3.0])
    assert column.width == 1
    assert column.encode(series([None, 2.0])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_scaling_of_very_small_and_large_numbers(scale):
    values = np.array([1.0, 2.0, 3.0]) * scale
    np.testing.assert_allclose(
        fit(list(values)).encode(series(values))[:, 0],
        [-np.sqrt(1.5), 0.0, np.sqrt(1.5)],
        rtol=1e-6,
        atol=1e-7,
    )


def test_number_beyond_32_bits():
    with pytest.raises(InputError, match=r"row 2: 1e\+300 is too large"):
        fit([1.0, 2.0]).encode(series([1.0, 1e300]))


def test_mean_and_deviation_of_equal_values():
    assert mean_and_deviation(np.full(7, 0.1)) == (0.1, 1.0)


# ------------------------------------------------------------------ categories


def test_one_hot_with_a_place_for_the_rest():
    column = fit(["red", "blue", None, "red"])
    assert column == CategoryColumn("c", ("blue", "red"))
    hot = column.encode(series(["red", "blue", None, "green"]))
    assert hot.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_unseen_values_are_counted():
    column = CategoryColumn("c", (1, 2))
    assert column.unseen(series([1, 3, 3, None, 7])) == {3.0: 2, 7.0: 1}
    assert column.unseen(series(["a", "1"])) == {"a": 1}


def test_numbers_as_categories():
    column = fit([10, 20, 10], forced=["c"])
    assert column == CategoryColumn("c", (10, 20))
    with pytest.raises(InputError, match="row 2: inf is not finite"):
        fit([1.0, np.inf], forced=["c"])


# ------------------------------------------------------------------ columns that teach nothing


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([3, 3, 3], "left out column 'c': constant in the training rows"),
        (["a", "a"], "left out column 'c': constant"),
        ([None, None], "left out column 'c': no value in the training rows"),
        ([np.nan, np.nan], "left out column 'c': no value"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "left out column 'c': it holds dates"),
        ([f"name {i}" for i in range(40)], "40 different texts in 40 training rows; list it under 'categ"),
        ([f"name {i % 300}" for i in range(900)], "300 different texts in 900"),
    ],
)
def test_left_out_with_a_note(values, note):
    assert note in fit(values)


def test_value_or_missing_is_not_constant():
    assert fit([5.0, None, 5.0]) == NumberColumn("c", 5.0, 1.0, 5.0, True)
    assert fit(["a", None, "a"]) == CategoryColumn("c", ("a",))


def test_many_texts_are_kept_if_asked_for():
    assert fit([f"name {i}" for i in range(40)], forced=["c"]).width == 41


def test_columns_with_one_reason_share_a_note():
    train = pd.DataFrame({"a": [1, 1], "b": [2, 2], "c": [1, 2]})
    columns, notes = fit_columns(train, dict.fromkeys("abc", "number"), "standard")
    assert [column.name for column in columns] == ["c"]
    assert notes == ["left out columns 'a', 'b': constant in the training rows"]


def test_missing_indicators_can_be_left_out():
    train = pd.DataFrame({"a": [1.0, None, 3.0], "b": [1, 2, 3]})
    types_of = {"a": "number", "b": "number"}
    widths = [
        [c.width for c in fit_columns(train, types_of, "standard", indicators=i)[0]] for i in (True, False)
    ]
    assert widths == [[2, 1], [1, 1]]
