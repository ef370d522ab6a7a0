"""Gradient descent as pure functions in JAX, checked against PyTorch at every update."""

from jaxgd import equivalence, optim
from jaxgd.blocked import blocked_sgd
from jaxgd.descent import State, gd, init, minibatch, sgd, step, train
from jaxgd.fit import Diverged, Fit, History, fit
from jaxgd.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    softmax_cross_entropy,
    squared_error,
)
from jaxgd.models import Linear, init_linear, init_mlp, linear, logistic, mlp
from jaxgd.order import shuffle
from jaxgd.torch_params import params_from_torch, params_to_torch

__all__ = [
    "Diverged",
    "Fit",
    "History",
    "Linear",
    "State",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "blocked_sgd",
    "equivalence",
    "fit",
    "gd",
    "init",
    "init_linear",
    "init_mlp",
    "linear",
    "logistic",
    "minibatch",
    "mlp",
    "optim",
    "params_from_torch",
    "params_to_torch",
    "sgd",
    "shuffle",
    "softmax_cross_entropy",
    "squared_error",
    "step",
    "train",
]
