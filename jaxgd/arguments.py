"""What a run may be told, checked without JAX: a command says what is wrong before it loads it."""

import math
import operator
from typing import Any, Literal, NamedTuple

Task = Literal["binary", "multiclass", "regression"]
Activation = Literal["tanh", "relu", "gelu", "silu", "sigmoid"]

# What a program can be exported for.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

_ALL_ROWS = "Full gradient descent is gd, or batch_size=None in fit."


class Patience(NamedTuple):
    """How long to wait: so many epochs without a loss lower than the lowest by `min_change`."""

    epochs: int
    min_change: float = 0.0


def check_batch_size(batch_size: Any, n: int | None = None) -> int:
    """The batch size as an int in [1, n]; ValueError or TypeError if it is none."""
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(
            f"batch_size must be an integer in [1, n]; got batch_size={batch_size!r}. {_ALL_ROWS}"
        ) from None
    if isinstance(batch_size, bool) or size < 1 or (n is not None and size > n):
        given = f"batch_size={batch_size!r}" + ("" if n is None else f" with n={n}")
        raise ValueError(f"batch_size must be in [1, n]; got {given}. {_ALL_ROWS}")
    return size


def check_count(name: str, count: Any) -> int:
    """A count such as epochs as an int of at least 1; ValueError or TypeError if it is none."""
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least 1; got {name}={count!r}.") from None
    if isinstance(count, bool) or number < 1:
        raise ValueError(f"{name} must be an integer of at least 1; got {name}={count!r}.")
    return number


def check_patience(patience: Any) -> Patience:
    """The patience as a Patience, of a number too; ValueError or TypeError if it is none."""
    patience = patience if isinstance(patience, tuple) else (patience,)
    epochs, min_change = Patience(*patience)
    if not (isinstance(min_change, int | float) and 0 <= min_change < float("inf")):
        raise ValueError(f"min_change must be a number of at least 0; got min_change={min_change}.")
    return Patience(check_count("patience", epochs), float(min_change))


def check_rate(learning_rate: Any) -> None:
    """ValueError for a learning rate that is not finite and greater than 0."""
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(
            "learning_rate must be finite and greater than 0; "
            f"got learning_rate={learning_rate:g}. Use 0.05 or so."
        )
