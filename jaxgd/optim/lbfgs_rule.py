"""L-BFGS with torch's closure: one update evaluates the loss many times."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxgd.optim.line_search import Point, strong_wolfe
from jaxgd.optim.options import (
    NO_PARAMS,
    Scalar,
    ScalarOrSchedule,
    at,
    check,
    check_lr,
    check_params,
)


class LBFGSState(NamedTuple):
    """torch's state by torch's names, over all parameters as one vector of n numbers.

    The first `num_old` rows of the history are the pairs in use, the oldest first.
    """

    step: Int[Array, ""]
    func_evals: Int[Array, ""]
    n_iter: Int[Array, ""]
    d: Float[Array, " n"]
    t: Float[Array, ""]
    old_dirs: Float[Array, "history n"]
    old_stps: Float[Array, "history n"]
    ro: Float[Array, " history"]
    num_old: Int[Array, ""]
    H_diag: Float[Array, ""]
    prev_flat_grad: Float[Array, " n"]
    prev_loss: Float[Array, ""]


class _Progress(NamedTuple):
    """Where one update has got to."""

    state: LBFGSState
    x: Float[Array, " n"]
    loss: Float[Array, ""]
    grad: Float[Array, " n"]
    iterations: Int[Array, ""]
    evals: Int[Array, ""]
    stop: Bool[Array, ""]


def lbfgs(
    lr: ScalarOrSchedule = 1,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
    *,
    history_dtype: DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS, as `torch.optim.LBFGS`: one update is up to `max_iter` iterations.

        d = -H g,            H from the last `history_size` pairs y = Δg, s = t d with y·s > 1e-10
        x ← x + t d,         t = lr, at the very first iteration lr · min(1, 1/‖g‖₁);
                             or as `strong_wolfe` accepts from there

    until max|g| ≤ tolerance_grad, max|t d| ≤ tolerance_change, |Δloss| < tolerance_change,
    g·d > -tolerance_change, or max_eval (5/4 max_iter) evaluations are done.

    An update evaluates the loss again, so it is told what torch's closure computes. The gradient
    and `value` are those of `params`:

        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = optimizer.update(grad, state, params, value=value, value_fn=value_fn)

    State: `LBFGSState`, 2 · history_size + 2 times the parameters: 202 times with torch's default,
    and from the first update on, where torch allocates the pairs as they come. `history_dtype`,
    which torch has not, keeps the pairs in another dtype, bfloat16 say (102 times float32
    parameters); their products are summed in the parameters' own. The directions then change, and
    the way, but not the minimum; torch's trajectory is that of None.

    Raises ValueError for an option out of its range, or without `value` and `value_fn`. All
    parameters have one dtype.

    Source: Numerical optimization (Nocedal & Wright), algorithm 7.5.
    Departs from torch: nothing beyond rounding, in float64. Curvature pairs amplify rounding, so
    that near the minimum runs part ways; torch keeps the loss, t and its products in doubles.
    """
    check_lr(lr)
    remedy = "torch's defaults are max_iter=20 and history_size=100."
    for name, value in {"max_iter": max_iter, "history_size": history_size}.items():
        check(name, value, "at least 1", lambda number: number >= 1, remedy)
    max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
    check(
        "max_eval", max_eval, "at least 1", lambda number: number >= 1, "Use None for the default."
    )
    if line_search_fn not in (None, "strong_wolfe"):
        raise ValueError(
            f"line_search_fn must be None or 'strong_wolfe'; got {line_search_fn!r}. "
            "Use 'strong_wolfe' unless lr is known to be short enough."
        )

    def init(params: optax.Params) -> LBFGSState:
        check_params(params)
        dtypes = sorted({str(jnp.result_type(leaf)) for leaf in jax.tree.leaves(params)})
        if len(dtypes) > 1:
            raise TypeError(
                f"params must have one dtype for lbfgs; got {', '.join(dtypes)}. "
                "Convert all of them to the widest."
            )
        flat = ravel_pytree(params)[0]

        def zeros(*shape: int) -> Array:
            return jnp.zeros(shape, flat.dtype)

        def none() -> Int[Array, ""]:
            return jnp.zeros((), int)

        kept = flat.dtype if history_dtype is None else history_dtype
        return LBFGSState(
            step=none(),
            func_evals=none(),
            n_iter=none(),
            d=zeros(flat.size),
            t=zeros(),
            old_dirs=zeros(history_size, flat.size).astype(kept),
            old_stps=zeros(history_size, flat.size).astype(kept),
            ro=zeros(history_size),
            num_old=none(),
            H_diag=zeros() + 1,
            prev_flat_grad=zeros(flat.size),
            prev_loss=zeros(),
        )

    def update(
        grads: optax.Updates,
        state: LBFGSState,
        params: optax.Params | None = None,
        *,
        value: Scalar | None = None,
        value_fn: Callable[[optax.Params], Float[Array, ""]] | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, LBFGSState]:
        del extra_args
        if params is None:
            raise ValueError(NO_PARAMS)
        if value is None or value_fn is None:
            raise ValueError(
                "lbfgs must be told the loss and how to evaluate it again; got value="
                f"{value}, value_fn={value_fn}. "
                "Use update(grads, state, params, value=loss(params), value_fn=loss)."
            )
        start, unravel = ravel_pytree(params)
        grad = ravel_pytree(grads)[0]
        rate = jnp.asarray(at(lr, state.step), start.dtype)

        def loss_and_grad(x: Float[Array, " n"]) -> tuple[Float[Array, ""], Float[Array, " n"]]:
            loss, gradient = jax.value_and_grad(value_fn)(unravel(x))
            return loss.astype(x.dtype), ravel_pytree(gradient)[0]

        def iterate(progress: _Progress) -> _Progress:
            """One direction, one step along it, and torch's tests whether to stop."""
            before = progress.state
            n_iter = before.n_iter + 1
            remembered = _remember(before, progress.grad)
            d = _direction(remembered, progress.grad)
            cautious = jnp.minimum(1.0, 1.0 / jnp.abs(progress.grad).sum()) * rate
            t = jnp.where(n_iter == 1, cautious, rate)
            slope = progress.grad @ d
            state = remembered._replace(
                n_iter=n_iter, d=d, t=t, prev_flat_grad=progress.grad, prev_loss=progress.loss
            )
            here = progress._replace(
                state=state, iterations=progress.iterations + 1, stop=jnp.array(True)
            )
            flat = slope > -tolerance_change
            return jax.lax.cond(flat, lambda: here, lambda: move(here, slope))

        def move(here: _Progress, slope: Float[Array, ""]) -> _Progress:
            """Go along the direction of the state, and decide whether that was the last step."""
            state, x = here.state, here.x

            def evaluate(t: Float[Array, ""]) -> Point:
                loss, gradient = loss_and_grad(x + t * state.d)
                return Point(t, loss, gradient, gradient @ state.d)

            origin = Point(jnp.zeros_like(state.t), here.loss, here.grad, slope)
            last = here.iterations == max_iter
            if line_search_fn is None:
                # torch does not look at the loss where the update ends: the next one will.
                unseen = origin._replace(t=state.t)
                point = jax.lax.cond(last, lambda: unseen, lambda: evaluate(state.t))
                new_evals = jnp.where(last, 0, 1)
            else:
                longest = jnp.max(jnp.abs(state.d))
                left = max_eval - here.evals
                point, new_evals = strong_wolfe(
                    evaluate, origin, state.t, longest, left, tolerance_change
                )
            evals = here.evals + new_evals
            stop = (
                last
                | (evals >= max_eval)
                | (jnp.max(jnp.abs(point.grad)) <= tolerance_grad)
                | (jnp.max(jnp.abs(point.t * state.d)) <= tolerance_change)
                | (jnp.abs(point.loss - here.loss) < tolerance_change)
            )
            return here._replace(
                state=state._replace(t=point.t),
                x=x + point.t * state.d,
                loss=point.loss,
                grad=point.grad,
                evals=evals,
                stop=stop,
            )

        begun = _Progress(
            state=state,
            x=start,
            loss=jnp.asarray(value, start.dtype),
            grad=grad,
            iterations=jnp.zeros((), int),
            evals=jnp.ones((), int),
            stop=jnp.max(jnp.abs(grad)) <= tolerance_grad,
        )
        ended = jax.lax.while_loop(lambda progress: ~progress.stop, iterate, begun)
        new_state = ended.state._replace(
            step=state.step + 1, func_evals=state.func_evals + ended.evals
        )
        return unravel(ended.x - start), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _remember(state: LBFGSState, grad: Float[Array, " n"]) -> LBFGSState:
    """The history with the last step's curvature pair, if its curvature is positive enough."""
    y = grad - state.prev_flat_grad
    s = state.d * state.t
    ys = y @ s
    size = state.ro.size
    full = state.num_old == size
    row = jnp.minimum(state.num_old, size - 1)

    def append(rows: Array, new: Array) -> Array:
        return jnp.where(full, jnp.roll(rows, -1, axis=0), rows).at[row].set(new.astype(rows.dtype))

    longer = state._replace(
        old_dirs=append(state.old_dirs, y),
        old_stps=append(state.old_stps, s),
        ro=append(state.ro, 1.0 / ys),
        num_old=row + 1,
        H_diag=ys / (y @ y),
    )
    return jax.lax.cond(ys > 1e-10, lambda: longer, lambda: state)


def _direction(state: LBFGSState, grad: Float[Array, " n"]) -> Float[Array, " n"]:
    """The two-loop recursion: minus the inverse Hessian of the history times the gradient."""

    pairs = state.old_stps, state.old_dirs

    def backward(i: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, al = carry
        newest_first = state.num_old - 1 - i
        step, change = (rows[newest_first].astype(q.dtype) for rows in pairs)
        a = (step @ q) * state.ro[newest_first]
        return q - a * change, al.at[newest_first].set(a)

    def forward(i: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        r, al = carry
        step, change = (rows[i].astype(r.dtype) for rows in pairs)
        b = (change @ r) * state.ro[i]
        return r + (al[i] - b) * step, al

    q, al = jax.lax.fori_loop(0, state.num_old, backward, (-grad, jnp.zeros_like(state.ro)))
    return jax.lax.fori_loop(0, state.num_old, forward, (q * state.H_diag, al))[0]
