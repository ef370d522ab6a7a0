"""Trainings on both sides that can be stopped, moved across and continued: closed loops, in f64."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxgd.models import mlp
from tests import tolerances

MOVE, END = 100, 200
ROWS, BATCH, FEATURES, WORDS = 32, 8, 3, 6

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(ROWS, FEATURES)), RNG.normal(size=ROWS)
BATCHES = RNG.integers(ROWS, size=(END, BATCH))
LABELS = RNG.random(size=(ROWS, FEATURES))
TARGETS = RNG.normal(size=(WORDS, 2))


@dataclasses.dataclass(frozen=True)
class Problem:
    """A module, and its loss over the rows of a batch on both sides."""

    module: Callable[[], torch.nn.Module]
    torch_loss: Callable[[torch.nn.Module, np.ndarray], torch.Tensor]
    loss: Callable[[Any, jax.Array], jax.Array]


def network():
    """A square layer, whose weight fits transposed as well, and one output."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(FEATURES, FEATURES), torch.nn.Tanh(), torch.nn.Linear(FEATURES, 1)
    return torch.nn.Sequential(*layers).double()


def network_torch_loss(module, rows):
    return (module(torch.tensor(X[rows]))[:, 0] - torch.tensor(Y[rows])).square().mean()


def network_loss(params, rows):
    outputs = jax.vmap(mlp, in_axes=(None, 0))(params, jnp.asarray(X)[rows])
    return jnp.mean(jnp.square(outputs[:, 0] - jnp.asarray(Y)[rows]))


def embedding():
    torch.manual_seed(0)
    return torch.nn.Embedding(WORDS, 2, sparse=True).double()


def embedding_torch_loss(module, rows):
    words = torch.tensor(rows % WORDS)
    return (module(words) - torch.tensor(TARGETS)[words]).square().sum()


def embedding_loss(params, rows):
    words = rows % WORDS
    return jnp.sum(jnp.square(params["weight"][words] - jnp.asarray(TARGETS)[words]))


def classifier():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, FEATURES)).double()


def classifier_torch_loss(module, rows):
    del rows
    logits, labels = module(torch.tensor(X)), torch.tensor(LABELS)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)


def classifier_loss(params, rows):
    del rows
    logits = jax.vmap(mlp, in_axes=(None, 0))(params, jnp.asarray(X))
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.asarray(LABELS)))


NETWORK = Problem(network, network_torch_loss, network_loss)
# For L-BFGS: convex, or rounding grows without bound; the whole batch, or it stalls.
CLASSIFIER = Problem(classifier, classifier_torch_loss, classifier_loss)
EMBEDDING = Problem(embedding, embedding_torch_loss, embedding_loss)


@dataclasses.dataclass
class Training:
    """A torch module with its optimizer, and what is called after each update."""

    problem: Problem
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    after_step: Callable[[], Any] = lambda: None

    def run(self, start, stop):
        for rows in BATCHES[start:stop]:

            def closure(rows=rows):
                self.optimizer.zero_grad()
                loss = self.problem.torch_loss(self.module, rows)
                loss.backward()
                return loss

            self.optimizer.step(closure)
            self.after_step()
        return self

    def numbers(self):
        """Every number of the parameters and of the optimizer's state."""
        return numbers(self.module.state_dict(), self.optimizer.state_dict())


def numbers(parameters, state_dict):
    """The parameters by name, and the optimizer's state by parameter and torch's name."""
    found = {name: _array(value) for name, value in parameters.items()}
    for i, state in state_dict["state"].items():
        for key, value in state.items():
            if key != "al":  # LBFGS's scratch space
                values = value if isinstance(value, list) else [value]
                found |= {f"{i}.{key}.{j}": _array(value) for j, value in enumerate(values)}
    return found


def _array(value):
    return np.array(value.numpy() if isinstance(value, torch.Tensor) else value, np.float64)


def descent(problem, optimizer):
    """Our training over the rows of some batches, compiled: (params, state, batches) -> both."""
    optimizer = optax.with_extra_args_support(optimizer)

    def update(carry, rows):
        params, state = carry
        value, grads = jax.value_and_grad(problem.loss)(params, rows)
        updates, state = optimizer.update(
            grads, state, params, value=value, value_fn=lambda p: problem.loss(p, rows)
        )
        return (optax.apply_updates(params, updates), state), None

    return jax.jit(lambda params, state, rows: jax.lax.scan(update, (params, state), rows)[0])


def errors(actual, expected, bound=tolerances.PARITY_F64):
    """What is off, and by how much of its largest entry: nothing, if all agree to rounding."""
    assert actual.keys() == expected.keys()
    off = {}
    for name, values in expected.items():
        scale = max(np.max(np.abs(values)), np.finfo(np.float32).tiny)
        off[name] = float(np.max(np.abs(actual[name] - values)) / scale)
    return {name: error for name, error in off.items() if not error <= bound}
