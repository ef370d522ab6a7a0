"""The rules torch sets for its options, as errors that name the rule, the value and the remedy.

A traced option (inside `jit`, `vmap` or `optax.inject_hyperparams`) has no value yet: its rule
is the caller's to keep.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

Scalar: TypeAlias = int | float | np.number | np.ndarray | jax.Array


@runtime_checkable
class Tensor(Protocol):
    """A torch tensor, as far as it is one number."""

    def numel(self) -> int:
        """How many numbers it holds."""

    def item(self) -> float:
        """The only one of them."""


ScalarOrSchedule: TypeAlias = Scalar | Tensor | Callable[[Any], Any]
Betas: TypeAlias = tuple[ScalarOrSchedule, Scalar]

Options = ParamSpec("Options")
Made = TypeVar("Made")

NO_PARAMS: Final = (
    "update must be given the params, which this optimizer reads; got None. "
    "Use optimizer.update(grads, state, params)."
)

# They choose one of torch's kernels, and no number: here XLA makes the kernel.
KERNELS: Final = frozenset({"foreach", "fused", "capturable", "differentiable"})


def without_kernels(build: Callable[Options, Made]) -> Callable[Options, Made]:
    """The function, which is also given the options that choose torch's kernels, and drops them.

    They are no part of its signature: a type checker knows none of them.
    """

    @wraps(build)
    def made(*args: Options.args, **kwargs: Options.kwargs) -> Made:
        kept: Any = {name: value for name, value in kwargs.items() if name not in KERNELS}
        return build(*args, **kept)

    return made


def at(option: ScalarOrSchedule, count: Any) -> Any:
    """The option's value after `count` updates: of a schedule its value there, or the number."""
    return _alone(option(count) if callable(option) else option)


def _alone(value: Any) -> Any:
    """A number out of an array or a torch tensor of one element; everything else as it is."""
    if isinstance(value, (np.ndarray, jax.Array)):
        return value.reshape(()) if value.size == 1 else value
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def is_static_zero(option: object) -> bool:
    """Whether the option is a plain 0, so that its part of the update can be left out.

    A 0 in an array stays in: it may be traced, and then a later call may bring another value.
    """
    return isinstance(option, (int, float)) and option == 0


def check(
    name: str,
    value: object,
    rule: str,
    holds: Callable[[float], bool],
    remedy: str,
    *,
    infinite: bool = False,
) -> None:
    """Raise unless `value` is a scalar for which the rule holds, or not known yet.

    It must be finite, or may be `infinite` where torch gives that a meaning.
    """
    if isinstance(value, jax.core.Tracer):
        return
    if not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a number or a JAX scalar; got a {kind}, {value}. {remedy}")
    if np.shape(value) != ():
        raise ValueError(f"{name} must be a scalar; got the shape {np.shape(value)}. {remedy}")
    number = float(value)
    if not ((math.isfinite(number) or infinite) and holds(number)):
        raise ValueError(f"{name} must be {rule}; got {name}={number:g}. {remedy}")


def is_positive_integer(value: float) -> bool:
    """The rule of a number of updates."""
    return value >= 1 and value == int(value)


def check_lr(lr: object) -> None:
    """Raise unless `lr` is a schedule or a finite number that is not negative.

    As in torch it may stand alone in an array, or in a tensor, of one element.
    """
    if callable(lr) and not hasattr(lr, "init"):
        return
    if hasattr(lr, "init"):
        raise TypeError(
            f"lr must be a number or a schedule of the count; got a {type(lr).__name__}, which "
            "looks at a value. Use optax.inject_hyperparams(optimizer)(lr=…): it keeps its state."
        )
    remedy = "Use maximize=True to ascend, and float(lr) for a string."
    check("lr", _alone(lr), "finite and at least 0", lambda value: value >= 0, remedy)


def check_non_negative(**options: object) -> None:
    """Raise unless every option is a finite number that is not negative."""
    for name, value in options.items():
        remedy = f"Use {name}=0 for none."
        check(name, value, "finite and at least 0", lambda value: value >= 0, remedy)


def check_betas(betas: Betas) -> None:
    """Raise unless both averages forget: each beta in [0, 1); the first may be a schedule."""
    remedy = "torch's default is betas=(0.9, 0.999)."
    check_pair("betas", betas, remedy)
    for index, beta in enumerate(betas):
        if index == 0 and callable(beta):
            continue
        check(f"betas[{index}]", beta, "in [0, 1)", lambda value: 0 <= value < 1, remedy)


def check_momentum(momentum: object) -> None:
    """Raise unless the momentum is a schedule or a finite number that is not negative."""
    if not callable(momentum):
        check_non_negative(momentum=momentum)


def check_pair(name: str, pair: object, remedy: str) -> None:
    """Raise unless the option is a tuple or a list of two."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{name} must be two numbers; got {name}={pair}. {remedy}")


def check_params(params: PyTree) -> None:
    """Raise unless every parameter is real and floating."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"params must be real and floating; got {jnp.result_type(leaf)} at params"
                f"{jax.tree_util.keystr(path)}. Convert integers to floats, and give the real "
                "and imaginary parts of a complex parameter as two leaves."
            )
