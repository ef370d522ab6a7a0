"""The learning rate for a training: suggested by a range test, confirmed by clean runs."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.inputs import (
    OfRate,
    check_batch_size,
    check_count,
    check_makes_one,
    check_params,
    check_untraced,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss
from jaxgd.study.bracket import Bracket, bracketed
from jaxgd.study.ramp import Ramp, read_ramp
from jaxgd.study.short_runs import end_loss, full_batches, ramp_losses

_FEWEST, _MOST = 100, 1000


class LearningRateRange(NamedTuple):
    """The rate found, to three digits, NaN if none lowers the loss, and what it was found by.

    `ramp` is the range test, `bracket` the clean runs that decide; `confirmed` tells whether rates
    on both sides of the found one were tried and were no better. Losses are mean losses after
    `updates` updates, and `start_loss` is that before any.
    """

    rate: float
    confirmed: bool
    updates: int
    start_loss: float
    ramp: Ramp
    bracket: Bracket

    def __str__(self) -> str:
        """The rate and what speaks for it, in a line."""
        tried, bracket = self.bracket.rates, self.bracket
        told = f"{len(tried)} rates from {tried[0]:.2g} to {tried[-1]:.2g}"
        if bracket.best is None:
            return f"no learning rate lowers the loss {self.start_loss:.4g}: tried {told}"
        after = bracket.losses[bracket.best].mean()
        sure = "the best" if self.confirmed else "the best, at the edge,"
        return (
            f"learning rate {self.rate:.3g}, {sure} of {told}: loss {self.start_loss:.4g} to "
            f"{after:.4g} in {self.updates} updates"
        )


def learning_rate_range(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: OfRate,
    batch_size: int | None = None,
    key: Key | None = None,
    rates: tuple[float, float] = (1e-7, 10.0),
    updates: int | None = None,
    smoothing: float = 0.9,
    orders: int = 3,
) -> LearningRateRange:
    """The learning rate whose short clean runs end lowest, and the runs that tell so.

    A range test (Smith, arXiv 1506.01186): one run whose rate grows from rates[0] to rates[1],
    smoothed with bias correction and cut at the first loss that is not finite, suggests the rate
    where the loss falls fastest by the rate's logarithm. Its updates come after one another, so it
    is a suggestion only. Nine clean runs from the start, at rates of 1/16 to 16 times as much and
    over the same batches, then decide by the mean loss they end with (on at most 4096 rows); while
    the best is at an edge, nine more are run beyond it. All nine, for each of `orders` orders, are
    one program. Of the rates within one standard error of the lowest the smallest is taken.

    `optimizer(rate)` makes the optimizer, of a traced rate: `optax.sgd`, or
    `lambda rate: optax.adam(rate, b1=0.8)`. The batches are the full ones of `train`'s epochs,
    with keys `fold_in(key, order)`; without a key the rows as they lie, in one order. `updates` is
    the length of a run, by default that of an epoch, at least 100 and at most 1000: a longer
    training may want a smaller rate.

    Raises ValueError or TypeError for settings out of range, and inside jit.
    """
    check_untraced("learning_rate_range", "Call it before.", params, data, key)
    check_makes_one(optimizer)
    check_params(params)
    n = count_examples(data)
    b = n if batch_size is None else check_batch_size(batch_size, n)
    updates = check_count("updates", usual_updates(n, batch_size) if updates is None else updates)
    _check_range(rates, smoothing)
    orders = check_count("orders", orders) if key is not None and batch_size is not None else 1
    dtype = jnp.result_type(*jax.tree.leaves(params))
    rows = None if batch_size is None else full_batches(key, n, b, updates, orders)

    ramp_rates = np.geomspace(*rates, updates)
    first = None if rows is None else rows[0]
    test = jax.jit(partial(ramp_losses, loss, optimizer))
    losses, start_loss = test(params, data, jnp.asarray(ramp_rates, dtype), first)
    ramp = read_ramp(ramp_rates, np.asarray(losses), smoothing)

    by_rate = _clean_runs(loss, optimizer, updates, orders)
    bracket = bracketed(
        lambda tried: np.asarray(by_rate(params, data, jnp.asarray(tried, dtype), rows)),
        ramp.suggestion or rates[0],
        float(start_loss),
    )
    rate = float("nan") if bracket.best is None else float(f"{bracket.rates[bracket.best]:.3g}")
    return LearningRateRange(rate, bracket.confirmed, updates, float(start_loss), ramp, bracket)


def _clean_runs(loss: Loss, optimizer: OfRate, updates: int, orders: int) -> jax.stages.Wrapped:
    """`run(params, data, rates, rows) -> losses [rates, orders]`."""
    run = partial(end_loss, loss, optimizer, updates)
    by_order = jax.vmap(run, (None, None, None, 0), axis_size=orders)
    return jax.jit(jax.vmap(by_order, (None, None, 0, None)))


def usual_updates(n: int, batch_size: int | None) -> int:
    """How many updates a run makes unless told: an epoch's, in [100, 1000]."""
    return min(max(n // (batch_size or n), _FEWEST), _MOST)


def _check_range(rates: tuple[float, float], smoothing: float) -> None:
    low, high = rates
    if not 0 < low < high < float("inf"):
        raise ValueError(
            f"rates must be two finite ones above 0, the smaller first; got rates={rates}."
        )
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1); got smoothing={smoothing}. Use 0 for none.")
