"""Any array as one that NumPy alone can hold, bit for bit."""

from typing import Any

import jax
import numpy as np


def is_key(leaf: Any) -> bool:
    """Whether it is a typed random key."""
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def plain_bits(leaf: Any) -> np.ndarray:
    """The array itself; of a random key its data, of bfloat16 and its like unsigned integers.

    Raises TypeError for what is no number.
    """
    array = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    if array.dtype.isbuiltin == 2:  # a dtype that NumPy has not
        return array.view(f"u{array.dtype.itemsize}")
    if array.dtype.kind not in "biufc":
        raise TypeError(f"a leaf must be numbers or a typed key; got {array.dtype}. Leave it out.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
