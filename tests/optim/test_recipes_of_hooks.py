"""More of docs/optax-recipes.md as it stands there: hooks, groups, a plateau, batch norms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim import lr_scheduler

from tests import tolerances
from tests.optim.test_compositions import (
    GRADIENTS,
    RECIPES,
    RNG,
    START,
    UPDATES,
    VALUES,
    assert_same,
    groups_of,
    module,
    run,
    run_torch,
)

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.optax_promotion]


def centralize(grad):
    return grad - grad.mean(-1, keepdim=True)


@pytest.mark.parametrize("hook", ["step_pre", "post_accumulate_grad"])
def test_a_hook_on_the_gradient(hook):
    linear = module()
    optimizer = torch.optim.Adam(linear.parameters(), lr=1e-2)

    def before(*_):
        linear.weight.grad = centralize(linear.weight.grad)

    def step(t):
        if hook == "post_accumulate_grad":  # which fires in a backward pass
            given = [param.grad.clone() for param in linear.parameters()]
            optimizer.zero_grad()
            torch.autograd.backward(list(linear.parameters()), given)
        optimizer.step()

    if hook == "step_pre":
        optimizer.register_step_pre_hook(before)
    else:
        linear.weight.register_post_accumulate_grad_hook(before)
    assert_same(run(RECIPES.before_the_step()), run_torch(optimizer, linear, step))


def test_a_hook_after_the_step():
    linear = module()
    optimizer = torch.optim.Adam(linear.parameters(), lr=1e-2)

    def after(*_):
        with torch.no_grad():
            linear.weight /= linear.weight.norm(dim=-1, keepdim=True)

    optimizer.register_step_post_hook(after)
    assert_same(run(RECIPES.after_the_step()), run_torch(optimizer, linear))


def test_a_plateau_after_a_warm_up():
    linear = module()
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    warm_up = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.8)

    def step(t):
        optimizer.step()
        warm_up.step()
        plateau.step(VALUES[t])

    expected = run_torch(optimizer, linear, step)
    assert optimizer.param_groups[0]["lr"] < 0.05
    assert_same(run(RECIPES.on_plateau_after_warm_up()), expected)


def test_absent_gradients():
    linear = module()
    optimizer = torch.optim.AdamW(linear.parameters(), lr=1e-2)

    def step(t):
        if t % 3 == 0:
            linear.bias.grad = None
        optimizer.step()

    expected = run_torch(optimizer, linear, step)
    tx, params = RECIPES.skipping_absent(), jax.tree.map(jnp.asarray, START)

    def update(carry, inputs):
        (params, state), (grads, t) = carry, inputs
        present = {"weight": True, "bias": t % 3 != 0}
        updates, state = tx.update(grads, state, params, present=present)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    inputs = jax.tree.map(jnp.asarray, GRADIENTS), jnp.arange(UPDATES)
    assert_same(jax.lax.scan(update, (params, tx.init(params)), inputs)[1], expected)


def test_a_group_that_joins():
    linear = module()
    vectors = groups_of(linear).param_groups[1]
    optimizer = torch.optim.AdamW([linear.weight], lr=1e-2)

    def step(t):
        if t == UPDATES // 2:
            optimizer.add_param_group(vectors | {"params": [linear.bias]})
        optimizer.step()

    expected = run_torch(optimizer, linear, step)
    params = {"weight": jnp.asarray(START["weight"])}
    tx = RECIPES.matrices_alone()
    state = tx.init(params)
    for t in range(UPDATES):
        if t == UPDATES // 2:
            params |= {"bias": jnp.asarray(START["bias"])}
            tx, state = RECIPES.with_vectors(state, params)
        grads = {name: jnp.asarray(GRADIENTS[name][t]) for name in params}
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    assert_same(params, {name: leaf[-1] for name, leaf in expected.items()})


def test_batch_norms_of_averaged_parameters():
    norm = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    network = torch.nn.Sequential(module(), norm)
    batches = RNG.normal(size=(5, 8, 2))
    network(torch.tensor(batches[0]))  # statistics of before, which are forgotten
    torch.optim.swa_utils.update_bn([torch.tensor(batch) for batch in batches], network)

    def statistics(params, batch):
        seen = batch @ params["weight"].T + params["bias"][None]
        return {"mean": seen.mean(0), "var": seen.var(0, ddof=1)}

    params = jax.tree.map(jnp.asarray, START)
    ours = RECIPES.update_bn(statistics, params, jnp.asarray(batches))
    theirs = {"mean": norm.running_mean, "var": norm.running_var}
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[name], expected.numpy(), rtol=tolerances.PARITY_F64)
