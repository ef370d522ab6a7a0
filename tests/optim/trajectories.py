"""Torch's optimizers and ours over the same recorded gradients, and how far apart they are.

A trajectory holds every leaf's values at every update, the start included: [UPDATES + 1, ...].
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from tests.optim import problems
from tests.optim.cases import Case
from tests.optim.problems import SHAPES, Arrays

# Optimizers that look at a leaf's shape get leaves as they are: one of each shape and scale. All
# others work number by number, so they get one flat leaf: the same arithmetic, compiled once.
LEAFWISE = {"adafactor"}
LEAVES = ("logistic/bias", "mlp/0/weight", "mlp/2/weight", "ill_scaled/tiny", "ill_scaled/huge")

# torch.optim.SparseAdam takes sparse gradients only.
SPARSE = {"sparse_adam"}


def layout(case: Case, leaves: Mapping[str, np.ndarray], leading: int) -> Arrays:
    """The leaves as this optimizer is given them; `leading` axes (updates) are kept."""
    if case.optimizer in LEAFWISE:
        return {name: leaves[name] for name in LEAVES}
    flat = [leaves[k].reshape(*leaves[k].shape[:leading], -1) for k in SHAPES]
    return {"flat": np.concatenate(flat, axis=leading)}


def unflatten(case: Case, trajectory: Mapping[str, np.ndarray]) -> Arrays:
    """The inverse of `layout` for a trajectory."""
    if case.optimizer in LEAFWISE:
        return dict(trajectory)
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES.values()])
    blocks = np.split(trajectory["flat"], ends[:-1], axis=1)
    return {
        name: block.reshape(-1, *shape)
        for (name, shape), block in zip(SHAPES.items(), blocks, strict=True)
    }


def run_torch(case: Case, dtype: str, gradients: Arrays) -> Arrays:
    """Torch's trajectory over the given gradients, computed in `dtype`."""
    torch_dtype = getattr(torch, dtype)
    start = layout(case, problems.init(), 0)
    params = {k: torch.tensor(v).to(torch_dtype).requires_grad_() for k, v in start.items()}
    stream = {k: torch.tensor(v).to(torch_dtype) for k, v in layout(case, gradients, 1).items()}
    optimizer, after_step = case.torch(list(params.values()))
    trajectory = [{k: _numpy(p) for k, p in params.items()}]
    for t in range(problems.UPDATES):
        for name, param in params.items():
            grad = stream[name][t].clone()
            param.grad = grad.to_sparse() if case.optimizer in SPARSE else grad
        optimizer.step()
        after_step()
        trajectory.append({k: _numpy(p) for k, p in params.items()})
    return unflatten(case, {k: np.stack([p[k] for p in trajectory]) for k in params})


def _numpy(param: torch.Tensor) -> np.ndarray:
    """A copy of the values, of bfloat16 in float32."""
    wide = param.detach().float() if param.dtype is torch.bfloat16 else param.detach()
    return wide.numpy().copy()


@dataclasses.dataclass(frozen=True)
class JaxRun:
    """Our values at every update, and the updates as the transformation returned them."""

    values: Arrays
    updates: Arrays


def run_jax(
    cases: Sequence[Case],
    transforms: Sequence[optax.GradientTransformation],
    dtype: str,
    gradients: Arrays,
) -> list[JaxRun]:
    """Every transformation's run over the given gradients, all in one compiled scan."""
    with jax.enable_x64(dtype == "float64"):
        start = [jax.tree.map(_array(dtype), layout(case, problems.init(), 0)) for case in cases]
        streams = {
            case.optimizer in LEAFWISE: jax.tree.map(_array(dtype), layout(case, gradients, 1))
            for case in cases
        }

        def body(carry, grads):
            after, updates = [], []
            for case, tx, (params, state) in zip(cases, transforms, carry, strict=True):
                update, state = tx.update(grads[case.optimizer in LEAFWISE], state, params)
                after.append((optax.apply_updates(params, update), state))
                updates.append(update)
            return after, ([params for params, _ in after], updates)

        @jax.jit
        def run(start, streams):
            carry = [(p, tx.init(p)) for p, tx in zip(start, transforms, strict=True)]
            return jax.lax.scan(body, carry, streams)[1]

        values, updates = jax.tree.map(np.asarray, run(start, streams))
        begin = jax.tree.map(np.asarray, start)
    whole = [
        {name: np.concatenate([first[name][None], rest[name]]) for name in first}
        for first, rest in zip(begin, values, strict=True)
    ]
    return [
        JaxRun(unflatten(case, value), unflatten(case, update))
        for case, value, update in zip(cases, whole, updates, strict=True)
    ]


def updates_along(case: Case, dtype: str, gradients: Arrays, values: Arrays) -> Arrays:
    """Our updates where the parameters follow a given trajectory, so that no error feeds back."""
    with jax.enable_x64(dtype == "float64"):
        streams = [
            jax.tree.map(_array(dtype), layout(case, leaves, 1)) for leaves in (gradients, values)
        ]
        tx = case.jaxgd()

        def body(state, grads_and_params):
            updates, state = tx.update(grads_and_params[0], state, grads_and_params[1])
            return state, updates

        @jax.jit
        def run(gradients, values):
            start = jax.tree.map(lambda leaf: leaf[0], values)
            before = jax.tree.map(lambda leaf: leaf[:-1], values)
            return jax.lax.scan(body, tx.init(start), (gradients, before))[1]

        return unflatten(case, jax.tree.map(np.asarray, run(*streams)))


def _array(dtype: str):
    return lambda leaf: jnp.asarray(leaf, dtype)


def value_error(actual: Arrays, expected: Arrays) -> float:
    """The worst |Δp| at any update, against the leaf's scale: the largest |p| of its trajectory."""
    return max(
        _ratio(_size(_wide(actual[k]) - _wide(leaf)), _size(leaf).max())
        for k, leaf in expected.items()
    )


def update_error(actual: Arrays, expected: Arrays, dtype: str) -> float:
    """The worst |Δu| at any update, against the largest |u| of the leaf; `expected` holds values.

    Torch gives no updates, only parameters: the rounding to `dtype` of the two that an update is
    the difference of is taken off first, at half a unit for each of torch's and ours.
    """
    errors = []
    for name, values in expected.items():
        update = np.diff(values.astype(np.float64), axis=0)
        rounding = 2 * np.finfo(dtype).eps * _size(values[1:])
        distance = _size(actual[name].astype(np.float64) - update)
        errors.append(_ratio(np.maximum(distance - rounding, 0.0), _size(update).max()))
    return max(errors)


def _ratio(error: np.ndarray, scale: float) -> float:
    """The largest error / scale; inf where it is not finite or the scale is 0, 0 where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, error / scale)
    return float(np.nan_to_num(ratio, nan=np.inf).max())


def _wide(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float64)


def _size(leaf: np.ndarray) -> np.ndarray:
    """The largest magnitude in the leaf at each update."""
    return np.abs(leaf.astype(np.float64)).reshape(len(leaf), -1).max(axis=1)
