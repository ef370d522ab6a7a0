"""The optimizers by name, for the command line and for `fit`."""

import difflib
from collections.abc import Callable, Collection
from typing import Final

import optax

from jaxgd.optim.adadelta_rule import adadelta
from jaxgd.optim.adafactor_rule import adafactor
from jaxgd.optim.adagrad_rule import adagrad
from jaxgd.optim.adam_rule import adam, adamw
from jaxgd.optim.adamax_rule import adamax
from jaxgd.optim.asgd_rule import asgd
from jaxgd.optim.lbfgs_rule import lbfgs
from jaxgd.optim.muon_rule import muon
from jaxgd.optim.nadam_rule import nadam
from jaxgd.optim.radam_rule import radam
from jaxgd.optim.rmsprop_rule import rmsprop
from jaxgd.optim.rprop_rule import rprop
from jaxgd.optim.sgd_rule import sgd
from jaxgd.optim.sparse_adam_rule import sparse_adam

OPTIMIZERS: Final[dict[str, Callable[..., optax.GradientTransformation]]] = {
    "adadelta": adadelta,
    "adafactor": adafactor,
    "adagrad": adagrad,
    "adam": adam,
    "adamax": adamax,
    "adamw": adamw,
    "asgd": asgd,
    "lbfgs": lbfgs,
    "muon": muon,
    "nadam": nadam,
    "radam": radam,
    "rmsprop": rmsprop,
    "rprop": rprop,
    "sgd": sgd,
    "sparse_adam": sparse_adam,
}


def by_name(
    name: str, among: Collection[str] = OPTIMIZERS.keys()
) -> Callable[..., optax.GradientTransformation]:
    """The optimizer of that name, such as `adam`: a function of torch's options.

    Raises ValueError for a name that is not `among` those on offer, and names the nearest.
    """
    if name not in among:
        known = ", ".join(sorted(among))
        nearest = difflib.get_close_matches(name.lower(), among, n=1, cutoff=0.0)[0]
        raise ValueError(f"optimizer must be one of {known}; got {name!r}. Use {nearest!r}?")
    return OPTIMIZERS[name]
