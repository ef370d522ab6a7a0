"""The gate bites: a wrong constant, a stale buffer and a wrong formula are caught."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxgd import optim
from tests.optim import problems
from tests.optim.cases import TORCH_DEFAULTS, Case
from tests.optim.gate import errors_over_bound
from tests.optim.plain_optax import plain_optax
from tests.optim.subjects import SUBJECTS
from tests.optim.trajectories import run_jax

FAULT = 1 + 1e-4
STALE_EVERY = 10


def subject(optimizer):
    return Case(optimizer, SUBJECTS[optimizer][0])


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


def assert_caught(case, faulty, dtype):
    """Every faulty transformation is over the bound."""
    runs = run_jax([case] * len(faulty), list(faulty.values()), dtype, problems.gradients(dtype))
    runs_by_fault = zip(faulty, runs, strict=True)
    assert [name for name, run in runs_by_fault if not errors_over_bound(case, run, dtype)] == []


def replace(monkeypatch, module, name, faulty):
    """Plant another function in a module of jaxgd.optim (some have the name of their function)."""
    monkeypatch.setattr(importlib.import_module(f"jaxgd.optim.{module}"), name, faulty)


@pytest.mark.parametrize("optimizer", SUBJECTS)
def test_a_wrong_constant_is_caught(optimizer):
    """In float64: one part in ten thousand of an eps is felt by nobody in float32."""
    case = subject(optimizer)
    build = optim.by_name(optimizer)
    faulty = {name: build(**options) for name, options in perturbed_options(case)}
    assert_caught(case, faulty, "float64")


@pytest.mark.parametrize("optimizer", SUBJECTS)
def test_a_stale_buffer_and_a_wrong_rate_are_caught_in_float32_too(optimizer):
    case = subject(optimizer)
    faulty = {buffer: stale(case.jaxgd(), buffer) for buffer in SUBJECTS[optimizer][1]}
    faulty["lr"] = optim.by_name(optimizer)(
        **case.options | {"lr": TORCH_DEFAULTS[optimizer]["lr"] * FAULT}
    )
    assert_caught(case, faulty, "float32")


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "nadam", "radam"])
def test_a_missing_bias_correction_is_caught(optimizer, monkeypatch):
    case = subject(optimizer)
    replace(monkeypatch, optimizer, "bias_correction", lambda beta, t: jnp.ones([]))
    assert_caught(case, {"none": case.jaxgd()}, "float32")


def test_a_cancelling_bias_correction_is_caught_in_float32(monkeypatch):
    """1 - beta**t in float32, as in optax.adam: eight parts in a million."""
    case = Case("adam", {"betas": (0.9, 0.9999)})
    replace(monkeypatch, "adam", "bias_correction", lambda beta, t: 1 - beta ** t.astype(float))
    assert_caught(case, {"1 - beta**t": case.jaxgd()}, "float32")


# The rule of each optimizer that adds eps, the line that does, and the line with eps elsewhere.
EPS = {
    "adam": (
        "scale_by_adam",
        "jnp.sqrt(v) / root_correction2.astype(v.dtype) + eps",
        "(jnp.sqrt(v) + eps) / root_correction2.astype(v.dtype)",
    ),
    "adamax": (
        "scale_by_adamax",
        "update_infinity_moment(grads, state.exp_inf, beta2, eps)",
        "update_infinity_moment(grads, jax.tree.map(lambda s: s + eps, state.exp_inf), beta2, 0.0)",
    ),
    "nadam": (
        "scale_by_nadam",
        "(jnp.sqrt(v / correction2.astype(v.dtype)) + eps)",
        "jnp.sqrt(v / correction2.astype(v.dtype) + eps)",
    ),
    "adadelta": ("scale_by_adadelta", "jnp.sqrt(cur_e_g + eps)", "(jnp.sqrt(cur_e_g) + eps)"),
}


@pytest.mark.parametrize("optimizer", EPS)
def test_an_eps_on_the_wrong_side_is_caught(optimizer, monkeypatch):
    rule, right, wrong = EPS[optimizer]
    own = importlib.import_module(f"jaxgd.optim.{optimizer}")
    module = own if hasattr(own, rule) else optax
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
