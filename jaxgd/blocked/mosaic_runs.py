"""SGD of linear predictors as one kernel on a TPU: eight runs in the eight sublanes of a register.

The rows come by as a stream, in the order of their visit; the weights stay on the core.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from jaxgd.blocked.rows_in_order import Slope
from jaxgd.blocked.runs import Runs
from jaxgd.machine import MOSAIC_BLOCK_BYTES, MOSAIC_PIECE_BYTES

SUBLANES, LANES = 8, 128


def mosaic_kernel(
    slope: Slope, runs: Runs, interpret: bool = False
) -> tuple[Float[Array, "r d"], Float[Array, "r"], Float[Array, "r m"]]:
    """Of each run the weights and the bias after its rows, and each row's logit before its update.

    Eight runs that see the same rows share a program; a run with rows or labels of its own has one
    to itself, eight times over. The rows are gathered some at a time, each time for one launch.
    """
    r, m, d = runs.number, runs.m, runs.x.shape[-1]
    own = max(len(a) for a in (runs.x, runs.y, runs.rows) if a is not None)
    shared = own == 1
    spread = _eight_runs_a_group if shared else _one_run_a_group
    w, b, rate, decay = (spread(jnp.broadcast_to(a, (r, *a.shape[1:]))) for a in runs[:4])
    width = d + -d % LANES
    w = jnp.pad(w, ((0, 0), (0, width - d)))
    chunk = _rows_a_block(width)
    size = chunk * max(1, min(-(-m // chunk), MOSAIC_PIECE_BYTES // (own * chunk * width * 4)))
    launch = partial(_launch, partial(_kernel, slope, chunk), chunk, rate, decay, interpret)

    def piece(weights: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], Array]:
        x, y = _visited(runs, start, size, width)
        w, b, z = launch(*weights, x=x, y=y, count=jnp.minimum(m - start, size))
        return (w, b), z

    starts = jnp.arange(0, m, size, dtype=jnp.int32)
    z: Array
    (w, b), z = lax.scan(piece, (w, b[:, None]), starts)
    every = slice(r) if shared else slice(None, None, SUBLANES)
    return w[every, :d], b[every, 0], jnp.moveaxis(z, 0, 1).reshape(len(w), -1)[every, :m]


def _eight_runs_a_group(array: Array) -> Array:
    return jnp.pad(array, [(0, -len(array) % SUBLANES), *[(0, 0)] * (array.ndim - 1)])


def _one_run_a_group(array: Array) -> Array:
    return jnp.repeat(array, SUBLANES, axis=0)


def _rows_a_block(width: int) -> int:
    """Rows that come by at once: whole registers of logits, and twice so many bytes on the core."""
    return LANES * max(1, min(8, MOSAIC_BLOCK_BYTES // (LANES * width * 4)))


def _visited(runs: Runs, start: Array, size: int, width: int) -> tuple[Array, Array]:
    """The rows [_, size, width] and labels [_, 1, size] of so many visits, zeros on the right."""
    x, y = runs.x, runs.y
    visits = jnp.minimum(start + jnp.arange(size, dtype=jnp.int32), runs.m - 1)
    if runs.rows is not None:
        numbers = jnp.take(runs.rows, visits, axis=1)
        x, y = _taken(x, numbers), _taken(y, numbers)
    elif size > runs.m:
        more = ((0, 0), (0, size - runs.m))
        x, y = jnp.pad(x, (*more, (0, 0))), jnp.pad(y, more)
    elif size < runs.m:
        x, y = jnp.take(x, visits, axis=1), jnp.take(y, visits, axis=1)
    return jnp.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2]))), y[:, None]


def _taken(array: Array, numbers: Array) -> Array:
    """array[i, numbers[i]], where either may have one row for all i."""
    axes = tuple(0 if len(a) > 1 else None for a in (array, numbers))
    one = [a if axis == 0 else a[0] for a, axis in zip((array, numbers), axes, strict=True)]
    take = partial(jnp.take, axis=0, mode="clip")
    return jax.vmap(take, axes)(*one) if 0 in axes else take(*one)[None]


def _launch(
    kernel: Callable[..., None],
    chunk: int,
    rate: Array,
    decay: Array,
    interpret: bool,
    w: Array,
    b: Array,
    x: Array,
    y: Array,
    count: Array,
) -> Sequence[Array]:
    """The kernel on the first `count` of the rows x [_, size, width] and labels y [_, 1, size]."""
    from jax.experimental.pallas import tpu

    size, width = x.shape[1:]
    of_x, of_y = (0 if len(a) == 1 else 1 for a in (x, y))  # a group's own, or shared by all
    of_a_group = [pl.BlockSpec((SUBLANES, k), lambda g, _: (g, 0)) for k in (width, 1)]
    in_scalars = partial(pl.BlockSpec, memory_space=tpu.SMEM)
    return pl.pallas_call(
        kernel,
        grid=(len(w) // SUBLANES, size // chunk),
        in_specs=[
            in_scalars((1,), lambda *_: (0,)),
            in_scalars((None, 1, chunk), lambda g, c: (g * of_y, 0, c)),
            pl.BlockSpec((None, chunk, width), lambda g, c: (g * of_x, c, 0)),
            *(of_a_group[1], of_a_group[1], *of_a_group),
        ],
        out_specs=[*of_a_group, pl.BlockSpec((SUBLANES, chunk), lambda g, c: (g, c))],
        out_shape=[jax.ShapeDtypeStruct((len(w), last), w.dtype) for last in (width, 1, size)],
        compiler_params=tpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        interpret=interpret,
        name="sgd_of_a_linear_predictor",
    )(count[None], y, x, rate[:, None], decay[:, None], w, b)


def _kernel(slope: Slope, chunk: int, *refs: Any) -> None:
    count, y_ref, x_ref, rate_ref, decay_ref, w0, b0, w_ref, b_ref, z_ref = refs

    @pl.when(pl.program_id(1) == 0)
    def _start() -> None:
        w_ref[...], b_ref[...] = w0[...], b0[...]

    rate, decay = rate_ref[...], decay_ref[...]
    lane = lax.broadcasted_iota(jnp.int32, (SUBLANES, LANES), 1)
    left = count[0] - pl.program_id(1) * chunk
    slopes = jax.vmap(jax.vmap(slope))

    def register(j: Array, carry: tuple) -> tuple:
        """The rows whose logits fill one register, as far as there are any."""
        first = j * LANES

        def update(i: Array, carry: tuple) -> tuple:
            w, b, logits = carry
            x = x_ref[pl.ds(first + i, 1), :]
            z = jnp.sum(x * w, axis=1, keepdims=True) + b
            g = rate * slopes(z, jnp.full(z.shape, y_ref[0, first + i]))
            return decay * w - g * x, decay * b - g, jnp.where(lane == i, z, logits)

        rows = jnp.clip(left - first, 0, LANES)
        empty = jnp.zeros((SUBLANES, LANES), w_ref.dtype)
        *weights, logits = lax.fori_loop(0, rows, update, (*carry, empty))
        z_ref[:, pl.ds(pl.multiple_of(first, LANES), LANES)] = logits
        return tuple(weights)

    w_ref[...], b_ref[...] = lax.fori_loop(0, chunk // LANES, register, (w_ref[...], b_ref[...]))
