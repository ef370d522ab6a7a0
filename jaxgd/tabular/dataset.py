"""A table made ready to train on: a training part, a held-out part, and how they were scaled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from jaxgd.order import shuffle
from jaxgd.tabular.scaling import standardizer, standardizer_of_rows, unscaled
from jaxgd.tabular.schema import Schema, in_default_float, scaled
from jaxgd.tabular.table import Table
from jaxgd.tabular.target import Target, Task, read_target


class Part(NamedTuple):
    """Some rows as jaxgd trains on them: scaled features, and class indices or scaled values."""

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]


@dataclass(frozen=True)
class Dataset:
    """Rows to train on and rows held out, in JAX's default float, and what they mean."""

    schema: Schema
    train: Part
    held_out: Part | None


def prepare(
    table: Table,
    *,
    key: PRNGKeyArray | UInt32[Array, "2"],
    target: str | None = None,
    task: Task | None = None,
    ignore: Sequence[str] = (),
    held_out: float | int = 0.2,
    standardize: bool = True,
) -> Dataset:
    """The dataset of a table: every column but the target and the ignored ones is a feature.

    round(held_out · n) rows drawn with the key are held out; none with `held_out=0`. With
    `standardize`, features and a regression's target are brought to mean 0 and standard
    deviation 1.

    Raises ValueError for a column that is missing, not complete or text, and for an empty part.
    """
    for name in ignore:
        table.column(name)
    goal, y = read_target(table, target, task)
    features = tuple(name for name in table.columns if name not in (goal.name, *ignore))
    x = table.matrix(features)
    train_rows, held_rows = split(key, len(table), held_out)
    scale_y = standardize and goal.task == "regression"
    x_scaling = standardizer_of_rows(x, train_rows) if standardize else unscaled(len(features))
    y_scaling = standardizer(y[train_rows]) if scale_y else unscaled()

    schema = Schema(features, goal, x_scaling, y_scaling)

    def part(rows: np.ndarray) -> Part:
        return Part(scaled(x, x_scaling, rows), labels(schema, y[rows]))

    train = part(train_rows)
    check_classes(goal, train.y)
    return Dataset(schema, train, part(held_rows) if len(held_rows) else None)


def labels(
    schema: Schema, y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"] | Int[np.ndarray, "n"]:
    """The targets as jaxgd trains on them: class indices, or scaled values in its default float."""
    if schema.target.task != "regression":
        return y
    return in_default_float(schema.y_scaling.apply(y))


def check_classes(target: Target, y: np.ndarray) -> None:
    """ValueError unless the training rows of a binary target hold both classes."""
    if target.task == "binary" and len(np.unique(y)) == 1:
        raise ValueError(
            f"the training part must hold both classes; its {len(y)} rows are all "
            f"{target.classes[y[0]]!r}. Use another seed or a smaller held-out part."
        )


_shuffled = jax.jit(shuffle, static_argnums=1)


def split(
    key: PRNGKeyArray | UInt32[Array, "2"], n: int, held_out: float | int
) -> tuple[Int[np.ndarray, "train"], Int[np.ndarray, "held_out"]]:
    """The rows to train on and the rows held out, each in ascending order.

    Raises ValueError unless 0 ≤ held_out < 1 leaves rows in every part that is asked for.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out must be a fraction in [0, 1); got held_out={held_out:g}.")
    held = round(held_out * n)
    if held == n or (held == 0 and held_out > 0):
        raise ValueError(
            f"both parts must hold at least one row; held_out={held_out:g} of n={n} leaves "
            f"{n - held} to train on and {held} held out. Use held_out=0 to hold out none."
        )
    # By positions, and an even number of them, it is the same order and a third as long to compile.
    order = np.asarray(_shuffled(key, n, np.minimum(np.arange(n + n % 2), n - 1)))[:n]
    return np.sort(order[held:]), np.sort(order[:held])
