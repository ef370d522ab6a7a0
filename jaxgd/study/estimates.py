"""A variance, a squared mean and the ratio of the two, each with an interval."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

Number = Float[Array, "*parts"]


class Estimate(NamedTuple):
    """A value, and the ends of its confidence interval, which may be infinite."""

    value: Number
    low: Number
    high: Number


class Spread(NamedTuple):
    """How the estimates S of a variance and G of a squared mean vary from sample to sample.

    variance: Var(S).
    covariance: Cov(S, G).
    slope, floor: Var(G) = slope · |G| + floor, where |G| is the squared mean itself. The floor is
        what remains of it where the mean is 0.
    """

    variance: Number
    covariance: Number
    slope: Number
    floor: Number


def student_t(confidence: float, dof: int) -> float:
    """The two-sided quantile of Student's t: |t| is below it with this probability."""
    from scipy.special import stdtrit  # which jax brings, and `import jaxgd` need not load

    if not 0 < confidence < 1:
        raise ValueError(
            f"confidence must be between 0 and 1; got confidence={confidence}. Use 0.95 or so."
        )
    return float(stdtrit(dof, (1 + confidence) / 2))


def variance_estimate(variance: Number, spread: Spread, t: float) -> Estimate:
    """A variance S with all x whose own deviation would explain S: |S - x| ≤ t · x √Var(S) / S.

    The deviation of a variance is in proportion to it, so that the interval is [S/(1+k), S/(1-k)].
    """
    k = t * jnp.sqrt(spread.variance) / _positive(variance)
    high = jnp.where(k < 1, variance / jnp.where(k < 1, 1 - k, 1), jnp.inf)
    return Estimate(variance, variance / (1 + k), high)


def squared_mean_estimate(squared_mean: Number, spread: Spread, t: float) -> Estimate:
    """A squared mean G with all x ≥ 0 that would explain it: (G - x)² ≤ t² (slope x + floor).

    Unbiased, so that the value may be negative where the mean is near 0.
    """
    middle = squared_mean + t * t * spread.slope / 2
    inside = middle**2 - squared_mean**2 + t * t * spread.floor
    root = jnp.sqrt(jnp.maximum(inside, 0))
    ends = jnp.maximum(middle - root, 0), jnp.maximum(middle + root, 0)
    return Estimate(squared_mean, *ends)


def ratio_estimate(variance: Number, squared_mean: Number, spread: Spread, t: float) -> Estimate:
    """The ratio S / G with all x for which S - x G is explained by what it varies at that x.

        (S - x G)² ≤ t² [Var(S) x G/S - 2 x Cov(S, G) + x² (slope S/x + floor)]

    That is Fieller's interval, with variances as they would be if x were true. Its upper end is ∞
    where G may be 0: no sample of that size tells how large the ratio is.
    """
    unit = _positive(variance)
    g = jnp.maximum(squared_mean / unit, 0)
    relative = spread.variance / unit**2
    linear = relative * g + spread.slope / unit - 2 * spread.covariance / unit**2
    floor = t * t * spread.floor / unit**2
    a, b = g * g - floor, g + t * t * jnp.maximum(linear, 0) / 2
    larger = b + jnp.sqrt(jnp.maximum(b * b - a, 0))  # a x² - 2 b x + 1 ≤ 0 between its roots
    value = jnp.where(g > 0, 1 / _positive(g), jnp.inf)
    high = jnp.where(a > 0, larger / jnp.where(a > 0, a, 1), jnp.inf)
    none = variance == 0
    return Estimate(*(jnp.where(none, 0, x) for x in (value, 1 / larger, high)))


def _positive(x: Number) -> Number:
    """The number where it is above 0 and 1 elsewhere, to divide by."""
    return jnp.where(x > 0, x, 1)
