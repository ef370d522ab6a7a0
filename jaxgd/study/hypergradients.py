"""The gradient of a validation loss through a whole run, in what the run was made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.inputs import Optimizer, count_examples
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.study.modes import MEMORY, slope_through
from jaxgd.study.remarks import remarks_of, tell
from jaxgd.study.smoothness import Smoothness, smoothness_in
from jaxgd.study.trainings import Settings, trained

# Of an input's size: what is looked at to say whether a gradient holds for a step.
_STEP = 0.01
_OTHERS = {"params", "weights"}


class Hypergradient(NamedTuple):
    """A validation loss, its gradient by name, and how much of it one may believe.

    `smoothness` has the figures of each name, `remarks` what is wrong with any of them in words.
    `mode` is forward or reverse, `levels` are those of reverse mode; `held_bytes` are XLA's
    buffers for the gradient beside arguments and results, as the compiler's own
    `memory_analysis()` has them.
    """

    value: float
    gradient: dict[str, PyTree]
    smoothness: dict[str, Smoothness]
    remarks: tuple[str, ...]
    mode: str
    levels: int
    held_bytes: int


def hypergradient(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Callable[..., Optimizer],
    settings: Settings,
    epochs: int,
    validation: PyTree | Callable[[PyTree], Array],
    batch_size: int | None = None,
    key: Key | None = None,
    weights: Float[Array, "n"] | None = None,
    wrt: Sequence[str] | None = None,
    mode: str | None = None,
    levels: int | None = None,
    memory: int = MEMORY,
) -> Hypergradient:
    """The gradient of a run's loss on `validation` in its settings, its start and its weights.

        d/dz 1/m Σ_i loss(θ_T(z), validation_i),   θ_T = trained(loss, optimizer, …)(settings, …)

    `wrt` names what z is: settings, which `optimizer(**settings)` takes; "params" for the start;
    "weights" for a weight of each row, 1 unless given. By default all settings that are numbers: a
    schedule is a setting that is an array. `validation` is rows, or a function of the params.

    Forward mode, by default for at most 4 numbers, holds a tangent of the state for each; reverse
    mode holds c T^(1/c) states of T updates with c `levels`, by default the fewest that keep the
    compiler's own figure within `memory` bytes. They are equal to rounding.

    A gradient that is zero, not finite or explodes, and a run that is not smooth over a step of
    1 %, are told as a UserWarning and in `remarks`. It compiles at every call: to descend on
    settings, differentiate `trained`, which is a pure function.

    Raises ValueError for names that are none of these, and for what `trained` refuses.
    """
    given = {**settings, "params": params, "weights": weights}
    names = names_to_move(settings, wrt)
    if "weights" in names and weights is None:
        given["weights"] = jnp.ones(count_examples(data))
    moving = {name: jax.tree.map(_real, given[name]) for name in names}
    still = {name: settings[name] for name in settings if name not in names}
    fixed = {name: given[name] for name in _OTHERS - moving.keys()}
    rows = None if callable(validation) else validation
    objective = mean(loss)

    def end_of(moving: dict, fixed: dict, table: tuple, *, levels: int) -> tuple[Array, PyTree]:
        """The validation loss, and the params that it is of."""
        at, (data, rows, key) = {**still, **fixed, **moving}, table
        end = trained(loss, optimizer, epochs=epochs, batch_size=batch_size, levels=levels)
        chosen = {name: at[name] for name in settings}
        params = end(chosen, at["params"], data, key, at["weights"])
        return (validation(params) if callable(validation) else objective(params, rows)), params

    def final(*arguments: Any, levels: int) -> Array:
        return end_of(*arguments, levels=levels)[0]

    table = (data, rows, key)
    slope = slope_through(final, moving, fixed, table, mode=mode, levels=levels, memory=memory)
    smoothness = smoothness_in(end_of, moving, slope.gradient, fixed, table, _STEP)
    remarks = remarks_of(slope.value, slope.gradient, smoothness)
    tell(remarks)
    return Hypergradient(slope.value, slope.gradient, smoothness, remarks, *slope[2:])


def names_to_move(settings: Settings, wrt: Sequence[str] | None) -> tuple[str, ...]:
    """The names in wrt, or of all settings that are numbers; ValueError if there are none."""
    if _OTHERS & settings.keys():
        raise ValueError(
            f"settings must not be called params or weights; got {sorted(settings)}. Use other "
            "names: those stand for the start and the weights of rows."
        )
    names = tuple(name for name in settings if _moves(settings[name])) if wrt is None else wrt
    known = {*settings, *_OTHERS}
    if not names or not known.issuperset(names):
        raise ValueError(
            f"wrt must name some of {', '.join(sorted(known))}; got {tuple(names)!r}. "
            "Leave it out for all settings that are numbers."
        )
    return tuple(names)


def _moves(setting: Any) -> bool:
    """Whether a setting is numbers: no switch, no name, no function."""
    leaves = jax.tree.leaves(setting)
    kinds = (getattr(leaf, "dtype", None) or type(leaf) for leaf in leaves)
    return bool(leaves) and all(kind in (int, float) or _is_floating(kind) for kind in kinds)


def _is_floating(kind: Any) -> bool:
    return kind not in (bool, str) and bool(jnp.issubdtype(kind, jnp.floating))


def _real(leaf: Any) -> Array:
    """A number as an array that has a derivative: a whole one in the default float."""
    leaf = jnp.asarray(leaf)
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(leaf, leaf.dtype if floating else jnp.result_type(float))
