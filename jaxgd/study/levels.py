"""A loop whose reverse derivative keeps few of its states, and makes the others again."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

Step = Callable[[Any, PyTree], tuple[Any, PyTree]]


def scan_in_levels(
    step: Step,
    carry: Any,
    length: int,
    levels: int = 1,
    look_up: Callable[[Int[Array, "steps"]], PyTree] = jnp.asarray,
) -> tuple[Any, PyTree]:
    """`lax.scan(step, carry, look_up(arange(length)))`, its derivative's memory cut in levels.

        kept states ∝ c T^(1/c),   c levels, T = length

    One level is `lax.scan` itself, whose reverse derivative keeps what each of the T steps leaves.
    With c levels there are about T^(1/c) pieces of T^((c-1)/c) steps: the states between them are
    kept, and a piece, itself in c - 1 levels, is made again when its turn comes. So every level
    costs one more time forward. A piece looks up what its steps take all at once, and keeps
    nothing of it: so two levels serve forward derivatives, too, which keep no state.

    Departs from `lax.scan`: nothing forward, to rounding; outs are stacked a piece at a time, and a
    step must be a pure function, since it is evaluated again.
    """
    return _piece(carry, jnp.int32(0), step=step, length=length, levels=levels, look_up=look_up)


def _piece(
    carry: Any, start: Array, *, step: Step, length: int, levels: int, look_up: Callable
) -> tuple[Any, PyTree]:
    """The steps start, …, start + length - 1."""
    if levels == 1 or length <= 2:
        return jax.lax.scan(step, carry, look_up(start + jnp.arange(length, dtype=jnp.int32)))
    size = piece_length(length, levels)
    below = partial(_piece, step=step, levels=levels - 1, look_up=look_up)
    full, rest = divmod(length, size)
    starts = start + size * jnp.arange(full, dtype=jnp.int32)
    # In a scan nothing can be merged with what is made again: to hold XLA off costs time.
    one = jax.checkpoint(partial(below, length=size), prevent_cse=False)
    carry, outs = jax.lax.scan(one, carry, starts)
    outs = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), outs)
    if rest:
        carry, last = jax.checkpoint(partial(below, length=rest))(carry, start + size * full)
        outs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, last)
    return carry, outs


def piece_length(length: int, levels: int) -> int:
    """About length^((c-1)/c): the least that leaves no odd piece, if one is near.

    An odd piece at the end is a program of its own to compile.
    """
    wanted = max(2, math.ceil(length ** (1 - 1 / levels) - 1e-9))
    near = range(wanted, min(length, 3 * wanted // 2) + 1)
    return next((size for size in near if length % size == 0), wanted)
