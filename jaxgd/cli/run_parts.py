"""What the settings of a run stand for: its random keys, its optimizer, its way of updating."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from jaxgd.blocked import blocked_sgd
from jaxgd.cli.training_options import TrainingOptions
from jaxgd.descent import Epoch
from jaxgd.inputs import OfRate
from jaxgd.optim import clip_grad_norm, with_average
from jaxgd.optim.names import by_name
from jaxgd.tabular.predictor import Predictor
from jaxgd.tabular.target import Target

# Epochs where none are told: of so many updates together, so many at the least and the most.
_UPDATES, _FEWEST, _MOST = 10_000, 5, 200


class Keys(NamedTuple):
    """The random keys of a run, one a use, all from its seed."""

    split: Array
    init: Array
    order: Array


def keys(seed: int) -> Keys:
    """The keys of a seed in [0, 2**32)."""
    return _keys(np.uint32(seed))


@jax.jit
def _keys(seed: Array) -> Keys:
    return Keys(*jax.random.split(jax.random.key(seed), 3))


def optimizer_named(name: str) -> Callable[[Any], optax.GradientTransformation]:
    """torch.optim's optimizer of that name, of its learning rate."""
    return lambda rate: by_name(name)(lr=rate)


def epochs_of(options: TrainingOptions, updates: int) -> int:
    """How many epochs there are, of so many updates each."""
    usual = min(max(-(-_UPDATES // updates), _FEWEST), _MOST)
    return usual if options.epochs is None else options.epochs


def optimizer_of(options: TrainingOptions, updates: int, usual_decay: float) -> OfRate:
    """The optimizer of the options, of its learning rate, for epochs of so many updates.

    Where none is told weights, and no biases, have the usual decay, unless another is told.
    """
    name, told = options.chosen()
    shape = schedule(options, updates)

    def of_rate(learning_rate: Any) -> optax.GradientTransformation:
        moving = shape and (lambda count: learning_rate * shape(count))
        made = by_name(name)(lr=moving or learning_rate, **told)
        if options.has_usual_decay:
            made = optax.chain(optax.add_decayed_weights(usual_decay, _is_weight), made)
        if options.clip_norm is not None:
            made = optax.chain(clip_grad_norm(options.clip_norm), made)
        if options.average is None:
            return made
        return with_average(made, None if options.average == "mean" else options.average)

    return of_rate


def _is_weight(params: PyTree) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].name == "w", params)


def schedule(options: TrainingOptions, updates: int) -> Callable[[Any], Array] | None:
    """By what part of itself the learning rate is used, of the count of updates; None for all.

    min(1, (t + 1) / w) · 1, or (1 + cos π p) / 2, or 1 - p,   p = (t - w) / (t_end - w) ≥ 0
    """
    if options.shape == "constant" and not options.warmup:
        return None
    epochs = epochs_of(options, updates)
    if options.warmup >= epochs:
        raise ValueError(
            f"warmup must be shorter than the run; got {options.warmup:g} of {epochs} epochs. Use "
            "fewer epochs for --warmup, or more --epochs."
        )
    warm = round(options.warmup * updates)
    rest = max(epochs * updates - warm, 1)

    def part(count: Any) -> Array:
        t = jnp.asarray(count, jnp.float32)
        p = jnp.clip((t - warm) / rest, 0, 1)
        shapes: dict[str, Any] = {
            "constant": 1.0,
            "cosine": (1 + jnp.cos(jnp.pi * p)) / 2,
            "linear": 1 - p,
        }
        return jnp.minimum((t + 1) / max(warm, 1), 1) * shapes[options.shape]

    return part


def use_device(name: str | None) -> None:
    """Have JAX compute there; ValueError for a device that is not to be had."""
    if name is None:
        return
    try:
        device = jax.devices(name)[0]
    except RuntimeError:
        here = ", ".join(dict.fromkeys(device.platform for device in jax.devices()))
        raise ValueError(
            f"device must be one of those that are here: {here}; got {name}."
        ) from None
    jax.config.update("jax_default_device", device)


def usual_decay(target: Target, n: int) -> float:
    """The weight decay of scikit-learn's penalties, for n rows to train on.

    Of mean losses: LogisticRegression's ‖w‖² / 2 of the sum of losses is λ = 1/n here, Ridge's
    ‖w‖² of the sum of squares λ = 2/n.
    """
    return (2 if target.task == "regression" else 1) / n


def exact_sgd(
    predictor: Predictor, optimizer: str, batch_size: int | None
) -> Callable[[float], Epoch] | None:
    """`blocked_sgd`, of its learning rate, where it makes the updates of SGD, only faster.

    None elsewhere.
    """
    has_one_logit = not predictor.hidden and predictor.target.task != "multiclass"
    if optimizer == "sgd" and batch_size == 1 and has_one_logit:
        return partial(blocked_sgd, predictor.link_loss)
    return None
