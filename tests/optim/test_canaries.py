"""The gate bites: a wrong constant, a stale buffer and a wrong formula are caught."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxgd import optim
from jaxgd.optim.registry import REGISTRY
from tests.optim import problems
from tests.optim.cases import OPTIMIZERS, Case, thorough, torch_defaults
from tests.optim.gate import errors_over_bound
from tests.optim.plain_optax import plain_optax
from tests.optim.trajectories import run_jax

FAULT = 1 + 1e-4
STALE_EVERY = 10


def subject(optimizer):
    return Case(optimizer, thorough(optimizer))


def perturbed_options(case):
    """Each number among the options, defaults included, off by one part in ten thousand."""
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(optim.by_name(case.optimizer)).parameters.items()
    } | case.options
    for name, value in options.items():
        if isinstance(value, tuple):
            for i in range(len(value)):
                wrong = tuple(v * FAULT if i == j else v for j, v in enumerate(value))
                yield f"{name}[{i}]", options | {name: wrong}
        elif not isinstance(value, bool) and value:
            yield name, options | {name: value * FAULT}


def stale(tx, buffer):
    """The transformation, but for one buffer that misses every tenth update."""

    def update(grads, state, params=None):
        updates, new = tx.update(grads, state, params)
        missed = optax.tree.get(state, "step") % STALE_EVERY == 0
        kept = jax.tree.map(
            lambda before, after: jnp.where(missed, before, after),
            optax.tree.get(state, buffer),
            optax.tree.get(new, buffer),
        )
        return updates, optax.tree.set(new, **{buffer: kept})

    return optax.GradientTransformation(tx.init, update)


# What no later update looks at: counts, and the average that ASGD gives beside its iterate.
UNFELT = {"adadelta": {"t"}, "asgd": {"ax", "t"}, "rmsprop": {"t"}, "rprop": {"t"}}


def fields(case):
    """The fields of the state that an update looks at: torch's buffers and the count."""
    row = REGISTRY[case.optimizer]
    state = case.jaxgd().init({"matrix": jnp.zeros((2, 2)), "vector": jnp.zeros(2)})
    held = {name for name in row.buffers if jax.tree.leaves(optax.tree.get(state, name))}
    counts = {"step"} if case.optimizer == "asgd" else {"t"}
    return sorted((held | set(row.carried) | counts) - UNFELT.get(case.optimizer, set()))


def assert_caught(case, faulty, dtype):
    """Every faulty transformation is over the bound."""
    runs = run_jax([case] * len(faulty), list(faulty.values()), dtype, problems.gradients(dtype))
    runs_by_fault = zip(faulty, runs, strict=True)
    assert [name for name, run in runs_by_fault if not errors_over_bound(case, run, dtype)] == []


def replace(monkeypatch, module, name, faulty):
    """Plant another function in a module of jaxgd.optim."""
    monkeypatch.setattr(importlib.import_module(f"jaxgd.optim.{module}"), name, faulty)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_wrong_constant_is_caught(optimizer):
    """In float64: one part in ten thousand of an eps is felt by nobody in float32."""
    case = subject(optimizer)
    build = optim.by_name(optimizer)
    faulty = {name: build(**options) for name, options in perturbed_options(case)}
    assert_caught(case, faulty, "float64")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stale_buffer_and_a_wrong_rate_are_caught_in_float32_too(optimizer):
    case = subject(optimizer)
    faulty = {buffer: stale(case.jaxgd(), buffer) for buffer in fields(case)}
    faulty["lr"] = optim.by_name(optimizer)(
        **case.options | {"lr": torch_defaults(optimizer)["lr"] * FAULT}
    )
    assert_caught(case, faulty, "float32")


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "nadam", "radam"])
def test_a_missing_bias_correction_is_caught(optimizer, monkeypatch):
    case = subject(optimizer)
    replace(monkeypatch, f"{optimizer}_rule", "bias_correction", lambda beta, t: jnp.ones([]))
    assert_caught(case, {"none": case.jaxgd()}, "float32")


def test_a_cancelling_bias_correction_is_caught_in_float32(monkeypatch):
    """1 - beta**t in float32, as in optax.adam: eight parts in a million."""
    case = Case("adam", {"betas": (0.9, 0.9999)})
    replace(
        monkeypatch, "adam_rule", "bias_correction", lambda beta, t: 1 - beta ** t.astype(float)
    )
    assert_caught(case, {"1 - beta**t": case.jaxgd()}, "float32")


# The rule of each optimizer that adds eps, the line that does, and the line with eps elsewhere.
EPS = {
    "adam": (
        "scale_by_adam",
        "root(largest if amsgrad else v) / root_correction2 + eps",
        "(root(largest if amsgrad else v) + eps) / root_correction2",
    ),
    "adamax": (
        "scale_by_adamax",
        "jnp.maximum(jnp.abs(g) + eps, beta2 * s)",
        "jnp.maximum(jnp.abs(g), beta2 * (s + eps))",
    ),
    "nadam": (
        "scale_by_nadam",
        "(root(v / correction2) + eps)",
        "root(v / correction2 + eps)",
    ),
    "adadelta": ("scale_by_adadelta", "/ jnp.sqrt(v + eps)", "/ (jnp.sqrt(v) + eps)"),
}


@pytest.mark.parametrize("optimizer", EPS)
def test_an_eps_on_the_wrong_side_is_caught(optimizer, monkeypatch):
    rule, right, wrong = EPS[optimizer]
    module = importlib.import_module(f"jaxgd.optim.{optimizer}_rule")
    source = inspect.getsource(getattr(module, rule))
    assert source.count(right) == 1
    faulty = dict(inspect.unwrap(getattr(module, rule)).__globals__)
    exec(source.replace(right, wrong), faulty)
    monkeypatch.setattr(module, rule, faulty[rule])
    case = Case(optimizer, {})
    assert_caught(case, {wrong: case.jaxgd()}, "float64")


def test_a_decay_contracted_to_a_fused_multiply_add_is_caught(monkeypatch):
    case = Case("adamw", {"weight_decay": 1e-3})
    replace(monkeypatch, "learning_rate", "_decay", lambda p, kept: p * kept - p)
    assert_caught(case, {"contracted": case.jaxgd()}, "float32")


@pytest.mark.optax_promotion
@pytest.mark.parametrize(
    "case",
    [
        Case("adagrad", {}),
        Case("adam", {"amsgrad": True}),
        Case("nadam", {}),
        Case("radam", {}),
        Case("rmsprop", {}),
        Case("rprop", {}),
    ],
    ids=lambda case: case.id,
)
def test_optax_where_it_is_another_formula_is_caught(case):
    """eps under the root, a corrected maximum, a step that is one update stale, and so on."""
    assert_caught(case, {"optax": plain_optax(case)}, "float64")
