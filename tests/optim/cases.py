"""One table of optimizers and options: each drives the parity tests, the laws and the docs page.

Each row of the registry has another value of each option that changes a number. The cases are the
defaults, each option alone, and each pair of options.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import optax
import torch

from jaxgd import optim
from jaxgd.optim.registry import REGISTRY, Row

Options = dict[str, Any]

# "schedule" is no option of torch's constructors: it is a LambdaLR of `schedule_factor`.
SCHEDULE = "schedule"


def compared() -> dict[str, Row]:
    """The optimizers that are compared over the recorded gradients; the others along own runs."""
    return {name: row for name, row in REGISTRY.items() if row.varied}


def torch_class(optimizer: str) -> type[torch.optim.Optimizer]:
    return getattr(torch.optim, REGISTRY[optimizer].torch_class)


def options_of(optimizer: str) -> Options:
    """Another value of each option that changes a number, a schedule included."""
    return dict(REGISTRY[optimizer].varied) | {SCHEDULE: True}


def needs(optimizer: str, option: str) -> Options:
    """What an option takes to be allowed or felt."""
    return dict(REGISTRY[optimizer].needs.get(option, {}))


def thorough(optimizer: str) -> Options:
    """The options under which all of the state is in play."""
    return dict(REGISTRY[optimizer].thorough)


OPTIMIZERS = tuple(compared())


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
            peak = options.get("lr", torch_defaults(self.optimizer)["lr"])
            options["lr"] = lambda count: peak * schedule_factor(count.astype(float))
        return optim.by_name(self.optimizer)(**options)

    def torch(self, params: Any) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
        """Torch's optimizer, and what to call after each step."""
        optimizer = torch_class(self.optimizer)(params, **self.constructor_options)
        if SCHEDULE not in self.options:
            return optimizer, lambda: None
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, schedule_factor).step


def torch_defaults(name: str) -> Options:
    """The defaults of torch's optimizer of that name."""
    return torch_class(name)([torch.zeros(1, 1)]).defaults


def allowed(optimizer: str, options: Options) -> bool:
    """Whether torch takes these options together."""
    return not (optimizer == "sgd" and {"dampening", "nesterov"} <= set(options))


def cases_of(optimizer: str, together: int = 2) -> Iterator[Case]:
    """The defaults, each option alone, each pair of options: with what they need, and once.

    together: how many options at most; with 1 no pairs.
    """
    seen = set()
    values = options_of(optimizer)
    for size in range(together + 1):
        for chosen in itertools.combinations(values, size):
            options = {name: values[name] for name in chosen}
            for name in chosen:
                options = needs(optimizer, name) | options
            case = Case(optimizer, options)
            if allowed(optimizer, options) and case.id not in seen:
                seen.add(case.id)
                yield case


def all_cases() -> list[Case]:
    return [case for optimizer in OPTIMIZERS for case in cases_of(optimizer)]
