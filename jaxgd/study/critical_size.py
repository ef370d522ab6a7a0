"""The critical batch size, by training: runs from one state to one loss, at several sizes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from jaxgd.descent import State, init_state
from jaxgd.inputs import (
    OfRate,
    check_batch_size,
    check_count,
    check_makes_one,
    check_rate,
    check_untraced,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss
from jaxgd.study.estimates import Estimate, student_t
from jaxgd.study.races import Race, race
from jaxgd.study.short_runs import mean_of, measured

# A race has so many learning rates, and as many races bracket the best.
_RATES, _MOVES = 6, 12

# The target, unless there is one, is as far as so many updates of the largest size go.
_TARGET_UPDATES = 16


class CriticalSize(NamedTuple):
    """The measured critical batch size, and the runs it was fitted to.

    updates: what each size took to the target at its best learning rate; ∞ where it did not.
    is_best: whether slower and faster rates were both worse, or fewer updates might do.
    critical: the fitted size, in rows; NaN, as are the next two, where fewer than 3 sizes did.
    fewest_updates: the fitted updates of full-batch descent.
    misfit: the root mean square of the runs' relative distance from the hyperbola.
    reached: the state of a run that reached the target, at the largest size.
    """

    batch_sizes: Int[np.ndarray, "sizes"]
    updates: Float[np.ndarray, "sizes"]
    learning_rates: Float[np.ndarray, "sizes"]
    is_best: Bool[np.ndarray, "sizes"]
    critical: Estimate
    fewest_updates: float
    misfit: float
    target: float
    reached: State


def critical_batch_size(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: OfRate,
    learning_rate: float,
    batch_sizes: Sequence[int],
    key: Key,
    target: float | None = None,
    opt_state: PyTree | None = None,
    judged: PyTree | None = None,
    seeds: int = 8,
    most: int = 10_000,
    confidence: float = 0.95,
) -> CriticalSize:
    """The size at which a batch twice as large no longer halves the updates, from runs of them.

        updates(b) = fewest · (1 + critical · (n - b) / (b (n - 1)))

    Runs branch from the params (and `opt_state`, if given) at each size and several learning rates,
    and for each seed; a size's updates are those at which the loss of the `judged` rows (by default
    all, or 4096 evenly spread), averaged over seeds, first reaches the target at its best rate.
    That is bracketed from `learning_rate` on by factors of 2, and found to one of 2^(1/3). Without
    a target it is what the largest size reaches in 16 updates at its best rate. The hyperbola of
    updates against examples (arXiv 1812.06162), for batches without replacement, is fitted to them
    by least squares of relative distances. The interval is that of the size which very many
    seeds would say, from halves of these and, of four sizes and more, from a jackknife over sizes;
    how often it holds it: docs/tuning.md.
    `optimizer(rate)` takes traced rates, all of three digits; each size is one program of all its
    rates and seeds.

    Raises ValueError or TypeError for fewer than 2 seeds, a target that is not below the loss of
    the start, other settings out of range, and inside jit.
    Source: arXiv 2505.23971 for branching, which fixes the examples and compares losses; here the
    loss is fixed, and each size has its own best rate.
    """
    check_untraced("critical_batch_size", "Call it outside.", params, data, judged, key)
    check_makes_one(optimizer)
    check_rate(learning_rate)
    sizes = sorted({check_batch_size(b, count_examples(data)) for b in batch_sizes})
    if len(sizes) < 3:
        raise ValueError(f"batch_sizes must be 3 or more different ones; got {sizes}.")
    if check_count("seeds", seeds) < 2:
        raise ValueError("seeds must be at least 2; got seeds=1. The interval needs several.")
    t = student_t(confidence, seeds - 1)
    judged, most = measured(data) if judged is None else judged, check_count("most", most)
    state = init_state(params, optimizer(jnp.asarray(learning_rate)))
    state = state if opt_state is None else State(state.params, opt_state)
    fixed = state, data, judged, jax.random.split(key, seeds)
    programs = [partial(jax.jit(race(loss, optimizer, b)), *fixed) for b in sizes]
    if target is None:
        target = _best_heat(programs[-1], learning_rate, -np.inf, _TARGET_UPDATES).end
    before = float(jax.jit(partial(mean_of, loss))(params, judged))
    if not target < before:
        raise ValueError(
            f"target must be below the loss of the start, {before:.6g}; got target={target:.6g}. "
            "Use the loss after an epoch or so."
        )
    heats, guess = list[_Heat](), learning_rate
    for program in programs:
        heats.append(_best_heat(program, guess, target, most))
        guess = heats[-1].rate
    took = np.stack([heat.updates for heat in heats])
    fewest, critical, misfit = fitted(sizes, took, count_examples(data), seeds, t)
    return CriticalSize(
        np.asarray(sizes),
        took[:, -1],
        np.asarray([heat.rate for heat in heats]),
        np.asarray([heat.is_best for heat in heats]),
        critical,
        fewest,
        misfit,
        float(target),
        heats[-1].state,
    )


class _Heat(NamedTuple):
    """A size's race at rates around its best: updates of half-samples of seeds, and of all."""

    updates: Float[np.ndarray, "samples"]
    rate: float
    end: float
    is_best: bool
    state: State


def _best_heat(run: Callable[..., Race], guess: float, target: float, most: int) -> _Heat:
    """The race around the best rate, whose neighbours at half and twice it are both slower."""
    for _ in range(_MOVES):
        rates = _of_three_digits(guess * 2.0 ** (np.arange(_RATES) - _RATES // 2))
        heat, best = _heat(run, rates, target, most)
        guess = heat.rate
        if 0 < best < _RATES - 1:
            fine = 2.0 ** ((np.arange(_RATES) - (_RATES - 1) / 2) / 3)
            return _heat(run, _of_three_digits(guess * fine), target, most)[0]
    return heat._replace(is_best=False)


def _of_three_digits(rates: np.ndarray) -> np.ndarray:
    """Rates that can be told in full, and so be used again."""
    return np.array([float(f"{rate:.3g}") for rate in rates])


def _heat(
    run: Callable[..., Race], rates: np.ndarray, target: float, most: int
) -> tuple[_Heat, int]:
    """One race, and which of its rates was the first, or the lowest where none has arrived."""
    dtype = jnp.zeros(()).dtype
    found = run(jnp.asarray(target, dtype), jnp.asarray(rates, dtype), jnp.asarray(most))
    hits, ends = np.asarray(found.hits, np.float64), np.asarray(found.ends, np.float64)
    hit = bool(np.isfinite(hits[:, -1]).any())
    best = int(np.argmin(hits[:, -1] if hit else np.where(np.isfinite(ends), ends, np.inf)))
    state = jax.tree.map(lambda a: a[best, 0], found.states)
    return _Heat(hits.min(axis=0), float(rates[best]), float(ends[best]), hit, state), best


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


def fitted(
    sizes: Sequence[int], took: np.ndarray, n: int, seeds: int, t: float
) -> tuple[float, Estimate, float]:
    """The fit, the interval of its critical size, and its misfit.

    `took` are updates [sizes, samples], the last of all seeds; t is a quantile of Student's. A mean
    of few seeds arrives early, and the more so the smaller the batch: what halves of the seeds say
    tells by how much, and the interval's middle is the logarithm less that bias, which varies
    about twice as much as the logarithm itself (measured: benchmarks/critical_coverage.py). All is
    NaN where fewer than 3 sizes reached the target.
    """
    dtype = jnp.zeros(()).dtype
    reached = np.isfinite(took).all(axis=1)
    if reached.sum() < 3:
        unknown = jnp.asarray(np.nan, dtype)
        return np.nan, Estimate(unknown, unknown, unknown), np.nan
    b, took = np.asarray(sizes, np.float64)[reached], took[reached]
    fewest, critical = fitted_hyperbola(b, took[:, -1], n)
    halves = [fitted_hyperbola(b, column, n)[1] for column in took[:, :-1].T]
    each = range(len(b))
    by_size = [fitted_hyperbola(np.delete(b, i), np.delete(took[:, -1], i), n)[1] for i in each]
    of_halves = _moments(halves)
    of_sizes = _moments(by_size) if len(b) > 3 else (0.0, 0.0)
    known = np.isfinite([*of_halves, *of_sizes, *_moments([critical])]).all()
    ends = 0.0, float("inf")
    if known:
        # A half's bias and variance are larger than those of all seeds by the jackknife's factor.
        left_out = (seeds - seeds // 2) / (seeds // 2)
        middle = np.log(critical) - left_out * (of_halves[0] - np.log(critical))
        variance = 2 * left_out * of_halves[1] + (len(b) - 1) * of_sizes[1]
        low, high = np.exp(middle - t * np.sqrt(variance)), np.exp(middle + t * np.sqrt(variance))
        ends = min(low, critical), max(high, critical)
    fits = fewest > 0 and np.isfinite(critical)
    misfit = updates_at(b, n, fewest, critical) / took[:, -1] - 1 if fits else np.full(1, np.nan)
    estimate = Estimate(*(jnp.asarray(x, dtype) for x in (critical, *ends)))
    return fewest, estimate, float(np.sqrt(np.mean(misfit**2)))


def _moments(sizes: list[float]) -> tuple[float, float]:
    """The mean and the variance of logarithms; ∞ where one of the sizes is 0 or ∞."""
    if not (np.isfinite(sizes) & (np.asarray(sizes) > 0)).all():
        return float("inf"), float("inf")
    return float(np.mean(np.log(sizes))), float(np.var(np.log(sizes)))
