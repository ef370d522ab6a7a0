"""Exact per-example SGD of linear predictors, a block of rows at a time.

For a linear predictor the gradient of one example is g x, with g = d loss / d logit a scalar, so
that the updates of a block of rows need no more than the rows' products with each other.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree, Real

from jaxgd.batches import gather
from jaxgd.blocked.blocks_in_order import block_by_block
from jaxgd.blocked.one_kernel import in_one_kernel
from jaxgd.blocked.rows_in_order import Data, Weights
from jaxgd.descent import Epoch, Order, State
from jaxgd.inputs import check_count, check_order, count_examples
from jaxgd.layouts import beside, one_by_one, slice_of
from jaxgd.linear_row import fast_in_lanes
from jaxgd.machine import ACCELERATOR_BLOCK, CPU_BLOCK

LinkLoss = Callable[[Any, Any], Array]


def blocked_sgd(
    link_loss: LinkLoss,
    learning_rate: Real[ArrayLike, ""] | optax.Schedule,
    *,
    l2: Real[ArrayLike, ""] = 0.0,
    block_size: int | None = None,
) -> Epoch:
    """An epoch of per-example SGD of a linear predictor: `epoch(state, (x, y), order)`.

        z = xᵀw + b,   g = d link_loss(z, y) / dz
        w <- w - lr (g x + λ w),   b <- b - lr (g + λ b)

    The n updates that `sgd` makes, to rounding, in ⌈n / block_size⌉ dependent steps instead of n:
    the same `State` in and out (the optimizer's state passes through untouched), the same order,
    the same losses, each before its update. `state.params` is `Linear(w [d], b [])` or any other
    pair, data is (x [n, d], y [n]). `link_loss(logit, label)` is the loss of one logit, and must be
    differentiable by JAX. The learning rate and `l2` may be traced values, and the epoch can be
    differentiated in both modes.

    A block's logits are iterated, all at once, until they stand still: at most block_size times,
    because each pass settles at least one more row, and far fewer as a rule (6 for 8 rows, 13 for
    64, by `python -m benchmarks depth`). `block_size=1` takes the rows in order. The default is
    that of the platform that the program is compiled for, wherever it is made: blocks of
    `default_block_size`, but on an NVIDIA GPU and on a TPU all rows in order in **one kernel**, and
    all runs under `vmap` in the same. The kernel takes float32 rows of up to `widest_in_one_kernel`
    features, float32 or int32 labels, and losses made of arithmetic, comparisons and the usual
    functions that hold no arrays. Everything else is left to blocks: derivatives, programs for
    several devices, `shard_map`, exported programs, and NVIDIA from jax 0.12 on as long as no GPU
    is there to compile for.

    Raises TypeError or ValueError while tracing for a schedule, other params or other data.
    Departs from optax.chain(add_decayed_weights(l2), sgd(learning_rate)) in `jaxgd.sgd`, and from
    torch.optim.SGD(weight_decay=l2): nothing beyond rounding. Departs from scikit-learn's
    SGDClassifier(alpha=l2): the bias decays too.
    """
    if callable(learning_rate):
        raise TypeError(
            "learning_rate must be a number or a scalar array; got a schedule. "
            "Use sgd(loss, optax.sgd(schedule)) instead."
        )
    if block_size is not None:
        block_size = check_count("block_size", block_size)
    slope = jax.grad(link_loss)

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Float[Array, "m"]]:
        x, y = _check_data(data)
        state, layout = beside(data, state), one_by_one(data)
        w, b = _check_params(state.params, x)
        n, d = x.shape
        rows = check_order(order, n)
        labels = slice_of(y, 0, n, layout) if rows is None else gather(y, rows, layout)
        rate = jnp.asarray(learning_rate, w.dtype)
        decay = 1 - rate * jnp.asarray(l2, w.dtype)
        blocks = partial(block_by_block, slope, rate, decay, rows)
        if block_size:
            (w, b), logits = blocks(block_size, (w, b), (x, y))
        else:
            (w, b), logits = jax.lax.platform_dependent(
                (w, b),
                (x, y),
                cpu=partial(blocks, default_block_size(d, "cpu")),
                default=partial(in_one_kernel, slope, rate, decay, rows),
            )
        losses = jax.vmap(link_loss)(logits, labels)
        params = jax.tree.unflatten(jax.tree.structure(state.params), (w, b))
        return state._replace(params=params), losses

    return epoch


def default_block_size(d: int, platform: str) -> int:
    """The rows at a time that measured fastest on a platform, for rows of d features.

    On a CPU rows come in order, one at a time, their products summed in lanes. Before jax 0.12 the
    loop around more than 400 features is not one kernel, and blocks of 8 are faster.
    """
    if platform != "cpu":
        return ACCELERATOR_BLOCK
    return 1 if fast_in_lanes(d) else CPU_BLOCK


def _check_data(data: PyTree) -> Data:
    """The pair (x [n, d], y [n]) of floating-point rows and one label each."""
    count_examples(data)
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = (jnp.asarray(leaf) for leaf in data)
        if x.ndim == 2 and y.ndim == 1 and jnp.issubdtype(x.dtype, jnp.floating):
            return x, y
    raise ValueError(
        "blocked_sgd takes data (x [n, d] of a float dtype, y [n]); "
        f"got {jax.tree.map(jax.typeof, data)}. Use sgd for other data."
    )


def _check_params(params: PyTree, x: Array) -> Weights:
    """The pair (w [d], b []) in the dtype of x."""
    if isinstance(params, tuple) and len(params) == 2:
        w, b = (jnp.asarray(leaf) for leaf in params)
        if w.shape == x.shape[1:] and b.shape == () and w.dtype == b.dtype == x.dtype:
            return w, b
    raise ValueError(
        "blocked_sgd takes params (w [d], b []) in the dtype of x; "
        f"got {jax.tree.map(jax.typeof, params)} with x of {jax.typeof(x)}. "
        "Use sgd for other models."
    )
