"""SGD of linear predictors as one kernel on an NVIDIA GPU: a program of a few warps a run.

The weights stay in the program's registers. Its rows are read where they lie, some rows before
their turn, and their numbers as many rows before that, so that no update waits for memory.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from jaxgd.blocked.rows_in_order import Slope
from jaxgd.blocked.runs import Runs
from jaxgd.machine import TRITON_ELEMENTS_AHEAD, TRITON_MOST_AHEAD, TRITON_WARP_ELEMENTS


def triton_kernel(
    slope: Slope, runs: Runs, interpret: bool = False
) -> tuple[Float[Array, "r d"], Float[Array, "r"], Float[Array, "r m"]]:
    """Of each run the weights and the bias after its rows, and each row's logit before its update.

    A warp takes a power of two of features: beyond the last of a row it sees zeros.
    """
    from jax.experimental.pallas import triton

    d, m = runs.x.shape[-1], runs.m
    width = pl.next_power_of_2(d)
    warps = max(1, width // TRITON_WARP_ELEMENTS)
    ahead = max(1, min(TRITON_MOST_AHEAD, warps * TRITON_ELEMENTS_AHEAD // width))
    given = runs._replace(w=jnp.pad(runs.w, ((0, 0), (0, width - d))))
    operands = [a for a in given if a is not None]
    out = [(runs.number, width), (runs.number,), (runs.number, m)]
    w, b, z = pl.pallas_call(
        partial(_kernel, slope, d, ahead, runs.rows is not None),
        grid=(runs.number,),
        in_specs=[_of_run(a.shape) for a in operands],
        out_specs=[_of_run(shape) for shape in out],
        out_shape=[jax.ShapeDtypeStruct(shape, runs.w.dtype) for shape in out],
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=1),
        interpret=interpret,
        name="sgd_of_a_linear_predictor",
    )(*operands)
    return w[:, :d], b, z


def _of_run(shape: tuple[int, ...]) -> pl.BlockSpec:
    """An array's part of one run, or the whole of what all runs share."""
    zeros = (0,) * (len(shape) - 1)
    shared = shape[0] == 1
    return pl.BlockSpec((None, *shape[1:]), lambda r: (0 if shared else r, *zeros))


def _kernel(slope: Slope, d: int, ahead: int, gathered: bool, *refs: Any) -> None:
    from jax.experimental.pallas import triton

    w0, b0, rate_ref, decay_ref, x_ref, y_ref, *rows_ref = refs[: 6 + gathered]
    w_ref, b_ref, z_ref = refs[6 + gathered :]
    width, m = w0.shape[0], z_ref.shape[0]
    rate, decay = rate_ref[...], decay_ref[...]
    lanes = jnp.arange(width, dtype=jnp.int32)

    def number(i: Array) -> Array:
        i = jnp.minimum(i, m - 1)
        return rows_ref[0][i] if gathered else i

    def fetch(row: Array) -> tuple[Array, Array]:
        x = triton.load(x_ref.at[row, lanes], mask=lanes < d, other=0.0)
        return x, y_ref[row]

    def update(i: Array, carry: tuple) -> tuple:
        w, b, numbers, examples = carry
        x, y = examples[0]
        examples = (*examples[1:], fetch(numbers[0]))
        numbers = (*numbers[1:], number(i + 2 * ahead))
        z = jnp.sum(x * w) + b
        z_ref[i] = z
        g = rate * slope(z, y)
        return decay * w - g * x, decay * b - g, numbers, examples

    first = [number(jnp.int32(j)) for j in range(2 * ahead)]
    carry = w0[...], b0[...], tuple(first[ahead:]), tuple(map(fetch, first[:ahead]))
    w_ref[...], b_ref[...], *_ = lax.fori_loop(jnp.int32(0), jnp.int32(m), update, carry)
