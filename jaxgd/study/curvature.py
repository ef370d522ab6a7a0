"""How sharply an objective bends at its params: the largest eigenvalue of its Hessian."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxgd.chunks import in_chunks
from jaxgd.inputs import check_count
from jaxgd.keys import Key
from jaxgd.objective import Objective

_PRECISE = jax.lax.Precision.HIGHEST
# A direction left over of this many roundings is none: the Krylov space is exhausted.
_ROUNDINGS = 100


class Sharpness(NamedTuple):
    """A largest eigenvalue λ, and how near an eigenvalue is bound to lie: |λ - λ_i| ≤ residual."""

    value: Float[Array, ""]
    residual: Float[Array, ""]


def sharpness(
    objective: Objective,
    params: PyTree,
    batch: PyTree,
    *,
    preconditioner: PyTree | None = None,
    iterations: int = 32,
    key: Key | None = None,
    chunk: int | None = None,
) -> Sharpness:
    """The largest eigenvalue of the Hessian of an objective of a batch, by Lanczos.

        λ_max(∇² objective(params, batch)),   or with a preconditioner λ_max(P⁻¹ ∇²)

    `preconditioner` is a diagonal P > 0, a tree as the params. Each of the min(P, iterations)
    steps, P numbers in params, is one Hessian-vector product, and all directions are kept: as many
    times the memory of the params. The start is drawn from `key`, by default `jax.random.key(0)`.
    The eigenvalue is the algebraically largest: a saddle's negative ones do not count.

    The derivatives of all rows are kept for all steps; of an objective that is a mean over rows,
    those of `chunk` rows at a time, made again at every step, which costs about twice as much.
    """
    iterations = check_count("iterations", iterations)
    key = jax.random.key(0) if key is None else key
    chunk = None if chunk is None else check_count("chunk", chunk)
    measure = jax.jit(partial(_sharpness, objective, iterations, chunk))
    return measure(params, batch, preconditioner, key)


def _sharpness(
    objective: Objective,
    iterations: int,
    chunk: int | None,
    params: PyTree,
    batch: PyTree,
    preconditioner: PyTree | None,
    key: Key,
) -> Sharpness:
    theta, unravel = ravel_pytree(params)
    gradient = in_chunks(jax.grad(objective), chunk)

    def slope(flat: Array) -> Array:
        return ravel_pytree(gradient(unravel(flat), batch))[0]

    def product_in_chunks(v: Array) -> Array:
        return jax.jvp(slope, (theta,), (v,))[1]

    product = jax.linearize(slope, theta)[1] if chunk is None else product_in_chunks
    start = jax.random.normal(key, theta.shape, theta.dtype)
    if preconditioner is None:
        return largest_eigenvalue(product, start, iterations)
    # P⁻¹H has the eigenvalues of the symmetric P^(-1/2) H P^(-1/2).
    scale = jax.lax.rsqrt(ravel_pytree(preconditioner)[0])
    return largest_eigenvalue(lambda v: scale * product(scale * v), start, iterations)


def largest_eigenvalue(
    product: Callable[[Array], Array], start: Float[Array, "p"], iterations: int
) -> Sharpness:
    """The largest Ritz value of a symmetric matrix after Lanczos steps from a start.

    `product(v)` is the matrix times v. Every direction is made orthogonal, twice, to all before it.
    """
    steps = min(iterations, start.size)
    alphas, betas = _tridiagonal(product, start / jnp.linalg.norm(start), steps)
    ritz, vectors = jnp.linalg.eigh(
        jnp.diag(alphas) + jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1)
    )
    return Sharpness(ritz[-1], betas[-1] * jnp.abs(vectors[-1, -1]))


def _tridiagonal(
    product: Callable[[Array], Array], start: Array, steps: int
) -> tuple[Float[Array, "steps"], Float[Array, "steps"]]:
    """The diagonal of Lanczos's matrix, and beside it the norms of what each step left over."""

    def step(carry: tuple[Array, Array, Array], j: Array) -> tuple[tuple, tuple[Array, Array]]:
        basis, direction, largest = carry
        image = product(direction)
        alpha = jnp.dot(direction, image, precision=_PRECISE)
        basis = basis.at[j].set(direction)
        rest = _orthogonal(basis, _orthogonal(basis, image))
        beta = jnp.linalg.norm(rest)
        largest = jnp.maximum(largest, jnp.linalg.norm(image))
        goes_on = beta > _ROUNDINGS * jnp.finfo(beta.dtype).eps * largest
        beta = jnp.where(goes_on, beta, 0.0)
        direction = jnp.where(goes_on, rest / jnp.where(goes_on, beta, 1.0), 0.0)
        return (basis, direction, largest), (alpha, beta)

    zero = jnp.zeros((), start.dtype)
    basis = jnp.zeros((steps, start.size), start.dtype)
    each = jnp.arange(steps, dtype=jnp.int32)
    _, (alphas, betas) = jax.lax.scan(step, (basis, start, zero), each)
    # Where there was no direction, the start's Rayleigh quotient, which no eigenvalue exceeds
    # alone: it adds none above the largest.
    made = jnp.cumprod(jnp.concatenate([jnp.ones(1, start.dtype), jnp.sign(betas[:-1])]))
    return jnp.where(made > 0, alphas, alphas[0]), betas * made


def _orthogonal(basis: Float[Array, "steps p"], vector: Float[Array, "p"]) -> Float[Array, "p"]:
    """What of a vector lies in none of the basis's directions."""
    along = jnp.dot(basis, vector, precision=_PRECISE)
    return vector - jnp.dot(along, basis, precision=_PRECISE)
