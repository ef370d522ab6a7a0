"""What torch keeps for the next update and we compute from the count, such as ASGD's eta and mu."""

from typing import Any

import numpy as np

from jaxgd.interop.torch.optimizers.source import Rates, Source
from jaxgd.interop.torch.tensors import number
from jaxgd.optim.options import at
from jaxgd.optim.registry import REGISTRY


def derived(source: Source, group: int, lr: Rates, step: int) -> dict[str, Any]:
    """Torch's numbers of that kind after `step` updates; none for most optimizers."""
    compute = REGISTRY[source.name].derived
    if compute is None:
        return {}
    options = {option: number(value) for option, value in source.groups[group].items()}
    rate = at(source.rate(group, lr), np.int32(max(step - 1, 0)))
    return compute(options, float(rate), step)


def check_derived(source: Source, lr: Rates) -> None:
    """Raise unless torch's numbers are the ones that its learning rate and its count give."""
    if REGISTRY[source.name].derived is None:
        return
    for leaf in source.leaves:
        if not leaf.state:
            continue
        wanted = derived(source, leaf.group, lr, int(number(leaf.state["step"])))
        for name, expected in wanted.items():
            given = number(leaf.state[name])
            # One rounding to float32 in each of the two.
            if abs(given - expected) > 4 * np.finfo(np.float32).eps * abs(expected):
                raise ValueError(
                    f"lr of {source.name} must be what gave torch's {name} at the last update; got "
                    f"{name}={given:g} for {leaf.place.name!r}, where this lr gives {expected:g}. "
                    "Use lr=schedule where a scheduler moved the rate."
                )
