"""The optimizers by name, for the command line and for `fit`."""

import difflib
from collections.abc import Callable, Collection

import optax

from jaxgd.optim.registry import REGISTRY


def by_name(
    name: str, among: Collection[str] | None = None
) -> Callable[..., optax.GradientTransformation]:
    """The optimizer of that name, such as `adam`: a function of torch's options.

    Raises ValueError for a name that is not `among` those on offer, or else in the registry, and
    names the nearest, if one is near.
    """
    among = REGISTRY if among is None else among
    if name not in among:
        known = ", ".join(sorted(among))
        nearest = difflib.get_close_matches(name.lower(), among, n=1)
        hint = f" Use {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"optimizer must be one of {known}; got {name!r}.{hint}")
    return REGISTRY[name].build
