"""A table made ready to train on: scaled by its training rows, and split."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxgd.tabular import prepare, standardizer
from jaxgd.tabular.schema import in_default_float
from jaxgd.tabular.splitting import split
from tests.tabular.conftest import table, texts
from tests.tolerances import ROUNDED_F32, STANDARD_MOMENTS_F64, STANDARDIZED_F64

KEY = jax.random.key(0)


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
    t = np.arange(10) // 9
    with pytest.raises(ValueError, match=r"training part must hold both classes; its 8 rows are"):
        prepare(table(x=np.arange(10.0), t=t), key=KEY, target="t", time="x")


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
