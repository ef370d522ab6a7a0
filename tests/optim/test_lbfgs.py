"""LBFGS against torch's at every step, with and without line search, decisions included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd.optim import lbfgs
from tests import tolerances

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)
START = {"bias": RNG.normal(size=()), "weight": RNG.normal(size=(2, 4))}
X, Y = RNG.normal(size=(40, 8)), RNG.random(40) < 0.5


def logistic(xp, softplus, weight, bias):
    z = xp.asarray(X) @ weight.reshape(8) + bias
    return xp.mean(softplus(z) - xp.asarray(1.0 * Y) * z) + 0.01 * xp.sum(weight**2)


def rosenbrock(xp, softplus, weight, bias):
    """A curved valley: brackets, zooms and many steps."""
    w = weight.reshape(8)
    return xp.sum(10 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2) + bias**2


OBJECTIVES = {"logistic": logistic, "rosenbrock": rosenbrock}


def torch_softplus(z):
    return torch.nn.functional.softplus(z, threshold=1e9)


@functools.cache
def torchs(objective, steps, line_search_fn=None, **options):
    """Torch's run and its own rounding, which the faults of an objective share."""
    options = options | {"line_search_fn": line_search_fn}
    theirs = run_torch(OBJECTIVES[objective], steps, **options)
    return theirs, own_rounding(OBJECTIVES[objective], steps, theirs, **options)


def run_torch(objective, steps, *, start=START, **options):
    """The parameters, evaluations and iterations after every step of torch."""
    params = {name: torch.nn.Parameter(torch.tensor(leaf)) for name, leaf in start.items()}
    optimizer = torch.optim.LBFGS(params.values(), **options)

    def closure():
        optimizer.zero_grad()
        loss = objective(torch, torch_softplus, **params)
        loss.backward()
        return loss

    trajectory = []
    for _ in range(steps):
        optimizer.step(closure)
        state = optimizer.state[params["bias"]]
        leaves = [params[name].detach().numpy().ravel() for name in START]
        trajectory.append((np.concatenate(leaves), state["func_evals"], state["n_iter"]))
    return trajectory


def run(objective, steps, **options):
    """The same of ours, as one compiled scan over steps that each loop inside."""
    optimizer = lbfgs(**options)

    def loss(params):
        return objective(jnp, jax.nn.softplus, **params)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value, value_fn=loss)
        params = optax.apply_updates(params, updates)
        flat = jnp.concatenate([params[name].ravel() for name in START])
        return (params, state), (flat, state.func_evals, state.n_iter)

    params = jax.tree.map(jnp.asarray, START)
    scan = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), length=steps)[1])
    return list(zip(*map(np.asarray, scan(params)), strict=True))


def own_rounding(objective, steps, expected, **options):
    """How far torch is off itself at every step, so far, if the start moves by one ulp."""
    distances = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        moved = {k: np.nextafter(v, rng.choice([-9.0, 9.0], v.shape)) for k, v in START.items()}
        runs = zip(run_torch(objective, steps, start=moved, **options), expected, strict=True)
        distances.append([np.abs(one[0] - other[0]).max() for one, other in runs])
    return np.maximum.accumulate(np.max(distances, axis=0))


def differences(objective, steps, wrong=None, **options):
    """The steps at which ours is not torch's: by the parameters, or by the counts."""
    ours = run(OBJECTIVES[objective], steps, **(options | (wrong or {})))
    theirs, own = torchs(objective, steps, **options)
    bounds = tolerances.LBFGS_F64 + tolerances.LBFGS_OF_TORCHS_OWN * own
    by_params, by_counts = [], []
    for step, (one, other, bound) in enumerate(zip(ours, theirs, bounds, strict=True)):
        if not np.abs(one[0] - other[0]).max() <= bound:
            by_params.append(step)
        if one[1:] != other[1:]:
            by_counts.append(step)
    return by_params, by_counts


@pytest.mark.usefixtures("x64")
class TestParity:
    @pytest.mark.parametrize(
        ("objective", "steps", "line_search_fn", "options"),
        [
            ("logistic", 10, None, {"history_size": 2, "max_iter": 3, "lr": 0.5}),
            ("logistic", 10, "strong_wolfe", {"history_size": 2, "max_iter": 3, "lr": 0.5}),
            ("rosenbrock", 12, "strong_wolfe", {"lr": 0.01, "history_size": 3, "max_iter": 7}),
            ("rosenbrock", 25, None, {"lr": 0.1, "max_iter": 1, "max_eval": 6}),
            ("rosenbrock", 25, "strong_wolfe", {"lr": 0.1, "max_iter": 1, "max_eval": 6}),
        ],
    )
    def test_every_step(self, objective, steps, line_search_fn, options):
        assert differences(objective, steps, line_search_fn=line_search_fn, **options) == ([], [])

    @pytest.mark.parametrize(
        "options",
        [
            {"max_eval": 4},
            {"max_eval": 1, "line_search_fn": "strong_wolfe"},
            {"tolerance_grad": 0.05},
            {"tolerance_change": 0.02, "line_search_fn": "strong_wolfe"},
            {"lr": 50.0, "max_iter": 3, "line_search_fn": "strong_wolfe"},
        ],
    )
    def test_every_reason_to_stop(self, options):
        assert differences("rosenbrock", 5, **({"lr": 0.01} | options)) == ([], [])

    def test_a_step_at_the_minimum_evaluates_once_and_stays(self):
        assert differences("logistic", 8, tolerance_grad=1e-3) == ([], [])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "wrong", [{"lr": 0.5 * (1 + 1e-9)}, {"history_size": 1}, {"max_eval": 2}, {"max_iter": 4}]
)
def test_canaries(wrong):
    options = {"lr": 0.5, "history_size": 2, "max_iter": 3}
    by_params, _ = differences("logistic", 10, wrong, **options)
    assert by_params


def test_float32_reaches_the_minimum():
    """In f32 torch works in doubles between its f32 vectors: only the answer is comparable."""
    final = run(logistic, 3, line_search_fn="strong_wolfe")[-1][0]
    assert final.dtype == np.float32
    expected = run_torch(logistic, 3, line_search_fn="strong_wolfe")[-1][0]
    np.testing.assert_allclose(final, expected, rtol=0, atol=tolerances.LBFGS_F32)


@pytest.mark.usefixtures("x64")
def test_each_run_of_a_batch_is_torchs():
    """Each run of a vmap keeps its own loops, brackets and history."""
    options = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    optimizer = lbfgs(**options)

    def final(weight):
        def loss(params):
            return rosenbrock(jnp, jax.nn.softplus, **params)

        params = {"bias": jnp.zeros(()), "weight": weight}
        value, grads = jax.value_and_grad(loss)(params)
        state = optimizer.init(params)
        updates, _ = optimizer.update(grads, state, params, value=value, value_fn=loss)
        return optax.apply_updates(params, updates)["weight"]

    starts = [{"bias": np.zeros(()), "weight": w} for w in (START["weight"], np.zeros((2, 4)))]
    together = jax.jit(jax.vmap(final))(jnp.stack([start["weight"] for start in starts]))
    for one, start in zip(together, starts, strict=True):
        flat, _, _ = run_torch(rosenbrock, 1, start=start, **options)[-1]
        np.testing.assert_allclose(
            one.ravel(), flat[1:], rtol=0, atol=tolerances.CONTINUED_LBFGS_F64
        )


def test_a_second_call_compiles_nothing_and_the_state_may_be_donated():
    optimizer = lbfgs()

    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value, value_fn=loss)
        return optax.apply_updates(params, updates), state

    def loss(params):
        return jnp.sum(jnp.square(params["w"] - 1.0))

    compiled = jax.jit(step, donate_argnums=(0, 1))
    params = {"w": jnp.zeros(3)}
    params, state = compiled(params, optimizer.init(params))
    params, state = compiled(params, state)
    assert compiled._cache_size() == 1
    assert state.step == 2
    np.testing.assert_allclose(params["w"], 1.0, rtol=tolerances.LBFGS_F32)


def test_without_a_closure():
    optimizer = lbfgs()
    params = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="lbfgs must be told the loss"):
        optimizer.update(params, optimizer.init(params), params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr must be finite and at least 0"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"history_size": 0}, "history_size must be at least 1"),
        ({"max_eval": 0}, "max_eval must be at least 1"),
        ({"line_search_fn": "wolfe"}, "line_search_fn must be None or 'strong_wolfe'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        lbfgs(**options)


def test_pairs_in_half_precision_reach_the_minimum():
    """At half the memory, and a little above half of the state; no line search hides the pairs."""
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.normal(size=(40, 12)), jnp.float32)
    target = rows @ jnp.arange(12.0, dtype=jnp.float32)

    def loss(w):
        return jnp.mean(jnp.square(rows @ w - target)) + 0.01 * (w @ w)

    def reached(**options):
        tx, w = lbfgs(**options), jnp.zeros(12)
        state = tx.init(w)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))

        @jax.jit
        def update(w, state):
            value, grad = jax.value_and_grad(loss)(w)
            updates, state = tx.update(grad, state, w, value=value, value_fn=loss)
            return optax.apply_updates(w, updates), state

        for _ in range(4):
            w, state = update(w, state)
        assert state.old_dirs.dtype == options.get("history_dtype", jnp.float32)
        return w, size

    (full, whole), (half, less) = reached(), reached(history_dtype=jnp.bfloat16)
    np.testing.assert_allclose(half, full, rtol=0, atol=tolerances.LBFGS_F32 * 11)
    assert less < 0.6 * whole
