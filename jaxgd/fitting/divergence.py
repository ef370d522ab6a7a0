"""The first number of a run that is not finite: where it came up, and from which rows."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgd.batches import gather
from jaxgd.descent import State, descend
from jaxgd.fitting.history import Fit, Position
from jaxgd.inputs import Optimizer, count_examples
from jaxgd.objective import Loss, mean

_SHOWN_ROWS = 8


class Diverged(FloatingPointError):
    """A loss, gradient or parameters that are not finite.

    `.fit` is the run up to the border of the plan before, from where one may go on; `.position` the
    epoch and update at which it came up, `.leaf` the parameter concerned (None where a loss alone
    tells), `.rows` the numbers of the rows in that update's batch, and `.what` all of this but the
    rows in words.
    """

    def __init__(
        self, what: str, fit: Fit, position: Position, leaf: str | None, rows: np.ndarray
    ) -> None:
        super().__init__(f"{what}, whose batch is {listed(rows)}. {remedy_of(position)}")
        self.what, self.fit, self.position, self.leaf, self.rows = what, fit, position, leaf, rows


class Culprit(NamedTuple):
    """The first thing that is not finite: in which update of a segment, what, and of which leaf."""

    update: int
    what: str
    leaf: str | None


def first_in(losses: np.ndarray) -> Culprit:
    """What a segment's losses tell of it; where all are finite it is the last update's params."""
    lost = np.flatnonzero(~np.isfinite(losses))
    if lost.size:
        return Culprit(int(lost[0]), f"the loss must stay finite; it was {losses[lost[0]]}", None)
    return Culprit(len(losses) - 1, "parameters must stay finite; they were not after", None)


def searcher(loss: Loss, optimizer: Optimizer, b: int) -> Callable[[State, PyTree, int], Any]:
    """`search(state, rows, last) -> Culprit | None`: a segment made again, update by update.

    Another program rounds otherwise: where it stays finite as far as update `last`, it is None.
    """
    objective = mean(loss)

    @jax.jit
    def one(state: State, rows: PyTree, numbers: Array) -> Any:
        batch = gather(rows, numbers)
        value, gradient = jax.value_and_grad(objective)(state.params, batch)
        new, _ = descend(objective, optimizer)(state, batch)
        finite = [jax.tree.map(lambda a: jnp.isfinite(a).all(), t) for t in (gradient, new.params)]
        return new, value, finite

    def search(state: State, rows: PyTree, last: int) -> Culprit | None:
        n = count_examples(rows)
        for j in range(last + 1):
            numbers = np.arange(j * b, min((j + 1) * b, n), dtype=np.int32)
            state, value, (gradient, params) = one(state, rows, numbers)
            leaf = _first_bad(gradient)
            if not np.isfinite(value):
                return Culprit(j, f"the loss must stay finite; it was {value}", leaf)
            if leaf is not None:
                what = f"the gradient must stay finite; that of params{leaf} was not"
                return Culprit(j, what, leaf)
            if (leaf := _first_bad(params)) is not None:
                what = f"parameters must stay finite; params{leaf} was not after"
                return Culprit(j, what, leaf)
        return None

    return search


def told(culprit: Culprit, position: Position) -> str:
    """The culprit and its place."""
    of = f" (gradient of params{culprit.leaf})" if "loss" in culprit.what and culprit.leaf else ""
    at = "" if culprit.what.endswith("after") else " at"
    return (
        f"{culprit.what}{of}{at} epoch {position.epoch}, update {position.update} "
        "(both counted from 0)"
    )


def remedy_of(position: Position) -> str:
    """What to do; before the first update no learning rate has had a say."""
    if position == (0, 0):
        return "Look at these rows, their labels too; or use a smaller learning rate."
    return "Use a smaller learning rate, or scale the features."


def listed(rows: np.ndarray) -> str:
    """The first few of the rows of a batch."""
    shown = ", ".join(map(str, rows[:_SHOWN_ROWS]))
    if len(rows) > _SHOWN_ROWS:
        return f"rows {shown}, … ({len(rows)} in all)"
    return f"row{'s' * (len(rows) > 1)} {shown}"


def _first_bad(finite: PyTree) -> str | None:
    """The path of the first leaf that is not finite."""
    leaves: Iterable[Any] = jax.tree_util.tree_leaves_with_path(finite)
    return next((jax.tree_util.keystr(path) for path, good in leaves if not good), None)
