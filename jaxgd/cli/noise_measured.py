"""What `jaxgd noise` measures of a training, and its pictures."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.cli.noise_report import Found, Measure, MeasuredRun
from jaxgd.cli.run_parts import Keys, optimizer_named
from jaxgd.descent import State, init_state, train, visit
from jaxgd.figures.gradient_noise import batch_scatter, hyperbola
from jaxgd.objective import Loss
from jaxgd.study.batch_scatter import scatter_of_batches
from jaxgd.study.critical_size import CriticalSize, critical_batch_size, updates_at
from jaxgd.study.dual_norm import dual_noise_scale
from jaxgd.study.estimates import Estimate
from jaxgd.study.noise_scale import GradientNoise, gradient_noise
from jaxgd.study.preconditioning import preconditioner
from jaxgd.study.two_sizes import measured_step, noise_during

# In the norms that these descend in, the Euclidean noise scale says little; of others but SGD and
# its average no norm is known.
_EUCLIDEAN = {"sgd", "asgd"}
_PRECONDITIONED = {"adagrad", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop"}
_SIGN = {"rprop"}

# So many batches are drawn of each size; no size in the runs is larger, and no run longer.
_DRAWS, _LARGEST, _LONGEST = 48, 512, 10_000


class Setting(NamedTuple):
    """What is trained: the loss of an example, the rows, and how."""

    loss: Loss
    data: PyTree
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    keys: Keys


def measured(setting: Setting, params: PyTree, n: int, critical: bool) -> Found:
    """All that is measured of a training on n rows, with the critical size or without."""
    trained = _train(setting, params)
    measure = partial(_noise_at, setting, jax.jit(partial(gradient_noise, setting.loss)))
    ends = measure(trained.first), measure(trained.last)
    geometry: str | None = "Euclidean"
    if setting.optimizer in _PRECONDITIONED:
        geometry = f"preconditioned as {setting.optimizer}"
    elif setting.optimizer in _SIGN:
        geometry = "in the dual norm of signs"
    elif setting.optimizer not in _EUCLIDEAN:
        geometry = None
    if not critical:
        return Found(n, geometry, trained, ends, None, None)
    runs = _runs(setting, trained, n)
    return Found(n, geometry, trained, ends, runs, measure(runs.reached))


def _train(setting: Setting, params: PyTree) -> MeasuredRun:
    transformation = optimizer_named(setting.optimizer)(setting.learning_rate)
    epoch = visit(measured_step(setting.loss, transformation), setting.batch_size)
    one, rest = (jax.jit(train(epoch, count)) for count in (1, setting.epochs - 1))
    key = setting.keys.order
    first, outs = one(init_state(params, transformation), setting.data, key)
    last, more = rest(first, setting.data, key, 1)
    losses, sizes = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, more)
    mean_losses = np.asarray(losses, np.float64).mean(axis=1)
    if not np.isfinite(mean_losses).all():
        raise FloatingPointError("the training diverged. Use a smaller --learning-rate.")
    return MeasuredRun(mean_losses, noise_during(sizes), first, last)


def _noise_at(setting: Setting, noise: Callable[..., GradientNoise], state: State) -> Measure:
    """The noise of single rows, and as the optimizer measures it."""
    plain = own = noise(state.params, setting.data)
    if setting.optimizer in _SIGN:
        dual = dual_noise_scale(setting.loss, state.params, setting.data, norm="sign").noise_scale
        return Measure(plain, Estimate(dual, dual, dual), float(dual))
    if setting.optimizer in _PRECONDITIONED:
        scaled_by = preconditioner(state.opt_state)
        own = noise(state.params, setting.data, preconditioner=scaled_by)
    return Measure(plain, own.noise_scale, float(own.rows.noise_scale))


def _runs(setting: Setting, trained: MeasuredRun, n: int) -> CriticalSize:
    """Runs of all sizes from the state after the first epoch."""
    return critical_batch_size(
        setting.loss,
        trained.first.params,
        setting.data,
        optimizer=optimizer_named(setting.optimizer),
        learning_rate=setting.learning_rate,
        batch_sizes=_powers(4, min(n, _LARGEST)),
        key=setting.keys.order,
        opt_state=trained.first.opt_state,
        most=_LONGEST,
    )


def _powers(base: int, end: int) -> list[int]:
    """Half the base times its powers below the end, none of them close to it, and the end."""
    sizes = [b for i in range(1, 40) if 1.4 * (b := base**i // 2) < end]
    return [*sizes, end]


def scatter_of(setting: Setting, found: Found) -> Any:
    """How far the gradients of batches scatter after the last epoch."""
    sizes, rows = _powers(2, found.n), found.ends[1].euclidean.rows
    draw = partial(scatter_of_batches, setting.loss, batch_sizes=sizes, draws=_DRAWS)
    return batch_scatter(
        np.asarray(sizes),
        np.asarray(jax.jit(draw)(found.trained.last.params, setting.data, key=setting.keys.order)),
        n=found.n,
        trace=float(rows.trace),
        squared_norm=float(rows.squared_norm),
        title=f"Gradients of mini-batches after the last epoch: noise scale {rows.noise_scale:.3g}",
    )


def hyperbola_of(n: int, runs: CriticalSize) -> Any:
    """Updates and examples that runs of each size took to one loss."""
    critical = float(runs.critical.value)
    return hyperbola(
        runs.batch_sizes,
        runs.updates,
        n=n,
        fitted=partial(updates_at, n=n, fewest=runs.fewest_updates, critical=critical),
        critical=critical,
        title=f"Updates and examples to a training loss of {runs.target:.4g}",
    )
