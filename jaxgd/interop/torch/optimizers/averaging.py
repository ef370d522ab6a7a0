"""ASGD's two scalars, which torch keeps for the next update and we compute from the count."""

import numpy as np

from jaxgd.interop.torch.optimizers.source import Rates, Source
from jaxgd.interop.torch.tensors import number


def eta_and_mu(source: Source, group: int, lr: Rates, step: int) -> dict[str, np.float32]:
    """Torch's η and μ after `step` updates, which are the next update's; see `asgd`.

    Rounded to float32, torch's default dtype.
    """
    options = source.groups[group]
    rate = source.rate(group, lr)
    if callable(rate):
        rate = rate(np.int32(max(step - 1, 0)))
    decay = 1 + number(options["lambd"]) * float(rate) * step
    eta = float(rate) / decay ** number(options["alpha"])
    mu = 1 / max(1, step - number(options["t0"])) if step else 1.0
    return {"eta": np.float32(eta), "mu": np.float32(mu)}


def check_etas(source: Source, lr: Rates) -> None:
    """Raise unless torch's η is the one its learning rate and its count give."""
    for leaf in source.leaves:
        if not leaf.state:
            continue
        expected = eta_and_mu(source, leaf.group, lr, int(number(leaf.state["step"])))["eta"]
        eta = number(leaf.state["eta"])
        # One rounding to float32 in each of the two.
        if abs(eta - expected) > 4 * np.finfo(np.float32).eps * abs(expected):
            raise ValueError(
                "lr of asgd must be what gave torch's eta at the last update; got "
                f"eta={eta:g} for {leaf.place.name!r}, where this lr gives {expected:g}. "
                "Use lr=schedule where a scheduler moved the rate."
            )
