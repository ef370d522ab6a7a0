"""The rules of optimizers in NumPy and float64: from the gradients of all updates to directions.

A recipe is passed on unread by whoever calls them; a formula reads the fields that it is about.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

Matrix: TypeAlias = Float[np.ndarray, "updates entries"]
Rates: TypeAlias = Float[np.ndarray, "updates 1"]


def with_momentum(recipe: Any, direction: Matrix) -> Matrix:
    """The direction, with what the buffer holds of the earlier ones."""
    if recipe.momentum == 0:
        return direction
    entering = np.full((len(direction), 1), 1.0 - recipe.dampening)
    if not recipe.first_dampened:
        entering[0] = 1.0
    buffer = leaky_sum(recipe.momentum, entering * direction)
    return direction + recipe.momentum * buffer if recipe.nesterov else buffer


def leaky_sum(decay: float, x: Matrix, start: float = 0.0) -> Matrix:
    """s_t = decay * s_{t-1} + x_t, from s_0 = start."""
    total, sums = np.full(x.shape[1:], start), np.empty_like(x)
    for t, entering in enumerate(x):
        total = decay * total + entering
        sums[t] = total
    return sums


def schedule_free_steps(recipe: Any, g: Matrix, params: Matrix, rates: Rates) -> Matrix:
    """What schedule-free AdamW adds to the parameters, at which its gradients are taken.

        u = g / (√(v / (1 - b2^t)) + eps) + weight_decay * params
        c = w_t / (w_1 + … + w_t),   w = (the largest rate so far)²
        step = c (z - params) - lr (1 - b1 (1 - c)) u,   z ← z - lr u,   z_0 = params_0

    Source: Defazio et al., "The road less scheduled" (2024), in its authors' order of operations.
    """
    b1 = recipe.betas[0]
    u = _over_root(recipe, g, _corrected_square(recipe, g)) + recipe.weight_decay * params
    weight = np.maximum.accumulate(rates) ** 2
    c = weight / np.cumsum(weight, axis=0)
    z = params[:1] - np.cumsum(np.concatenate([np.zeros_like(u[:1]), rates * u]), axis=0)[:-1]
    return c * (z - params) - rates * (1 - b1 * (1 - c)) * u


def _sgd(_: Any, g: Matrix) -> Matrix:
    return g


def _adam(recipe: Any, g: Matrix) -> Matrix:
    (b1, b2), t = recipe.betas, np.arange(1, len(g) + 1)[:, None]
    mean, square = leaky_sum(b1, (1 - b1) * g), leaky_sum(b2, (1 - b2) * g**2)
    corrected = recipe.largest_corrected and recipe.bias_correction
    if recipe.amsgrad and not corrected:
        square = np.maximum.accumulate(square, axis=0)
    if not recipe.bias_correction:
        return _over_root(recipe, mean, square)
    mean = mean / (1 - b1**t)
    if recipe.eps_at == "before the correction":
        return mean * np.sqrt(1 - b2**t) / (np.sqrt(square) + recipe.eps)
    square = square / (1 - b2**t)
    if recipe.amsgrad and corrected:
        square = np.maximum.accumulate(square, axis=0)
    return _over_root(recipe, mean, square)


def _adagrad(recipe: Any, g: Matrix) -> Matrix:
    return _over_root(recipe, g, recipe.initial_accumulator + np.cumsum(g**2, axis=0))


def _rmsprop(recipe: Any, g: Matrix) -> Matrix:
    square = leaky_sum(recipe.alpha, (1 - recipe.alpha) * g**2, recipe.initial_accumulator)
    return _over_root(recipe, g, square)


def _lion(recipe: Any, g: Matrix) -> Matrix:
    """sign(b1 m + (1 - b1) g), m ← b2 m + (1 - b2) g. Source: Chen et al. (2023)."""
    b1, b2 = recipe.betas
    mean = leaky_sum(b2, (1 - b2) * g)
    before = np.concatenate([np.zeros_like(g[:1]), mean[:-1]])
    return np.sign(b1 * before + (1 - b1) * g)


def _corrected_square(recipe: Any, g: Matrix) -> Matrix:
    b2, t = recipe.betas[1], np.arange(1, len(g) + 1)[:, None]
    square = leaky_sum(b2, (1 - b2) * g**2)
    return square / (1 - b2**t) if recipe.bias_correction else square


def _over_root(recipe: Any, g: Matrix, square: Matrix) -> Matrix:
    """g / (√square + eps), or with eps inside the root; where both are zero, zero."""
    if recipe.eps_at == "inside the root":
        root = np.sqrt(square + recipe.eps)
    else:
        root = np.sqrt(square) + recipe.eps
    return np.divide(g, root, out=np.zeros_like(g), where=root > 0)


# By name; schedule_free_adamw's steps are no direction times a rate.
FORMULAS: Mapping[str, Callable[[Any, Matrix], Matrix] | None] = MappingProxyType(
    {
        "sgd": _sgd,
        "adam": _adam,
        "adagrad": _adagrad,
        "rmsprop": _rmsprop,
        "lion": _lion,
        "schedule_free_adamw": None,
    }
)
