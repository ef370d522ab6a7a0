"""The critical batch size, by training: runs from one state to one loss, at several sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from jaxgd.descent import State, init_state
from jaxgd.inputs import check_batch_size, check_count, count_examples
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.study.estimates import Estimate, student_t
from jaxgd.study.races import OptimizerAt, race


class CriticalSize(NamedTuple):
    """The measured critical batch size, and the runs it was fitted to.

    updates: what each size took to the target at its best learning rate; ∞ where it did not.
    at_edge: where the best rate is the lowest or the highest on offer, so that fewer might do.
    critical: the fitted size, in rows.
    fewest_updates: the fitted updates of full-batch descent.
    misfit: the root mean square of the runs' relative distance from the hyperbola.
    reached: params of a run that reached the target, at the largest size.
    """

    batch_sizes: Int[np.ndarray, "sizes"]
    updates: Float[np.ndarray, "sizes"]
    learning_rates: Float[np.ndarray, "sizes"]
    at_edge: Bool[np.ndarray, "sizes"]
    critical: Estimate
    fewest_updates: float
    misfit: float
    target: float
    reached: PyTree


def critical_batch_size(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: OptimizerAt,
    learning_rates: Sequence[float],
    batch_sizes: Sequence[int],
    target: float,
    key: Key,
    opt_state: PyTree | None = None,
    judged: PyTree | None = None,
    seeds: int = 8,
    most: int = 10_000,
    confidence: float = 0.95,
) -> CriticalSize:
    """The size at which a batch twice as large no longer halves the updates, from runs of them.

        updates(b) = fewest · (1 + critical · (n - b) / (b (n - 1)))

    Runs branch from the params (and `opt_state`, if given) at each size and learning rate, and for
    each seed; a size's updates are those at which the loss of the `judged` rows (by default all),
    averaged over seeds, first reaches the target at the best of its rates. The hyperbola of updates
    against examples (arXiv 1812.06162), for batches without replacement, is fitted to them by
    least squares of relative distances. The interval is a jackknife's over seeds and over sizes.
    `optimizer(rate)` takes traced rates; each size is one program of all its rates and seeds.

    Raises ValueError for fewer than 2 seeds, a target that is not below the loss of the start, and
    where fewer than 3 sizes reach it in `most` updates.
    Source: arXiv 2505.23971 for branching, which fixes the examples and compares losses; here the
    loss is fixed, and each size has its own best rate.
    """
    sizes = [check_batch_size(b, count_examples(data)) for b in sorted(set(batch_sizes))]
    if check_count("seeds", seeds) < 2:
        raise ValueError("seeds must be at least 2; got seeds=1. The interval needs several.")
    judged = data if judged is None else judged
    rates = jnp.asarray(sorted(learning_rates), jnp.zeros(()).dtype)
    before = float(jax.jit(mean(loss))(params, judged))
    if not target < before:
        raise ValueError(
            f"target must be below the loss of the start, {before:.6g}; got target={target:.6g}. "
            "Use the loss after an epoch or so."
        )
    state = init_state(params, optimizer(rates[0]))
    state = state if opt_state is None else State(state.params, opt_state)
    goal, keys = jnp.asarray(target, rates.dtype), jax.random.split(key, seeds)
    races = [
        jax.jit(race(loss, optimizer, b, check_count("most", most)))(
            state, data, judged, rates, keys, goal
        )
        for b in sizes
    ]
    hits = np.stack([np.asarray(r.hits, np.float64) for r in races])
    best = hits[:, :, -1].argmin(axis=1)
    took = hits.min(axis=1)
    fewest, critical, misfit = _fitted(sizes, took, count_examples(data), confidence, most)
    return CriticalSize(
        np.asarray(sizes),
        took[:, -1],
        np.asarray(rates, np.float64)[best],
        (best == 0) | (best == rates.size - 1),
        critical,
        fewest,
        misfit,
        float(target),
        jax.tree.map(lambda a: a[int(best[-1]), 0], races[-1].states.params),
    )


def updates_at(batch_size: Any, n: int, fewest: float, critical: float) -> Any:
    """The hyperbola: fewest · (1 + critical · (n - b) / (b (n - 1)))."""
    return fewest * (1 + critical * (n - batch_size) / (batch_size * (n - 1)))


def fitted_hyperbola(batch_sizes: np.ndarray, updates: np.ndarray, n: int) -> tuple[float, float]:
    """The (fewest, critical) of least squares of (updates(b) - updates) / updates.

    The critical size is ∞ where updates fall as 1/b up to the largest.
    """
    x = (n - batch_sizes) / (batch_sizes * (n - 1))
    columns = np.stack([np.ones_like(x), x], axis=1) / updates[:, None]
    (fewest, slope), *_ = np.linalg.lstsq(columns, np.ones_like(x), rcond=None)
    if fewest <= 0:
        return 0.0, float("inf")
    return float(fewest), float(max(slope, 0.0) / fewest)


def _fitted(
    sizes: Sequence[int], took: np.ndarray, n: int, confidence: float, most: int
) -> tuple[float, Estimate, float]:
    """The fit with its jackknife over seeds and over sizes, in logarithms."""
    reached = np.isfinite(took).all(axis=1)
    if reached.sum() < 3:
        raise ValueError(
            f"at least 3 batch sizes must reach the target; {int(reached.sum())} of {len(sizes)} "
            f"did within {most} updates. Use a higher target, more updates or other learning rates."
        )
    b, took = np.asarray(sizes, np.float64)[reached], took[reached]
    fewest, critical = fitted_hyperbola(b, took[:, -1], n)
    by_seed = [fitted_hyperbola(b, column, n)[1] for column in took[:, :-1].T]
    each = range(len(b))
    by_size = [fitted_hyperbola(np.delete(b, i), np.delete(took[:, -1], i), n)[1] for i in each]
    t = student_t(confidence, len(by_seed) - 1)
    k = t * np.sqrt(_jackknifed(by_seed) + (_jackknifed(by_size) if len(b) > 3 else 0.0))
    known = np.isfinite(critical) and critical > 0 and np.isfinite(k)
    ends = (critical * np.exp(-k), critical * np.exp(k)) if known else (0.0, float("inf"))
    misfit = updates_at(b, n, fewest, critical) / took[:, -1] - 1 if known else np.zeros(1)
    numbers = (np.float64(x) for x in (critical, *ends))
    return fewest, Estimate(*map(np.asarray, numbers)), float(np.sqrt(np.mean(misfit**2)))


def _jackknifed(leave_outs: list[float]) -> float:
    """The jackknife's variance of a logarithm; ∞ where one of them is 0 or ∞."""
    values = np.asarray(leave_outs)
    if not (np.isfinite(values) & (values > 0)).all():
        return float("inf")
    return (len(values) - 1) * float(np.var(np.log(values)))
