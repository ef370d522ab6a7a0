"""Muon, as torch.optim.Muon: momentum whose matrix is orthogonalized."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, DTypeLike, Float

from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import Scalar, ScalarOrSchedule, check, check_lr, check_non_negative


class MuonState(NamedTuple):
    """Torch's buffer, by torch's name."""

    momentum_buffer: optax.Updates


def muon(
    lr: ScalarOrSchedule = 1e-3,
    weight_decay: Scalar = 0.1,
    momentum: Scalar = 0.95,
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
    `ns_dtype`, which torch has not, iterates in another dtype; in float64 the formula is exact.
    """
    check_lr(lr)
    check_non_negative(weight_decay=weight_decay, momentum=momentum, eps=eps)
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

    def init(params: optax.Params) -> MuonState:
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if jnp.ndim(leaf) != 2:
                raise ValueError(
                    f"params must be matrices; got the shape {jnp.shape(leaf)} at params"
                    f"{jax.tree_util.keystr(path)}. "
                    "Use optax.partition to give that leaf another optimizer, such as adamw."
                )
        return MuonState(optax.tree.zeros_like(params))

    def update(
        grads: optax.Updates, state: MuonState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, MuonState]:
        del params
        buffer = optax.tree.update_moment(grads, state.momentum_buffer, momentum, 1)
        ahead = optax.tree.update_moment(grads, buffer, momentum, 1) if nesterov else buffer

        def direction(matrix: Float[Array, "a b"]) -> Float[Array, "a b"]:
            ortho = orthogonalized(matrix, ns_coefficients, ns_steps, eps, ns_dtype)
            return _lr_ratio(adjust_lr_fn, *matrix.shape) * ortho.astype(matrix.dtype)

        return jax.tree.map(direction, ahead), MuonState(buffer)

    return optax.chain(optax.GradientTransformation(init, update), scale_by_lr(lr, weight_decay))


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
    x = x / jnp.maximum(jnp.linalg.norm(x), eps)

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
