"""The derivative of a run by forward mode, or by reverse mode in as many levels as fit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxgd.inputs import check_count
from jaxgd.remembered import kept
from jaxgd.study.memory import held_bytes

Final = Callable[..., Array]

# Each number costs forward mode a run of tangents, and reverse mode nothing.
FEW = 4
MEMORY = 2**28
_MOST_LEVELS = 8


class Slope(NamedTuple):
    """A value and its gradient, and how they came about.

    `held_bytes` are XLA's buffers beside arguments and results, as the compiler's own
    `memory_analysis()` has them.
    """

    value: float
    gradient: PyTree
    mode: str
    levels: int
    held_bytes: int


def slope_through(
    final: Final,
    moving: PyTree,
    *rest: Any,
    mode: str | None = None,
    levels: int | None = None,
    memory: int = MEMORY,
) -> Slope:
    """The gradient of `final(moving, *rest, levels=…) -> scalar` in all numbers of `moving`.

    By default forward mode for at most 4 numbers, and reverse mode in the fewest levels whose
    buffers fit the memory, in bytes; or in the most that help, where none do. The same `final` is
    compiled once for arguments of the same shapes.

    Raises ValueError for another mode, and for levels below 1.
    """
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"mode must be forward or reverse; got {mode!r}. Leave it out to choose.")
    numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(moving))
    mode = mode or ("forward" if numbers <= FEW else "reverse")
    tried = range(1, _MOST_LEVELS + 1) if levels is None else [check_count("levels", levels)]
    found: list[tuple[int, int, jax.stages.Compiled]] = []
    for c in [1] if mode == "forward" else tried:
        program = _forward(final) if mode == "forward" else _reverse(final, c)
        compiled = program.lower(moving, *rest).compile()
        held = held_bytes(compiled)
        if found and held >= found[-1][0]:
            break
        found.append((held, c, compiled))
        if held <= memory:
            break
    held, c, compiled = found[-1]
    value, gradient = compiled(moving, *rest)
    return Slope(float(value), gradient, mode, c, held)


@kept
def _reverse(final: Final, levels: int) -> jax.stages.Wrapped:
    return jax.jit(jax.value_and_grad(lambda moving, *rest: final(moving, *rest, levels=levels)))


@kept
def _forward(final: Final) -> jax.stages.Wrapped:
    """As `value_and_grad`: all tangents side by side, and the value but once."""

    def slope(moving: PyTree, *rest: Any) -> tuple[Array, PyTree]:
        def twice(moving: PyTree) -> tuple[Array, Array]:
            value = final(moving, *rest, levels=2)  # see scan_in_levels
            return value, value

        gradient, value = jax.jacfwd(twice, has_aux=True)(moving)
        return value, gradient

    return jax.jit(slope)
