"""Rows of a linear predictor in an order, all in one kernel where an accelerator has one for them.

A kernel is made for the platform that a program is lowered for, and of all runs that are mapped
over at once. So this is an operation of its own, which `vmap` turns into the same of more runs, and
which is looked at again when it is lowered; its derivatives are those of the blocks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from jaxgd.blocked import link_slope
from jaxgd.blocked.blocks_in_order import block_by_block
from jaxgd.blocked.rows_in_order import Data, Slope, Weights
from jaxgd.blocked.runs import Runs
from jaxgd.layouts import on_several_devices, varying_axes
from jaxgd.machine import ACCELERATOR_BLOCK, WIDEST_IN_ONE_KERNEL

LABELS = ("float32", "int32")
Outcome = list[Array]


def widest_in_one_kernel(platform: str) -> int:
    """The most features with which a platform takes an epoch of rows in one kernel; 0 is never.

    That many float32 weights fit the registers of one multiprocessor of an NVIDIA GPU ("cuda"), and
    blocks of rows that wide the memory of a TPU's core ("tpu").
    """
    return WIDEST_IN_ONE_KERNEL.get(platform, 0)


def in_one_kernel(
    slope: Slope,
    rate: Array,
    decay: Array,
    rows: Array | None,
    weights: Weights,
    data: Data,
    *,
    interpreted: str | None = None,
) -> tuple[Weights, Float[Array, "m"]]:
    """The weights after the rows in order, and each row's logit before its update.

    In one kernel, or in blocks wherever there is none for it. `interpreted` names the platform
    whose kernel is run by JAX's interpreter of kernels instead, on any other.
    """
    (w, b), (x, y) = weights, data
    m = len(y) if rows is None else rows.size
    of_a_kernel = x.dtype == jnp.float32 and y.dtype in LABELS and m > 0
    one_device = not on_several_devices((w, b, x, y, rows)) and not varying_axes(
        *(a for a in (w, b, rate, decay, x, y, rows) if a is not None)
    )
    traced = link_slope.traced(slope, x.dtype, y.dtype)
    if not (of_a_kernel and one_device and link_slope.fits_a_kernel(traced)):
        return block_by_block(slope, rate, decay, rows, ACCELERATOR_BLOCK, weights, data)
    numbers = [] if rows is None else [jnp.clip(rows, 0, len(y) - 1).astype(jnp.int32)]
    given = [jnp.asarray(a)[None] for a in (w, b, rate, decay, x, y, *numbers)]
    w, b, logits = _runs.bind(*given, slope=traced, interpreted=interpreted)
    return (w[0], b[0]), logits[0]


def _in_blocks(*arrays: Array, slope: ClosedJaxpr) -> Outcome:
    """All runs by blocks, for any platform and to be differentiated."""
    runs = Runs(*arrays)

    def one(run: Runs) -> tuple[Array, Array, Array]:
        (w, b), logits = block_by_block(
            lambda z, y: jaxpr_as_fun(slope)(z, y)[0],
            *(run.rate, run.decay, run.rows, ACCELERATOR_BLOCK, (run.w, run.b), (run.x, run.y)),
        )
        return w, b, logits

    if runs.number == 1:
        return [a[None] for a in one(jax.tree.map(lambda a: a[0], runs))]
    axes = jax.tree.map(lambda a: None if len(a) == 1 else 0, runs)
    alone = jax.tree.map(lambda a: a[0] if len(a) == 1 else a, runs)
    return list(jax.vmap(one, (axes,))(alone))


def _in_a_kernel(*arrays: Array, slope: ClosedJaxpr, platform: str, interpret: bool) -> Outcome:
    if platform == "cuda":
        from jaxgd.blocked.triton_runs import triton_kernel as kernel
    else:
        from jaxgd.blocked.mosaic_runs import mosaic_kernel as kernel
    with jax.enable_x64(False):  # a kernel counts in 32 bits
        return list(kernel(partial(link_slope.in_a_kernel, slope), Runs(*arrays), interpret))


def _lowered(platform: str, ctx: Any, *operands: Any, slope: Any, interpreted: Any) -> Any:
    """By the platform's kernel, if the program is for one device and nobody exports it.

    Triton's kernels are bound to a version of JAX, and devices that share a program would each
    want the whole.
    """
    context = ctx.module_context
    alone = getattr(context.axis_context, "num_devices", 2) == 1
    exported = context.lowering_parameters.for_export
    how: Callable[..., Outcome] = _in_blocks
    wide = ctx.avals_in[4].shape[-1] > widest_in_one_kernel(platform)
    if interpreted:
        how = partial(_in_a_kernel, platform=interpreted, interpret=True)
    elif alone and not exported and not wide and _has_compiler(platform):
        how = partial(_in_a_kernel, platform=platform, interpret=False)
    return mlir.lower_fun(partial(how, slope=slope))(ctx, *operands)


def _has_compiler(platform: str) -> bool:
    """Whether Pallas can tell which GPU it is to compile for, as from jax 0.12 on it has to."""
    if platform != "cuda":
        return True
    from jax.experimental.pallas import triton

    try:
        getattr(triton, "get_gpu_info", lambda: None)()
    except ValueError:
        return False
    return True


def _shapes(*arrays: Any, slope: Any, interpreted: Any) -> list[jax.core.ShapedArray]:
    del slope, interpreted
    runs = Runs(*arrays)
    shapes = (runs.w.shape[1:], (), (runs.m,))
    return [jax.core.ShapedArray((runs.number, *shape), runs.w.dtype) for shape in shapes]


def _derivative(primals: Any, tangents: Any, *, slope: Any, interpreted: Any) -> Any:
    del interpreted
    return jax.jvp(
        partial(_in_blocks, slope=slope), primals, tuple(map(ad.instantiate_zeros, tangents))
    )


def _mapped(arrays: Any, axes: Any, **params: Any) -> Any:
    """Runs of runs are so many runs; what no axis maps over is shared as before."""
    size = next(a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None)
    moved = [
        a[None] if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(arrays, axes, strict=True)
    ]
    each = max(a.shape[1] for a in moved)
    outs = _runs.bind(*(_joined(a, size, each) for a in moved), **params)
    return [out.reshape(size, each, *out.shape[1:]) for out in outs], [0] * len(outs)


def _joined(array: Array, size: int, each: int) -> Array:
    if array.shape[:2] == (1, 1):
        return array[0]
    return jnp.broadcast_to(array, (size, each, *array.shape[2:])).reshape(-1, *array.shape[2:])


_runs = Primitive("sgd_of_linear_predictors")
_runs.multiple_results = True
_runs.def_impl(lambda *arrays, **params: jax.jit(partial(_runs.bind, **params))(*arrays))
_runs.def_abstract_eval(_shapes)
ad.primitive_jvps[_runs] = _derivative
batching.primitive_batchers[_runs] = _mapped
for _platform in (None, *WIDEST_IN_ONE_KERNEL):
    mlir.register_lowering(_runs, partial(_lowered, _platform or ""), platform=_platform)
