"""What the settings of a run stand for: its random keys, its optimizer, its way of updating."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array

from jaxgd.blocked import blocked_sgd
from jaxgd.descent import Epoch
from jaxgd.optim.names import by_name
from jaxgd.tabular.predictor import Predictor


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
