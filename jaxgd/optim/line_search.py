"""torch's line search for LBFGS: bracket a step that meets the strong Wolfe conditions, zoom in."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

ARMIJO, CURVATURE = 1e-4, 0.9


class Point(NamedTuple):
    """A step length t along the direction, with the value, gradient and slope found there."""

    t: Float[Array, "*pair"]
    loss: Float[Array, "*pair"]
    grad: Float[Array, "*pair n"]
    slope: Float[Array, "*pair"]


class _Bracketing(NamedTuple):
    previous: Point
    newest: Point
    evals: Int[Array, ""]
    bracketed: Bool[Array, ""]
    done: Bool[Array, ""]


class _Zooming(NamedTuple):
    bracket: Point  # two points, in torch's order: ties between them go to the first
    low: Int[Array, ""]
    evals: Int[Array, ""]
    insufficient: Bool[Array, ""]
    done: Bool[Array, ""]


def strong_wolfe(
    evaluate: Callable[[Float[Array, ""]], Point],
    start: Point,
    t: Float[Array, ""],
    longest: Float[Array, ""],
    max_evals: Int[Array, ""],
    tolerance_change: float,
) -> tuple[Point, Int[Array, ""]]:
    """The point accepted along a descent direction, and the number of evaluations it took.

        loss(t) ≤ loss(0) + c₁ t slope(0)   and   |slope(t)| ≤ -c₂ slope(0),   c₁ = 1e-4, c₂ = 0.9

    `evaluate(t)` is the point at step length t, `start` that at 0, `t` the first step to try and
    `longest` the largest entry of the direction. Stops after `max_evals` evaluations beyond the
    first, or once the bracket moves no parameter by `tolerance_change`; then the lower end is
    accepted.

    Source: Numerical optimization (Nocedal & Wright), algorithms 3.5 and 3.6.
    Departs from `torch.optim.lbfgs._strong_wolfe`: nothing.
    """

    def fails_armijo(point: Point) -> Bool[Array, ""]:
        return point.loss > start.loss + ARMIJO * point.t * start.slope

    def is_flat(point: Point) -> Bool[Array, ""]:
        return jnp.abs(point.slope) <= -CURVATURE * start.slope

    def extrapolate(search: _Bracketing) -> _Bracketing:
        """Stop at a bracket or an acceptable point, else take a longer step."""
        previous, newest = search.previous, search.newest
        rises = fails_armijo(newest) | ((search.evals > 2) & (newest.loss >= previous.loss))
        done = ~rises & is_flat(newest)
        bracketed = rises | done | (newest.slope >= 0)

        def further() -> _Bracketing:
            shortest = newest.t + 0.01 * (newest.t - previous.t)
            longer = _cubic_minimum(previous, newest, shortest, newest.t * 10)
            return _Bracketing(newest, evaluate(longer), search.evals + 1, bracketed, done)

        stop = search._replace(bracketed=bracketed, done=done)
        return jax.lax.cond(bracketed, lambda: stop, further)

    def zoom(search: _Zooming) -> _Zooming:
        """Replace one end of the bracket by a point inside it."""
        bracket, low, high = search.bracket, search.low, 1 - search.low
        t, insufficient = _point_inside(bracket, search.insufficient)
        new = evaluate(t)
        worse = fails_armijo(new) | (new.loss >= bracket.loss[low])
        done = ~worse & is_flat(new)
        turned = new.slope * (bracket.t[high] - bracket.t[low]) >= 0

        shrunk = _replace_end(bracket, high, new)
        swapped = jax.tree.map(lambda both: both.at[high].set(both[low]), bracket)
        kept = _choose(turned & ~done, swapped, bracket)
        lowered = _replace_end(kept, low, new)
        return _Zooming(
            bracket=_choose(worse, shrunk, lowered),
            low=jnp.where(worse, _lower_end(shrunk), low),
            evals=search.evals + 1,
            insufficient=insufficient,
            done=done,
        )

    def can_zoom(search: _Zooming) -> Bool[Array, ""]:
        width = jnp.abs(search.bracket.t[1] - search.bracket.t[0])
        wide = ~(width * longest < tolerance_change)
        return ~search.done & (search.evals <= max_evals) & wide

    found = jax.lax.while_loop(
        lambda search: ~search.bracketed & (search.evals <= max_evals),
        extrapolate,
        _Bracketing(start, evaluate(t), jnp.ones((), int), jnp.array(False), jnp.array(False)),
    )
    # An acceptable point is the whole bracket; a search that ran out of evaluations starts at 0.
    first = _choose(found.done, found.newest, _choose(found.bracketed, found.previous, start))
    bracket = jax.tree.map(lambda one, other: jnp.stack([one, other]), first, found.newest)
    begun = _Zooming(bracket, _lower_end(bracket), found.evals, jnp.array(False), found.done)
    zoomed = jax.lax.while_loop(can_zoom, zoom, begun)
    return jax.tree.map(lambda both: both[zoomed.low], zoomed.bracket), zoomed.evals


def _cubic_minimum(
    one: Point, other: Point, lower: Float[Array, ""], upper: Float[Array, ""]
) -> Float[Array, ""]:
    """The minimum, within bounds, of the cubic through two values and slopes; else the middle."""
    left, right = _choose(one.t <= other.t, one, other), _choose(one.t <= other.t, other, one)
    mean = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.t - right.t)
    square = mean**2 - left.slope * right.slope
    root = jnp.sqrt(jnp.maximum(square, 0))
    share = (right.slope + root - mean) / (right.slope - left.slope + 2 * root)
    minimum = right.t - (right.t - left.t) * share
    inside = jnp.minimum(jnp.maximum(minimum, lower), upper)
    return jnp.where(square >= 0, inside, (lower + upper) / 2)


def _point_inside(
    bracket: Point, insufficient: Bool[Array, ""]
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The next step length: the cubic's, kept off the ends once it has been near one twice."""
    lower, upper = jnp.min(bracket.t), jnp.max(bracket.t)
    one, other = (jax.tree.map(lambda both, end=end: both[end], bracket) for end in (0, 1))
    t = _cubic_minimum(one, other, lower, upper)
    margin = 0.1 * (upper - lower)
    near = jnp.minimum(upper - t, t - lower) < margin
    push = near & (insufficient | (t >= upper) | (t <= lower))
    inner = jnp.where(jnp.abs(t - upper) < jnp.abs(t - lower), upper - margin, lower + margin)
    return jnp.where(push, inner, t), near & ~push


def _lower_end(bracket: Point) -> Int[Array, ""]:
    """The end with the smaller loss; the first of equals."""
    return jnp.where(bracket.loss[0] <= bracket.loss[1], 0, 1)


def _replace_end(bracket: Point, end: Int[Array, ""], point: Point) -> Point:
    return jax.tree.map(lambda both, new: both.at[end].set(new), bracket, point)


def _choose(condition: Bool[Array, ""], one: Point, other: Point) -> Point:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
