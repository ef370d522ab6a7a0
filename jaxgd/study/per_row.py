"""The gradients of single rows, as many at a time as memory is meant to hold."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.chunks import in_chunks, wide
from jaxgd.inputs import check_count, check_params, count_examples
from jaxgd.objective import Loss

# Row gradients held at a time, unless the caller says how many.
_GRADIENT_BYTES = 2**24


class RowGradients(NamedTuple):
    """Where row gradients come from: `of(params, rows)` has them stacked, in float32 at least."""

    of: Callable[[PyTree, PyTree], PyTree]
    chunk: int

    def mean_of(self, part: Callable[[Any, PyTree], PyTree], given: Any, data: PyTree) -> PyTree:
        """`part(given, rows)`, a mean over rows, of all the data, a chunk of them at a time."""
        return in_chunks(part, self.chunk)(given, data)

    def mean_gradient(self, params: PyTree, data: PyTree) -> PyTree:
        """The gradient of the mean loss of the data."""
        return self.mean_of(lambda p, rows: _mean_over_rows(self.of(p, rows)), params, data)


def row_gradients(
    loss: Loss, params: PyTree, data: PyTree, chunk: int | None, preconditioner: PyTree | None
) -> RowGradients:
    """The gradients of the loss of each row, those of `chunk` rows at a time.

    With a preconditioner P, of the shape of params, they are P^(-1/2) ∇loss: their squared norm is
    ∇lossᵀ P ∇loss.

    Raises ValueError for fewer than three rows, of which no interval can be made.
    """
    check_params(params)
    n = count_examples(data)
    if n < 3:
        raise ValueError(f"data must hold at least 3 examples; got n={n}. Measure more rows.")
    bytes_of_one = sum(4 * jnp.size(leaf) for leaf in jax.tree.leaves(params))
    chunk = max(2, _GRADIENT_BYTES // bytes_of_one) if chunk is None else chunk
    gradients = jax.vmap(jax.grad(loss), in_axes=(None, 0))

    def of(params: PyTree, rows: PyTree) -> PyTree:
        each = jax.tree.map(wide, gradients(params, rows))
        if preconditioner is None:
            return each
        return jax.tree.map(
            lambda g, p: g / jnp.sqrt(wide(jnp.asarray(p)))[None], each, preconditioner
        )

    return RowGradients(of, min(n, check_count("chunk", chunk)))


def deviations(each: PyTree, center: PyTree) -> PyTree:
    """The stacked gradients less one that stands for all."""
    return jax.tree.map(lambda g, c: g - c[None], each, center)


def row_dots(a: PyTree, b: PyTree) -> Float[Array, "leaves rows"]:
    """The inner product of each row with each row of the other or with its only one, by leaf."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jnp.stack([jnp.sum((x * y).reshape(x.shape[0], -1), axis=1) for x, y in pairs])


def _mean_over_rows(each: PyTree) -> PyTree:
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), each)
