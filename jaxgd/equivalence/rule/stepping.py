"""What a recipe adds to the parameters at each update, from the gradients that were recorded."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.recordings.optimizer_view import Block, Matrix
from jaxgd.equivalence.rule.formulas import FORMULAS, schedule_free_steps, with_momentum
from jaxgd.equivalence.rule.recipe import Recipe
from jaxgd.equivalence.rule.registered import registered_steps

Series = Float[np.ndarray, " updates"]


class Norms(NamedTuple):
    """What gradients are clipped by, at each update."""

    whole: Series
    leaf: Float[np.ndarray, "updates ..."]  # one for all entries, or one for each
    parts: Float[np.ndarray, "micro_batches updates"]
    steps: Series | None = None  # of what the recipe adds to all parameters, before clipping


def steps(recipe: Recipe, block: Block, norms: Norms) -> Matrix:
    """What the recipe adds to some entries at each update, its state being zero before the first.

    The parameters that were recorded enter through the weight decay alone, but for a few rules.
    """
    if recipe.frozen:
        return np.zeros_like(block.gradients)
    rates = recipe.rates(len(block.gradients))
    step = _unclipped(recipe, _given(recipe, block, norms), block, rates)
    if recipe.clipped == "after the optimizer" and norms.steps is not None:
        step = step * _factor(recipe, norms.steps)[:, None]
    return step


def _unclipped(recipe: Recipe, g: Matrix, block: Block, rates: Series) -> Matrix:
    if recipe.registered:
        return _registered(recipe, g, block, rates)
    column = rates[:, None]
    if not recipe.decoupled and recipe.rule != "schedule_free_adamw":
        g = g + recipe.weight_decay * block.params
    formula = FORMULAS[recipe.rule]
    if formula is None:
        return schedule_free_steps(recipe, g, block.params, column)
    direction = formula(recipe, g)
    if recipe.lr_in_buffer:
        step = with_momentum(recipe, column * direction)
    else:
        step = column * with_momentum(recipe, direction)
    if recipe.decoupled:
        factor = column if recipe.decay_times_rate else 1.0
        step = step + factor * recipe.weight_decay * block.params
    return -step


def _registered(recipe: Recipe, g: Matrix, block: Block, rates: Series) -> Matrix:
    """The registry's rule over whole leaves in their shape, or over some entries."""
    shape = block.gradients.shape if block.shape is None else (len(g), *block.shape)
    gradients, params = g.reshape(shape), block.params.reshape(shape)
    taken = registered_steps(recipe.rule, recipe.options, rates, gradients, params)
    return taken.reshape(g.shape)


def _given(recipe: Recipe, block: Block, norms: Norms) -> Matrix:
    """The gradient as the optimizer is given it: scaled and clipped."""
    k = recipe.gradient_factor
    g = block.gradients if k == 1 else k * block.gradients
    if recipe.max_norm is not None:
        if recipe.clipped == "as a whole":
            g = g * _factor(recipe, abs(k) * norms.whole)[:, None]
        elif recipe.clipped == "by leaf":
            by_leaf = _factor(recipe, abs(k) * norms.leaf)
            g = g * (by_leaf[:, None] if by_leaf.ndim == 1 else by_leaf)
        elif recipe.clipped == "by micro-batch" and len(block.parts):
            factors = _factor(recipe, abs(k) * norms.parts)[:, :, None]
            g = k * (factors * block.parts).mean(axis=0)
    if recipe.max_value is not None:
        g = np.clip(g, -recipe.max_value, recipe.max_value)
    return g


def _factor(recipe: Recipe, norms: np.ndarray) -> np.ndarray:
    """What brings each norm down to max_norm, if there is one."""
    if recipe.max_norm is None:
        return np.ones_like(norms)
    return recipe.max_norm / np.maximum(norms + recipe.clip_eps, recipe.max_norm)
