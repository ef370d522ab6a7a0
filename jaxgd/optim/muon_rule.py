"""Muon, as torch.optim.Muon: momentum whose matrix is orthogonalized."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, DTypeLike, Float, Int

from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
from jaxgd.optim.moments import average, norm
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    at,
    check,
    check_lr,
    check_momentum,
    check_non_negative,
)
from jaxgd.optim.torch_order import torch_chain


class MuonState(NamedTuple):
    """The updates done and torch's buffer, by torch's name."""

    t: Int[Array, ""]
    momentum_buffer: optax.Updates


def muon(
    lr: ScalarOrSchedule = 1e-3,
    weight_decay: Scalar = 0.1,
    momentum: ScalarOrSchedule = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
    *,
    ns_dtype: DTypeLike = jnp.bfloat16,
) -> optax.GradientTransformation:
    """Momentum orthogonalized by Newton-Schulz, as `torch.optim.Muon`; matrices [a, b] only.

        B ← μ B + (1 - μ) g
        O = NewtonSchulz(μ B + (1 - μ) g  if nesterov, else B)
        p ← p (1 - lr λ) - lr · ratio · O,    ratio = √max(1, a/b)       ("original", None)
                                              or 0.2 √max(a, b)          ("match_rms_adamw")

    Every other leaf belongs to another optimizer: `optax.partition` gives each its own.

    State: `MuonState`. Raises ValueError for a leaf that is no matrix or an option out of range.

    Source: Muon (Jordan et al., 2024).
    Departs from torch: the formula is torch's, and so is the bfloat16 it iterates in. That rounds
    to 3 digits, differently in every matrix product of every library, and orthogonalizing blows
    small singular values up: trajectories are chaotic and only one update can be compared.
    For bfloat16 parameters without nesterov torch normalizes its momentum buffer in place, which
    is left alone here: 40 updates of an [8, 6] matrix end 0.3 of the way apart, with nesterov 0.04.
    `ns_dtype`, which torch has not, iterates in another dtype; in float64 the formula is exact.
    """
    check_lr(lr)
    check_momentum(momentum)
    check_non_negative(weight_decay=weight_decay, eps=eps)
    if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
        raise ValueError(
            "adjust_lr_fn must be None, 'original' or 'match_rms_adamw'; "
            f"got {adjust_lr_fn!r}. Use 'match_rms_adamw' to keep AdamW's lr."
        )
    check("ns_steps", ns_steps, "below 100", lambda value: value < 100, "torch's default is 5.")
    if len(ns_coefficients) != 3:
        raise ValueError(
            f"ns_coefficients must be three numbers; got {ns_coefficients}. "
            "torch's default is (3.4445, -4.7750, 2.0315)."
        )

    def momentum_at(t: Int[Array, ""]) -> Scalars:
        return (at(momentum, t - 1),)

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        buffer = average(moments[0], g, scalars[0])
        ahead = average(buffer, g, scalars[0]) if nesterov else buffer
        ortho = orthogonalized(ahead, ns_coefficients, ns_steps, eps, ns_dtype)
        return _lr_ratio(adjust_lr_fn, *g.shape) * ortho.astype(g.dtype), (buffer,)

    rule = leafwise(
        MuonState,
        {"momentum_buffer": jnp.zeros_like},
        leaf,
        counted(momentum_at),
        t=no_updates,
    )
    matrices = optax.GradientTransformation(_of_matrices(rule.init), rule.update)
    return torch_chain(matrices, lr, weight_decay, decoupled=True)


def _of_matrices(init: Callable[[optax.Params], MuonState]) -> Callable[..., MuonState]:
    """The state of a beginning, if all the params are matrices."""

    def checked(params: optax.Params) -> MuonState:
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if jnp.ndim(leaf) != 2:
                raise ValueError(
                    f"params must be matrices; got the shape {jnp.shape(leaf)} at params"
                    f"{jax.tree_util.keystr(path)}. "
                    "Use optax.partition to give that leaf another optimizer, such as adamw."
                )
        return init(params)

    return checked


def orthogonalized(
    matrix: Float[Array, "a b"],
    coefficients: tuple[float, float, float],
    steps: int,
    eps: float,
    dtype: DTypeLike,
) -> Float[Array, "a b"]:
    """The matrix with its singular values moved near 1, by a quintic Newton-Schulz iteration.

        X ← a X + (b X Xᵀ + c (X Xᵀ)²) X,   X₀ = matrix / max(‖matrix‖_F, eps)

    Computed in `dtype`, each product rounded once, on the side where X Xᵀ is smaller.
    """
    a, b, c = coefficients
    accumulator = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.astype(dtype)
    x = x.T if tall else x
    x = x / jnp.maximum(norm(x), eps)

    def product(left: Array, right: Array) -> Array:
        return jnp.matmul(left, right, preferred_element_type=accumulator)

    for _ in range(steps):
        gram = product(x, x.T).astype(dtype)
        polynomial = (b * gram.astype(accumulator) + c * product(gram, gram)).astype(dtype)
        x = (a * x.astype(accumulator) + product(polynomial, x)).astype(dtype)
    return x.T if tall else x


def _lr_ratio(adjust_lr_fn: str | None, rows: int, columns: int) -> float:
    """What torch multiplies the learning rate of a matrix by."""
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))
