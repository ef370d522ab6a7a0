"""What one would write with optax alone for a case: the options given, by optax's names.

Options that are not given keep optax's defaults, as they would; where optax has no such option,
there is no counterpart.
"""

from collections.abc import Callable
from typing import Any

import optax

from tests.optim.cases import SCHEDULE, Case, Options, schedule_factor, torch_defaults

# optimizer -> (optax's function, torch's option -> optax's)
COUNTERPARTS: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "adadelta": (optax.adadelta, {"rho": "rho", "eps": "eps"}),
    "adafactor": (
        optax.adafactor,
        {"d": "clipping_threshold", "weight_decay": "weight_decay_rate"},
    ),
    "adagrad": (
        optax.adagrad,
        {"initial_accumulator_value": "initial_accumulator_value", "eps": "eps"},
    ),
    "adam": (optax.adam, {"betas": "b1 b2", "eps": "eps"}),
    "adamax": (optax.adamax, {"betas": "b1 b2", "eps": "eps"}),
    "adamw": (optax.adamw, {"betas": "b1 b2", "eps": "eps", "weight_decay": "weight_decay"}),
    "nadam": (optax.nadam, {"betas": "b1 b2", "eps": "eps"}),
    "radam": (optax.radam, {"betas": "b1 b2", "eps": "eps"}),
    "rmsprop": (
        optax.rmsprop,
        {"alpha": "decay", "eps": "eps", "momentum": "momentum", "centered": "centered"},
    ),
    "rprop": (
        optax.rprop,
        {"etas": "eta_minus eta_plus", "step_sizes": "min_step_size max_step_size"},
    ),
    "sgd": (optax.sgd, {"momentum": "momentum", "nesterov": "nesterov"}),
    "sparse_adam": (optax.adam, {"betas": "b1 b2", "eps": "eps"}),
}

# Another function of optax's takes the place of the one above.
VARIANTS: dict[tuple[str, str], tuple[Callable[..., Any], tuple[str, ...]]] = {
    ("adam", "amsgrad"): (optax.amsgrad, ()),
    ("adam", "decoupled_weight_decay"): (optax.adamw, ("weight_decay",)),
    ("nadam", "decoupled_weight_decay"): (optax.nadamw, ("weight_decay",)),
}


def plain_optax(case: Case) -> optax.GradientTransformation | None:
    """The transformation made of optax's own parts, or None where optax has none."""
    options = dict(case.options)
    if case.optimizer not in COUNTERPARTS:
        return None
    build, names = COUNTERPARTS[case.optimizer]
    names = dict(names)
    for (optimizer, option), (variant, more) in VARIANTS.items():
        if optimizer == case.optimizer and options.pop(option, False):
            if build is not COUNTERPARTS[optimizer][0]:
                return None
            build, names = variant, names | {name: name for name in more}

    before = []
    if options.pop("maximize", False):
        before.append(optax.scale(-1.0))
    if "weight_decay" not in names and (weight_decay := options.pop("weight_decay", 0)):
        before.append(optax.add_decayed_weights(weight_decay))
    lr = learning_rate(case, options)
    takes_schedules = case.optimizer != "rprop"
    if not set(options) <= set(names) or (callable(lr) and not takes_schedules):
        return None
    return optax.chain(*before, build(lr, **renamed(options, names)))


def learning_rate(case: Case, options: Options) -> Any:
    """The rate or schedule, with the options that are part of it taken out of `options`."""
    lr = options.pop("lr", torch_defaults(case.optimizer)["lr"])
    lr_decay = options.pop("lr_decay", 0)
    if options.pop(SCHEDULE, False):
        return lambda count: lr * schedule_factor(count) / (1 + count * lr_decay)
    return (lambda count: lr / (1 + count * lr_decay)) if lr_decay else lr


def renamed(options: Options, names: dict[str, str]) -> Options:
    """The options by optax's names: a pair becomes two."""
    result: Options = {}
    for name, value in options.items():
        ours = names[name].split()
        result |= dict(zip(ours, value if len(ours) > 1 else [value], strict=True))
    return result
