"""How a fault is planted: the expected side is honest torch, the actual side is not."""

from functools import partial

import numpy as np
import torch

from jaxgd.equivalence import Recipe
from tests.equivalence.pairs import BOTH, Pair
from tests.equivalence.trainings import jax_training, torch_training

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
ADAGRAD, RMSPROP = torch.optim.Adagrad, torch.optim.RMSprop
F32, F64 = (np.float32,), (np.float64,)

MOMENTUM = partial(SGD, lr=0.05, momentum=0.9)
MOMENTUM_RECIPE = Recipe("sgd", lr=0.05, momentum=0.9)


def in_torch(dtype, expected, actual, shared=None, **planted):
    """Both sides in torch: two optimizers, options of both, and what only the actual side does."""
    shared = shared or {}
    return (
        torch_training(dtype, actual, **{**shared, **planted}),
        torch_training(dtype, expected, **shared),
    )


def in_jax(dtype, expected, optimizer, shared=None, **planted):
    """The actual side in JAX, with an optax transformation made by `optimizer`."""
    return jax_training(dtype, optimizer(), **planted), torch_training(
        dtype, expected, **(shared or {})
    )


def both_in_jax(dtype, expected, optimizer):
    """Two optax transformations, each made by a function."""
    return jax_training(dtype, optimizer()), jax_training(dtype, expected())


def optimizer_pairs(name, recipe, make, cause="unknown", dtypes=BOTH, update=1, seen_by=None):
    """Pairs, one for each dtype, with the same fault in the optimizer's step."""
    return [
        Pair(name, dtype, make, recipe, update, seen_by, "parameters", cause) for dtype in dtypes
    ]
