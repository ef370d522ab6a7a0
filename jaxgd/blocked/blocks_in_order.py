"""The rows of a linear predictor in an order, so many at a time."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgd.batches import scan_batches, scan_rows
from jaxgd.blocked.gram_block import block
from jaxgd.blocked.rows_in_order import Data, Slope, Weights, row
from jaxgd.layouts import one_by_one


def block_by_block(
    slope: Slope,
    rate: Array,
    decay: Array,
    rows: Array | None,
    k: int,
    weights: Weights,
    data: Data,
) -> tuple[Weights, Float[Array, "m"]]:
    """The weights after the rows in order, k at a time, and each row's logit before its update."""
    fold = partial(row if k == 1 else block, slope, rate, decay)
    if k == 1:
        return scan_rows(fold, weights, data, rows)
    m = len(data[1]) if rows is None else rows.size
    weights, parts = scan_batches(fold, weights, data, rows, min(k, max(1, m)), one_by_one(data))
    return weights, jnp.concatenate([part.reshape(-1) for part in parts])
