"""What a mini-batch gradient is worth: its squared mean, its variance and the ratio of the two."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.inputs import check_batch_size, count_examples
from jaxgd.objective import Loss
from jaxgd.study.estimates import (
    Estimate,
    Spread,
    ratio_estimate,
    squared_mean_estimate,
    student_t,
    variance_estimate,
)
from jaxgd.study.per_row import RowGradients, deviations, row_dots, row_gradients

# Pairs of so many rows tell how far the noise spreads over directions.
_PAIRED_ROWS = 64


class OfRows(NamedTuple):
    """The figures of the rows themselves, as if there were no others: exact, with tr Σ over n."""

    squared_norm: Float[Array, ""]
    trace: Float[Array, ""]
    noise_scale: Float[Array, ""]


class GradientNoise(NamedTuple):
    """|G|², tr Σ and tr Σ / |G|² of the distribution that the rows were drawn from.

    `rows` has those of the rows alone, and `leaves`, shaped as the params, those of each leaf.
    """

    squared_norm: Estimate
    trace: Estimate
    noise_scale: Estimate
    rows: OfRows
    leaves: PyTree | None


class _Moments(NamedTuple):
    """Means over rows, of all leaves and of each: of d, d², d c and c².

    d_i = |g_i - ḡ|²,   c_i = (g_i - ḡ)·ḡ
    """

    d: Float[Array, "parts"]
    dd: Float[Array, "parts"]
    dc: Float[Array, "parts"]
    cc: Float[Array, "parts"]


def gradient_noise(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    preconditioner: PyTree | None = None,
    confidence: float = 0.95,
    chunk: int | None = None,
) -> GradientNoise:
    """The simple noise scale of the gradient of single rows, with the two figures it is made of.

        tr Σ  = Σ_i |g_i - ḡ|² / (n - 1)        unbiased
        |G|²  = |ḡ|² - tr Σ / n                 unbiased; negative where noise hides the gradient
        scale = tr Σ / |G|²                     rows, infinite where |G|² ≤ 0

    At a batch of about that many rows the noise of the mean gradient is as large as the gradient.
    Each comes with an interval (see `jaxgd.study.estimates`) that holds the distribution's own
    figure with about the given probability where row gradients are roughly normal, and with as
    little as 0.73 for 0.95 where a few rows make most of the variance (docs/tuning.md). `rows`
    takes the n rows for the whole population, as a training that visits them again and again does.

    With a `preconditioner` P shaped as the params, whose updates are along -P⁻¹∇loss, distances
    are measured by P: ∇lossᵀ P⁻¹ ∇loss. See `jaxgd.study.preconditioner`, and `dual_noise_scale`
    for optimizers that take a sign or orthogonalize.

    A pure function: jit it or vmap it. It computes each row's gradient twice, those of `chunk` rows
    at a time, by default as many as 16 MiB hold.

    Raises ValueError for n < 3 and for a confidence outside (0, 1).
    Source: arXiv 1812.06162.
    Departs from it: |G|² and tr Σ come from single rows, where it compares two batch sizes.
    """
    n = count_examples(data)
    t = student_t(confidence, max(n - 1, 1))
    gradients = row_gradients(loss, params, data, chunk, preconditioner)
    center = gradients.mean_gradient(params, data)
    moments = gradients.mean_of(
        lambda given, rows: _moments(gradients, given[0], given[1], rows), (params, center), data
    )
    squares = _with_total(jnp.stack([jnp.vdot(c, c) for c in jax.tree.leaves(center)]))
    paired = _squared_covariance(gradients, params, center, data, n)
    parts = _estimates(squares, moments, paired, n, t)
    leaves = [jax.tree.map(lambda a, i=i: a[i], parts) for i in range(1, squares.size)]
    total = jax.tree.map(lambda a: a[0], parts)
    return total._replace(leaves=jax.tree.unflatten(jax.tree.structure(params), leaves))


def batch_variance(trace: Any, n: int, batch_size: int) -> Any:
    """The variance E|g_b - ḡ|² of the mean gradient of b of n rows, drawn without replacement.

        tr Σ / b · (n - b) / (n - 1),   tr Σ of the rows: `gradient_noise(…).rows.trace`

    tr Σ itself at b = 1, and 0 at b = n. Source: arXiv 2605.24316.
    """
    b = check_batch_size(batch_size, n)
    return trace * ((n - b) / (b * max(n - 1, 1)))


def _moments(gradients: RowGradients, params: PyTree, center: PyTree, rows: PyTree) -> _Moments:
    away = deviations(gradients.of(params, rows), center)
    d = _with_total(row_dots(away, away))
    c = _with_total(row_dots(away, jax.tree.map(lambda a: a[None], center)))
    return _Moments(*(jnp.mean(x, axis=1) for x in (d, d * d, d * c, c * c)))


def _squared_covariance(
    gradients: RowGradients, params: PyTree, center: PyTree, data: PyTree, n: int
) -> Float[Array, "parts"]:
    """tr Σ², the mean of ((g_i - ḡ)·(g_j - ḡ))² over pairs of some rows, from end to end."""
    q = min(n, _PAIRED_ROWS, max(gradients.chunk, 2))
    some = jax.tree.map(lambda a: jnp.asarray(a)[np.arange(q) * n // q], data)
    away = deviations(gradients.of(params, some), center)
    flat = [a.reshape(q, -1) for a in jax.tree.leaves(away)]
    gram = _with_total(jnp.stack([jnp.matmul(a, a.T) for a in flat]))
    other = 1 - jnp.eye(q, dtype=gram.dtype)
    return jnp.sum(gram**2 * other[None], axis=(1, 2)) / (q * (q - 1))


def _estimates(
    squares: Float[Array, "parts"],
    m: _Moments,
    paired: Float[Array, "parts"],
    n: int,
    t: float,
) -> GradientNoise:
    trace = m.d * (n / (n - 1))
    squared_norm = squares - trace / n
    along = m.cc / jnp.where(squares > 0, squares, 1)  # ḡᵀ Σ ḡ / |ḡ|²
    spread = Spread(
        variance=jnp.maximum(m.dd - m.d**2, 0) * (n / (n - 1) ** 2),
        covariance=2 * m.dc / (n - 1),
        slope=4 * along / (n - 1),
        floor=2 * paired / n**2,
    )
    return GradientNoise(
        squared_mean_estimate(squared_norm, spread, t),
        variance_estimate(trace, spread, t),
        ratio_estimate(trace, squared_norm, spread, t),
        OfRows(squares, m.d, m.d / jnp.where(squares > 0, squares, 0)),
        None,
    )


def _with_total(by_leaf: Float[Array, "leaves *rest"]) -> Float[Array, "parts *rest"]:
    """The sum over leaves, and below it each leaf's own."""
    return jnp.concatenate([jnp.sum(by_leaf, axis=0, keepdims=True), by_leaf])
