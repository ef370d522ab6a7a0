"""Gradient descent as pure functions in JAX, checked against PyTorch at every update."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxgd import equivalence, figures, interop, optim, scale, storage, streaming, tabular
from jaxgd.batches import plan
from jaxgd.blocked import blocked_sgd
from jaxgd.descent import State, descend, init_state, step, strong, train, visit
from jaxgd.epochs import gd, minibatch, sgd
from jaxgd.fitting import (
    Diverged,
    Fit,
    History,
    Interrupted,
    Position,
    Progressed,
    Stop,
    fit,
    jsonl,
)
from jaxgd.host_loop import walk
from jaxgd.interop import export_run, load_run
from jaxgd.keys import keyed, row_keys
from jaxgd.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    squared_error,
    supervised,
)
from jaxgd.models import Linear, init_linear, init_mlp, linear, logistic, mlp
from jaxgd.objective import mean
from jaxgd.order import shuffle, whole
from jaxgd.precision import in_precision
from jaxgd.stopping import Patience, Stopped, train_until
from jaxgd.streaming import stream

if TYPE_CHECKING:
    from jaxgd import study

__all__ = [
    "Diverged",
    "Fit",
    "History",
    "Interrupted",
    "Linear",
    "Patience",
    "Position",
    "Progressed",
    "State",
    "Stop",
    "Stopped",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "blocked_sgd",
    "cross_entropy",
    "descend",
    "equivalence",
    "export_run",
    "figures",
    "fit",
    "gd",
    "in_precision",
    "init_linear",
    "init_mlp",
    "init_state",
    "interop",
    "jsonl",
    "keyed",
    "linear",
    "load_run",
    "logistic",
    "mean",
    "minibatch",
    "mlp",
    "optim",
    "plan",
    "row_keys",
    "scale",
    "sgd",
    "shuffle",
    "squared_error",
    "step",
    "storage",
    "stream",
    "streaming",
    "strong",
    "study",
    "supervised",
    "tabular",
    "train",
    "train_until",
    "visit",
    "walk",
    "whole",
]


def __getattr__(name: str) -> Any:
    """The room `study`, imported where it is first asked for: no training needs it."""
    if name == "study":
        return import_module("jaxgd.study")
    raise AttributeError(f"module 'jaxgd' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names: the modules on the way to them are found by importing them."""
    return __all__
