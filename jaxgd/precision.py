"""In which precision products of matrices are worked out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import WRAPPER_ASSIGNMENTS
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxgd.losses import Supervised
from jaxgd.remembered import kept

Precision = Literal["default", "high", "highest", "bfloat16"]


def in_precision(fn: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """The same function, its matrix products and convolutions in this precision.

    | | CPU | NVIDIA | TPU |
    |---|---|---|---|
    | `"default"` | float32 | TF32, on Ampere and newer | bfloat16 |
    | `"high"` | float32 | TF32 | three products of bfloat16 |
    | `"highest"` | float32 | float32 | float32, as six products of bfloat16 |
    | `"bfloat16"` | bfloat16 | bfloat16 | bfloat16 |

    of float32 arrays, added up in float32 but for the last row; what else there is stays float32.
    `"bfloat16"` converts all floating-point arguments, and the results back to the widest dtype of
    these: of a model `predict(params, x)` or a loss, gradients and updates are those of the float32
    params (the masters). Of a loss the labels are converted too; of `predict` they are not. Its
    derivative is in the same precision. `"default"` leaves what JAX is set to. A `supervised` loss
    stays one, but for `"bfloat16"`: what is made for a linear predictor takes it still.

    Raises ValueError for another name.
    """
    check_precision(precision)
    return fn if precision == "default" else _made(fn, precision)


def check_precision(precision: Any) -> Precision:
    """The precision; ValueError unless it is one of the four."""
    if precision not in get_args(Precision):
        names = ", ".join(f'"{name}"' for name in get_args(Precision))
        raise ValueError(f"precision must be one of {names}; got {precision!r}.")
    return precision


@dataclass(frozen=True)
class InPrecision:
    """A function in a precision: see `in_precision`."""

    fn: Callable[..., Any]
    precision: Precision

    def __post_init__(self) -> None:
        """It bears the name of its function, and its signature."""
        for name in WRAPPER_ASSIGNMENTS:
            if hasattr(self.fn, name):
                vars(self)[name] = getattr(self.fn, name)
        vars(self)["__wrapped__"] = self.fn

    def __call__(self, *args: Any, **named: Any) -> Any:
        """What the function gives."""
        if self.precision == "bfloat16":
            return _halved(self.fn, args, named)
        with jax.default_matmul_precision(self.precision):
            return self.fn(*args, **named)


# The same object for the same function: programs are kept by the functions they are made of.
@kept
def _made(fn: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    if isinstance(fn, Supervised) and precision != "bfloat16":
        return Supervised(in_precision(fn.predict, precision), in_precision(fn.loss, precision))
    return InPrecision(fn, precision)


def _halved(fn: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    dtypes = [leaf.dtype for leaf in jax.tree.leaves((args, named)) if _is_floating(leaf)]
    widest = jnp.result_type(*dtypes) if dtypes else jnp.float32
    args, named = _converted((args, named), jnp.bfloat16)
    return _converted(fn(*args, **named), widest)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def _converted(tree: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if _is_floating(leaf) else leaf, tree)
