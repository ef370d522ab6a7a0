"""Tables in memory: what a data frame or a dict of columns holds is what its file holds."""

import datetime

import jax
import numpy as np
import polars as pl
import pytest

from jaxgd.tabular import Model, Predictor, prepare
from jaxgd.tabular.given_columns import table_of

DAYS = [datetime.date(2020, 1, day) for day in range(1, 13)]
COLUMNS = {
    "size": [float(i * i) for i in range(12)],
    "count": [None if i == 5 else i * (-1) ** i for i in range(12)],
    "colour": [None if i == 4 else "red" if i % 3 else "blue" for i in range(12)],
    "member": [i % 2 == 0 for i in range(12)],
    "seen": [None if i == 7 else day for i, day in enumerate(DAYS)],
}
KINDS = {
    "size": "number", "count": "number", "colour": "category", "member": "boolean", "seen": "date",
}  # fmt: skip


def assert_same(found, expected):
    assert list(found.columns) == list(expected.columns)
    for name, column in expected.columns.items():
        assert found.columns[name].dtype == column.dtype, name
        np.testing.assert_array_equal(found.columns[name], column, err_msg=name)


def test_a_dict_of_columns_is_a_frame():
    frame = table_of(pl.DataFrame(COLUMNS), KINDS)
    assert_same(table_of(COLUMNS, KINDS), frame)
    arrays = {name: np.array(column) for name, column in COLUMNS.items()}
    assert_same(table_of(arrays, KINDS), frame)
    with_nan = [np.nan if text is None else text for text in COLUMNS["colour"]]
    assert_same(table_of(COLUMNS | {"colour": with_nan}, KINDS), frame)


def test_a_frame_of_pandas_is_one_of_polars():
    pd = pytest.importorskip("pandas")
    expected = table_of(pl.DataFrame(COLUMNS), KINDS)
    for frame in (pd.DataFrame(COLUMNS), pd.DataFrame(COLUMNS).convert_dtypes()):
        frame["seen"] = pd.to_datetime(frame["seen"])
        found = table_of(frame, KINDS)
        np.testing.assert_array_equal(found.columns["size"], expected.columns["size"])
        for name in ("count", "colour", "member", "seen"):
            np.testing.assert_array_equal(found.columns[name], expected.columns[name])


def test_a_model_predicts_them():
    """In any order, and beside columns that it does not know."""
    table = table_of(COLUMNS, KINDS)
    data = prepare(table, target="member", held_out=0, key=jax.random.key(0))
    predictor = Predictor(len(data.schema.features), data.schema.target)
    params = predictor.init(jax.random.key(0))
    model = Model(predictor, params._replace(w=params.w + 0.5), data.schema)
    expected = model.predict(table)
    given = {"else": [object()] * 12, **dict(reversed(COLUMNS.items()))}
    np.testing.assert_array_equal(model.predict(given), expected)
    np.testing.assert_array_equal(model.predict(pl.DataFrame(COLUMNS)), expected)


def test_what_is_no_table():
    with pytest.raises(TypeError, match="a data frame of pandas or polars, or a dict of columns"):
        table_of(np.zeros((3, 2)), KINDS)
    with pytest.raises(ValueError, match=r"columns must have one length; got \{'size': 2,"):
        table_of({"size": [1, 2], "count": [1]}, KINDS)
