"""The gradient of one row of a linear predictor, made for a loop over rows.

z = xᵀw + b,   G = d link_loss(z, y) / dz,   ∇w = x Gᵀ,   ∇b = G
"""

import math
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.chunks import wide
from jaxgd.layouts import varying_axes
from jaxgd.machine import (
    ANY_LOOP_IS_A_KERNEL,
    LANE_TERMS,
    LANES,
    NARROW,
    NARROW_LANES,
    WIDEST_SMALL_LOOP,
)
from jaxgd.models import Linear

LinkLoss = Callable[[Any, Any], Array]


def row_gradient(link_loss: LinkLoss) -> Callable[..., tuple[tuple[Array, Array], Linear]]:
    """`gradient(params, (x [d], y)) -> ((loss, logits), gradient)` of `link_loss(logits, y)`."""
    slope = jax.value_and_grad(link_loss)

    def gradient(params: Linear, example: PyTree) -> tuple[tuple[Array, Array], Linear]:
        x, y = example
        z = dot_in_lanes(x, params.w)
        z = z if params.b is None else z + params.b
        loss, g = slope(z, y)
        return (loss, z), Linear(jnp.multiply.outer(x, g), None if params.b is None else g)

    return gradient


def takes_rows(params: PyTree, data: PyTree) -> bool:
    """Whether data are (x [n, d], y) for a `Linear` of x's dtype, and rows in lanes are fast.

    Not where the rows differ from device to device: the mean over devices is `mean`'s.
    """
    if not (isinstance(params, Linear) and isinstance(data, tuple | list) and len(data) == 2):
        return False
    leaves = [leaf for leaf in params if leaf is not None]
    kinds = {jnp.result_type(leaf) for leaf in (*leaves, data[0])}
    varying = varying_axes(*jax.tree.leaves(data)) - varying_axes(*leaves)
    d, *outputs = jnp.shape(params.w)
    fast = fast_in_lanes(d, math.prod(outputs))
    return fast and len(kinds) == 1 and jnp.ndim(data[0]) == 2 and not varying


def fast_in_lanes(d: int, outputs: int) -> bool:
    """Whether `dot_in_lanes` is faster than a dot in a loop over rows, as measured on a CPU."""
    return ANY_LOOP_IS_A_KERNEL or (outputs == 1 and d <= WIDEST_SMALL_LOOP)


@jax.custom_jvp
def dot_in_lanes(x: Float[Array, "d"], w: Float[Array, "d *k"]) -> Float[Array, "*k"]:
    """xᵀw as sums side by side, none of which waits for the others, added up in pairs.

    In one expression with what is made of it, XLA's CPU compiler makes vector instructions of the
    lanes and one kernel of the loop around them; a `dot` there is a call, or a sum term by term.
    Half precision is multiplied and added up in float32. It is a plain product on accelerators, of
    many runs at once under `vmap`, and in derivatives.
    """
    return _of_one_run(x, w)


@dot_in_lanes.defjvp
def _derivative(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, w), (dx, dw) = primals, tangents
    return dot_in_lanes(x, w), jnp.dot(dx, w) + jnp.dot(x, dw)


@jax.custom_batching.custom_vmap
def _of_one_run(x: Array, w: Array) -> Array:
    return jax.lax.platform_dependent(x, w, cpu=_in_lanes, default=_dot)


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


@_of_one_run.def_vmap
def _of_many_runs(runs: int, batched: list[bool], x: Array, w: Array) -> tuple[Array, bool]:
    del runs
    axes = tuple(0 if each else None for each in batched)
    return jax.vmap(_dot, axes)(x, w), True


def _dot(x: Array, w: Array) -> Array:
    return jnp.dot(x, w, preferred_element_type=wide(x).dtype).astype(x.dtype)


def _sum_in_lanes(products: Float[Array, "d *k"], lanes: int) -> Float[Array, "lanes *k"]:
    """Full rows of lanes, and the products that remain on the first of them."""
    full = len(products) - len(products) % lanes
    sums = jnp.sum(_rows_of_lanes(products[:full], lanes), axis=0)
    return sums if full == len(products) else sums + _rows_of_lanes(products[full:], lanes)[0]


def _rows_of_lanes(products: Float[Array, "d *k"], lanes: int) -> Float[Array, "r lanes *k"]:
    """The products row by row of lanes, zeros at the end where the last is short."""
    short = [(0, -len(products) % lanes)] + [(0, 0)] * (products.ndim - 1)
    return jnp.pad(products, short).reshape(-1, lanes, *products.shape[1:])
