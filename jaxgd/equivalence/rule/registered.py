"""The rules of `jaxgd.optim`'s registry, run in float64 where no formula stands here.

JAX is imported when such a rule is first asked for, and not before.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

# LBFGS asks for the loss again within an update; SparseAdam for which rows were touched.
_NOT_ALONG_GRADIENTS = {"lbfgs", "sparse_adam"}

_SHORTEST = 64


def check_registered(rule: str, options: Mapping[str, Any], formulas: tuple[str, ...]) -> None:
    """ValueError unless the registry has the rule, and the rule the options."""
    from jaxgd.optim.registry import REGISTRY

    known = sorted(({*formulas, *REGISTRY}) - _NOT_ALONG_GRADIENTS)
    if rule not in known:
        raise ValueError(
            f"rule must be one of {', '.join(known)}; got {rule!r}. "
            "Leave the recipe out for another optimizer: the stage is still found."
        )
    taken = set(inspect.signature(REGISTRY[rule].build).parameters) - {"lr"}
    if unknown := set(options) - taken:
        raise ValueError(
            f"options must be {rule}'s own, {', '.join(sorted(taken))}; "
            f"got {', '.join(sorted(unknown))}. Rename or leave them out."
        )


def defaults(rule: str) -> dict[str, Any]:
    """torch's defaults of the rule's options."""
    from jaxgd.optim.registry import REGISTRY

    signature = inspect.signature(REGISTRY[rule].build).parameters
    return {name: p.default for name, p in signature.items() if name != "lr"}


def looks_at_axes(rule: str) -> bool:
    """Whether the rule looks at a leaf's shape, so that it cannot be run on some of its entries."""
    from jaxgd.optim.registry import REGISTRY

    return REGISTRY[rule].axes != "any"


def registered_steps(
    rule: str,
    options: Mapping[str, Any],
    rates: Float[np.ndarray, " updates"],
    gradients: Float[np.ndarray, "updates ..."],
    params: Float[np.ndarray, "updates ..."],
) -> Float[np.ndarray, "updates ..."]:
    """What the rule adds to the parameters at each update, which are given, and not followed."""
    import jax

    by_entry = not looks_at_axes(rule)
    given = defaults(rule) | dict(options)
    traced = {name: value for name, value in given.items() if by_entry and _is_number(value)}
    fixed = tuple((n, v) for n, v in given.items() if n not in traced)
    width = gradients.shape[1:]
    if by_entry:  # a few lengths, so that few programs are compiled
        length = max(1 << max(int(np.prod(width)) - 1, 0).bit_length(), _SHORTEST)
        gradients, params = (_padded(x, length) for x in (gradients, params))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        steps = np.asarray(_program(rule, fixed)(traced, rates, gradients, params))
    return steps[:, : width[0]] if by_entry else steps


@cache
def _program(rule: str, fixed: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """The steps of all updates, compiled once for whatever the numbers are."""
    import jax
    import jax.numpy as jnp

    from jaxgd.optim.registry import REGISTRY

    @jax.jit
    def run(traced: Any, rates: Any, gradients: Any, params: Any) -> Any:
        rule_of = REGISTRY[rule].build(lr=lambda count: rates[count], **dict(fixed), **traced)

        def update(state: Any, now: Any) -> Any:
            step, state = rule_of.update(*now[:1], state, now[1])
            return state, step

        start = jax.tree.map(jnp.asarray, params[0])
        return jax.lax.scan(update, rule_of.init(start), (gradients, params))[1]

    return run


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_number, value))
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))


def _padded(x: Float[np.ndarray, "updates entries"], length: int) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, length - x.shape[1])])
