"""A learning rate found by short runs of the training's own programs: the rate is in their data."""

from collections.abc import Callable
from typing import Any

import optax
from jaxtyping import PyTree

from jaxgd.cli.training_options import TrainingOptions
from jaxgd.descent import State, init_state
from jaxgd.fitting import Diverged, Progressed
from jaxgd.fitting.progress import Progress
from jaxgd.inputs import OfRate

# A run is so long, and ends with a border of the plan; one of few updates an epoch ends sooner.
_UPDATES, _EPOCHS = 200, 50
# Rates are tried half a power of ten apart, so many at most.
_APART, _MOST = 10**0.5, 9
# Where to begin. An MLP ends short runs lower at higher rates than Adam's own 0.001, and the whole
# run worse on held-out rows.
_LINEAR, _MLP, _MLP_BY_ADAM = 0.1, 0.01, 0.001
_NAME = "learning_rate"


def rate_as_data(of_rate: OfRate, rate: float = 0.0) -> optax.GradientTransformation:
    """The optimizer, whose state holds its learning rate: one program is for all rates."""
    return optax.inject_hyperparams(of_rate)(**{_NAME: rate})


def rate_in(state: State) -> float:
    """The learning rate of an optimizer with its `rate_as_data`."""
    return float(f"{float(optax.tree.get(state.opt_state, _NAME)):.3g}")


def begin(
    fit_from: Callable[..., Any],
    of_rate: OfRate,
    start: PyTree,
    options: TrainingOptions,
    goes_on: bool,
) -> dict[str, Any]:
    """What a fit at the found rate begins with: its state as `params`, and its `optimizer`.

    One that goes on finds its rate in its checkpoint.
    """
    optimizer = rate_as_data(of_rate)

    def at(rate: float) -> State:
        return init_state(start, rate_as_data(of_rate, rate))

    def fit_at(rate: float, progress: Progress) -> Any:
        return fit_from(at(rate), optimizer=optimizer, progress=progress)

    is_capped = bool(options.hidden) and options.is_auto
    first = _LINEAR if not options.hidden else _MLP_BY_ADAM if is_capped else _MLP
    rate = first if goes_on else found_rate(fit_at, first, most=0 if is_capped else _MOST)
    return {"params": at(rate), "optimizer": optimizer}


def found_rate(fit_at: Callable[[float, Progress], Any], first: float, most: int = _MOST) -> float:
    """The rate that short runs end lowest with, the one nearest to the first of equals.

    `fit_at(rate, progress)` trains. A run is judged by the mean loss of its last epoch, of the
    batches as they came. The next rates, half a power of ten up and down, are tried until the best
    is between two that are worse, or is the highest: `most` of these steps up.
    """
    losses: dict[int, float] = {}

    def loss_at(power: int) -> float:
        if power not in losses:
            losses[power] = _end_loss(fit_at, _rate(first, power))
        return losses[power]

    best = 0
    while len(losses) < _MOST:
        lowest = min((best, best - 1, min(best + 1, most)), key=loss_at)
        if lowest == best:
            break
        best = lowest
    return _rate(first, best)


def _end_loss(fit_at: Callable[[float, Progress], Any], rate: float) -> float:
    told: list[float] = []

    def is_long_enough(now: Progressed) -> bool:
        told.append(now.loss)
        return bool(now.state.opt_state.count >= _UPDATES) or now.epoch >= _EPOCHS

    try:
        fit_at(rate, is_long_enough)
    except Diverged:
        return float("inf")
    return told[-1]


def _rate(first: float, power: int) -> float:
    return float(f"{first * _APART**power:.2g}")
