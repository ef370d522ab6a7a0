"""An optimizer's steps in NumPy and float64, with every choice that implementations differ in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "updates entries"]
Number = float | int


@dataclass(frozen=True)
class Recipe:
    """The optimizer that two trainings are meant to share, in torch.optim's terms.

        g    = gradient * min(1, max_norm / (norm + clip_eps))       if max_norm is given
        g    = g + weight_decay * params                             unless decoupled
        step = -lr * momentum(rule(g))  - lr * weight_decay * params if decoupled

    Give it as torch.optim would be called; `lr` may hold one learning rate for each update. The
    last group of fields is how torch does it: hypotheses change it, you hardly ever will.
    """

    rule: str  # sgd, adam, adagrad or rmsprop
    lr: Number | Sequence[float]
    momentum: Number = 0.0  # sgd and rmsprop
    dampening: Number = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)  # adam
    alpha: Number = 0.99  # rmsprop
    eps: Number = 1e-8
    initial_accumulator: Number = 0.0  # adagrad and rmsprop
    weight_decay: Number = 0.0
    decoupled: bool = False
    max_norm: Number | None = None

    clip_eps: Number = 1e-6
    eps_at: Literal["outside the root", "inside the root", "before the correction"] = (
        "outside the root"
    )
    bias_correction: bool = True
    first_dampened: bool = False  # whether the first gradient, too, enters the buffer dampened
    lr_in_buffer: bool = False  # whether the buffer adds up lr * g rather than g

    def __post_init__(self) -> None:
        if self.rule not in _RULES:
            raise ValueError(
                f"rule must be one of {', '.join(_RULES)}; got {self.rule!r}. "
                "Leave the recipe out for another optimizer: the stage is still found."
            )
        if np.ndim(self.lr):
            object.__setattr__(self, "lr", tuple(np.asarray(self.lr, np.float64).tolist()))

    def rates(self, updates: int) -> Float[np.ndarray, " updates"]:
        """The learning rate of each update; ValueError when there are fewer."""
        rates = np.asarray(self.lr, np.float64)
        if rates.ndim and len(rates) < updates:
            raise ValueError(
                f"lr must hold one learning rate for each of {updates} updates; "
                f"got {len(rates)}. Give them all, or one number."
            )
        return rates[:updates] if rates.ndim else np.full(updates, rates)


def steps(
    recipe: Recipe, gradients: Matrix, params: Matrix, norms: Float[np.ndarray, " updates"]
) -> Matrix:
    """What the recipe adds to the parameters at each update, its state being zero before the first.

    gradients, params: the gradient given to the optimizer, and the parameters before, in any number
    of entries. norms: of the whole gradient; the parameters enter only through the weight decay.
    """
    rates = recipe.rates(len(gradients))[:, None]
    g = gradients * _clipping(recipe, norms)[:, None]
    if not recipe.decoupled:
        g = g + recipe.weight_decay * params
    direction = _RULES[recipe.rule](recipe, g)
    if recipe.lr_in_buffer:
        step = _with_momentum(recipe, rates * direction)
    else:
        step = rates * _with_momentum(recipe, direction)
    if recipe.decoupled:
        step = step + rates * recipe.weight_decay * params
    return -step


def _clipping(
    recipe: Recipe, norms: Float[np.ndarray, " updates"]
) -> Float[np.ndarray, " updates"]:
    """The factor that brings each gradient's norm down to max_norm, if there is one."""
    norm = norms + recipe.clip_eps
    if recipe.max_norm is None:
        return np.ones_like(norm)
    return recipe.max_norm / np.maximum(norm, recipe.max_norm)


def _with_momentum(recipe: Recipe, direction: Matrix) -> Matrix:
    """The direction, with what the buffer holds of the earlier ones."""
    if recipe.momentum == 0:
        return direction
    entering = np.full((len(direction), 1), 1.0 - recipe.dampening)
    if not recipe.first_dampened:
        entering[0] = 1.0
    buffer = _leaky_sum(recipe.momentum, entering * direction)
    return direction + recipe.momentum * buffer if recipe.nesterov else buffer


def _adam(recipe: Recipe, g: Matrix) -> Matrix:
    (b1, b2), t = recipe.betas, np.arange(1, len(g) + 1)[:, None]
    mean, square = _leaky_sum(b1, (1 - b1) * g), _leaky_sum(b2, (1 - b2) * g**2)
    if not recipe.bias_correction:
        return _normalized(recipe, mean, square)
    mean = mean / (1 - b1**t)
    if recipe.eps_at == "before the correction":
        return mean * np.sqrt(1 - b2**t) / (np.sqrt(square) + recipe.eps)
    return _normalized(recipe, mean, square / (1 - b2**t))


def _adagrad(recipe: Recipe, g: Matrix) -> Matrix:
    return _normalized(recipe, g, recipe.initial_accumulator + np.cumsum(g**2, axis=0))


def _rmsprop(recipe: Recipe, g: Matrix) -> Matrix:
    square = _leaky_sum(recipe.alpha, (1 - recipe.alpha) * g**2, recipe.initial_accumulator)
    return _normalized(recipe, g, square)


def _normalized(recipe: Recipe, g: Matrix, square: Matrix) -> Matrix:
    """g / (√square + eps), or with eps inside the root; where both are zero, zero."""
    if recipe.eps_at == "inside the root":
        root = np.sqrt(square + recipe.eps)
    else:
        root = np.sqrt(square) + recipe.eps
    return np.divide(g, root, out=np.zeros_like(g), where=root > 0)


def _leaky_sum(decay: float, x: Matrix, start: float = 0.0) -> Matrix:
    """s_t = decay * s_{t-1} + x_t, from s_0 = start."""
    total, sums = np.full(x.shape[1:], start), np.empty_like(x)
    for t, entering in enumerate(x):
        total = decay * total + entering
        sums[t] = total
    return sums


_RULES: Mapping[str, Callable[[Recipe, Matrix], Matrix]] = MappingProxyType(
    {"sgd": lambda _, g: g, "adam": _adam, "adagrad": _adagrad, "rmsprop": _rmsprop}
)
