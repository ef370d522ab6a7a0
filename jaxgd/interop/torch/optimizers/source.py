"""What a torch optimizer, live or as its state_dict, says of itself."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import optax
from jaxtyping import PyTree

from jaxgd.interop.torch.layout import Place, has_one_order, leaf_order, places
from jaxgd.interop.torch.tensors import number
from jaxgd.optim.names import by_name
from jaxgd.optim.options import ScalarOrSchedule
from jaxgd.optim.registry import REGISTRY

Rates: TypeAlias = ScalarOrSchedule | Sequence[ScalarOrSchedule] | None

# Options that state_dicts of older versions lack.
LATE_OPTIONS = {"maximize", "decoupled_weight_decay"}


def options_of(name: str) -> set[str]:
    """The options that torch's groups have of an optimizer."""
    row = REGISTRY[name]
    return (set(inspect.signature(row.build).parameters) - set(row.ours)) | set(row.implied)


class Leaf(NamedTuple):
    """What torch has for one leaf of the params; `state` is empty before its first gradient."""

    place: Place
    group: int
    state: Mapping[str, Any]
    frozen: bool


@dataclass(frozen=True)
class Source:
    """A torch optimizer: its name, its groups, and its parameters as leaves of the params.

    `leaves` are in the order of `jax.tree.leaves`; `order[i]` is the leaf of torch's parameter i.
    """

    name: str
    groups: list[dict[str, Any]]
    leaves: list[Leaf]
    order: list[int]

    def rate(self, group: int, lr: Rates) -> ScalarOrSchedule:
        """The learning rate of a group: the one given for it, or torch's number."""
        if lr is None:
            return number(self.groups[group]["lr"])
        if not isinstance(lr, Sequence):
            return lr
        if len(lr) != len(self.groups):
            raise ValueError(
                "lr must be one for all of torch's groups, or one for each; got "
                f"{len(lr)} for {len(self.groups)}. Give them in the order of param_groups."
            )
        return lr[group]

    def transformation(self, group: int, lr: Rates) -> optax.GradientTransformation:
        """Our optimizer with the options of a group; a cycle moves its momentum too."""
        rate, row = self.rate(group, lr), REGISTRY[self.name]
        taken = options_of(self.name) - set(row.implied)
        given = {
            option: number(value) for option, value in self.groups[group].items() if option in taken
        }
        options = given | self.cycled(group, rate) | {"lr": rate}
        return row.build(**options)

    def cycled(self, group: int, rate: ScalarOrSchedule) -> dict[str, Any]:
        """The option that a cycle moves besides its rate, as OneCycleLR and CyclicLR do."""
        momentum = getattr(rate, "momentum", None)
        if momentum is None:
            return {}
        options = self.groups[group]
        if "betas" in options:
            return {"betas": (momentum, *number(options["betas"])[1:])}
        if "momentum" in options:
            return {"momentum": momentum}
        raise ValueError(
            f"lr of {self.name}, which has no momentum, must not cycle one; got a cycle with. "
            "Use cycle_momentum=False, as torch's scheduler had to."
        )


def read(
    torch_optimizer: Any, params: PyTree, name: str | None, param_names: Sequence[str] | None
) -> Source:
    """The source, if the parameters have the names, and where known the shapes, of `params`."""
    live = hasattr(torch_optimizer, "state_dict")
    state_dict = torch_optimizer.state_dict() if live else torch_optimizer
    if not (isinstance(state_dict, Mapping) and {"state", "param_groups"} <= set(state_dict)):
        raise TypeError(
            "torch_optimizer must be a torch.optim.Optimizer or its state_dict(); got a "
            f"{type(torch_optimizer).__name__}. For a module's parameters use params_from_torch."
        )
    name = _name(torch_optimizer, name)
    groups = state_dict["param_groups"]
    _check_options(name, groups)
    found = places(params)
    _check_layout(name, found)
    order = leaf_order(found, _param_names(groups, params, found, param_names))
    frozen = _check_shapes(torch_optimizer, [found[leaf] for leaf in order]) if live else set()
    group_of = [i for i, group in enumerate(groups) for _ in group["params"]]
    leaves = [
        Leaf(found[leaf], group_of[i], state_dict["state"].get(i, {}), i in frozen)
        for leaf, i in sorted(zip(order, range(len(order)), strict=True))
    ]
    return Source(name, groups, leaves, order)


def _check_shapes(torch_optimizer: Any, found: list[Place]) -> set[int]:
    """Raise unless torch's parameters have these places; which of them are not to be trained."""
    parameters = [p for group in torch_optimizer.param_groups for p in group["params"]]
    for place, parameter in zip(found, parameters, strict=True):
        place.to_leaf(np.broadcast_to(np.False_, tuple(parameter.shape)), place.shape)
    return {i for i, parameter in enumerate(parameters) if not parameter.requires_grad}


def _param_names(
    groups: list[dict[str, Any]],
    params: PyTree,
    found: list[Place],
    param_names: Sequence[str] | None,
) -> Sequence[str]:
    """Torch's names of the parameters, by its index."""
    count = sum(len(group["params"]) for group in groups)
    if param_names is None and all("param_names" in group for group in groups):
        param_names = [name for group in groups for name in group["param_names"]]
    if param_names is None and len(groups) == 1 and has_one_order(params):
        param_names = [place.name for place in found]
    if param_names is None:
        raise ValueError(
            "param_names must be given where params have names and torch's optimizer has none, or "
            f"has groups; got {len(groups)} groups without names. Make torch's optimizer of "
            "module.named_parameters(), or give the names in the order of its parameters."
        )
    if len(param_names) != count:
        raise ValueError(
            f"param_names must name torch's {count} parameters; got {len(param_names)} names. "
            "Give params the same leaves and param_names the same order as torch's groups."
        )
    return param_names


def _name(torch_optimizer: Any, name: str | None) -> str:
    """The name of a live optimizer's class, or of the class of torch's it derives from."""
    by_class = {row.torch_class: name for name, row in REGISTRY.items()}
    for base in type(torch_optimizer).__mro__:
        if base.__module__.startswith("torch.optim") and base.__name__ in by_class:
            return by_class[base.__name__]
    if name is None:
        raise ValueError(
            "name must be given where torch_optimizer is a state_dict, which does not tell its "
            f"class, or no optimizer of torch.optim; got a {type(torch_optimizer).__name__}. "
            "Use name='adam', say."
        )
    return name


def _check_options(name: str, groups: list[dict[str, Any]]) -> None:
    """Raise unless the groups have this optimizer's options and no others'."""
    by_name(name)
    own = options_of(name)
    others = set().union(*map(options_of, REGISTRY)) - own
    for group in groups:
        missing = own - LATE_OPTIONS - set(group)
        surplus = others & set(group)
        if missing or surplus:
            raise ValueError(
                f"param_groups must have the options of {name}, {sorted(own)}; got "
                f"{sorted((own | others) & set(group))}. Use the name of torch's class."
            )
        for option, value in REGISTRY[name].implied.items():
            if group.get(option, value) != value:
                raise ValueError(
                    f"param_groups of {name} must have {option}={value}; got {group[option]}. "
                    "Use name='adam', or whichever torch's class is."
                )


def _check_layout(name: str, found: list[Place]) -> None:
    """Raise where an optimizer looks at the axes, and a leaf has others than torch."""
    axes = REGISTRY[name].axes
    for place in found:
        as_in_torch = not place.transposed
        turned = place.transposed and not place.squeezed
        if not (as_in_torch or axes == "any" or (turned and axes == "exchanged")):
            raise ValueError(
                f"params of {name}, which looks at their axes, must be laid out as in torch; got "
                f"{list(place.shape)} for {place.name!r}, which is {list(place.torch_shape)} "
                "there. Use params_from_torch(module, linear=False)."
            )
