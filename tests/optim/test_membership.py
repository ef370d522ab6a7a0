"""Parameters that are skipped, and parameters that join, against torch at every update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from jaxgd.interop.torch import from_torch, to_torch_state_dict
from tests import tolerances
from tests.interop.torch.runs import errors, numbers

RNG = np.random.default_rng(0)
START = {"a": RNG.normal(size=3), "b": RNG.normal(size=2)}
UPDATES = 12
STREAM = {name: RNG.normal(size=(UPDATES, *leaf.shape)) for name, leaf in START.items()}
OPTIONS = {"lr": 0.05, "weight_decay": 0.1}

pytestmark = [pytest.mark.optax_promotion, pytest.mark.usefixtures("x64")]


def parameters():
    return {name: torch.nn.Parameter(torch.tensor(leaf)) for name, leaf in START.items()}


def step(torchs, params, t, names):
    for name, param in params.items():
        param.grad = torch.tensor(STREAM[name][t]) if name in names else None
    torchs.step()


def gradients(t, names):
    """A gradient, or None, for each parameter."""
    return {name: jnp.asarray(STREAM[name][t]) if name in names else None for name in START}


def names_at(t):
    return {"a"} if t in (0, 1, 5, 6) else {"b"} if t == 8 else {"a", "b"}


def test_a_gradient_of_none_skips_its_parameter():
    """Outside of jit: values, and buffers with each parameter's own count."""
    params, torchs = parameters(), None
    torchs = torch.optim.AdamW(params.items(), **OPTIONS)
    ours = jax.tree.map(jnp.asarray, START)
    tx = optim.per_parameter(optim.adamw(**OPTIONS))
    state = tx.init(ours)
    for t in range(UPDATES):
        step(torchs, params, t, names_at(t))
        updates, state = tx.update(gradients(t, names_at(t)), state, ours)
        ours = optax.apply_updates(ours, updates)
    actual = numbers(in_torch(ours), to_torch_state_dict(state, ours, torchs))
    assert errors(actual, numbers(in_torch(params), torchs.state_dict())) == {}
    assert {int(each["step"]) for each in torchs.state.values()} == {8, 11}


def in_torch(params):
    return {
        name: torch.tensor(np.asarray(leaf.detach() if hasattr(leaf, "detach") else leaf))
        for name, leaf in params.items()
    }


def test_present_says_the_same_of_a_traced_update():
    """Bit for bit, where the whole run is one program; and one program for all."""
    start = jax.tree.map(jnp.asarray, START)
    tx = optim.per_parameter(optim.adam(**OPTIONS))
    present = {name: jnp.array([name in names_at(t) for t in range(UPDATES)]) for name in START}

    @jax.jit
    def run(params, present):
        def update(carry, inputs):
            updates, state = tx.update(inputs[0], carry[1], carry[0], present=inputs[1])
            return (optax.apply_updates(carry[0], updates), state), None

        begun = params, tx.init(params)
        return jax.lax.scan(update, begun, (jax.tree.map(jnp.asarray, STREAM), present))[0]

    expected, state = start, tx.init(start)
    for t in range(UPDATES):
        updates, state = tx.update(gradients(t, names_at(t)), state, expected)
        expected = optax.apply_updates(expected, updates)
    for ours, theirs in zip(
        jax.tree.leaves(run(start, present)), jax.tree.leaves((expected, state)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=tolerances.PARITY_F64)


def test_zeros_are_no_absent_gradient():
    """A canary: zeros decay, and count."""
    start = jax.tree.map(jnp.asarray, START)
    tx = optim.per_parameter(optim.adamw(**OPTIONS))
    absent, zeros = (
        tx.update({"a": STREAM["a"][0], "b": b}, tx.init(start), start)[0]["b"]
        for b in (None, jnp.zeros(2))
    )
    np.testing.assert_array_equal(absent, np.zeros(2))
    assert np.abs(zeros).min() > 1e-4


def test_params_are_asked_for():
    tx = optim.per_parameter(optim.adam())
    with pytest.raises(ValueError, match="update must be given the params"):
        tx.update({"a": None}, tx.init({"a": jnp.ones(2)}))


@pytest.mark.parametrize("way", ["groups", "per_parameter"])
def test_a_group_added_in_mid_run(way):
    """What was there goes on, and the new one starts at its first update."""
    params = parameters()
    torchs = torch.optim.Adam([("a", params["a"])], **OPTIONS)
    new = {"lr": 0.2, "weight_decay": 0.0} if way == "groups" else {}

    def ours_over(names):
        if way == "per_parameter":
            return optim.per_parameter(optim.adam(**OPTIONS))
        groups = {"a": optim.adam(**OPTIONS), "b": optim.adam(**OPTIONS | new)}
        return optax.partition({name: groups[name] for name in names}, lambda p: {n: n for n in p})

    ours = {"a": jnp.asarray(START["a"])}
    tx = ours_over("a")
    state = tx.init(ours)
    for t in range(UPDATES):
        if t == 5:
            torchs.add_param_group({"params": [("b", params["b"])]} | new)
            ours, tx = ours | {"b": jnp.asarray(START["b"])}, ours_over("ab")
            state = optim.carry_over(state, tx.init(ours))
        step(torchs, params, t, {"a", "b"})
        updates, state = tx.update(
            {name: jnp.asarray(STREAM[name][t]) for name in ours}, state, ours
        )
        ours = optax.apply_updates(ours, updates)
    actual = numbers(in_torch(ours), to_torch_state_dict(state, ours, torchs))
    assert errors(actual, numbers(in_torch(params), torchs.state_dict())) == {}

    _, read = from_torch(torchs, ours)
    assert sorted(int(part.inner_state[1].t) for part in read.inner_states.values()) == [7, 12]


def test_a_state_that_has_no_place_is_refused():
    params = {"a": jnp.ones(2)}
    state = optim.adam().init(params)
    longer = {"a": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"got another shape for state\[1\].exp_avg\['a'\]\. Give"):
        optim.carry_over(state, optim.adam().init(longer))
    parted = optax.partition({"a": optim.adam()}, {"a": "a"})
    with pytest.raises(ValueError, match=r"a place for every number of state; got none for"):
        optim.carry_over(state, parted.init(params))
