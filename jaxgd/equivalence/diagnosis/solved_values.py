"""Hypotheses with a number that is solved from the recorded steps: weight decay is 0.02.

A number fits by least squares on a sample of the entries; whether the hypothesis then stands is
judged on all of them, as of any other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxgd.equivalence.recordings.optimizer_view import Block, Moves
from jaxgd.equivalence.rule.following import norms_of
from jaxgd.equivalence.rule.recipe import Recipe
from jaxgd.equivalence.rule.registered import defaults, looks_at_axes
from jaxgd.equivalence.rule.stepping import Norms, Series, steps

Residual = Callable[[Recipe], np.ndarray]

# Of each leaf so many entries, and of the run so many updates, are what a number is solved from.
_ENTRIES, _UPDATES = 24, 96
_ITERATIONS, _CONVERGED = 12, 1e-13

_MOST_STEPS = 512  # a schedule's period, in updates, that is looked for


class Number(NamedTuple):
    """One number of a recipe: its name, where it lies, and where the search for it begins."""

    field: str
    told: str  # with {} for the value
    value: float
    change: Callable[[float], Recipe]
    starts: tuple[float, ...]
    low: float = 0.0
    high: float = np.inf


def numbers(recipe: Recipe) -> Iterator[Number]:
    """The numbers that the recipe's rule reads."""
    if recipe.registered:
        yield from _of_options(recipe)
    else:
        yield from _of_formula(recipe)
    if recipe.max_norm is not None:
        told = "the gradient is clipped to a norm of {}"
        yield _field(recipe, "max_norm", told, (0.1, 0.5, 2.0, 10.0), times=True)
    if recipe.max_value is not None:
        told = "the gradient is clipped to values of {}"
        yield _field(recipe, "max_value", told, (0.1, 0.5, 2.0, 10.0), times=True)
    coupled = recipe.weight_decay and not recipe.decoupled
    own = recipe.rule == "sgd" and recipe.weight_decay
    if coupled or own or recipe.max_norm is not None or recipe.max_value is not None:
        told = "the gradient is {} times as large after it was recorded"
        yield _field(recipe, "gradient_factor", told, (1.0, 0.1, 0.5, 2.0, 4.0, 16.0, -1.0),
                     low=-np.inf)  # fmt: skip


def _of_formula(recipe: Recipe) -> Iterator[Number]:
    rule = recipe.rule
    starts: tuple[float, ...]
    yield _field(recipe, "weight_decay", "weight decay is {}", (recipe.weight_decay, 1e-3, 0.1))
    if rule in ("adam", "lion", "schedule_free_adamw") and recipe.betas is not None:
        for i, which in enumerate(("first", "second")):
            yield _beta(recipe, recipe.betas, i, f"the {which} beta is {{}}")
    if rule in ("sgd", "rmsprop"):
        yield _field(recipe, "momentum", "momentum is {}", (recipe.momentum, 0.5, 0.9), high=1.0)
        if recipe.momentum and not recipe.nesterov:
            starts = recipe.dampening, 0.5
            yield _field(recipe, "dampening", "dampening is {}", starts, low=-np.inf, high=1.0)
    if rule == "rmsprop":
        yield _field(recipe, "alpha", "alpha is {}", (recipe.alpha, 0.9, 0.99), high=1.0)
    if rule not in ("sgd", "lion"):
        starts = tuple(10.0**-power for power in range(2, 12, 2))
        yield _field(recipe, "eps", "eps is {}", starts)
    if rule in ("adagrad", "rmsprop"):
        starts = recipe.initial_accumulator, 1e-3, 0.1, 1.0
        yield _field(recipe, "initial_accumulator", "the accumulator begins at {}", starts)


def _of_options(recipe: Recipe) -> Iterator[Number]:
    if looks_at_axes(recipe.rule):  # each value would be a program of its own
        return
    for name, value in (defaults(recipe.rule) | dict(recipe.options)).items():
        pair = value if isinstance(value, tuple) else (value,)
        for i, number in enumerate(pair):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue

            def change(x: float, name: str = name, value: object = value, i: int = i) -> Recipe:
                given = (
                    tuple(x if j == i else v for j, v in enumerate(value))
                    if isinstance(value, tuple)
                    else x
                )
                return replace(recipe, options={**recipe.options, name: given})

            place = f" [{i}]" if isinstance(value, tuple) else ""
            now = float(number)
            starts = (now, now / 4 or 0.1)
            high = 1.0 if name in ("betas", "alpha", "rho", "momentum") else np.inf
            yield Number(name, f"{name}{place} is {{}}", now, change, starts, 0.0, high)


def _field(
    recipe: Recipe,
    name: str,
    told: str,
    starts: tuple[float, ...],
    *,
    low: float = 0.0,
    high: float = np.inf,
    times: bool = False,
) -> Number:
    value = float(getattr(recipe, name))
    if times:
        starts = tuple(value * start for start in starts)
    return Number(name, told, value, lambda x: _with(recipe, name, x), starts, low, high)


def _with(recipe: Recipe, name: str, value: Any) -> Recipe:
    return replace(recipe, **{name: value})


def _beta(recipe: Recipe, betas: Sequence[float], i: int, told: str) -> Number:
    def change(x: float) -> Recipe:
        first, second = betas
        return replace(recipe, betas=(x, second) if i == 0 else (first, x))

    starts = tuple(sorted({betas[i], 0.5, 0.9, 0.99, 0.999}))
    return Number(f"betas[{i}]", told, betas[i], change, starts, 0.0, 1.0)


def solved(recipe: Recipe, recorded: Moves, since: int) -> Iterator[tuple[Number, float]]:
    """Each number of the recipe, and the value that fits the steps from `since` on best."""
    if recipe.registered and looks_at_axes(recipe.rule):
        return
    residual = _residual(recipe, recorded, since)
    for number in numbers(recipe):
        value = _least_squares(number, residual)
        if value is not None and value != number.value:
            yield number, value


def _residual(recipe: Recipe, recorded: Moves, since: int) -> Residual:
    """How far a recipe's parameters stray from the recorded ones, in a sample, by leaf's way."""
    until = since + _UPDATES
    sample = recorded.sampled(_ENTRIES)
    parts = [[block for _, block in leaf.blocks()] for leaf in sample.leaves.values()]
    block, widths = _side_by_side(parts, until)
    by_leaf = [np.repeat(leaf.norms[:until, None], w, axis=1)
               for leaf, w in zip(sample.leaves.values(), widths, strict=True)]  # fmt: skip
    norms = Norms(
        recorded.norms[:until], np.concatenate(by_leaf, axis=1), recorded.part_norms[:, :until]
    )
    if recipe.clipped == "after the optimizer":
        of_any = next(iter(norms_of(recipe, recorded).values()))
        norms = norms._replace(steps=None if of_any.steps is None else of_any.steps[:until])
    walked = block.steps[since:].cumsum(axis=0)
    ends = np.cumsum(widths)[:-1]
    ways = [np.full(w, np.abs(x).max(initial=0.0) or 1.0) for w, x in
            zip(widths, np.split(walked, ends, axis=1), strict=True)]  # fmt: skip
    way = np.concatenate(ways)

    def residual(hypothesis: Recipe) -> np.ndarray:
        taken = steps(hypothesis, block, norms)[since:].cumsum(axis=0)
        return ((taken - walked) / way).ravel()

    return residual


def _side_by_side(parts: list[list[Block]], until: int) -> tuple[Block, list[int]]:
    """The blocks of all leaves as one, and how wide each leaf is."""
    flat = [block for of_leaf in parts for block in of_leaf]
    joined = Block(
        gradients=np.concatenate([block.gradients[:until] for block in flat], axis=1),
        params=np.concatenate([block.params[:until] for block in flat], axis=1),
        steps=np.concatenate([block.steps[:until] for block in flat], axis=1),
        parts=np.concatenate([block.parts[:, :until] for block in flat], axis=2),
    )
    return joined, [sum(block.gradients.shape[1] for block in of_leaf) for of_leaf in parts]


def _least_squares(number: Number, residual: Residual) -> float | None:
    """The value with the smallest sum of squares, by Gauss and Newton from the best of the starts.

    None where the steps do not depend on it.
    """

    def at(x: float) -> tuple[float, np.ndarray]:
        r = residual(number.change(x))
        cost = float(r @ r)
        return (cost if np.isfinite(cost) else np.inf), r

    inside = [x for x in number.starts if number.low <= x < number.high]
    tried = [(*at(x), x) for x in inside]
    if not tried:
        return None
    cost, r, x = min(tried, key=lambda t: t[0])
    for _ in range(_ITERATIONS):
        h = 1e-6 * (abs(x) or 1e-3)
        if x + h >= number.high:
            h = -h
        slope = (at(x + h)[1] - r) / h
        steepness = float(slope @ slope)
        if not np.isfinite(steepness) or steepness == 0:
            break
        move = -float(slope @ r) / steepness
        for _ in range(6):
            there = min(max(x + move, number.low), number.high * (1 - 1e-12))
            if (found := at(there))[0] < cost:
                break
            move /= 4
        else:
            break
        gained, (cost, r), x = cost - found[0], found, there
        if gained <= _CONVERGED * cost or cost == 0:
            break
    return x if cost < np.inf else None


def effective_rates(recipe: Recipe, recorded: Moves) -> Series | None:
    """The learning rate that each update's steps show; None where they are not linear in it."""
    if recipe.lr_in_buffer or recipe.registered or not recipe.decay_times_rate:
        return None
    if recipe.rule == "schedule_free_adamw" or recipe.clipped == "after the optimizer":
        return None
    unit = replace(recipe, lr=1.0, stepped_every=1)
    norms = norms_of(unit, recorded)
    product, square = np.zeros((2, len(recorded.norms)))
    for path, leaf in recorded.leaves.items():
        for _, block in leaf.blocks():
            taken = steps(unit, block, norms[path])
            product = product + (taken * block.steps).sum(axis=1)
            square = square + (taken * taken).sum(axis=1)
    return np.divide(product, square, out=np.zeros_like(square), where=square > 0)


def restepped(recipe: Recipe, recorded: Moves) -> Iterator[tuple[str, Recipe]]:
    """The schedule stepped every so many updates: once an epoch, say, in the place of each."""
    updates = len(recorded.norms)
    if not recipe.has_schedule or updates < 2:
        return
    shown = effective_rates(recipe, recorded)
    if shown is None:
        return
    tried = []
    for every in range(1, min(updates, _MOST_STEPS) + 1):
        variant = recipe.stepped(every, updates) if every != recipe.stepped_every else None
        if variant is not None:
            tried.append((float(np.abs(variant.rates(updates) - shown).max()), every, variant))
    if tried:
        _, every, variant = min(tried, key=lambda t: t[:2])
        yield (
            f"the schedule is stepped {_every(every)}, not {_every(recipe.stepped_every)}",
            variant,
        )


def _every(updates: int) -> str:
    return "in every update" if updates == 1 else f"every {updates} updates"
