"""A training that PyTorch began, to be continued here: its optimizer and the optimizer's state."""

from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from jaxgd.interop.torch.layout import Place
from jaxgd.interop.torch.optimizers import curvature
from jaxgd.interop.torch.optimizers.buffers import COUNTERS, buffers_of, held, with_fields
from jaxgd.interop.torch.optimizers.derived_numbers import check_derived, derived
from jaxgd.interop.torch.optimizers.source import Leaf, Rates, Source, read
from jaxgd.interop.torch.tensors import from_tensor, number
from jaxgd.optim.registry import REGISTRY

FROZEN = "frozen"


def from_torch(
    torch_optimizer: Any,
    params: PyTree,
    *,
    name: str | None = None,
    param_names: Sequence[str] | None = None,
    lr: Rates = None,
    step: int | None = None,
) -> tuple[optax.GradientTransformation, optax.OptState]:
    """The optimizer of a torch training and its state, to go on from where torch stopped.

        params = params_from_torch(module)
        optimizer, opt_state = from_torch(torch_optimizer, params)

    `torch_optimizer` is a live torch.optim.Optimizer or its state_dict(), which needs `name`, such
    as "adam": it does not tell its class. Leaves and torch's parameters are matched by name;
    `param_names` gives torch's in the order of its groups, unless the optimizer was made of
    module.named_parameters(), or has one group and params are `Linear`s in the order of the module.

    Torch's options are kept, but for `lr`, where one is given: a schedule, or one for each group. A
    cycle, such as `one_cycle_lr(…)`, takes its momentum along, as torch's scheduler does.
    Torch's SGD counts no updates, so that a schedule needs to be told the `step`.

    Several groups become one `optax.partition`. A parameter with requires_grad=False stays as it
    is. Torch counts the updates of each parameter, and none where its grad is None: leaves that
    differ get a part of the partition each, and one that never had a gradient starts at update 0.

    Raises ValueError, before anything is traced, where names, shapes, dtypes, options or buffers
    are not those of the optimizer and of `params`, and where the layout of `Linear` would change
    the update (Muon and SparseAdam; Adafactor with one output). `to_torch_state_dict` goes back.

    Departs from torch: nothing but what each optimizer does. Nothing is unpickled.
    """
    source = read(torch_optimizer, params, name, param_names)
    if source.name == "lbfgs":
        _check_schedule(source, {step}, lr)
        optimizer = source.transformation(0, lr)
        return optimizer, curvature.from_torch(source, optimizer.init(params), step or 0)
    check_derived(source, lr)
    steps = [_step(source, leaf, step) for leaf in source.leaves]
    active = {steps[i] for i, leaf in enumerate(source.leaves) if not leaf.frozen}
    counts = REGISTRY[source.name].counts != "no"
    _check_schedule(source, active if counts else {step}, lr)

    labels = [
        FROZEN if leaf.frozen else f"group {leaf.group}, step {steps[i]}"
        for i, leaf in enumerate(source.leaves)
    ]
    transforms = {
        label: optax.set_to_zero() if leaf.frozen else source.transformation(leaf.group, lr)
        for label, leaf in zip(labels, source.leaves, strict=True)
    }
    step_of = dict(zip(labels, steps, strict=True))

    def filled(label: str, state: optax.OptState) -> optax.OptState:
        """The state of one part, with torch's numbers for those of a beginning."""
        if label == FROZEN:
            return state
        members = {i: leaf for i, leaf in enumerate(source.leaves) if labels[i] == label}
        return _filled(source, state, params, members, step_of[label])

    if len(transforms) == 1:
        optimizer = transforms[labels[0]]
        return optimizer, filled(labels[0], optimizer.init(params))
    label_tree = jax.tree.unflatten(jax.tree.structure(params), labels)
    optimizer = optax.partition(transforms, label_tree, mask_compatible_extra_args=True)
    started = optimizer.init(params)
    inner_states = {
        label: part._replace(inner_state=filled(label, part.inner_state))
        for label, part in started.inner_states.items()
    }
    return optimizer, started._replace(inner_states=inner_states)


def _step(source: Source, leaf: Leaf, step: int | None) -> int:
    """How many updates of a parameter torch has done."""
    if REGISTRY[source.name].counts == "no":
        remembers = source.groups[leaf.group]["momentum"] != 0
        if remembers and not leaf.state:
            return 0
        return int(remembers) if step is None else step
    counted = int(number(leaf.state["step"])) if leaf.state else 0
    if leaf.state and step not in (None, counted):
        raise ValueError(
            f"step must be torch's own where it counts; got step={step} for {leaf.place.name!r}, "
            f"which counts {counted}. Leave it out."
        )
    return counted


def _check_schedule(source: Source, steps: Collection[int | None], lr: Rates) -> None:
    """Raise unless the count that a schedule is given is known, and one for all parameters."""
    if not any(callable(source.rate(group, lr)) for group in range(len(source.groups))):
        return
    if None in steps:
        raise ValueError(
            f"step must be given with a schedule for {source.name}, whose updates torch does not "
            "count; got step=None. Use the number of updates done, such as scheduler.last_epoch."
        )
    if len(steps) > 1:
        raise ValueError(
            "lr must be a number where parameters have not been updated equally often: torch's "
            f"schedulers count for all of them; got the steps {steps} and a schedule. "
            "Use a number, or freeze the unused parameters."
        )


def _filled(
    source: Source, state: optax.OptState, params: PyTree, members: dict[int, Leaf], step: int
) -> optax.OptState:
    """The state of a beginning, with torch's counters and the buffers of these leaves."""
    values: dict[str, Any] = {counter: jnp.asarray(step, jnp.int32) for counter in COUNTERS}
    name, row = source.name, REGISTRY[source.name]
    made = set(derived(source, 0, None, step))
    buffers = buffers_of(name, state, params)
    for i, leaf in members.items():
        if not leaf.state:
            continue
        given = {key: value for key, value in leaf.state.items() if value is not None}
        ours = held(name, buffers, i, leaf.place)
        scalars = {"step", *row.carried, *made}
        if set(given) - scalars != set(ours):
            raise ValueError(
                f"the state of {name} must hold {sorted(ours)} for {leaf.place.name!r}; got "
                f"{sorted(set(given) - scalars)}. Use the name and the options torch ran with."
            )
        for key, field in ours.items():
            buffers[field][i] = _like(leaf.place, given[key], buffers[field][i])
        values |= {key: jnp.asarray(from_tensor(given[key])) for key in row.carried}
    treedef = jax.tree.structure(params)
    trees = {field: jax.tree.unflatten(treedef, leaves) for field, leaves in buffers.items()}
    return with_fields(state, values | trees)


def _like(place: Place, buffer: Any, start: jax.Array) -> jax.Array:
    """Torch's buffer in the place of ours at the start, if it has its shape and dtype."""
    array = place.to_leaf(from_tensor(buffer), start.shape)
    if array.dtype != start.dtype:
        raise TypeError(
            f"params must have torch's dtype; got {start.dtype} and a buffer of {array.dtype} for "
            f"{place.name!r}. Use params_from_torch, in JAX's 64-bit mode for double."
        )
    return jnp.asarray(array)
