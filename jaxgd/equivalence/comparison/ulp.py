"""Distance between floating-point numbers, counted in representable values."""

import numpy as np
from jaxtyping import Shaped, UInt64
from ml_dtypes import bfloat16

from jaxgd.equivalence.recordings.pytree import as_numpy

# A float's bits, read as an integer of the same width, count the floats from zero outwards.
_BITS = {
    np.dtype(np.float16): np.int16,
    np.dtype(bfloat16): np.int16,
    np.dtype(np.float32): np.int32,
    np.dtype(np.float64): np.int64,
}
_FARTHEST = np.uint64(2**64 - 1)


def ulp_distance(a: object, b: object) -> UInt64[np.ndarray, "..."]:
    """How many floats apart `a` and `b` are, entry by entry.

        |rank(a) - rank(b)|,   rank = position among the dtype's floats, counted from zero

    Subnormals count like any float. +0 and -0 are the same (0 apart). Infinity follows the largest
    finite float (1 apart). Two NaNs are 0 apart, whatever their payload; a NaN and a number are
    2**64 - 1 apart, farther than any two numbers.

    Takes arrays (JAX, torch, NumPy, on any device) of one shape and one dtype out of float16,
    bfloat16, float32 and float64; TypeError or ValueError otherwise.
    Source: B. Dawson, "Comparing floating point numbers" (2012).
    """
    left, right = as_numpy(a), as_numpy(b)
    if left.dtype != right.dtype or left.dtype not in _BITS:
        raise TypeError(
            "ulp_distance counts the floats of one dtype out of float16, bfloat16, float32 and "
            f"float64; got {left.dtype} and {right.dtype}. Cast one side first."
        )
    if left.shape != right.shape:
        raise ValueError(
            f"ulp_distance compares entry by entry; got shapes {left.shape} and {right.shape}. "
            "Broadcast them first."
        )
    left_negative, left_rank = _sign_and_rank(left.ravel())
    right_negative, right_rank = _sign_and_rank(right.ravel())
    between = np.where(
        left_negative == right_negative,
        np.maximum(left_rank, right_rank) - np.minimum(left_rank, right_rank),
        left_rank + right_rank,
    )
    # NaNs are the patterns beyond infinity; np.isnan would trip over signalling ones.
    infinity = _sign_and_rank(np.array([np.inf], left.dtype))[1]
    left_nan, right_nan = left_rank > infinity, right_rank > infinity
    distance = np.where(left_nan != right_nan, _FARTHEST, between)
    return np.where(left_nan & right_nan, np.uint64(0), distance).reshape(left.shape)


def _sign_and_rank(x: Shaped[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Whether the sign bit is set, and how many floats lie between zero and |x|."""
    bits = x.view(_BITS[x.dtype])
    return bits < 0, (bits & np.iinfo(bits.dtype).max).astype(np.uint64)
