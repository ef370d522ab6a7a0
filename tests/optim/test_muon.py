"""Muon: the formula in float64 over a run, torch's bfloat16 for one update."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd.optim import adamw, muon
from tests import tolerances

pytestmark = pytest.mark.usefixtures("quick_compile")

SHAPES = {"tall": (7, 3), "wide": (3, 8), "square": (4, 4), "row": (1, 5)}
UPDATES = 30
RNG = np.random.default_rng(0)
START = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
GRADIENTS = {name: RNG.normal(size=(UPDATES, *shape)) for name, shape in SHAPES.items()}


def run_torch(dtype, **options):
    """Torch's matrices at every update."""
    params = {name: torch.nn.Parameter(torch.tensor(p, dtype=dtype)) for name, p in START.items()}
    optimizer = torch.optim.Muon(params.values(), **options)
    trajectory = {name: [] for name in params}
    for t in range(UPDATES):
        for name, param in params.items():
            param.grad = torch.tensor(GRADIENTS[name][t], dtype=dtype)
        optimizer.step()
        for name, param in params.items():
            trajectory[name].append(param.detach().numpy().copy())
    return {name: np.stack(values) for name, values in trajectory.items()}


def run(dtype, names=tuple(SHAPES), updates=UPDATES, **options):
    """Ours at every update, as one compiled scan."""
    optimizer = muon(**options)

    def update(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    chosen = {n: START[n] for n in names}, {n: GRADIENTS[n][:updates] for n in names}
    start, grads = jax.tree.map(lambda x: jnp.asarray(x, dtype), chosen)
    return jax.jit(lambda p, g: jax.lax.scan(update, (p, optimizer.init(p)), g)[1])(start, grads)


def worst_error(ours, theirs, updates=UPDATES):
    """The largest distance of any entry, against the largest entry of its matrix."""
    return max(
        np.abs(ours[k][:updates] - theirs[k][:updates]).max() / np.abs(theirs[k]).max()
        for k in ours
    )


@pytest.fixture
def newton_schulz_in_float64(monkeypatch):
    """Torch's own Muon, but for the one cast of its Newton-Schulz to bfloat16."""
    copy = functools.partialmethod(torch.Tensor.to, torch.float64, copy=True)
    monkeypatch.setattr(torch.Tensor, "bfloat16", copy)


OPTIONS = [
    {},
    {"nesterov": False, "momentum": 0.8, "lr": 0.02},
    {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0},
    {"adjust_lr_fn": "original", "ns_steps": 3, "eps": 0.1, "weight_decay": 0.5},
    {"ns_coefficients": (2.0, -1.5, 0.5)},
]


@pytest.mark.usefixtures("x64", "newton_schulz_in_float64")
@pytest.mark.parametrize("options", OPTIONS)
def test_the_formula_in_float64_at_every_update(options):
    ours = run("float64", **options, ns_dtype=jnp.float64)
    assert worst_error(ours, run_torch(torch.float64, **options)) < tolerances.PARITY_F64


@pytest.mark.usefixtures("x64", "newton_schulz_in_float64")
@pytest.mark.parametrize(
    "wrong", [{"momentum": 0.95 * (1 + 1e-6)}, {"nesterov": False}, {"ns_steps": 6}]
)
def test_canaries(wrong):
    ours = run("float64", names=["tall"], **wrong, ns_dtype=jnp.float64)
    assert worst_error(ours, run_torch(torch.float64)) > 10 * tolerances.PARITY_F64


@pytest.mark.parametrize("options", OPTIONS[::4])
def test_one_update_in_torch_s_bfloat16(options):
    """A large rate and no decay leave nothing in the parameters but the orthogonalized matrix."""
    options = options | {"lr": 1e3, "weight_decay": 0.0}
    ours, theirs = run("float32", **options), run_torch(torch.float32, **options)
    assert worst_error(ours, theirs, updates=1) < tolerances.MUON_BF16


@pytest.mark.optax_promotion
def test_matrices_in_a_partition_with_adamw():
    """Each leaf moves as with its own optimizer alone."""
    params = {"matrix": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    grads = {"matrix": jnp.arange(6.0).reshape(3, 2), "bias": jnp.arange(2.0)}
    own = {"matrix": muon(lr=0.1), "bias": adamw(lr=0.1)}
    together = optax.partition(own, lambda tree: {name: name for name in tree})
    updates, _ = together.update(grads, together.init(params), params)
    for name, alone in own.items():
        expected, _ = alone.update(grads[name], alone.init(params[name]), params[name])
        np.testing.assert_array_equal(updates[name], expected)


def test_a_zero_gradient_moves_nothing_but_the_decay():
    params = {"w": jnp.ones((2, 3))}
    optimizer = muon(lr=0.1, weight_decay=0.5)
    updates, _ = optimizer.update({"w": jnp.zeros((2, 3))}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.05 * params["w"], rtol=1e-6)


def test_a_leaf_that_is_no_matrix():
    with pytest.raises(ValueError, match=r"params must be matrices; got the shape \(3,\) .*'bias'"):
        muon().init({"weight": jnp.ones((2, 3)), "bias": jnp.ones(3)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr must be finite and at least 0"),
        ({"momentum": -0.1}, "momentum must be finite and at least 0"),
        ({"adjust_lr_fn": "rms"}, "adjust_lr_fn must be None, 'original' or 'match_rms_adamw'"),
        ({"ns_steps": 100}, "ns_steps must be below 100"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        muon(**options)


def test_torch_normalizes_a_bfloat16_buffer_in_place_and_we_do_not():
    """The departure that the docstring states: without nesterov it hands on the buffer itself."""
    matrix = RNG.normal(size=(4, 6))
    param = torch.nn.Parameter(torch.zeros(4, 6, dtype=torch.bfloat16))
    theirs = torch.optim.Muon([param], nesterov=False)
    param.grad = torch.tensor(matrix).bfloat16()
    theirs.step()
    np.testing.assert_allclose(theirs.state[param]["momentum_buffer"].norm().item(), 1, atol=0.02)
    gradient, tx = jnp.asarray(matrix, jnp.bfloat16), muon(nesterov=False)
    _, state = tx.update(gradient, tx.init(gradient), gradient)
    buffer = optax.tree.get(state, "momentum_buffer")
    np.testing.assert_array_equal(buffer, gradient * jnp.bfloat16(1 - 0.95))
