"""One table of optimizers and options: each drives the parity tests, the laws and the docs page.

`OPTIONS` lists, for every optimizer, another value of each option that changes a number. The
cases are the defaults, each option alone, and each pair of options.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import optax
import torch

from jaxgd import optim

Options = dict[str, Any]

# "schedule" is no option of torch's constructors: it is a LambdaLR of `schedule_factor`.
SCHEDULE = "schedule"

TORCH: dict[str, type[torch.optim.Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "asgd": torch.optim.ASGD,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "rprop": torch.optim.Rprop,
    "sgd": torch.optim.SGD,
    "sparse_adam": torch.optim.SparseAdam,
}

OPTIONS: dict[str, Options] = {
    "adadelta": {
        "lr": 0.3,
        "rho": 0.95,
        "eps": 1e-3,
        "weight_decay": 0.1,
        "maximize": True,
        SCHEDULE: True,
    },
    "adafactor": {
        "lr": 0.3,
        "beta2_decay": -0.5,
        "eps": (1e-3, 0.1),
        "d": 2.0,
        "weight_decay": 0.1,
        "maximize": True,
        SCHEDULE: True,
    },
    "adagrad": {
        "lr": 0.1,
        "lr_decay": 0.05,
        "weight_decay": 0.1,
        "initial_accumulator_value": 0.1,
        "eps": 1e-3,
        "maximize": True,
        SCHEDULE: True,
    },
    "adam": {
        "lr": 0.03,
        "betas": (0.8, 0.9999),
        "eps": 1e-3,
        "weight_decay": 0.1,
        "amsgrad": True,
        "maximize": True,
        "decoupled_weight_decay": True,
        SCHEDULE: True,
    },
    "adamax": {
        "lr": 0.03,
        "betas": (0.99, 0.9),
        "eps": 1e-3,
        "weight_decay": 0.1,
        "maximize": True,
        SCHEDULE: True,
    },
    "adamw": {
        "lr": 0.03,
        "betas": (0.8, 0.9999),
        "eps": 1e-3,
        "weight_decay": 0.1,
        "amsgrad": True,
        "maximize": True,
        SCHEDULE: True,
    },
    "asgd": {
        "lr": 0.03,
        "lambd": 0.1,
        "alpha": 0.5,
        "t0": 50.0,
        "weight_decay": 0.1,
        "maximize": True,
        SCHEDULE: True,
    },
    "nadam": {
        "lr": 0.03,
        "betas": (0.8, 0.9999),
        "eps": 1e-3,
        "weight_decay": 0.1,
        "momentum_decay": 0.1,
        "decoupled_weight_decay": True,
        "maximize": True,
        SCHEDULE: True,
    },
    "radam": {
        "lr": 0.03,
        "betas": (0.8, 0.99),
        "eps": 1e-3,
        "weight_decay": 0.1,
        "decoupled_weight_decay": True,
        "maximize": True,
        SCHEDULE: True,
    },
    "rmsprop": {
        "lr": 0.03,
        "alpha": 0.9,
        "eps": 1e-3,
        "weight_decay": 0.1,
        "momentum": 0.9,
        "centered": True,
        "maximize": True,
        SCHEDULE: True,
    },
    "rprop": {
        "lr": 0.1,
        "etas": (0.3, 1.5),
        "step_sizes": (1e-3, 0.05),
        "maximize": True,
        SCHEDULE: True,
    },
    "sgd": {
        "lr": 0.03,
        "momentum": 0.9,
        "dampening": 0.5,
        "weight_decay": 0.1,
        "nesterov": True,
        "maximize": True,
        SCHEDULE: True,
    },
    "sparse_adam": {
        "lr": 0.03,
        "betas": (0.8, 0.9999),
        "eps": 1e-3,
        "maximize": True,
        SCHEDULE: True,
    },
}

# What an option needs beside it to be allowed, or to change a number at all.
NEEDS: dict[tuple[str, str], Options] = {
    ("sgd", "dampening"): {"momentum": 0.9},
    ("sgd", "nesterov"): {"momentum": 0.9},
    ("adam", "decoupled_weight_decay"): {"weight_decay": 0.1},
    ("nadam", "decoupled_weight_decay"): {"weight_decay": 0.1},
    ("radam", "decoupled_weight_decay"): {"weight_decay": 0.1},
}


def schedule_factor(count: Any) -> Any:
    """The factor on the learning rate after `count` updates, for Python ints and JAX counts."""
    return 1.0 / (1.0 + 0.01 * count)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One optimizer with torch's options (`schedule` too): the same for both sides."""

    optimizer: str
    options: Options

    @property
    def id(self) -> str:
        """A stable name, such as `adam(amsgrad=True, weight_decay=0.1)`."""
        given = ", ".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.optimizer}({given})"

    @property
    def is_exact(self) -> bool:
        """Whether nothing is rounded but where torch rounds too, whatever XLA fuses."""
        return self.optimizer == "rprop"

    @property
    def decays_decoupled(self) -> bool:
        return self.optimizer == "adamw" or "decoupled_weight_decay" in self.options

    @property
    def constructor_options(self) -> Options:
        return {name: value for name, value in self.options.items() if name != SCHEDULE}

    def jaxgd(self) -> optax.GradientTransformation:
        """Our transformation; a schedule takes the place of its lr."""
        options = self.constructor_options
        if SCHEDULE in self.options:
            peak = options.get("lr", TORCH_DEFAULTS[self.optimizer]["lr"])
            options["lr"] = lambda count: peak * schedule_factor(count.astype(float))
        return optim.by_name(self.optimizer)(**options)

    def torch(self, params: Any) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
        """Torch's optimizer, and what to call after each step."""
        optimizer = TORCH[self.optimizer](params, **self.constructor_options)
        if SCHEDULE not in self.options:
            return optimizer, lambda: None
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, schedule_factor).step


def torch_defaults(name: str) -> Options:
    """The defaults of torch's optimizer of that name."""
    return TORCH[name]([torch.zeros(1, 1)]).defaults


TORCH_DEFAULTS = {name: torch_defaults(name) for name in TORCH}


def allowed(optimizer: str, options: Options) -> bool:
    """Whether torch takes these options together."""
    return not (optimizer == "sgd" and {"dampening", "nesterov"} <= set(options))


def cases_of(optimizer: str) -> Iterator[Case]:
    """The defaults, each option alone, each pair of options: with what they need, and once."""
    seen = set()
    values = OPTIONS[optimizer]
    for size in (0, 1, 2):
        for chosen in itertools.combinations(values, size):
            options = {name: values[name] for name in chosen}
            for name in chosen:
                options = NEEDS.get((optimizer, name), {}) | options
            case = Case(optimizer, options)
            if allowed(optimizer, options) and case.id not in seen:
                seen.add(case.id)
                yield case


def all_cases() -> list[Case]:
    return [case for optimizer in OPTIONS for case in cases_of(optimizer)]
