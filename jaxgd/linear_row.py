"""The gradient of one row of a linear predictor, made for a loop over rows.

z = xᵀw + b,   G = d link_loss(z, y) / dz,   ∇w = x Gᵀ,   ∇b = G
"""

import math
from collections.abc import Callable
from functools import cache, partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.chunks import wide
from jaxgd.layouts import varying_axes
from jaxgd.losses import Supervised
from jaxgd.machine import (
    ANY_LOOP_IS_A_KERNEL,
    LANE_TERMS,
    LANES,
    MOST_PRODUCTS,
    NARROW,
    NARROW_LANES,
    WIDEST_SMALL_LOOP,
)
from jaxgd.models import Linear, linear
from jaxgd.precision import InPrecision, Precision, in_precision

LinkLoss = Callable[[Any, Any], Array]


def row_gradient(
    link_loss: LinkLoss, precision: Precision = "default"
) -> Callable[..., tuple[tuple[Array, Array], Linear]]:
    """`gradient(params, (x [d], y)) -> ((loss, logits), gradient)` of `link_loss(logits, y)`.

    The logits are worked out in that precision, the link loss in its own.
    """
    slope = jax.value_and_grad(link_loss)
    dot = in_precision(dot_in_lanes, precision)

    def gradient(params: Linear, example: PyTree) -> tuple[tuple[Array, Array], Linear]:
        x, y = example
        z = dot(x, params.w)
        z = z if params.b is None else z + params.b
        loss, g = slope(z, y)
        return (loss, z), Linear(jnp.multiply.outer(x, g), None if params.b is None else g)

    return gradient


def link_of(loss: Callable[..., Any]) -> tuple[LinkLoss, Precision] | None:
    """Of `supervised(linear, …)` the loss of its logits, and their precision; None of any other."""
    if not isinstance(loss, Supervised):
        return None
    predict: Any = loss.predict
    precision: Precision = "default"
    if isinstance(predict, InPrecision) and predict.precision != "bfloat16":
        predict, precision = predict.fn, predict.precision
    return (loss.loss, precision) if predict is linear else None


def takes_rows(loss: Callable[..., Any], params: PyTree, data: PyTree, rows: Array | None) -> bool:
    """Whether data are (x [n, d], y) for a `Linear` of x's dtype, and rows in lanes are fast.

    Not where rows differ from device to device, for the mean over devices is `mean`'s, nor where a
    loss is no scalar, which `mean` refuses.
    """
    if not (isinstance(params, Linear) and isinstance(data, tuple | list) and len(data) == 2):
        return False
    x, (w, b) = jnp.asarray(data[0]), params
    if x.ndim != 2 or w.shape[:1] != x.shape[1:] or (b is not None and b.shape != w.shape[1:]):
        return False
    leaves = [leaf for leaf in params if leaf is not None]
    if len({leaf.dtype for leaf in (x, *leaves)}) > 1 or not fast_in_lanes(*w.shape):
        return False
    if varying_axes(*jax.tree.leaves((data, rows))) - varying_axes(*leaves):
        return False
    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), data)
    return jax.eval_shape(loss, params, first).shape == ()


def fast_in_lanes(d: int, outputs: int = 1, *more: int) -> bool:
    """Whether `dot_in_lanes` is faster than a dot in a loop over rows, as measured on a CPU.

    It is written out a thousand products at a time: many more are slow to compile.
    """
    if more or outputs > LANES or d * outputs > MOST_PRODUCTS:
        return False
    return ANY_LOOP_IS_A_KERNEL or (outputs == 1 and d <= WIDEST_SMALL_LOOP)


def dot_in_lanes(x: Float[Array, "d"], w: Float[Array, "d *k"]) -> Float[Array, "*k"]:
    """xᵀw as sums side by side, none of which waits for the others, added up in pairs.

    In one expression with what is made of it, XLA's CPU compiler makes vector instructions of the
    lanes and one kernel of the loop around them; a `dot` there is a call, or a sum term by term.
    Half precision is multiplied and added up in float32. It is a plain product on accelerators, of
    many runs at once under `vmap`, and in derivatives, each in `jax.default_matmul_precision` as
    it is where this is called.
    """
    # As jnp.dot does: rules that are asked for later must not find another one.
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return _dot_in_lanes(precision, x, w)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _dot_in_lanes(precision: str | None, x: Array, w: Array) -> Array:
    return _of_one_run(precision)(x, w)


@_dot_in_lanes.defjvp
def _derivative(
    precision: str | None, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (x, w), (dx, dw) = primals, tangents
    change = jnp.dot(dx, w, precision=precision) + jnp.dot(x, dw, precision=precision)
    return _dot(precision, x, w), change


@cache
def _of_one_run(precision: str | None) -> Callable[[Array, Array], Array]:
    dot = partial(_dot, precision)
    of_one = jax.custom_batching.custom_vmap(
        lambda x, w: jax.lax.platform_dependent(x, w, cpu=_in_lanes, default=dot)
    )
    of_one.def_vmap(partial(_of_many_runs, dot))
    return of_one


def _in_lanes(x: Array, w: Array) -> Array:
    products = wide(x).reshape(-1, *[1] * (w.ndim - 1)) * wide(w)
    d, outputs = len(products), math.prod(w.shape[1:])
    if d <= NARROW and outputs == 1:
        sums = jnp.sum(_rows_of_lanes(products, NARROW_LANES), axis=0)
    else:
        lanes = 2 ** max(0, (LANES // outputs).bit_length() - 1)
        part = LANE_TERMS * lanes
        sums = reduce(
            add, (_sum_in_lanes(products[i : i + part], lanes) for i in range(0, d, part))
        )
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    return sums[0].astype(x.dtype)


def _of_many_runs(
    dot: Callable[..., Array], runs: int, batched: list[bool], x: Array, w: Array
) -> tuple[Array, bool]:
    del runs
    axes = tuple(0 if each else None for each in batched)
    return jax.vmap(dot, axes)(x, w), True


def _dot(precision: str | None, x: Array, w: Array) -> Array:
    wider = wide(x).dtype
    return jnp.dot(x, w, precision=precision, preferred_element_type=wider).astype(x.dtype)


def _sum_in_lanes(products: Float[Array, "d *k"], lanes: int) -> Float[Array, "lanes *k"]:
    """Full rows of lanes, and the products that remain on the first of them."""
    full = len(products) - len(products) % lanes
    sums = jnp.sum(_rows_of_lanes(products[:full], lanes), axis=0)
    return sums if full == len(products) else sums + _rows_of_lanes(products[full:], lanes)[0]


def _rows_of_lanes(products: Float[Array, "d *k"], lanes: int) -> Float[Array, "r lanes *k"]:
    """The products row by row of lanes, zeros at the end where the last is short."""
    short = [(0, -len(products) % lanes)] + [(0, 0)] * (products.ndim - 1)
    return jnp.pad(products, short).reshape(-1, lanes, *products.shape[1:])
