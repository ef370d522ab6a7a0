"""A training that began here, to be continued by PyTorch."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from jaxgd.interop.torch.optimizers import curvature
from jaxgd.interop.torch.optimizers.buffers import buffers_of, fields, held, parts, whole
from jaxgd.interop.torch.optimizers.derived_numbers import derived
from jaxgd.interop.torch.optimizers.source import Leaf, Rates, Source, read
from jaxgd.interop.torch.tensors import to_tensor
from jaxgd.optim.options import at
from jaxgd.optim.registry import REGISTRY


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
    in optax's chain, partition, masked, inject_hyperparams, MultiSteps, apply_if_finite and
    split_real_and_imaginary too; parameters with requires_grad=False keep what torch_optimizer has
    for them. Where `lr` is a schedule, or one for each group, the groups get its rate for the next
    update, and of a cycle its momentum.

    Raises ValueError where names, shapes or buffers are not those of the optimizer and of `params`,
    and for a MultiSteps that has gathered gradients without an update.

    Departs from torch: nothing; but torch's own load_state_dict turns NAdam's mu_product from its
    default dtype into the parameters': in double, a NAdam that is loaded, from torch or from here,
    parts from one that never stopped: by 3e-9 in 100 updates with momentum_decay=4.
    """
    source = read(torch_optimizer, params, name, param_names)
    found = parts(state)
    if not found:
        raise ValueError(
            "state must be one of jaxgd.optim's, or hold one; got a "
            f"{type(state).__name__} without. Give the state of the optimizer by itself."
        )
    step = max(int(fields(part)["step"]) for part in found)
    if source.name == "lbfgs":
        (ours,) = found
        states = {source.order[0]: curvature.to_torch(source, ours)} if int(ours.n_iter) else {}
    else:
        states = _leaf_states(source, found, params, lr)
    return {
        "state": {i: states[leaf] for i, leaf in enumerate(source.order) if states.get(leaf)},
        "param_groups": [
            group if lr is None else group | _moved_options(source, i, lr, step)
            for i, group in enumerate(source.groups)
        ],
    }


def _moved_options(source: Source, group: int, lr: Rates, step: int) -> dict[str, Any]:
    """The rate of a group for its next update, and the momentum of a cycle."""
    rate, count = source.rate(group, lr), np.int32(step)
    moved: dict[str, Any] = {"lr": float(at(rate, count))}
    for option, value in source.cycled(group, rate).items():
        pair = isinstance(value, tuple)
        momentum = float(at(value[0] if pair else value, count))
        moved[option] = (momentum, *value[1:]) if pair else momentum
    return moved


def _leaf_states(
    source: Source, parts: list[optax.OptState], params: PyTree, lr: Rates
) -> dict[int, dict[str, Any]]:
    """What torch keeps for each leaf."""
    name = source.name
    found = [(fields(part), buffers_of(name, part, params)) for part in parts]
    real = jax.tree.map(lambda leaf: leaf.real, params)
    fresh = [
        buffers_of(name, jax.eval_shape(source.transformation(i, lr).init, real), params)
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
        if REGISTRY[name].counts == "no" and not int(scalars["step"]):
            continue  # torch's first update is the one that finds no buffer
        states[i] = _scalars(source, leaf, scalars, lr) | {
            key: to_tensor(leaf.place.to_torch(whole(buffers[field][i])))
            for key, field in held(name, buffers, i, leaf.place).items()
        }
    return states


def _scalars(source: Source, leaf: Leaf, found: dict[str, Any], lr: Rates) -> dict[str, Any]:
    """Torch's counter and what else it keeps of a single number."""
    # The rule's own count, which a skipped update does not move; SGD without momentum has none.
    step, row = int(found.get("t", found["step"])), REGISTRY[source.name]
    if row.counts == "no":
        return {}
    scalars = derived(source, leaf.group, lr, step) | {key: found[key] for key in row.carried}
    tensors = {key: to_tensor(np.asarray(value)) for key, value in scalars.items()}
    return {
        "step": step if row.counts == "int" else to_tensor(np.asarray(step, np.float32))
    } | tensors
