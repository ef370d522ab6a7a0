"""What a user sets for a run, checked before any data are read."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import optax
from jaxtyping import Array

from jaxgd.blocked import blocked_sgd
from jaxgd.descent import Epoch
from jaxgd.inputs import check_rate
from jaxgd.optim.names import by_name
from jaxgd.optim.registry import REGISTRY
from jaxgd.storage.reservation import check_room
from jaxgd.tabular.predictor import Predictor

# Predictions and pictures are of a size that is not known before.
_SMALL = 2**16


class Keys(NamedTuple):
    """The random keys of a run, one a use, all from its seed."""

    split: Array
    init: Array
    order: Array


def keys(seed: int) -> Keys:
    """The keys of a seed; ValueError unless it is in [0, 2**32)."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer in [0, 2**32); got seed={seed}.")
    return Keys(*jax.random.split(jax.random.key(seed), 3))


def optimizer_named(
    name: str, learning_rate: float | Literal["auto"]
) -> Callable[[Any], optax.GradientTransformation]:
    """torch.optim's optimizer of that name, of its learning rate.

    ValueError for another name or a bad learning rate.
    """
    offered = sorted(REGISTRY.keys() - {"muon"})
    if name.lower() == "muon":
        raise ValueError(
            f"optimizer must be one of {', '.join(offered)}; got {name!r}. "
            "Muon takes matrices only; every model here has a vector."
        )
    optimizer = by_name(name, offered)
    if learning_rate != "auto":
        check_rate(learning_rate)
    return lambda rate: optimizer(lr=rate)


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


def writable(path: Path) -> Path:
    """The path, if a file may be put there; its folder may be missing, see `make_room`."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write {path}: it is not a regular file")
    directory = (Path(os.path.realpath(path)) if path.is_symlink() else path).parent
    while not path.is_symlink() and not directory.exists():
        directory = directory.parent
    if not directory.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {directory} is not a directory")
    if not os.access(directory, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission to write in {directory}")
    return path


def make_room(path: Path, size: int = _SMALL) -> None:
    """Make a file's folder where it is missing, and raise OSError unless the file will fit there.

    Every command does so once its input is checked, before it computes anything.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_room(path, size)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from None


def check_replaces_no_input(path: Path, option: str, *inputs: Path) -> None:
    """ValueError if the file to write, by whatever name, is one of those that are read."""
    if path.exists() and any(path.samefile(given) for given in inputs):
        raise ValueError(
            f"an output must not replace an input; got {path} for both. "
            f"Name another file with {option}."
        )
