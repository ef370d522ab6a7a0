"""A training that began here, to be continued by PyTorch."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from jaxgd.interop.torch.optimizers import averaging, curvature
from jaxgd.interop.torch.optimizers.buffers import UNCOUNTED, buffers_of, fields, held, parts
from jaxgd.interop.torch.optimizers.source import Leaf, Rates, Source, read
from jaxgd.interop.torch.tensors import to_tensor
from jaxgd.optim.options import ScalarOrSchedule


def to_torch_state_dict(
    state: optax.OptState,
    params: PyTree,
    torch_optimizer: Any,
    *,
    name: str | None = None,
    param_names: Sequence[str] | None = None,
    lr: Rates = None,
) -> dict[str, Any]:
    """The state_dict of a torch optimizer that goes on from an optimizer state of ours.

        module.load_state_dict(jaxgd.params_to_torch(params, module))
        torch_optimizer = torch.optim.Adam(module.named_parameters(), lr=1e-3)
        torch_optimizer.load_state_dict(
            to_torch_state_dict(opt_state, params, torch_optimizer)
        )

    `torch_optimizer`, live or a state_dict() with its `name`, is the one to be loaded: it gives the
    groups and the options, which must be those the state was made with. `param_names` as for
    `from_torch`. The state may come from `from_torch` or from one of `jaxgd.optim`'s optimizers,
    in an `optax.partition` and in an `optax.chain` too; parameters with requires_grad=False keep
    what torch_optimizer has for them. Where `lr` is a schedule, or one for each
    group, the groups get its rate for the next update.

    Raises ValueError where names, shapes or buffers are not those of the optimizer and of `params`.

    Departs from torch: nothing; but torch's own load_state_dict turns NAdam's mu_product from its
    default dtype into the parameters': in double, a NAdam that is loaded, from torch or from here,
    parts from one that never stopped: by 3e-9 in 100 updates with momentum_decay=4.
    """
    source = read(torch_optimizer, params, name, param_names)
    _check_kind(state)
    if source.name == "lbfgs":
        step = int(state.step)
        states = {source.order[0]: curvature.to_torch(source, state)} if int(state.n_iter) else {}
    else:
        step = max(int(found["step"]) for found in map(fields, parts(state)) if found)
        states = _leaf_states(source, state, params, lr)
    return {
        "state": {i: states[leaf] for i, leaf in enumerate(source.order) if states.get(leaf)},
        "param_groups": [
            group if lr is None else {**group, "lr": _at(source.rate(i, lr), step)}
            for i, group in enumerate(source.groups)
        ],
    }


def _check_kind(state: optax.OptState) -> None:
    """Raise unless the state, or each group's, counts updates as all of jaxgd.optim's do."""
    for part in parts(state):
        found = fields(part)
        if found and "step" not in found:
            raise ValueError(
                "state must be one of jaxgd.optim's, in a chain or a partition; got the fields "
                f"{sorted(found)} of {type(part).__name__}. Give what it wraps: state.inner_state."
            )


def _at(lr: ScalarOrSchedule, step: int) -> float:
    """The rate of the next update."""
    return float(lr(np.int32(step)) if callable(lr) else lr)


def _leaf_states(
    source: Source, state: optax.OptState, params: PyTree, lr: Rates
) -> dict[int, dict[str, Any]]:
    """What torch keeps for each leaf."""
    name = source.name
    found = [(fields(part), buffers_of(name, part, params)) for part in parts(state)]
    fresh = [
        buffers_of(name, jax.eval_shape(source.transformation(i, None).init, params), params)
        for i in range(len(source.groups))
    ]
    states = {}
    for i, leaf in enumerate(source.leaves):
        wanted = set(held(name, fresh[leaf.group], i, leaf.place))
        if leaf.frozen:
            states[i] = dict(leaf.state)
        if leaf.frozen or not wanted:
            continue
        holder = next(
            (part for part in found if set(held(name, part[1], i, leaf.place)) == wanted), None
        )
        if holder is None:
            raise ValueError(
                f"state must hold {sorted(wanted)} for {leaf.place.name!r}, as {name} does with "
                "the options of torch_optimizer; got a state that does not. Give the one the state "
                "was made with."
            )
        scalars, buffers = holder
        if name in UNCOUNTED and not int(scalars["step"]):
            continue  # torch's first update is the one that finds no buffer
        states[i] = _scalars(source, leaf, scalars, lr) | {
            key: to_tensor(leaf.place.to_torch(np.asarray(buffers[field][i])))
            for key, field in held(name, buffers, i, leaf.place).items()
        }
    return states


def _scalars(source: Source, leaf: Leaf, found: dict[str, Any], lr: Rates) -> dict[str, Any]:
    """Torch's counter and what else it keeps of a single number."""
    step = int(found["step"])
    if source.name in UNCOUNTED:
        return {}
    if source.name == "sparse_adam":
        return {"step": step}
    scalars: dict[str, Any] = {"step": np.float32(step)}
    if source.name == "asgd":
        scalars |= averaging.eta_and_mu(source, leaf.group, lr, step)
    if source.name == "nadam":
        scalars["mu_product"] = found["mu_product"]
    return {key: to_tensor(np.asarray(value)) for key, value in scalars.items()}
