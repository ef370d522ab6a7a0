"""Programs, and what they are made of, that outlive the call which made them."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A program keeps its loss alive, and all that the loss closes over: only the latest few are kept.
_MOST = 16


def kept(make: Callable[P, T]) -> Callable[P, T]:
    """`make`, which gives equal arguments the very thing that it made for them before.

    What cannot be hashed cannot be recognised: for that it makes another. A function is recognised
    as `jax.jit` does, by being the same one: what it reads of globals is as it was.
    """
    remembered: Callable[..., T] = lru_cache(maxsize=_MOST, typed=True)(make)

    @wraps(make)
    def made(*given: P.args, **named: P.kwargs) -> T:
        try:
            hash((given, tuple(named.values())))
        except TypeError:
            return make(*given, **named)
        return remembered(*given, **named)

    return made
