"""A table made ready to train on: a training part, a held-out part, and how they were scaled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from jaxgd.tabular.choosing import choose
from jaxgd.tabular.encoding import fitted
from jaxgd.tabular.facts import facts_of
from jaxgd.tabular.scaling import standardizer, standardizer_of_rows, unscaled
from jaxgd.tabular.schema import Schema, amounts_scaled, encoded, in_default_float, scaled
from jaxgd.tabular.splitting import Rows, split
from jaxgd.tabular.table import Table, listed
from jaxgd.tabular.target import Target, Task, different, known_values, read_target
from jaxgd.tabular.weights import ClassWeight, row_weights

# A class of so large a part of the rows makes a good accuracy by itself.
_MOST = 0.8


class Part(NamedTuple):
    """Some rows as jaxgd trains on them: scaled features, and class indices or scaled values."""

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]


class Account(NamedTuple):
    """What a reader is told of a table: why the target is that task, what was dropped and why."""

    reason: str
    dropped: dict[str, str]
    remarks: tuple[str, ...] = ()


class Apart(NamedTuple):
    """Columns that are left out, and what tells something of the rows.

    `id` names them; of one `group` none are held out from others; `sample_weight` is what each
    counts: these are no features. The latest by `time` are held out, and it is a feature.
    """

    ignore: tuple[str, ...] = ()
    id: str | None = None
    group: str | None = None
    time: str | None = None
    sample_weight: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Rows to train on and rows held out, in JAX's default float, and what they mean.

    `rows` are their numbers in the table. `valid` are rows that a training may be stopped by: they
    are of neither. `weights` is what the rows of the three count, if not all the same.
    """

    schema: Schema
    train: Part
    held_out: Part | None
    valid: Part | None
    account: Account
    rows: Rows
    weights: tuple[np.ndarray, np.ndarray, np.ndarray] | None


def prepare(
    table: Table,
    *,
    key: PRNGKeyArray | UInt32[Array, "2"],
    target: str | None = None,
    task: Task | None = None,
    ignore: Sequence[str] = (),
    id: str | None = None,
    held_out: float | int = 0.2,
    group: str | None = None,
    time: str | None = None,
    valid: float | int = 0,
    standardize: bool = True,
    class_weight: ClassWeight | None = None,
    sample_weight: str | None = None,
) -> Dataset:
    """The dataset of a table: every column that is not set apart becomes features.

    Numbers are features as they are, categories one-hot, dates in parts; missing values are filled
    and marked, see `Column`. Columns that are constant or only name rows, as `id` does, are left
    out. round(held_out · n) rows drawn with the key are held out, none with `held_out=0`, see
    `split` for the columns `group` and `time`; of the others the part `valid` is set aside in the
    same way. With `standardize`, amounts and a regression's
    target are brought to mean 0 and standard deviation 1. For weights see `row_weights`.

    Raises ValueError for a column that is missing or cannot be a feature, and for an empty part.
    """
    goal, y, reason = read_target(table, target, task)
    apart = Apart(tuple(ignore), id, group, time, sample_weight)
    names = possible_features(table, goal, apart)
    choice = choose(table, names, lambda name: facts_of(table.column(name)))
    seen, held_rows = _split(table, key, held_out, goal, y, apart, np.arange(len(table)))
    train_rows, valid_rows = seen, seen[:0]
    if valid:
        train_rows, valid_rows = _split(
            table, jax.random.fold_in(key, 1), valid, goal, y, apart, seen
        )
    columns = tuple(
        fitted(name, kind, table.finite(name)[train_rows], name in choice.missing)
        for name, kind in choice.kinds.items()
    )
    x = encoded(columns, table)
    x_scaling = unscaled(x.shape[1])
    if standardize:
        x_scaling = amounts_scaled(standardizer_of_rows(x, train_rows), columns)
    scale_y = standardize and goal.task == "regression"
    y_scaling = standardizer(y[train_rows]) if scale_y else unscaled()
    schema = Schema(columns, goal, x_scaling, y_scaling, id)

    def part(rows: np.ndarray) -> Part:
        return Part(scaled(x, x_scaling, rows), labels(schema, y[rows]))

    train = part(train_rows)
    check_classes(goal, train.y)
    weights = row_weights(table, goal, y, train_rows, class_weight, sample_weight)
    by_part = None
    if weights is not None:
        whole = in_default_float(weights)
        by_part = whole[train_rows], whole[held_rows], whole[valid_rows]
    account = Account(reason, choice.dropped, (*choice.remarks, *imbalance(goal, y)))
    held, judges = (part(rows) if len(rows) else None for rows in (held_rows, valid_rows))
    return Dataset(schema, train, held, judges, account, (train_rows, held_rows), by_part)


def possible_features(table: Table, target: Target, apart: Apart) -> tuple[str, ...]:
    """The columns that may become features; ValueError for one that is told of and not there."""
    ignore, id, group, time, weight = apart
    left_out = {*ignore, *(name for name in (id, group, weight) if name is not None)}
    for name in (*left_out, *([] if time is None else [time])):
        if name not in table.names:
            raise table.no_column(name)
        if name == target.name:
            raise ValueError(
                f"the target must be no id, group, time or weight, nor ignored; got {name!r} for "
                "both."
            )
    return tuple(name for name in table.names if name not in {target.name, *left_out})


def _split(
    table: Table,
    key: PRNGKeyArray | UInt32[Array, "2"],
    held_out: float | int,
    target: Target,
    y: np.ndarray,
    apart: Apart,
    among: Int[np.ndarray, "m"],
) -> Rows:
    """Some rows of the table divided into those to train on and those held out."""
    if apart.group is not None and apart.time is not None:
        raise ValueError("rows are held out by groups or by time; got a column for each.")
    classes = None if target.task == "regression" else y[among]
    groups = None
    if apart.group is not None:
        groups = different(table.complete(apart.group)[among])[1]
    times = None if apart.time is None else table.complete(apart.time)[among]
    if times is not None and times.dtype == object:
        raise ValueError(
            f"times must be dates or numbers; column {apart.time!r} of {table.source} holds text."
        )
    rows = split(key, len(among), held_out, classes=classes, groups=groups, times=times)
    return among[rows[0]], among[rows[1]]


def imbalance(target: Target, y: np.ndarray) -> tuple[str, ...]:
    """What to say where one class has most rows, or a class only one."""
    if target.task == "regression":
        return ()
    counts = np.bincount(y, minlength=len(target.classes))
    most, told = int(counts.argmax()), []
    share = counts[most] / len(y)
    if share >= _MOST:
        told.append(
            f"{share:.1%} of the rows are {target.classes[most]!r}: judge by more than the "
            "accuracy. Balanced class weights count each class alike."
        )
    once = [name for name, count in zip(target.classes, counts, strict=True) if count == 1]
    if once:
        told.append(f"seen in one row only: {listed(once)}.")
    return tuple(told)


def labels(
    schema: Schema, y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"] | Int[np.ndarray, "n"]:
    """The targets as jaxgd trains on them: class indices, or scaled values in its default float."""
    if schema.target.task != "regression":
        return y
    return in_default_float(schema.y_scaling.apply(y))


def labelled(schema: Schema, table: Table) -> Part:
    """A table's rows as a model of that schema was trained on such: inputs, and the known target.

    Raises ValueError for columns that do not fit, and for a target that is missing or holds what
    the schema does not know.
    """
    y = known_values(table, schema.target)
    return Part(schema.inputs(table), labels(schema, y))


def check_classes(target: Target, y: np.ndarray) -> None:
    """ValueError unless the training rows of a binary target hold both classes."""
    if target.task == "binary" and len(np.unique(y)) == 1:
        raise ValueError(
            f"the training part must hold both classes; its {len(y)} rows are all "
            f"{target.classes[y[0]]!r}. Use another seed or a smaller held-out part."
        )
