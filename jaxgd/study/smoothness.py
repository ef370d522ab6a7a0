"""How far a hypergradient can be believed: what a small step down it does to the run."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.remembered import kept


class Smoothness(NamedTuple):
    """Figures of one input z, from the runs at z, z + h and z + 2h, h down the gradient.

        step      = ‖h‖
        predicted = ∇L·h
        ratio     = (L(z+h) - L(z)) / predicted
        agreement = Σ |Δ| sign(Δ) sign(Δ') / Σ |Δ|,   Δ = θ(z+h) - θ(z),   Δ' = θ(z+2h) - θ(z+h)

    L is the validation loss, and θ the params that a run ends with. The ratio is 1 where the
    gradient foretells what a step does to the loss. The agreement (the empirical metasmoothness of
    arXiv 2503.13751) is 1 where a second step moves every parameter as the first did, 0 where the
    two have nothing in common, -1 where they are opposed. NaN where there is nothing to compare.
    """

    step: float
    predicted: float
    ratio: float
    agreement: float


def smoothness_in(
    end_of: Callable[..., tuple[Array, PyTree]],
    moving: dict,
    gradient: dict,
    fixed: dict,
    table: tuple,
    relative_step: float,
) -> dict[str, Smoothness]:
    """The figures of every name, its ‖h‖ the relative step times ‖z‖, or times 1 where z is 0.

    All runs are one program.
    """
    steps = {name: _step_down(moving[name], gradient[name], relative_step) for name in moving}
    stay = jax.tree.map(jnp.zeros_like, moving)
    moves = [stay]
    for name, h in steps.items():
        moves += [stay | {name: h}, stay | {name: jax.tree.map(lambda a: 2 * a, h)}]
    places = [jax.tree.map(jnp.add, moving, move) for move in moves]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *places)
    values, params = jax.tree.map(_wide, _side_by_side(end_of)(stacked, fixed, table))
    flat = np.concatenate([p.reshape(len(values), -1) for p in jax.tree.leaves(params)], axis=1)
    runs = {name: [0, 2 * i + 1, 2 * i + 2] for i, name in enumerate(steps)}
    return {
        name: _figures(gradient[name], h, values[runs[name]], flat[runs[name]])
        for name, h in steps.items()
    }


@kept
def _side_by_side(end_of: Callable[..., tuple[Array, PyTree]]) -> jax.stages.Wrapped:
    # Two levels: see scan_in_levels.
    return jax.jit(jax.vmap(lambda at, *rest: end_of(at, *rest, levels=2), (0, None, None)))


@np.errstate(invalid="ignore", over="ignore")  # of runs that diverged nothing is known
def _figures(gradient: PyTree, h: PyTree, values: np.ndarray, params: np.ndarray) -> Smoothness:
    """Of the runs at z, z + h and z + 2h."""
    predicted = _dot(gradient, h)
    ratio = _quotient(values[1] - values[0], predicted)
    agreement = sign_agreement(params[1] - params[0], params[2] - params[1])
    return Smoothness(_dot(h, h) ** 0.5, predicted, ratio, agreement)


def sign_agreement(first: Float[np.ndarray, "p"], second: Float[np.ndarray, "p"]) -> float:
    """Σ |Δ| sign(Δ) sign(Δ') / Σ |Δ| of two changes of the same numbers."""
    return _quotient(float(first @ np.sign(second)), float(np.sum(np.abs(first))))


def _step_down(at: PyTree, gradient: PyTree, relative: float) -> PyTree:
    """A step against the gradient; none where the gradient is zero or not finite."""
    size, slope = _dot(at, at) ** 0.5, _dot(gradient, gradient) ** 0.5
    scale = _quotient(-relative * (size or 1.0), slope)
    scale = scale if np.isfinite(scale) else 0.0
    return jax.tree.map(lambda a, g: _scaled(a, g, scale), at, gradient)


def _scaled(at: Array, gradient: Array, scale: float) -> Array:
    return jnp.asarray(scale * _wide(gradient) if scale else np.zeros(at.shape), at.dtype)


def _dot(one: PyTree, other: PyTree) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return float(sum(np.vdot(_wide(a), _wide(b)) for a, b in pairs))


def _wide(leaf: Array) -> np.ndarray:
    return np.asarray(leaf).astype(np.float64)


def _quotient(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
