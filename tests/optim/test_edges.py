"""Where a rule meets the edge of its numbers: overflow, NaN, zero, and rates that end at 0."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from tests import tolerances
from tests.optim.cases import OPTIMIZERS, thorough, torch_class

UPDATES = 30


def stream(seed=0, size=6):
    """A start, and gradients."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=size), rng.normal(size=(UPDATES, size))


def in_torch(optimizer, gradients, start, dtype, options):
    """The parameters after every update, in float64."""
    param = torch.nn.Parameter(torch.tensor(start).to(dtype))
    torchs = torch_class(optimizer)([param], **options)
    values = []
    for gradient in gradients:
        param.grad = torch.tensor(gradient).to(dtype)
        torchs.step()
        values.append(param.detach().double().numpy().copy())
    return np.stack(values)


def in_jax(optimizer, gradients, start, dtype, options):
    tx = optim.by_name(optimizer)(**options)

    def update(carry, gradient):
        param, state = carry
        updates, state = tx.update(gradient, state, param)
        param = optax.apply_updates(param, updates)
        return (param, state), param

    param = jnp.asarray(start, dtype)
    run = jax.jit(lambda p, g: jax.lax.scan(update, (p, tx.init(p)), g)[1])
    return np.asarray(run(param, jnp.asarray(gradients, dtype)), np.float64)


SECOND_MOMENTS = ["adadelta", "adagrad", "adam", "adamw", "nadam", "radam", "rmsprop"]


@pytest.mark.parametrize("optimizer", SECOND_MOMENTS)
def test_one_huge_gradient_is_torchs(optimizer):
    """Its square overflows float32, and (1 - beta) · g · g does not, from the left."""
    start, gradients = stream()
    gradients[3, 0], gradients[5, 1] = 3e19, -1e19
    gradients[20:] *= 1e12
    ours, theirs = (
        run(optimizer, gradients, start, dtype, {})
        for run, dtype in ((in_jax, "float32"), (in_torch, torch.float32))
    )
    bound = {"rtol": tolerances.OPTIM_F32 * 10, "atol": tolerances.OPTIM_F32 * 10}
    np.testing.assert_allclose(ours, theirs, **bound)


def test_an_eps_whose_square_underflows():
    """Adafactor's eps1² is 0 in float32, where XLA has no subnormal numbers."""
    start, gradients = stream()
    gradients[:, 0], gradients[:, 1] = 0.0, 1e-14 * gradients[:, 1]
    options = {"eps": (1e-22, 1e-3)}
    ours = in_jax("adafactor", gradients, start, "float32", options)
    theirs = in_torch("adafactor", gradients, start, torch.float32, options)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.OPTIM_F32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rprop_steps_over_what_has_no_sign(bad):
    """Torch's sign of NaN is 0; of an infinite gradient it is a sign."""
    start, gradients = stream()
    gradients[3, 0] = gradients[4, 1] = gradients[5, 1] = bad
    ours = in_jax("rprop", gradients, start, "float32", {})
    theirs = in_torch("rprop", gradients, start, torch.float32, {})
    assert np.isfinite(theirs).all()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("x64")
def test_rprop_makes_no_array_of_another_precision():
    tx = optim.rprop()
    param = jnp.ones(4, jnp.float32)
    program = jax.make_jaxpr(tx.update)(param, tx.init(param), param)
    arrays = [v.aval for eqn in program.eqns for v in eqn.outvars]
    assert {str(aval.dtype) for aval in arrays if aval.shape == (4,)} <= {"float32", "bool"}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_parameter_without_gradients_has_a_hypergradient(optimizer):
    """√0 has the derivative 0 here: what it divides is 0."""
    options = {key: v for key, v in thorough(optimizer).items() if key != "weight_decay"}

    def outcome(lr):
        tx = optim.by_name(optimizer)(**options | {"lr": lr})
        params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(jax.tree.map(lambda p: 0.0 * p, params), state, params)
            params = optax.apply_updates(params, updates)
        return params["w"].sum() + params["b"].sum()

    assert np.isfinite(jax.jit(jax.grad(outcome))(0.1))


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("asgd", {"t0": math.inf, "lambd": 0.1}),
        ("adafactor", {"d": math.inf, "lr": 0.3}),
        ("adam", {"lr": 0.03}),
    ],
)
def test_what_torch_takes(optimizer, options, x64):
    start, gradients = stream()
    theirs = in_torch(optimizer, gradients, start, torch.float64, options)
    alone = options | ({"lr": jnp.full(1, options["lr"])} if "lr" in options else {})
    for given in (options, alone):
        ours = in_jax(optimizer, gradients, start, "float64", given)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.PARITY_F64)


def test_a_rate_in_a_tensor():
    start, gradients = stream()
    ours = [
        in_jax("adam", gradients, start, "float32", {"lr": lr})
        for lr in (0.25, torch.tensor(0.25), torch.tensor([0.25]), np.full((1, 1), 0.25))
    ]
    for other in ours[1:]:
        np.testing.assert_array_equal(other, ours[0])


@pytest.mark.usefixtures("x64")
def test_a_cycled_beta_outside_of_jit_is_torchs():
    """One update at a time, not compiled."""
    start, gradients = stream()
    options = {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4}
    param = torch.nn.Parameter(torch.tensor(start))
    torchs = torch.optim.Adam([param])
    scheduler = torch.optim.lr_scheduler.CyclicLR(torchs, **options)
    cycle = optim.schedules.cyclic_lr(**options)
    tx = optim.adam(lr=cycle, betas=(cycle.momentum, 0.999))
    ours = jnp.asarray(start)
    state = tx.init(ours)
    for gradient in gradients[:9]:
        param.grad = torch.tensor(gradient)
        torchs.step()
        scheduler.step()
        updates, state = tx.update(jnp.asarray(gradient), state, ours)
        ours = optax.apply_updates(ours, updates)
        np.testing.assert_allclose(ours, param.detach().numpy(), rtol=0, atol=tolerances.PARITY_F64)


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "sparse_adam"])
def test_bfloat16_is_as_far_from_torchs_as_torchs_from_float64(optimizer):
    """Each library rounds at its own places; NAdam's two rates, of 3 digits, differ most."""
    options = {"momentum": 0.9, "lr": 0.01} if optimizer == "sgd" else {}
    start, gradients = stream(size=64)
    start, gradients = (np.asarray(a, jnp.bfloat16).astype(float) for a in (start, gradients))
    ours = in_jax(optimizer, gradients, start, "bfloat16", options)
    theirs = in_torch(optimizer, gradients, start, torch.bfloat16, options)
    exact = in_torch(optimizer, gradients, start, torch.float64, options)
    own = np.abs(theirs - exact).max()
    assert np.abs(ours - theirs).max() <= tolerances.OPTIM_BF16_OF_TORCHS_OWN * own
    assert np.abs(ours - exact).max() <= tolerances.OPTIM_BF16_OF_TORCHS_OWN * own


class TestTheEndOfASchedule:
    """A rate of 0 that rounds to the wrong side of it ascends."""

    @pytest.mark.usefixtures("x64")
    def test_a_line_to_zero_ends_where_torchs_does(self):
        rng = np.random.default_rng(0)
        for _ in range(40):
            lr, start, total = 10 ** rng.uniform(-4, 0), rng.uniform(0.05, 1), rng.integers(1, 300)
            line = optim.schedules.linear_lr(lr, start, 0.0, int(total))
            group = rates(torch.optim.lr_scheduler.LinearLR, lr, total, (start, 0.0, int(total)))
            assert [float(line(total)), float(line(total + 9))] == [group["lr"]] * 2

    @pytest.mark.parametrize("wide", [True, False])
    def test_one_cycle_ends_where_torchs_does(self, wide):
        rng = np.random.default_rng(0)
        for _ in range(20):
            options = {
                "max_lr": 10 ** rng.uniform(-4, 0),
                "total_steps": int(rng.integers(3, 90)),
                "final_div_factor": 10 ** rng.uniform(2, 20),
                "anneal_strategy": "linear",
            }
            last = options["total_steps"] - 1
            group = rates(torch.optim.lr_scheduler.OneCycleLR, 1.0, last, (), **options)
            with jax.enable_x64(wide):
                end = float(optim.schedules.one_cycle_lr(**options)(last))
            assert end == (group["lr"] if wide else np.float32(group["lr"]))

    def test_adafactor_stays_where_the_rate_has_ended(self):
        """Its own rate is the smaller of two, so that it may be a tiny one below 0."""
        start, gradients = stream()
        tiny = {"lr": lambda count: jnp.where(count < 5, 0.1, -5.6e-19)}
        values = in_jax("adafactor", gradients, start, "float32", tiny)
        assert np.abs(values[4] - start).max() > 0.1
        np.testing.assert_array_equal(values[4:], np.broadcast_to(values[4], values[4:].shape))

    @pytest.mark.parametrize("wide", [True, False])
    def test_no_rate_of_a_line_is_negative(self, wide):
        with jax.enable_x64(wide):
            counts = jnp.arange(300)
            line = jax.vmap(optim.schedules.linear_lr(0.1, 0.7, 0.0, 299))(counts)
            cycle = jax.vmap(optim.schedules.one_cycle_lr(0.1, 300, anneal_strategy="linear").lr)(
                counts
            )
        assert (np.asarray(line)[:299] > 0).all()
        assert (np.asarray(cycle) > 0).all()


def rates(scheduler_class, lr, count, arguments, **options):
    """The group of an optimizer of torch's after `count` updates under a scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr, momentum=0.9)
    scheduler = scheduler_class(optimizer, *arguments, **options)
    for _ in range(count):
        optimizer.step()
        scheduler.step()
    return optimizer.param_groups[0]
