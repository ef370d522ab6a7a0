"""The recipes of docs/optax-recipes.md, run as they stand there, against PyTorch."""

import re
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests import tolerances

UPDATES = 40
RNG = np.random.default_rng(0)
START = {"weight": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=3)}
GRADIENTS = {name: RNG.normal(size=(UPDATES, *leaf.shape)) for name, leaf in START.items()}
VALUES = RNG.normal(size=UPDATES)

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.optax_promotion]


def load(page):
    """Everything the Python blocks of a page define."""
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(block, names)
    return SimpleNamespace(**names)


RECIPES = load(Path(__file__).parents[2] / "docs" / "optax-recipes.md")


def module():
    """START as a torch module."""
    linear = torch.nn.Linear(2, 3, dtype=torch.float64)
    linear.load_state_dict({name: torch.tensor(leaf) for name, leaf in START.items()})
    return linear


def run_torch(optimizer, linear, step=None, gradients=GRADIENTS):
    """The parameters after every update; `step(t)` stands for `optimizer.step()`."""
    trajectory = {name: [] for name in START}
    for t in range(UPDATES):
        for name, param in linear.named_parameters():
            param.grad = torch.tensor(gradients[name][t])
        optimizer.step() if step is None else step(t)
        for name, param in linear.named_parameters():
            trajectory[name].append(param.detach().numpy().copy())
    return {name: np.stack(values) for name, values in trajectory.items()}


def run(optimizer, gradients=GRADIENTS):
    """The same of an optax chain, as one compiled scan."""

    def update(carry, inputs):
        params, state = carry
        grads, value = inputs
        extra = {"value": value} if isinstance(optimizer, EXTRA_ARGS) else {}
        updates, state = optimizer.update(grads, state, params, **extra)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    inputs = jax.tree.map(jnp.asarray, (gradients, VALUES))
    start = jax.tree.map(jnp.asarray, START)
    scan = jax.jit(lambda p, xs: jax.lax.scan(update, (p, optimizer.init(p)), xs)[1])
    return scan(start, inputs)


EXTRA_ARGS = optax.GradientTransformationExtraArgs


def assert_same(ours, theirs):
    for name, expected in theirs.items():
        error = np.abs(ours[name] - expected).max() / np.abs(expected).max()
        assert error < tolerances.PARITY_F64, name


def groups_of(linear):
    """The optimizer of the page's first recipe."""
    vectors = {"params": [linear.bias], "weight_decay": 0.0, "lr": 3e-3}
    return torch.optim.AdamW([{"params": [linear.weight]}, vectors], lr=1e-2)


def test_parameter_groups():
    linear = module()
    assert_same(run(RECIPES.parameter_groups()), run_torch(groups_of(linear), linear))


def test_frozen_vectors():
    linear = module()
    linear.bias.requires_grad_(False)
    optimizer = torch.optim.SGD([linear.weight], lr=0.1, momentum=0.9)
    assert_same(run(RECIPES.frozen_vectors()), run_torch(optimizer, linear))


def test_clipped_groups():
    """One norm over both groups, which reaches above 1 and below."""
    linear = module()
    optimizer = groups_of(linear)
    scale = np.geomspace(0.01, 10, UPDATES)
    grads = {name: (leaf.T * scale).T for name, leaf in GRADIENTS.items()}

    def step(t):
        torch.nn.utils.clip_grad_norm_(linear.parameters(), 1.0)
        optimizer.step()

    assert_same(run(RECIPES.clipped_groups(), grads), run_torch(optimizer, linear, step, grads))


def accumulate_in_torch(linear, optimizer):
    """A step that accumulates a quarter of each gradient, clips and updates every fourth time."""
    sums = [torch.zeros_like(param) for param in linear.parameters()]

    def step(t):
        for total, param in zip(sums, linear.parameters(), strict=True):
            total += param.grad / 4
            param.grad = total.clone()
        if t % 4 == 3:
            torch.nn.utils.clip_grad_norm_(linear.parameters(), 1.0)
            optimizer.step()
            for total in sums:
                total.zero_()

    return step


def test_accumulated_gradients_are_clipped_as_one():
    linear = module()
    optimizer = groups_of(linear)
    expected = run_torch(optimizer, linear, accumulate_in_torch(linear, optimizer))
    assert_same(run(RECIPES.accumulated(jnp.float64).gradient_transformation()), expected)


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_averages(kind):
    linear = module()
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    options = {"multi_avg_fn": get_ema_multi_avg_fn(0.99)} if kind == "ema" else {}
    averaged = AveragedModel(linear, **options)
    averages = {name: [] for name in START}

    def step(t):
        optimizer.step()
        averaged.update_parameters(linear)
        for name, param in averaged.module.named_parameters():
            averages[name].append(param.detach().numpy().copy())

    trajectory = run_torch(optimizer, linear, step)
    recipe = {"swa": "stochastic_weight_average", "ema": "exponential_moving_average"}[kind]

    def update(average, params_and_n):
        average = getattr(RECIPES, recipe)(average, *params_and_n)
        return average, average

    inputs = jax.tree.map(jnp.asarray, (trajectory, np.arange(UPDATES, dtype=float)))
    ours = jax.lax.scan(update, jax.tree.map(jnp.asarray, START), inputs)[1]
    assert_same(ours, jax.tree.map(np.stack, averages, is_leaf=lambda x: isinstance(x, list)))


def test_updates_that_are_not_finite_are_skipped():
    """Against a live GradScaler, whose scale is a power of two and halves at each skip."""
    bad = {3: np.inf, 4: np.nan, 5: -np.inf, 20: np.nan}
    grads = {name: leaf.copy() for name, leaf in GRADIENTS.items()}
    for t, value in bad.items():
        grads["weight"][t, 0, 0] = value
    linear = module()
    optimizer = torch.optim.Adam(linear.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def step(t):
        scale = scaler.scale(torch.ones(())).item()
        for param in linear.parameters():
            param.grad *= scale
        scaler.step(optimizer)
        scaler.update()

    expected = run_torch(optimizer, linear, step, grads)
    np.testing.assert_array_equal(expected["bias"][2], expected["bias"][5])
    assert_same(run(RECIPES.skipping(), grads), expected)


def test_a_loss_scale_that_grows_and_backs_off():
    """Over gradients of the loss times the scale; the schedule counts the skipped updates."""
    bad = {3: np.inf, 4: np.nan, 20: np.nan}
    grads = {name: leaf.copy() for name, leaf in GRADIENTS.items()}
    for t, value in bad.items():
        grads["weight"][t, 0, 0] = value
    linear = module()
    optimizer = torch.optim.Adam(linear.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    scales = []

    def step(t):
        scales.append(scaler.scale(torch.ones(())).item())
        for param in linear.parameters():
            param.grad *= scales[-1]
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()

    expected = run_torch(optimizer, linear, step, grads)
    assert max(scales) > 2**12
    assert min(scales) < 2**9

    def update(carry, grads):
        params, state = carry
        scale = optax.tree.get(state, "scale")
        scaled = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        updates, state = RECIPES.scaled().update(scaled, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, scale)

    start = jax.tree.map(jnp.asarray, START)
    begun = start, RECIPES.scaled().init(start)
    ours, our_scales = jax.jit(lambda c, g: jax.lax.scan(update, c, g)[1])(
        begun, jax.tree.map(jnp.asarray, grads)
    )
    np.testing.assert_array_equal(our_scales, scales)
    assert_same(ours, expected)


@pytest.mark.parametrize("recipe", ["cycled_sgd", "cycled_adam"])
def test_cycled_momentum(recipe):
    linear = module()
    build = {"cycled_sgd": torch.optim.SGD, "cycled_adam": torch.optim.Adam}[recipe]
    options = {"momentum": 0.9} if recipe == "cycled_sgd" else {}
    optimizer = build(linear.parameters(), lr=0.1, **options)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=UPDATES)

    def step(t):
        optimizer.step()
        scheduler.step()

    assert_same(run(getattr(RECIPES, recipe)()), run_torch(optimizer, linear, step))


def test_on_plateau():
    linear = module()
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.8)

    def step(t):
        optimizer.step()
        scheduler.step(VALUES[t])

    expected = run_torch(optimizer, linear, step)
    assert optimizer.param_groups[0]["lr"] < 0.05
    assert_same(run(RECIPES.on_plateau()), expected)


def test_a_canary_of_the_clip_inside_the_partition():
    """Each group clipped by its own norm is another training."""
    wrong = optax.partition(
        {
            "matrix": optax.chain(RECIPES.optim.clip_grad_norm(1.0), RECIPES.optim.adamw(lr=1e-2)),
            "vector": optax.chain(
                RECIPES.optim.clip_grad_norm(1.0), RECIPES.optim.adamw(lr=3e-3, weight_decay=0.0)
            ),
        },
        RECIPES.label,
    )
    right = run(RECIPES.clipped_groups())
    with pytest.raises(AssertionError):
        assert_same(run(wrong), right)
