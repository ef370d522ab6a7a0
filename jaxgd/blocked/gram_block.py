"""A block of rows of a linear predictor at once, through their Gram matrix.

Within a block of k rows that start from weights w and bias b, with decay ρ = 1 - lr λ, the logit
of row i is

    z_i = ρ^i (x_iᵀw + b) - lr Σ_{j<i} ρ^(i-1-j) g(z_j) (x_iᵀx_j + 1)

so one Gram matrix and a strictly triangular system in k scalars take the place of k dependent
passes over w.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgd.blocked.rows_in_order import Data, Slope, Weights


def block(
    slope: Slope, rate: Array, decay: Array, weights: Weights, data: Data
) -> tuple[Weights, Float[Array, "k"]]:
    """The weights after the k rows of one block, and each row's logit before its update."""
    (w, b), (x, y) = weights, data
    k = y.size
    # ρ^0 … ρ^k as products, which holds for a decay of zero or below as well.
    powers = jnp.cumprod(jnp.full(k + 1, decay).at[0].set(1))
    lag = jnp.arange(k)[:, None] - 1 - jnp.arange(k)[None, :]
    coupling = rate * powers[jnp.maximum(lag, 0)] * (_dot(x, x.T) + 1)

    def logits_from(z: Array) -> Array:
        # Masked after the product: while rows are unsettled g may be infinite, and 0 · ∞ is NaN.
        pull = jnp.where(lag >= 0, coupling * jax.vmap(slope)(z, y)[None, :], 0)
        return start - jnp.sum(pull, axis=1)

    start = powers[:k] * (_dot(x, w) + b)
    # As a root, the logits have derivatives in both modes, which the loop that finds them has not.
    z = jax.lax.custom_root(
        lambda z: z - logits_from(z),
        start,
        solve=lambda _, start: _standstill(logits_from, start)[0],
        tangent_solve=_forward_substitution,
    )
    pull = rate * powers[:k][::-1] * jax.vmap(slope)(z, y)
    return (powers[k] * w - _dot(pull, x), powers[k] * b - jnp.sum(pull)), z


def _forward_substitution(
    linear: Callable[[Array], Array], y: Float[Array, "k"]
) -> Float[Array, "k"]:
    """The solution of linear(v) = y, where row i of it is v_i and some of the rows before i."""
    matrix = jax.jacobian(linear)(y)
    return jax.scipy.linalg.solve_triangular(matrix, y, lower=True, unit_diagonal=True)


def _standstill(
    fn: Callable[[Array], Array], z: Float[Array, "k"]
) -> tuple[Float[Array, "k"], Int[Array, ""]]:
    """The fixed point of a map whose row i depends on the rows before i only, and the passes taken.

    Pass i settles row i for good, so that k - 1 passes are enough from any start; NaN never equals
    itself and takes them all.
    """
    k = z.size

    def moving(carry: tuple[Array, Array, Array]) -> Array:
        _, moved, passes = carry
        return moved & (passes < k)

    def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z, _, passes = carry
        new = fn(z)
        return new, jnp.any(new != z), passes + 1

    z, _, passes = jax.lax.while_loop(moving, again, (z, jnp.bool_(True), jnp.int32(0)))
    return z, passes


def _dot(a: Array, b: Array) -> Array:
    """A product in the arrays' own precision; accelerators would round its terms to fewer bits."""
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)
