"""Tables from files: what is read, what is found out, and what is refused in which words."""

import datetime
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_breast_cancer

from jaxgd.tabular import (
    Table,
    breast_cancer,
    prepare,
    read_table,
    standardizer,
)
from jaxgd.tabular.dataset import split
from jaxgd.tabular.schema import in_default_float
from jaxgd.tabular.target import read_target
from tests.tolerances import ROUNDED_F32, STANDARD_MOMENTS_F64, STANDARDIZED_F64

KEY = jax.random.key(0)


@pytest.fixture
def written(tmp_path):
    """Writes text to a CSV file and returns its path."""

    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def table(**columns):
    return Table({name: np.asarray(values) for name, values in columns.items()}, "the table")


def texts(*values):
    return np.array(values, dtype=object)


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_a_csv_has_numbers_booleans_and_text(written, separator):
    lines = [("a", "b", "c"), ("1", "true", "x"), ("2.5", "false", "y")]
    read = read_table(written("\n".join(separator.join(line) for line in lines)))
    assert list(read.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(read.column("a"), [1.0, 2.5])
    np.testing.assert_array_equal(read.column("c"), texts("x", "y"))
    assert len(read) == 2


def test_a_number_late_in_a_long_column_is_read(written):
    read = read_table(written("a\n" + "1\n" * 5000 + "2.5\n"))
    assert read.column("a")[-1] == 2.5


def test_parquet_keeps_its_columns(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "b": [True, False], "c": ["x", "y"]})
    frame = frame.with_columns(
        d=pl.col("c").cast(pl.Categorical), e=pl.col("a").cast(pl.Decimal(9, 2))
    )
    frame.write_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert [read.column(name).tolist() for name in "abcde"] == [
        [1, 2],
        [True, False],
        ["x", "y"],
        ["x", "y"],
        [1.0, 2.0],
    ]


def test_npz_columns_of_a_matrix_are_numbered_and_y_is_the_target(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.arange(6.0).reshape(3, 2), y=np.array(["a", "b", "a"]))
    read = read_table(tmp_path / "t.npz")
    assert list(read.columns) == ["x0", "x1", "y"]
    assert read_target(read)[0] == ("y", "binary", ("a", "b"))


def test_the_bundled_table_is_the_known_one():
    read = breast_cancer()
    assert len(read) == 569
    bunch = load_breast_cancer()
    assert list(read.columns) == [*bunch.feature_names, "diagnosis"]
    np.testing.assert_array_equal(np.column_stack([*read.columns.values()][:-1]), bunch.data)
    assert read.columns["diagnosis"].tolist() == bunch.target_names[bunch.target].tolist()
    target, labels = read_target(read)
    assert target == ("diagnosis", "binary", ("benign", "malignant"))
    assert np.bincount(labels).tolist() == [357, 212]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty\. A table needs a header and rows\."),
        ("a,b\n", r"has no rows"),
        ("a,b\n1,2\n3,4\n5,6,7\n", r"line 4 has 3 fields, the header 2"),
        ("a,a\n1,2\n", r"two columns named 'a'"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", r"is not a readable CSV table"),
    ],
)
def test_a_file_that_is_no_table_is_refused(written, text, message):
    with pytest.raises(ValueError, match=message):
        read_table(written(text))


def test_a_file_of_another_kind_is_refused(written):
    with pytest.raises(ValueError, match=r"must be a \.csv, \.tsv, \.parquet or \.npz file"):
        read_table(written("a\n1\n", "table.xlsx"))
    with pytest.raises(ValueError, match="is not a readable Parquet table"):
        read_table(written("a\n1\n", "table.parquet"))
    with pytest.raises(ValueError, match="is not a readable NPZ file of plain arrays"):
        read_table(written("a\n1\n", "table.npz"))


def test_a_pickle_in_an_npz_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(tmp_path / "t.npz", x=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_table(tmp_path / "t.npz")


def test_npz_columns_of_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 2)), x1=np.ones(3))
    with pytest.raises(ValueError, match=r"t\.npz has two columns named 'x1'\. Give every column"):
        read_table(tmp_path / "t.npz")


def test_complex_and_ragged_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.ones(3) + 1j)
    with pytest.raises(ValueError, match=r"of numbers, booleans or text; 'x' .* is complex128"):
        read_table(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", x=np.ones(3), y=np.ones(4))
    with pytest.raises(ValueError, match=r"same length; got {'x': 3, 'y': 4}"):
        read_table(tmp_path / "t.npz")


def test_dates_are_refused_by_name(tmp_path):
    frame = pl.DataFrame({"day": [datetime.date(2020, 1, 1)]})
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column 'day' of .* is Date\. Convert it first\."):
        read_table(tmp_path / "t.parquet")


# Columns ------------------------------------------------------------------------------------------


def test_a_missing_column_names_the_nearest():
    with pytest.raises(ValueError, match=r"no column 'lenght'; the nearest is 'length'"):
        table(width=[1.0], length=[2.0]).column("lenght")


@pytest.mark.parametrize("word", ["", "NaN", "NA", "?"])
def test_missing_values_are_counted_and_located(written, word):
    read = read_table(written(f"a,b\n1,2\n{word},3\n{word},4\n"))
    with pytest.raises(
        ValueError, match=r"column 'a' of .* has 2 missing values, first in row 2\. Fill or drop"
    ):
        read.numbers("a")
    np.testing.assert_array_equal(read.numbers("b"), [2, 3, 4])


def test_a_short_line_reads_as_a_missing_value(written):
    read = read_table(written("a,b\n1,2\n3\n"))
    with pytest.raises(ValueError, match=r"column 'b' of .* has 1 missing value, first in row 2"):
        read.numbers("b")


def test_infinite_values_are_refused():
    with pytest.raises(ValueError, match=r"column 'a' of the table has 1 infinite value, .* row 3"):
        table(a=[0.0, 1.0, np.inf]).numbers("a")


def test_a_parquet_file_at_which_polars_panics_is_refused():
    """Found by `python -m tests.tabular.fuzz parquet`."""
    with pytest.raises(ValueError, match="is not a readable Parquet table"):
        read_table(Path(__file__).parent / "files" / "panics.parquet")


def test_what_is_a_number_in_python_alone_is_text(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,1_000\n")
    with pytest.raises(ValueError, match=r"holds text, first '1_000' in row 2"):
        read_table(tmp_path / "table.csv").matrix(("a", "b"))


def test_a_text_feature_names_the_remedy():
    with pytest.raises(
        ValueError,
        match=r"column 'c' of the table holds text, first 'red' in row 1\. Encode it as numbers",
    ):
        table(c=texts("red", "blue")).numbers("c")


# Targets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (texts("no", "yes", "no"), "binary", ("no", "yes")),
        (np.array([True, False, True]), "binary", ("False", "True")),
        (np.array([7.0, 7.5, 7.0]), "binary", ("7", "7.5")),
        (texts("a", "c", "b"), "multiclass", ("a", "b", "c")),
        (np.array([10, 2, 5] * 2), "multiclass", ("2", "5", "10")),
        (np.arange(6), "regression", ()),
        (np.array([1, 1, 1, 1, 2, 3]), "regression", ()),
        (np.arange(100) % 30, "regression", ()),
        (np.array([0.5, 1.5, 2.5]), "regression", ()),
    ],
)
def test_the_task_is_found_from_the_target(values, task, classes):
    target, encoded = read_target(table(t=values), "t")
    assert target == ("t", task, classes)
    if classes:
        assert [classes[i] for i in encoded] == [
            f"{v:g}" if v in (7.0, 7.5) else str(v) for v in values
        ]
    else:
        np.testing.assert_array_equal(encoded, values)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.array([1234567.0, 1234568.0]), ("1234567", "1234568")),
        (np.array([0.1234567, 0.1234568]), ("0.1234567", "0.1234568")),
        (np.array([0.1, 0.2], np.float32), ("0.1", "0.2")),
    ],
)
def test_classes_that_are_floats_keep_names_of_their_own(values, classes):
    assert read_target(table(t=values), "t")[0].classes == classes


def test_the_task_may_be_said():
    assert read_target(table(t=np.array([0, 1, 1])), "t", "regression")[0].task == "regression"
    assert read_target(table(t=np.array([0, 1, 1])), "t", "multiclass")[0].classes == ("0", "1")
    assert read_target(table(t=np.array([0.0, 1.0, 2.0])), "t", "multiclass")[0].classes[2] == "2"


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (np.ones(3), None, r"at least two different values; column 't' .* holds only 1\.0"),
        (np.arange(3), "binary", r"two different values; column 't' has 3 different values\. Use"),
        (np.array([0.5, 1.0, 2.0]), "multiclass", r"values such as 0\.5\. Use the task regression"),
        (texts("a", "b"), "regression", r"must be numbers; column 't' holds text such as 'a'"),
        (texts("a", None, "b"), None, r"column 't' of the table has 1 missing value"),
    ],
)
def test_a_target_that_does_not_fit_its_task_is_refused(values, task, message):
    with pytest.raises(ValueError, match=message):
        read_target(table(t=values), "t", task)


def test_an_unnamed_target_is_found_by_a_usual_name_or_asked_for():
    assert read_target(table(a=[1.0, 2.0], label=[0, 1]))[0].name == "label"
    with pytest.raises(ValueError, match=r"target column of the table must be named\. .* 'a', 'b'"):
        read_target(table(a=[1.0, 2.0], b=[0, 1]))


# Scaling and splitting ----------------------------------------------------------------------------


@given(
    arrays(np.float64, (7, 3), elements=st.floats(-1, 1, width=16)),
    st.tuples(*[st.sampled_from([1e-200, 1e-6, 1.0, 1e6, 1e200])] * 3),
)
def test_standardized_columns_have_mean_0_and_deviation_1_at_any_scale(x, units):
    scaled = standardizer(x * np.array(units))
    z = scaled.apply(x * np.array(units))
    varies = np.ptp(x, axis=0) > 0
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=STANDARD_MOMENTS_F64)
    np.testing.assert_allclose(z.std(axis=0)[varies], 1, atol=STANDARD_MOMENTS_F64)
    back = scaled.invert(z) / np.array(units)
    np.testing.assert_allclose(back, x, atol=STANDARDIZED_F64, rtol=0)


def test_a_constant_column_standardizes_to_zeros():
    x = np.full((10, 1), 0.1)
    assert standardizer(x).scale == 1
    np.testing.assert_allclose(standardizer(x).apply(x), 0, atol=STANDARDIZED_F64)


def test_scaling_is_measured_on_the_training_rows_alone():
    x = np.arange(100.0) ** 2
    data = prepare(table(x=x, t=np.arange(100) % 2), key=KEY, target="t", held_out=0.3)
    rows, held = split(KEY, 100, 0.3)
    assert data.schema.x_scaling.mean == x[rows].mean()
    assert data.schema.x_scaling.mean != x.mean()
    expected = (x[held] - x[rows].mean()) / x[rows].std()
    np.testing.assert_allclose(data.held_out.x[:, 0], expected, rtol=ROUNDED_F32)


def test_a_regression_target_is_standardized_and_classes_are_not():
    y = 1e6 * np.linspace(0, 1, 50) ** 2
    data = prepare(table(x=np.arange(50.0), t=y), key=KEY, target="t")
    rows, _ = split(KEY, 50, 0.2)
    np.testing.assert_allclose(
        data.schema.y_scaling.invert(data.train.y), y[rows], atol=1e6 * ROUNDED_F32
    )
    assert prepare(table(x=y, t=np.arange(50) % 2), key=KEY, target="t").train.y.max() == 1


@pytest.mark.parametrize(("n", "held_out"), [(10, 0.2), (569, 0.2), (1000, 0.5), (7, 0.0)])
def test_a_split_is_a_partition_that_the_key_decides(n, held_out):
    train, held = split(KEY, n, held_out)
    assert len(held) == round(n * held_out)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(n))
    again, _ = split(KEY, n, held_out)
    np.testing.assert_array_equal(again, train)
    if held_out:
        assert not np.array_equal(split(jax.random.key(1), n, held_out)[1], held)


@pytest.mark.parametrize("held_out", [-0.1, 1.0, float("nan")])
def test_a_held_out_part_is_a_fraction(held_out):
    with pytest.raises(ValueError, match=r"held_out must be a fraction in \[0, 1\)"):
        split(KEY, 10, held_out)


@pytest.mark.parametrize(("n", "held_out"), [(2, 0.1), (2, 0.9)])
def test_an_empty_part_is_refused(n, held_out):
    with pytest.raises(ValueError, match=r"both parts must hold at least one row; .* of n=2"):
        split(KEY, n, held_out)


def test_a_training_part_of_one_class_is_refused():
    t = np.zeros(10, dtype=np.int64)
    t[split(KEY, 10, 0.2)[1][0]] = 1
    with pytest.raises(ValueError, match=r"training part must hold both classes; its 8 rows are"):
        prepare(table(x=np.arange(10.0), t=t), key=KEY, target="t")


def test_ignored_columns_are_left_out_and_must_be_there():
    columns = table(id=texts("p", "q", "r", "s"), x=[1.0, 2.0, 3.0, 5.0], t=[0, 1, 0, 1])
    data = prepare(columns, key=KEY, target="t", ignore=("id",), held_out=0)
    assert data.schema.features == ("x",)
    assert data.held_out is None
    with pytest.raises(ValueError, match=r"no column 'ID'; the nearest is 'id'"):
        prepare(columns, key=KEY, target="t", ignore=("ID",))
    with pytest.raises(ValueError, match="needs at least one feature beside its target"):
        prepare(columns, key=KEY, target="t", ignore=("id", "x"))


def test_features_are_found_by_name_in_any_order():
    wide = table(c=[5.0, 6.0], a=[1.0, 2.0], b=[3.0, 4.0])
    np.testing.assert_array_equal(wide.matrix(("a", "b")), [[1, 3], [2, 4]])


def test_values_too_large_for_float32_are_refused():
    with pytest.raises(ValueError, match=r"must fit float32; got 1e\+300 after scaling"):
        in_default_float(np.array([1e300]))


def test_values_keep_float64_under_x64(x64):
    assert in_default_float(np.array([1e300]))[0] == 1e300
