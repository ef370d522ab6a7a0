"""The learning rate of a fit: the given one, the one a checkpoint was made with, or a search's."""

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxgd.descent import Epoch
from jaxgd.inputs import OfRate, Optimizer, count_examples
from jaxgd.keys import Key, row_keys
from jaxgd.layouts import one_by_one
from jaxgd.objective import Loss
from jaxgd.optim import by_name
from jaxgd.remembered import kept
from jaxgd.storage import Checkpoints

LearningRate = float | Literal["auto"]


def check_learning_rate(given: Any, optimizer: Any, has_state: bool) -> None:
    """Raise unless the learning rate is one, and the optimizer a function of it (or neither is)."""
    is_made = hasattr(optimizer, "update")
    if given is None:
        if not (is_made or isinstance(optimizer, str)):
            raise TypeError(
                "optimizer must be one of optax's, or a name; got a function. Call it, or give "
                "learning_rate= too."
            )
        return
    if is_made:
        raise TypeError(
            "with a learning_rate the optimizer must be a function of it, or a name; got a "
            f"{type(optimizer).__name__}. Use optimizer=optax.sgd, or lambda rate: optax.sgd(rate)."
        )
    is_auto = isinstance(given, str) and given == "auto"
    if is_auto and jax.process_count() > 1:
        raise ValueError(
            'learning_rate="auto" searches in one process, and each would find its own; got '
            f"{jax.process_count()}. Give a number."
        )
    if is_auto and has_state:
        raise ValueError(
            'learning_rate="auto" begins a training; got a State to go on from. '
            "Give the rate that it had: history.learning_rate."
        )
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_auto and not (is_number and math.isfinite(given) and given > 0):
        raise ValueError(
            'learning_rate must be "auto", or finite and greater than 0; '
            f"got learning_rate={given!r}. Use 0.05 or so."
        )


def stored_rate(checkpoint: Path | str) -> float | None:
    """The rate that the training in a directory was begun with; None if nothing tells it."""
    stored = Checkpoints(checkpoint).newest()
    identity = None if stored is None else stored.note.get("identity")
    rate = identity.get("learning_rate") if isinstance(identity, dict) else None
    return rate if isinstance(rate, float) else None


def searched_rate(
    optimizer: OfRate | str,
    loss: Loss,
    params: PyTree,
    data: PyTree,
    batch_size: int | None,
    key: Key | None,
    *,
    shuffled: bool,
    keyed: bool,
    updates: int,
    tell: bool,
) -> float:
    """The rate found for a fit that makes so many updates; ValueError if none will do.

    Runs are as long as `learning_rate_range` has them, but no longer than the fit. Where rows have
    keys, those of epoch 0 serve in every update.
    """
    from jaxgd.study import learning_rate_range  # which no other fit needs to load
    from jaxgd.study.rate_range import usual_updates

    n = count_examples(data)
    if not all(leaf.is_fully_addressable for leaf in jax.tree.leaves(data)):
        raise ValueError(
            'learning_rate="auto" searches on the rows of one process; got rows that lie with '
            "several. Give a number."
        )
    if batch_size is not None and batch_size > n:
        raise ValueError(
            f'learning_rate="auto" searches on a sample of {n} rows, which must hold a batch; '
            f"got batch_size={batch_size}. Give a number."
        )
    if batch_size is None and one_by_one(data) is not None:
        raise ValueError(
            'learning_rate="auto" must have full batches on no mesh, or along Auto axes, to run '
            "them side by side; got Explicit ones. Use AxisType.Auto, or give a number."
        )
    if keyed and key is not None:
        data = (data, row_keys(jax.random.fold_in(key, 0), jnp.arange(n)))
    found = learning_rate_range(
        loss,
        params,
        data,
        optimizer=_of_rate(optimizer),
        batch_size=batch_size,
        key=key if shuffled else None,
        updates=min(updates, usual_updates(n, batch_size)),
    )
    if not found.confirmed:
        raise ValueError(
            f'learning_rate="auto" must find a rate that lowers the loss; {found}. Give a number.'
        )
    if tell:
        print(found, file=sys.stderr)
    return found.rate


def at_rate(
    optimizer: Optimizer | OfRate | str, epoch: Any, rate: float | None
) -> tuple[Optimizer, Epoch | None]:
    """The optimizer, and the epoch if there is one, at that rate, or as they are if it is None.

    The optimizer is the same object each time: a program is kept for it.
    """
    if rate is not None:
        return _made(optimizer, rate), epoch and _epoch_at(epoch, rate)
    return _named(optimizer) if isinstance(optimizer, str) else optimizer, epoch


def _epoch_at(epoch: Callable[[float], Epoch], rate: float) -> Epoch:
    try:
        return epoch(rate)
    except TypeError as error:
        raise TypeError(
            f"with a learning_rate an epoch must be a function of it; {error}. "
            "Use epoch=lambda rate: …, or make the optimizer yourself."
        ) from error


@kept
def _made(optimizer: OfRate | str, rate: float) -> Optimizer:
    return _of_rate(optimizer)(rate)


@kept
def _named(optimizer: str) -> Optimizer:
    return by_name(optimizer)()


def _of_rate(optimizer: OfRate | str) -> OfRate:
    return partial(_at, optimizer) if isinstance(optimizer, str) else optimizer


def _at(name: str, rate: Any) -> Optimizer:
    return by_name(name)(lr=rate)
