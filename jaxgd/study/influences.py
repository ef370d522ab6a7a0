"""What every row of a training does to a validation loss, held against runs without it."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_made,
    check_params,
    check_untraced,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.remembered import kept
from jaxgd.study.memory import held_bytes
from jaxgd.study.modes import MEMORY, Final, slope_through
from jaxgd.study.remarks import remarks_of, tell
from jaxgd.study.trainings import trained

# Up to so many rows, the run is made without each of them; of more, without this many.
SMALL, SAMPLE = 2000, 256
# Below this rank correlation what is foretold is not to be believed.
LEAST_CORRELATION = 0.5
_AT_ONCE = 512


class Influence(NamedTuple):
    """What leaving a row out does to the validation loss: foretold, and as it is.

    `foretold` [n] is minus the gradient in each row's weight: positive where the row helps,
    negative where it harms. `retrained` [k] are the rows that the run was made again without, and
    `measured` [k] by how much its validation loss is then another; `correlation` is Spearman's
    between the two, of k rows. `value` is the validation loss with all rows; see `Hypergradient`
    for `levels`, `held_bytes` and `remarks`.
    """

    value: float
    foretold: Float[np.ndarray, "n"]
    retrained: Int[np.ndarray, "k"]
    measured: Float[np.ndarray, "k"]
    correlation: float
    remarks: tuple[str, ...]
    levels: int
    held_bytes: int

    def harmful(self, k: int = 10) -> Int[np.ndarray, "k"]:
        """The k rows whose leaving out is foretold to lower the loss most, the worst first."""
        return np.argsort(self.foretold, kind="stable")[:k]

    def helpful(self, k: int = 10) -> Int[np.ndarray, "k"]:
        """The k rows whose leaving out is foretold to raise the loss most, the best first."""
        return np.argsort(-self.foretold, kind="stable")[:k]

    def __str__(self) -> str:
        """The correlation, and the rows at either end."""
        rows = ", ".join
        return (
            f"influence of {self.foretold.size} rows on a validation loss of {self.value:.4g}: "
            f"rank correlation {self.correlation:.3f} with {self.retrained.size} runs without a "
            f"row\nmost harmful: {rows(map(str, self.harmful()))}\n"
            f"most helpful: {rows(map(str, self.helpful()))}"
        )


def influence(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Optimizer,
    epochs: int,
    validation: PyTree,
    batch_size: int | None = None,
    key: Key | None = None,
    retrain: int | None = None,
    levels: int | None = None,
    memory: int = MEMORY,
) -> Influence:
    """What leaving out each row of the data does to the loss on `validation` after a run.

        foretold_i = -∂L/∂w_i at w = 1,   measured_i = L(w_i = 0) - L(w = 1)

    with L(w) the validation loss after the run with weights w (see `trained`): without a row its
    batches are one row smaller, and the order of the others stays. All n are foretold by one
    reverse derivative of the run; and the run is made again without each of n ≤ 2000 rows, or
    without 256 of more, drawn evenly, in one program: `retrain` says without how many. Print the
    result: it begins with the rank correlation of the two.

    A second call of the same loss, optimizer and shapes compiles nothing.

    Raises ValueError for fewer than 2 rows to retrain without, and for what `trained` refuses;
    TypeError for a function in the place of an optimizer, and inside jit.
    """
    check_untraced("influence", "Call it outside.", params, data, validation, key)
    check_made(optimizer)
    check_params(params)
    count_examples(validation)
    n = count_examples(data)
    check_count("epochs", epochs)
    batch_size = None if batch_size is None else check_batch_size(batch_size, n)
    k = n if retrain is None and n <= SMALL else min(n, SAMPLE if retrain is None else retrain)
    if check_count("retrain", k) < 2:
        raise ValueError(f"retrain must be at least 2; got {k} of n={n}. One has no rank.")
    value = _value_of(loss, optimizer, epochs, batch_size)
    table = (params, data, key, validation)
    slope = slope_through(value, jnp.ones(n), table, mode="reverse", levels=levels, memory=memory)
    foretold = -np.asarray(slope.gradient)
    rows = np.linspace(0, n - 1, k).round().astype(np.int32)
    diverged = not math.isfinite(slope.value)
    measured = np.full(k, np.nan) if diverged else left_out(value, n, rows, table, memory)
    correlation = rank_correlation(foretold[rows], measured)
    remarks = remarks_of(slope.value, {"weights": foretold}, {}) or _disagreeing(correlation)
    tell(remarks)
    told = remarks, slope.levels, slope.held_bytes
    return Influence(slope.value, foretold, rows, measured, correlation, *told)


@kept
def _value_of(loss: Loss, optimizer: Optimizer, epochs: int, batch_size: int | None) -> Final:
    """The validation loss after a run with these weights, `value(weights, table, levels=…)`."""
    objective = mean(loss)

    def value(weights: Array, table: tuple, *, levels: int) -> Array:
        params, data, key, validation = table
        run = trained(loss, lambda: optimizer, epochs=epochs, batch_size=batch_size, levels=levels)
        return objective(run({}, params, data, key, weights), validation)

    return value


def left_out(
    value: Final, n: int, rows: Int[np.ndarray, "k"], table: tuple, memory: int
) -> Float[np.ndarray, "k"]:
    """By how much `value(weights, table)` is another where each of these rows of n weighs nothing.

    One program makes all runs and the one with all rows, as many side by side as fit the memory.
    """
    program = _all_without(value, n)
    pieces = math.ceil((len(rows) + 1) / _AT_ONCE)
    while True:
        size = math.ceil((len(rows) + 1) / pieces)
        padded = np.full((pieces, size), n, np.int32)  # no row: nothing is left out
        padded.reshape(-1)[: len(rows)] = rows
        compiled = program.lower(padded, table).compile()
        if size == 1 or held_bytes(compiled) <= memory:
            break
        pieces = min(2 * pieces, len(rows) + 1)
    values = np.asarray(compiled(padded, table)).reshape(-1)
    return values[: len(rows)] - values[len(rows)]


@kept
def _all_without(value: Final, n: int) -> jax.stages.Wrapped:
    """`program(rows [pieces, size], table)`: the value without each row, a piece after another."""

    def without(row: Array, table: tuple) -> Array:
        # Two levels: see scan_in_levels.
        return value(jnp.ones(n).at[row].set(0, mode="drop"), table, levels=2)

    many = jax.vmap(without, (0, None))
    return jax.jit(lambda pieces, table: jax.lax.map(lambda rows: many(rows, table), pieces))


def rank_correlation(one: Float[np.ndarray, "k"], other: Float[np.ndarray, "k"]) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing theirs; NaN of constants."""
    a, b = _ranks(one), _ranks(other)
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else float("nan")


def _ranks(values: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def _disagreeing(correlation: float) -> tuple[str, ...]:
    if correlation >= LEAST_CORRELATION:
        return ()
    return (
        f"what is foretold of rows has a rank correlation of {correlation:.2g} with runs without "
        "them: believe the runs alone. More epochs, or a smaller learning rate, may bring them "
        "together.",
    )
