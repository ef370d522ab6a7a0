"""SparseAdam against torch's over truly sparse gradients: some rows touched, some with zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd.optim import sparse_adam
from tests import tolerances

ROWS, WIDTH, UPDATES = 12, 3, 60
OPTIONS = {"lr": 0.1, "betas": (0.8, 0.99), "eps": 1e-6}
RNG = np.random.default_rng(0)
START = RNG.normal(size=(ROWS, WIDTH))
TOUCHED = RNG.random((UPDATES, ROWS)) < 0.3
TOUCHED[5] = False  # an update that touches nothing still counts
GRADIENTS = RNG.normal(size=(UPDATES, ROWS, WIDTH)) * TOUCHED[:, :, None]


def run_torch(gradients, dtype):
    param = torch.nn.Parameter(torch.tensor(START, dtype=dtype))
    optimizer = torch.optim.SparseAdam([param], **OPTIONS)
    trajectory = []
    for gradient, touched in zip(gradients, TOUCHED, strict=True):
        rows = np.flatnonzero(touched)
        param.grad = torch.sparse_coo_tensor(
            rows[None],
            torch.tensor(gradient[rows], dtype=dtype),
            (ROWS, WIDTH),
            check_invariants=True,
        )
        optimizer.step()
        trajectory.append(param.detach().numpy().copy())
    return np.stack(trajectory)


def run(gradients, dtype, told):
    """Ours; `told` which rows are touched, or left to look for gradients that are not zero."""
    optimizer = sparse_adam(**OPTIONS)

    def update(carry, gradient_and_touched):
        param, state = carry
        gradient, touched = gradient_and_touched
        arguments = {"touched": touched} if told else {}
        updates, state = optimizer.update(gradient, state, param, **arguments)
        param = optax.apply_updates(param, updates)
        return (param, state), param

    start = jnp.asarray(START, dtype)
    stream = jnp.asarray(gradients, dtype), jnp.asarray(TOUCHED)
    return jax.lax.scan(update, (start, optimizer.init(start)), stream)[1]


def error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("told", [False, True])
def test_touched_rows(told, dtype):
    expected = run_torch(GRADIENTS, getattr(torch, dtype.name))
    bound = tolerances.PARITY_F64 if dtype == "float64" else tolerances.OPTIM_F32
    assert error(run(GRADIENTS, dtype, told), expected) < bound


@pytest.mark.usefixtures("x64")
def test_a_touched_row_of_zeros_moves_only_if_told():
    """The documented departure: a dense gradient cannot tell a zero from a row not looked up."""
    gradients = GRADIENTS.copy()
    gradients[30:, :4] = 0.0
    expected = run_torch(gradients, torch.float64)
    assert error(run(gradients, "float64", told=True), expected) < tolerances.PARITY_F64
    silent = run(gradients, "float64", told=False)
    assert error(silent[:, 4:], expected[:, 4:]) < tolerances.PARITY_F64
    np.testing.assert_array_equal(silent[30:, :4], np.broadcast_to(silent[30, :4], (30, 4, 3)))


@pytest.mark.usefixtures("x64")
def test_a_canary_of_dense_adam():
    """Adam moves every row at every update."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "TOUCHED", np.ones_like(TOUCHED))
        dense = run(GRADIENTS, "float64", told=True)
    assert error(dense, run_torch(GRADIENTS, torch.float64)) > 0.01


def test_a_mask_of_another_shape():
    optimizer = sparse_adam()
    param = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=r"touched must have one boolean for each row, \(4,\)"):
        optimizer.update(param, optimizer.init(param), param, touched=jnp.ones((4, 2), bool))


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"eps": 0.0}, {"betas": (1.0, 0.9)}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=r"must be (positive|in \[0, 1\))"):
        sparse_adam(**options)
