"""Gradient noise during a training, from gradients of two batch sizes that it computes anyway."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.chunks import wide
from jaxgd.descent import Update, descend
from jaxgd.inputs import Optimizer, check_count, check_made, count_examples
from jaxgd.objective import Loss, Objective, mean
from jaxgd.study.estimates import (
    Estimate,
    Spread,
    ratio_estimate,
    squared_mean_estimate,
    student_t,
    variance_estimate,
)


class TwoSizes(NamedTuple):
    """What one update says of |G|² and tr Σ: unbiased, and of no use alone.

    NaN for a batch of a single row.
    """

    squared_norm: Float[Array, "..."]
    trace: Float[Array, "..."]


class NoiseDuring(NamedTuple):
    """|G|², tr Σ and their ratio over each window of updates."""

    squared_norm: Estimate
    trace: Estimate
    noise_scale: Estimate


def measured_step(loss: Loss, optimizer: Optimizer, *, pieces: int = 2) -> Update:
    """`jaxgd.step` whose out is (loss, TwoSizes): an update that measures its own gradient's noise.

        tr Σ = Σ_j m_j |g_j - g|² / (k - 1),   |G|² = |g|² - tr Σ / m

    where the batch of m rows is cut into k pieces of m_j rows with mean gradients g_j. For pieces
    of one size these are the two batch sizes of arXiv 1812.06162; a ragged batch has one piece
    more, of what remains, and one of fewer rows than `pieces` has a piece a row. The step is that
    of the whole batch, to rounding, at the cost of one.

    Raises ValueError for fewer than two pieces, and TypeError for a function that makes optimizers.
    Departs from `step`: gradients are added up by pieces, and the out is another.
    Departs from arXiv 1812.06162: k pieces of one batch in the place of two batches.
    """
    check_made(optimizer)
    pieces = check_count("pieces", pieces)
    if pieces < 2:
        raise ValueError(
            "pieces must be at least 2; got pieces=1. One size tells nothing of noise."
        )
    objective = mean(loss)

    def value_and_grad(params: PyTree, batch: PyTree) -> tuple[tuple[Array, TwoSizes], PyTree]:
        sizes, values, gradients = _of_pieces(objective, params, batch, pieces)
        share = np.asarray(sizes) / count_examples(batch)
        whole = jax.tree.map(lambda g: jnp.tensordot(jnp.asarray(share, g.dtype), g, 1), gradients)
        gradient = jax.tree.map(lambda g, p: g.astype(p.dtype), whole, params)
        value = jnp.vdot(jnp.asarray(share, values.dtype), values)
        return (value, _between(share, count_examples(batch), gradients, whole)), gradient

    def with_nothing(params: PyTree, batch: PyTree) -> tuple[Array, None]:
        return objective(params, batch), None

    return descend(with_nothing, optimizer, has_aux=True, value_and_grad=value_and_grad)


def noise_during(
    measured: TwoSizes, *, window: int | None = None, confidence: float = 0.95
) -> NoiseDuring:
    """The noise scale over windows of so many updates, by default of all those in the last axis.

        tr Σ / |G|²,   each the mean over the window

    `measured` is what a training of `measured_step` puts out, [epochs, updates] or so. The axis of
    the estimates is that of the windows; updates that fill none are left out. The intervals come
    from how the updates of a window differ, as if they were independent and params stood still.

    Raises ValueError for a window of fewer than two updates or of more than there are.
    """
    updates = measured.trace.shape[-1] if window is None else check_count("window", window)
    windows = measured.trace.size // updates
    if updates < 2 or windows < 1:
        raise ValueError(
            f"window must be in [2, updates]; got window={updates} with {measured.trace.size} "
            "updates. Measure a longer training."
        )
    s, g = (wide(a).reshape(-1)[: windows * updates].reshape(windows, updates) for a in
            (measured.trace, measured.squared_norm))  # fmt: skip
    known = jnp.isfinite(s)
    count = jnp.sum(known, axis=1).astype(s.dtype)

    def average(x: Array) -> Array:
        return jnp.sum(jnp.where(known, x, 0), axis=1) / count

    trace, squared_norm = average(s), average(g)
    ds, dg = s - trace[:, None], g - squared_norm[:, None]
    spread = Spread(
        variance=average(ds * ds) / (count - 1),
        covariance=average(ds * dg) / (count - 1),
        slope=jnp.zeros_like(trace),
        floor=average(dg * dg) / (count - 1),
    )
    t = student_t(confidence, updates - 1)
    return NoiseDuring(
        squared_mean_estimate(squared_norm, spread, t),
        variance_estimate(trace, spread, t),
        ratio_estimate(trace, squared_norm, spread, t),
    )


def _of_pieces(
    objective: Objective, params: PyTree, batch: PyTree, pieces: int
) -> tuple[list[int], Array, PyTree]:
    """How many rows each piece has, their mean losses and their gradients, stacked."""
    m = count_examples(batch)
    k = min(pieces, m)
    q, rest = divmod(m, k)
    of = jax.value_and_grad(objective)
    equal = jax.tree.map(lambda a: a[: k * q].reshape(k, q, *a.shape[1:]), batch)
    found: Any = jax.tree.map(wide, jax.vmap(of, (None, 0))(params, equal))
    if rest:
        last = of(params, jax.tree.map(lambda a: a[k * q :], batch))
        found = jax.tree.map(lambda a, b: jnp.concatenate([a, wide(b)[None]]), found, last)
    return [q] * k + [rest] * bool(rest), *found


def _between(share: Float[np.ndarray, "k"], m: int, each: PyTree, whole: PyTree) -> TwoSizes:
    """|G|² and tr Σ from the pieces' distances from their mean."""
    away = jax.tree.map(
        lambda g, c: jnp.sum((g - c[None]) ** 2, tuple(range(1, g.ndim))), each, whole
    )
    apart = [jnp.vdot(jnp.asarray(share, d.dtype), d) for d in jax.tree.leaves(away)]
    squares = jnp.sum(jnp.stack([jnp.vdot(c, c) for c in jax.tree.leaves(whole)]))
    if share.size < 2:
        return TwoSizes(jnp.full_like(squares, jnp.nan), jnp.full_like(squares, jnp.nan))
    trace = jnp.sum(jnp.stack(apart)) * m / (share.size - 1)
    return TwoSizes(squares - trace / m, trace)
