"""The gradient of a validation loss through a whole run, in what the run was made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_makes_one,
    check_params,
    check_untraced,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.remembered import kept
from jaxgd.study.modes import MEMORY, Final, slope_through
from jaxgd.study.remarks import remarks_of, tell
from jaxgd.study.smoothness import Smoothness, smoothness_in
from jaxgd.study.trainings import trained

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
    settings: Mapping[str, Any],
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
    1 %, are told as a UserWarning and in `remarks`. A second call of the same loss, optimizer,
    shapes and settings that stay compiles nothing, unless one that stays is an array. To descend
    on settings, differentiate `trained`, a pure function.

    Raises ValueError for names that are none of these, settings that are not finite, and what
    `trained` refuses; TypeError for an optimizer that is made already, and inside jit.
    """
    rows = None if callable(validation) else validation
    given = {**settings, "params": params, "weights": weights}
    check_untraced("hypergradient", "Differentiate trained(…).", given, data, rows, key)
    check_makes_one(optimizer)
    check_params(params)
    if not callable(validation):
        count_examples(rows)
    check_count("epochs", epochs)
    if batch_size is not None:
        batch_size = check_batch_size(batch_size, count_examples(data))
    _check_finite(settings)
    names = names_to_move(settings, wrt)
    if "weights" in names and weights is None:
        given["weights"] = jnp.ones(count_examples(data))
    moving = {name: jax.tree.map(_real, given[name]) for name in names}
    still = tuple((name, settings[name]) for name in sorted(settings.keys() - set(names)))
    fixed = {name: given[name] for name in _OTHERS - moving.keys()}
    score = validation if callable(validation) else None
    asked = _Asked(loss, optimizer, epochs, batch_size, still, score)
    final, end_of = _functions_of(asked)
    table = (data, rows, key)
    slope = slope_through(final, moving, fixed, table, mode=mode, levels=levels, memory=memory)
    smoothness = smoothness_in(end_of, moving, slope.gradient, fixed, table, _STEP)
    remarks = remarks_of(slope.value, slope.gradient, smoothness)
    tell(remarks)
    return Hypergradient(slope.value, slope.gradient, smoothness, remarks, *slope[2:])


class _Asked(NamedTuple):
    """What a program is made of, beside the arrays: settings that do not move are part of it."""

    loss: Loss
    optimizer: Callable[..., Optimizer]
    epochs: int
    batch_size: int | None
    still: tuple[tuple[str, Any], ...]
    score: Callable[[PyTree], Array] | None


@kept
def _functions_of(asked: _Asked) -> tuple[Final, Callable[..., tuple[Array, PyTree]]]:
    """The validation loss of (moving, fixed, table), and with it the params that it is of."""
    objective = mean(asked.loss)

    def end_of(moving: dict, fixed: dict, table: tuple, *, levels: int) -> tuple[Array, PyTree]:
        at, (data, rows, key) = {**dict(asked.still), **fixed, **moving}, table
        run = trained(
            asked.loss,
            asked.optimizer,
            epochs=asked.epochs,
            batch_size=asked.batch_size,
            levels=levels,
        )
        settings = {name: value for name, value in at.items() if name not in _OTHERS}
        params = run(settings, at["params"], data, key, at["weights"])
        return objective(params, rows) if asked.score is None else asked.score(params), params

    return lambda *given, levels: end_of(*given, levels=levels)[0], end_of


def _check_finite(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        numbers = jax.tree.leaves(value) if _moves(value) else []
        if not all(np.isfinite(number).all() for number in numbers):
            raise ValueError(f"settings must be finite; got {name}={value}.")


def names_to_move(settings: Mapping[str, Any], wrt: Sequence[str] | None) -> tuple[str, ...]:
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
