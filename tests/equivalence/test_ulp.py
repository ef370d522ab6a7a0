"""ULP distance, over every bit pattern of four dtypes."""

import math

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jaxgd.equivalence import ulp_distance

BITS = {
    np.dtype(np.float16): np.uint16,
    np.dtype(ml_dtypes.bfloat16): np.uint16,
    np.dtype(np.float32): np.uint32,
    np.dtype(np.float64): np.uint64,
}
NAN_TO_NUMBER = 2**64 - 1


@st.composite
def floats(draw, count):
    """`count` floats of one dtype, each any bit pattern or one near a landmark."""
    dtype = draw(st.sampled_from(sorted(BITS, key=str)))
    unsigned = BITS[dtype]
    info = ml_dtypes.finfo(dtype)
    landmarks = [0.0, info.smallest_subnormal, info.smallest_normal, 1.0, info.max, np.inf, np.nan]
    near = [int(np.asarray(x, dtype).view(unsigned)) for x in landmarks]
    sign, width = 1 << (8 * dtype.itemsize - 1), (1 << 8 * dtype.itemsize) - 1
    patterns = st.integers(0, width) | st.builds(
        lambda bits, step, minus: (bits + step & width) ^ (sign if minus else 0),
        st.sampled_from(near),
        st.integers(-2, 2),
        st.booleans(),
    )
    bits = draw(st.lists(patterns, min_size=count, max_size=count))
    return np.array(bits, unsigned).view(dtype)


def rank(x):
    """The definition in Python's integers: how many floats from zero, with the sign."""
    bits = int(x.view(BITS[x.dtype]))
    sign = 1 << (8 * x.dtype.itemsize - 1)
    return -(bits - sign) if bits >= sign else bits


def is_nan(x):
    """By the bits: NumPy's warns of signalling ones."""
    return abs(rank(x)) > rank(np.asarray(np.inf, x.dtype))


@given(floats(2))
def test_counts_the_floats_between(pair):
    a, b = pair
    nans = is_nan(a) + is_nan(b)
    expected = [abs(rank(a) - rank(b)), NAN_TO_NUMBER, 0][nans]
    assert int(ulp_distance(a, b)) == expected


@given(floats(3))
def test_is_a_metric(triple):
    a, b, c = triple
    assert int(ulp_distance(a, a)) == 0
    assert int(ulp_distance(a, b)) == int(ulp_distance(b, a))
    assert int(ulp_distance(a, c)) <= int(ulp_distance(a, b)) + int(ulp_distance(b, c))


@given(floats(1))
def test_the_next_float_is_one_away(single):
    (a,) = single
    if abs(rank(a)) < rank(np.asarray(np.inf, a.dtype)):
        with np.errstate(over="ignore", under="ignore"):
            up = np.nextafter(a, np.asarray(np.inf, a.dtype))
        assert int(ulp_distance(a, up)) == 1


@pytest.mark.parametrize("dtype", BITS, ids=str)
def test_landmarks(dtype):
    info = ml_dtypes.finfo(dtype)
    one = np.ones((), dtype)

    def distance(a, b):
        return int(ulp_distance(np.asarray(a, dtype), np.asarray(b, dtype)))

    assert distance(0.0, -0.0) == 0
    assert distance(-info.smallest_subnormal, info.smallest_subnormal) == 2
    assert distance(info.max, np.inf) == 1
    assert distance(-np.inf, np.inf) == 2 * (rank(np.asarray(info.max, dtype)) + 1)
    assert distance(one, one + info.eps) == 1
    assert distance(np.nan, np.inf) == distance(0.0, np.nan) == NAN_TO_NUMBER
    assert math.isclose(distance(1.0, 2.0) * float(info.eps), 1.0)


def test_takes_jax_torch_and_numpy():
    a = np.array([1.0, 2.0, -3.0], np.float32)
    b = np.nextafter(a, np.float32(9))
    assert ulp_distance(jnp.asarray(a), torch.tensor(b, requires_grad=True)).tolist() == [1, 1, 1]
    half = torch.tensor([1.0, 1.0078125], dtype=torch.bfloat16)
    assert ulp_distance(half, jnp.ones(2, jnp.bfloat16)).tolist() == [0, 1]


def test_refuses_what_it_cannot_count():
    one = np.ones(2, np.float32)
    with pytest.raises(TypeError, match=r"one dtype.*float32 and float64\. Cast one side first"):
        ulp_distance(one, one.astype(np.float64))
    with pytest.raises(TypeError, match="got int32 and int32"):
        ulp_distance(one.astype(np.int32), one.astype(np.int32))
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(1,\)\. Broadcast"):
        ulp_distance(one, one[:1])
