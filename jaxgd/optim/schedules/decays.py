"""Schedules that multiply the learning rate: by a function, a step, a ramp or a power."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.optim.options import Scalar, check, is_positive_integer
from jaxgd.optim.precision import power, widest
from jaxgd.optim.schedules.schedule import Real, Schedule, shown, tabulated


@shown
def lambda_lr(
    lr: Scalar, lr_lambda: Callable[[Any], Any], *, total_steps: int | None = None
) -> Schedule:
    """`lr` times a function of the count.

        lr · λ(c)

    λ is traced by JAX, with c a scalar of the widest enabled float. With `total_steps`, λ may be
    any Python function of an int: it is called once for each count below `total_steps`, and later
    counts give NaN.

    Departs from torch.optim.lr_scheduler.LambdaLR: λ is traced, unless `total_steps` is given.
    """
    if total_steps is None:
        return Schedule(lr, lambda c: widest(lr) * lr_lambda(c), floor=None)
    factor = tabulated(np.array([lr_lambda(t) for t in range(total_steps)], float))
    return Schedule(lr, lambda c: widest(lr) * factor(c), floor=None)


@shown
def multiplicative_lr(
    lr: Scalar, lr_lambda: Callable[[int], float], *, total_steps: int
) -> Schedule:
    """`lr` times the product of a function over all counts so far.

        lr · λ(1) · λ(2) ⋯ λ(c)

    λ is any Python function of an int, called once for each count below `total_steps`.

    Departs from torch.optim.lr_scheduler.MultiplicativeLR: a product has no closed form, so it
    needs `total_steps`; later counts give NaN.
    """
    remedy = "Use the number of updates of the run."
    check("total_steps", total_steps, "at least 1", lambda value: value >= 1, remedy)
    product = tabulated(np.cumprod([1.0, *(lr_lambda(t) for t in range(1, total_steps))]))
    return Schedule(
        lr,
        lambda c: widest(lr) * product(c),
        resumes=lambda rate, c: rate * lr_lambda(0) * product(c),
    )


@shown
def step_lr(lr: Scalar, step_size: Scalar, gamma: Scalar = 0.1) -> Schedule:
    """`lr` times `gamma` once every `step_size` updates.

        lr · γ^⌊c / step_size⌋

    Departs from torch.optim.lr_scheduler.StepLR: nothing.
    """
    remedy = "Use the number of updates between two decays."
    check("step_size", step_size, "a positive integer", is_positive_integer, remedy)
    return Schedule(lr, lambda c: widest(lr) * power(gamma, c // widest(step_size)))


@shown
def multi_step_lr(lr: Scalar, milestones: Sequence[Scalar], gamma: Scalar = 0.1) -> Schedule:
    """`lr` times `gamma` once for every milestone reached; one listed twice counts twice.

        lr · γ^#{m : m ≤ c}

    Departs from torch.optim.lr_scheduler.MultiStepLR: nothing.
    """
    for milestone in milestones:
        remedy = "Use the counts of updates at which the rate decays."
        check("milestones", milestone, "integers", lambda value: value == int(value), remedy)

    def closed_form(c: Real) -> Real:
        given = [widest(m) for m in milestones] if _traced(milestones) else list(milestones)
        at = jnp.asarray(given, c.dtype)
        # torch's counts never meet a negative one
        decays = jnp.searchsorted(jnp.sort(jnp.where(at < 0, jnp.inf, at)), c, side="right")
        return widest(lr) * power(gamma, decays.astype(c.dtype))

    return Schedule(lr, closed_form)


@shown
def constant_lr(lr: Scalar, factor: Scalar = 1.0 / 3, total_iters: Scalar = 5) -> Schedule:
    """`lr` times `factor` for the first `total_iters` updates, then `lr`.

    `total_iters=0` holds the factor forever, as torch does.

    Departs from torch.optim.lr_scheduler.ConstantLR: `factor=0` returns to `lr` where torch
    divides by zero.
    """
    _check_factor("factor", factor)
    _check_total_iters(total_iters)

    def closed_form(c: Real) -> Real:
        end = widest(total_iters)
        return widest(lr) * jnp.where((c < end) | (end == 0), widest(factor), 1.0)

    return Schedule(lr, closed_form)


@shown
def linear_lr(
    lr: Scalar,
    start_factor: Scalar = 1.0 / 3,
    end_factor: Scalar = 1.0,
    total_iters: Scalar = 5,
) -> Schedule:
    """`lr` times a factor that moves in a straight line, then stays.

        lr · (start · (1 − c / total_iters) + end · c / total_iters),   then lr · end

    `total_iters=0` holds `start_factor` forever, as torch does.

    Departs from torch.optim.lr_scheduler.LinearLR: nothing. Torch's recursion towards 0 ends at a
    rounding on either side of it; so does this, at the same one, as far as its options are numbers.
    """
    _check_factor("end_factor", end_factor)
    remedy = "Use a small factor for a start near zero."
    check("start_factor", start_factor, "in (0, 1]", lambda value: 0 < value <= 1, remedy)
    _check_total_iters(total_iters)
    last = _end_of_recursion(lr, start_factor, end_factor, total_iters)

    def closed_form(c: Real) -> Real:
        end = widest(total_iters)
        way = jnp.minimum(c, end) / jnp.maximum(end, 1)
        rate = widest(lr) * (widest(start_factor) * (1 - way) + widest(end_factor) * way)
        return jnp.where((c < end) | (end == 0), rate, widest(last))

    return Schedule(lr, closed_form)


def _end_of_recursion(lr: Scalar, start: Scalar, end: Scalar, total_iters: Scalar) -> Scalar:
    """The rate that LinearLR ends at: lr · end, and where that is 0 what torch's doubles leave."""
    known = all(isinstance(option, (int, float)) for option in (lr, start, end, total_iters))
    if not known or end != 0:
        return widest(lr) * widest(end) if _traced((lr, end)) else lr * end
    rate = lr * start
    for c in range(1, int(total_iters) + 1):
        rate *= 1.0 + (end - start) / (total_iters * start + (c - 1) * (end - start))
    return rate


@shown
def exponential_lr(lr: Scalar, gamma: Scalar) -> Schedule:
    """`lr` times `gamma` once every update.

        lr · γ^c

    Departs from torch.optim.lr_scheduler.ExponentialLR: nothing.
    """
    return Schedule(lr, lambda c: widest(lr) * power(gamma, c))


@shown
def polynomial_lr(lr: Scalar, total_iters: Scalar = 5, power: Scalar = 1.0) -> Schedule:
    """`lr` decayed to zero in `total_iters` updates along a power.

        lr · (1 − min(c, total_iters) / total_iters)^power

    `total_iters=0` leaves `lr` as it is, as torch does.

    Departs from torch.optim.lr_scheduler.PolynomialLR: nothing.
    """
    _check_total_iters(total_iters)

    def closed_form(c: Real) -> Real:
        end = widest(total_iters)
        left = jnp.maximum(end - c, 0) / jnp.maximum(end, 1)
        return widest(lr) * jnp.where(end == 0, 1.0, left ** widest(power))

    return Schedule(lr, closed_form)


def _traced(options: Sequence[Scalar]) -> bool:
    return any(isinstance(option, jax.core.Tracer) for option in options)


def _check_factor(name: str, factor: Scalar) -> None:
    remedy = "Raise lr instead to scale the rate up."
    check(name, factor, "in [0, 1]", lambda value: 0 <= value <= 1, remedy)


def _check_total_iters(total_iters: Scalar) -> None:
    remedy = "Use the number of updates until the rate stays."
    check("total_iters", total_iters, "at least 0", lambda value: value >= 0, remedy)
