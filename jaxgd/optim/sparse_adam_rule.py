"""Adam for gradients that touch few rows, as torch.optim.SparseAdam."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from jaxgd.optim.corrections import bias_correction
from jaxgd.optim.moments import root
from jaxgd.optim.options import Betas, Scalar, ScalarOrSchedule, at, check, check_betas
from jaxgd.optim.torch_order import torch_chain


class SparseAdamState(NamedTuple):
    """The updates done and torch's buffers, by torch's names."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates


def sparse_adam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    *,
    maximize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adam on the rows a gradient touches, as `torch.optim.SparseAdam`.

        for each touched row:   g ← ±g
                                m ← m + (1 - β1) (g - m)
                                v ← v + (1 - β2) (g² - v)
                                p ← p - lr · √(1 - β2^t) / (1 - β1^t) · m / (√v + eps)

    t counts all updates, not a row's own. A row is a slice of the leading axis, as in an embedding
    table. JAX's gradients are dense, so a row counts as touched if any of its entries is not zero,
    unless the update is told:

        updates, state = optimizer.update(grads, state, params, touched=touched)

    with `touched` a tree of booleans like the parameters, one for each row.

    State: `SparseAdamState`. Raises ValueError for an option out of its range.

    Departs from torch: a row looked up whose gradient is exactly zero is touched in torch's sparse
    gradient, and not in a dense one without `touched`.
    """
    if not callable(lr):
        remedy = "torch's default is 1e-3; use maximize=True to ascend."
        check("lr", lr, "positive", lambda value: value > 0, remedy)
    check("eps", eps, "positive", lambda value: value > 0, "torch's default is 1e-8.")
    check_betas(betas)
    return torch_chain(scale_by_sparse_adam(betas, eps), lr, maximize=maximize)


def scale_by_sparse_adam(betas: Betas, eps: Scalar) -> optax.GradientTransformationExtraArgs:
    """The direction of `sparse_adam`: what its last line multiplies by -lr."""

    def init(params: optax.Params) -> SparseAdamState:
        zeros = partial(optax.tree.zeros_like, params)
        return SparseAdamState(jnp.zeros([], jnp.int32), zeros(), zeros())

    def update(
        grads: optax.Updates,
        state: SparseAdamState,
        params: optax.Params | None = None,
        *,
        touched: optax.Updates | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, SparseAdamState]:
        del params, extra_args
        t = optax.safe_increment(state.t)
        beta1, beta2 = at(betas[0], state.t), betas[1]
        rows = jax.tree.map(_touched_rows, grads) if touched is None else touched
        rows = jax.tree.map(_along_rows, rows, grads)
        scale = jnp.sqrt(bias_correction(beta2, t)) / bias_correction(beta1, t)

        def moved(beta: Scalar, average: Array, value: Array, row: Array) -> Array:
            share = jnp.asarray(1 - beta, average.dtype)
            return jnp.where(row, average + share * (value - average), average)

        def direction(m: Array, v: Array, row: Array) -> Array:
            return jnp.where(row, scale.astype(m.dtype) * m / (root(v) + eps), 0.0)

        squares = jax.tree.map(jnp.square, grads)
        exp_avg = jax.tree.map(partial(moved, beta1), state.exp_avg, grads, rows)
        exp_avg_sq = jax.tree.map(partial(moved, beta2), state.exp_avg_sq, squares, rows)
        directions = jax.tree.map(direction, exp_avg, exp_avg_sq, rows)
        return directions, SparseAdamState(t, exp_avg, exp_avg_sq)

    return optax.GradientTransformationExtraArgs(init, update)


def _touched_rows(grad: Array) -> Bool[Array, "*rows"]:
    """Whether each row (of the leading axis) has an entry that is not zero."""
    return jnp.any(grad != 0, axis=tuple(range(1, grad.ndim)))


def _along_rows(rows: Bool[Array, "*rows"], grad: Array) -> Bool[Array, "..."]:
    """The row mask with axes of length 1 after it, to broadcast over the gradient."""
    if rows.shape != grad.shape[:1]:
        raise ValueError(
            f"touched must have one boolean for each row, {grad.shape[:1]}; got the shape "
            f"{rows.shape}. Give the rows of the leading axis of every leaf."
        )
    return rows.reshape(rows.shape + (1,) * (grad.ndim - rows.ndim))
