"""This machine's numbers held against PyTorch's: the lesson, the descents, the optimizers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxgd import epochs, optim
from jaxgd.descent import State, init_state
from jaxgd.equivalence import Report, compare
from jaxgd.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    supervised,
)
from jaxgd.models import Linear, linear, logistic
from jaxgd.optim.registry import REGISTRY

# On TPUs and recent GPUs a float32 product is by default rounded to fewer digits than float32 has.
PRECISION = "highest"

_ROWS, _FEATURES, _BATCH, _EPOCHS = 50, 5, 8, 10


def _checked_optimizers() -> dict[str, tuple[str, dict[str, Any]]]:
    """Our names, and torch's with the options of both: every optimizer that the registry checks.

    Left out are those that take sparse gradients, search a line, compute in bfloat16 or follow
    signs, which turn a rounding into a step; and adafactor, for which the line's weight is two
    different parameters: it would factor torch's [1, 5], but not our [5].
    """
    return {
        name: (row.torch_class, dict(row.checked))
        for name, row in REGISTRY.items()
        if row.checked is not None
    }


@dataclass(frozen=True)
class Checked:
    """One training on both sides: what was run, and what `compare` says of it."""

    dtype: str
    algorithm: str
    report: Report

    @property
    def passed(self) -> bool:
        """Whether the two sides are the same, to rounding."""
        return self.report.verdict == "equivalent"

    @property
    def error(self) -> float:
        """The largest difference, in units of its leaf's scale."""
        return max(float(leaf.error.max()) for leaf in self.report.leaves)

    @property
    def of_allowed(self) -> float:
        """The largest difference, in units of what is allowed."""
        return max(float(leaf.times_allowed.max()) for leaf in self.report.leaves)


def checks(dtypes: Sequence[str] = ("float32", "float64")) -> Iterator[Checked]:
    """Every training of the project in each precision, run here and in PyTorch, one by one."""
    try:
        import torch

        from torch_ref.notebook import lesson
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the check needs {error.name}: pip install "jaxgd[torch]"', name=error.name
        ) from None
    for dtype in dtypes:
        with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(PRECISION):
            told = _check_lesson(lesson(getattr(torch, dtype)), dtype)
            problem = _problem(dtype)
        yield Checked(dtype, "the lesson", told)
        for training in _trainings(torch.optim):
            with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(PRECISION):
                report = compare(_in_jax(training, problem), _in_torch(training, problem))
            yield Checked(dtype, training.name, report)


def _check_lesson(torch: Any, dtype: str) -> Report:
    """The notebook's numbers, one by one."""
    x, y, w, b = (jnp.asarray(number, dtype) for number in (torch.x, torch.y, torch.w, torch.b))

    def forward(params: Linear) -> tuple[Array, tuple[Array, Array]]:
        a = logistic(params, x[None])
        return binary_cross_entropy(a, y), (linear(params, x[None]), a)

    params = Linear(w[None], b)
    (loss, (z, a)), grad = jax.value_and_grad(forward, has_aux=True)(params)
    ours = {"z": z, "a": a, "loss": loss, "grad_w": grad.w[0], "grad_b": grad.b}
    return compare([ours], [{name: np.asarray(getattr(torch, name), dtype) for name in ours}])


class _Problem(NamedTuple):
    """Rows that no line separates, an order of them for each epoch, and a start."""

    x: np.ndarray
    y: np.ndarray
    orders: np.ndarray
    params: Linear


def _problem(dtype: str) -> _Problem:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_ROWS, _FEATURES))
    y = x.sum(axis=1) + rng.normal(size=_ROWS) > 0
    params = Linear(jnp.asarray(rng.uniform(-0.4, 0.4, _FEATURES), dtype), jnp.zeros((), dtype))
    orders = np.stack([rng.permutation(_ROWS) for _ in range(_EPOCHS)]).astype(np.int32)
    return _Problem(x.astype(dtype), y.astype(dtype), orders, params)


class _Training(NamedTuple):
    """One algorithm with one optimizer, named and made on both sides."""

    name: str
    algorithm: str  # gd, sgd or minibatch, by that name in jaxgd.epochs and torch_ref.descent
    ours: optax.GradientTransformation
    theirs: Callable[..., Any]

    @property
    def arguments(self) -> tuple[int, ...]:
        """What follows the order in a call of the algorithm."""
        return (_BATCH,) if self.algorithm == "minibatch" else ()


def _trainings(torch_optim: ModuleType) -> Iterator[_Training]:
    """The three descents with plain steps, and mini-batches with every optimizer."""
    for algorithm in ("gd", "sgd", "minibatch"):
        theirs = partial(torch_optim.SGD, lr=0.1)
        yield _Training(algorithm, algorithm, optax.sgd(0.1), theirs)
    for name, (torch_name, options) in _checked_optimizers().items():
        theirs = partial(getattr(torch_optim, torch_name), **options)
        yield _Training(f"minibatch, {name}", "minibatch", optim.by_name(name)(**options), theirs)


def _in_jax(training: _Training, problem: _Problem) -> dict[str, Array]:
    """The parameters before each epoch, so that the start comes first, and its losses."""
    loss = supervised(linear, binary_cross_entropy_with_logits)
    epoch = getattr(epochs, training.algorithm)(loss, training.ours, *training.arguments)
    data = jnp.asarray(problem.x), jnp.asarray(problem.y)

    def record(state: State, order: Array) -> tuple[State, dict[str, Array]]:
        after, losses = epoch(state, data, order)
        return after, {"w": state.params.w, "b": state.params.b, "losses": losses}

    start = init_state(problem.params, training.ours)
    return jax.jit(partial(jax.lax.scan, record))(start, jnp.asarray(problem.orders))[1]


def _in_torch(training: _Training, problem: _Problem) -> dict[str, np.ndarray]:
    """The same of PyTorch."""
    import torch

    from torch_ref import descent as reference

    x, y, w, b = map(torch.tensor, (problem.x, problem.y, *map(np.asarray, problem.params)))
    model = torch.nn.Sequential(torch.nn.Linear(_FEATURES, 1, dtype=x.dtype), torch.nn.Flatten(0))
    model.load_state_dict({"0.weight": w[None], "0.bias": b[None]})
    order = _EPOCHS if training.algorithm == "gd" else torch.tensor(problem.orders)
    losses, params = getattr(reference, training.algorithm)(
        model,
        torch.nn.functional.binary_cross_entropy_with_logits,
        training.theirs(model.parameters()),
        x,
        y,
        order,
        *training.arguments,
    )
    updates = len(losses) // _EPOCHS
    before = [{"0.weight": w[None], "0.bias": b[None]}, *params[updates - 1 : -1 : updates]]
    return {
        "w": np.stack([named["0.weight"][0].numpy() for named in before]),
        "b": np.stack([named["0.bias"][0].numpy() for named in before]),
        "losses": np.reshape(losses, (_EPOCHS, updates)).astype(problem.x.dtype),
    }
