"""One row makes an optimizer: a toy with a rule and a row is in every place that knows them all."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jaxtyping import Array

from jaxgd import optim
from jaxgd.cli.run_parts import optimizer_named
from jaxgd.equivalence import compare
from jaxgd.interop.torch import conformance, from_torch, params_from_torch, to_torch_state_dict
from jaxgd.interop.torch.params import params_to_torch
from jaxgd.optim.leaves import counted, leafwise, no_updates
from jaxgd.optim.moments import average
from jaxgd.optim.registry import REGISTRY, Row
from jaxgd.optim.torch_order import torch_chain
from tests.interop.torch.runs import BATCHES, END, MOVE, NETWORK, Training, descent, errors, numbers
from tests.optim import parity_page, problems, test_signatures
from tests.optim.cases import cases_of
from tests.optim.gate import errors_over_bound
from tests.optim.test_random_options import strategies
from tests.optim.trajectories import run_jax


class ToyState(NamedTuple):
    """The updates done, and the mean size of a gradient."""

    t: Array
    size: optax.Updates


def toy(lr=0.01, rho=0.9, weight_decay=0, *, maximize=False):
    """A gradient divided by one more than its mean size."""

    def leaf(g, moments, scalars):
        del scalars
        size = average(moments[0], jnp.abs(g), rho)
        return g / (1 + size), (size,)

    rule = leafwise(ToyState, {"size": jnp.zeros_like}, leaf, counted(), t=no_updates)
    return torch_chain(rule, lr, weight_decay, maximize=maximize)


class Toy(torch.optim.Optimizer):
    """The same, as torch would have it."""

    def __init__(self, params, lr=0.01, rho=0.9, weight_decay=0, *, maximize=False):
        options = {"lr": lr, "rho": rho, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure=None):
        if closure is not None:
            with torch.enable_grad():
                closure()
        for group in self.param_groups:
            for param in group["params"]:
                grad = -param.grad if group["maximize"] else param.grad
                grad = grad + group["weight_decay"] * param
                state = self.state[param]
                if not state:
                    state |= {"step": torch.tensor(0.0), "size": torch.zeros_like(param)}
                state["step"] += 1
                state["size"].mul_(group["rho"]).add_(grad.abs(), alpha=1 - group["rho"])
                param.sub_(grad / (1 + state["size"]), alpha=group["lr"])


Toy.__module__ = "torch.optim.toy"

ROW = Row(
    toy,
    "Toy",
    ("size",),
    "a toy",
    varied={"lr": 0.03, "rho": 0.5, "weight_decay": 0.1, "maximize": True},
    thorough={"weight_decay": 0.1},
    checked={"lr": 0.05},
)


@pytest.fixture(autouse=True)
def row(monkeypatch):
    """Torch has a class more, and the registry a row."""
    monkeypatch.setattr(torch.optim, "Toy", Toy, raising=False)
    assert "Toy" in test_signatures.torchs_own() - {row.torch_class for row in REGISTRY.values()}
    monkeypatch.setitem(REGISTRY, "toy", ROW)


def test_it_has_a_name():
    assert optim.by_name("toy") is toy
    assert optimizer_named("toy")(0.1).init is not None
    with pytest.raises(ValueError, match=r"sparse_adam, toy; got 'Toyy'\. Use 'toy'\?"):
        optim.by_name("Toyy")


def test_its_signature_is_checked():
    test_signatures.test_the_options_and_their_defaults_are_torchs("toy")
    test_signatures.test_every_option_is_varied("toy")
    test_signatures.test_no_class_of_torch_is_without_a_row()
    assert set(strategies("toy")) == {*ROW.varied, "schedule"}


def test_its_cases_are_compared_with_torch():
    cases = list(cases_of("toy"))
    assert len(cases) > len(ROW.varied)
    gradients = problems.gradients("float64")
    runs = run_jax(cases, [case.jaxgd() for case in cases], "float64", gradients)
    over = [errors_over_bound(*each, "float64") for each in zip(cases, runs, strict=True)]
    assert over == [{}] * len(cases)


def test_its_state_moves_across(x64):
    module = NETWORK.module()
    optimizer = Toy(module.named_parameters(), weight_decay=0.1)
    training = Training(NETWORK, module, optimizer).run(0, MOVE)
    params = params_from_torch(module)
    ours, state = from_torch(optimizer, params)
    params, state = descent(NETWORK, ours)(params, state, BATCHES[MOVE:END])
    state_dict = to_torch_state_dict(state, params, optimizer)
    actual = numbers(params_to_torch(params, module), state_dict)
    assert errors(actual, training.run(MOVE, END).numbers()) == {}


def test_the_check_of_a_machine_runs_it():
    (training,) = (
        each for each in conformance._trainings(torch.optim) if each.name == "minibatch, toy"
    )
    problem = conformance._problem("float32")
    report = compare(
        conformance._in_jax(training, problem), conformance._in_torch(training, problem)
    )
    assert report.verdict == "equivalent"


def test_the_page_shows_it():
    assert "| `toy` | Toy | `size` | a toy |" in parity_page.overview()
    shown = [case.id for case in parity_page.shown_cases() if case.optimizer == "toy"]
    assert shown[0] == "toy()"
    assert len(shown) == 2 + len(ROW.varied)


def test_the_state_bears_torchs_names():
    """Of every optimizer: what the registry says of the state is there."""
    params = {"matrix": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    for name, each in REGISTRY.items():
        if each.thorough is None:
            continue
        state = optim.by_name(name)(**each.thorough).init(params)
        fields = {field for part in state for field in getattr(part, "_fields", ())}
        assert {*each.buffers, *each.carried} <= fields, name
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
