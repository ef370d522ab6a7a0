"""In which precision products of matrices are worked out."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

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
    derivative is in the same precision. `"default"` leaves what JAX is set to.

    Raises ValueError for another name.
    """
    check_precision(precision)
    if precision == "default":
        return fn
    return (_halved if precision == "bfloat16" else _under)(fn, precision)


def check_precision(precision: Any) -> Precision:
    """The precision; ValueError unless it is one of the four."""
    if precision not in get_args(Precision):
        names = ", ".join(f'"{name}"' for name in get_args(Precision))
        raise ValueError(f"precision must be one of {names}; got {precision!r}.")
    return precision


# The same object for the same function: programs are kept by the functions they are made of.
@lru_cache(maxsize=64)
def _under(fn: Callable[..., Any], precision: str) -> Callable[..., Any]:
    @wraps(fn)
    def under(*args: Any, **named: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return fn(*args, **named)

    return under


@lru_cache(maxsize=64)
def _halved(fn: Callable[..., Any], _: str) -> Callable[..., Any]:
    @wraps(fn)
    def halved(*args: Any) -> Any:
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(args) if _is_floating(leaf)]
        widest = jnp.result_type(*dtypes) if dtypes else jnp.float32
        return _converted(fn(*_converted(args, jnp.bfloat16)), widest)

    return halved


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def _converted(tree: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if _is_floating(leaf) else leaf, tree)
