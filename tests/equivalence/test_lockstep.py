"""A JAX side replayed from a PyTorch side's parameters, update by update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd.equivalence import Recipe, Update, diagnose, lockstep
from tests.equivalence.trainings import forward, gradient_of, mean, torch_training

RECIPE = Recipe("sgd", lr=0.05, momentum=0.9)
FAULTY_FROM = 12


def expected(dtype):
    return torch_training(dtype, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9))


def stepper(*, compute=None, rate=lambda update: 0.05):
    """One update of the JAX side; `compute(update)` makes its loss, outputs and gradient."""
    momentum, state, update = optax.trace(0.9), None, 0

    def step(params, batch):
        nonlocal state, update
        update += 1
        params = {name: jnp.asarray(value.numpy()) for name, value in params.items()}
        x, y = (jnp.asarray(part.numpy()) for part in batch)
        (value, outputs), grad = (gradient_of() if compute is None else compute(update))(
            params, x, y
        )
        state = momentum.init(params) if state is None else state
        moves, state = momentum.update(grad, state)
        updated = jax.tree.map(lambda p, m: p - p.dtype.type(rate(update)) * m, params, moves)
        return Update(params, grad, updated, (x, y), outputs, value)

    return step


def late(faulty):
    """The right computation up to update 11, the faulty one from update 12 on."""
    return lambda update: faulty if update >= FAULTY_FROM else gradient_of()


def halved(params, x, y):
    (value, outputs), grad = gradient_of()(params, x, y)
    return (value, outputs), grad | {"hidden.bias": grad["hidden.bias"] / 2}


def almost_tanh(x):
    return jnp.tanh(x) * (1 + 1e-3)


def almost_mean(outputs, y):
    return mean(outputs, y) * (1 + 1e-3)


FAULTS = {
    "forward": {"compute": late(gradient_of(activation=almost_tanh))},
    "loss": {"compute": late(gradient_of(loss=almost_mean))},
    "gradient": {"compute": late(halved)},
    "parameters": {"rate": lambda update: 0.05 * (1 + 1e-3 * (update >= FAULTY_FROM))},
}


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def precision(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def test_the_same_side_replayed_is_the_same(precision):
    reference = expected(precision)
    assert diagnose(lockstep(stepper(), reference), reference, RECIPE).update is None


@pytest.mark.parametrize("stage", FAULTS)
def test_a_late_fault_is_found_in_its_update_and_stage(stage, precision):
    reference = expected(precision)
    found = diagnose(lockstep(stepper(**FAULTS[stage]), reference), reference, RECIPE)
    assert (found.update, found.stage) == (FAULTY_FROM, stage)


def test_every_replayed_update_begins_where_the_expected_side_did():
    reference = expected(np.float32)
    replayed = lockstep(stepper(**FAULTS["forward"]), reference)
    for ours, theirs in zip(replayed, reference, strict=True):
        for name, value in theirs.params.items():
            np.testing.assert_array_equal(ours.params[name], value)
    assert forward(replayed[0].params, replayed[0].batch[0]).shape == replayed[0].outputs.shape


def test_a_recording_without_batches_cannot_be_replayed():
    bare = [update._replace(batch=None) for update in expected(np.float32)]
    with pytest.raises(ValueError, match=r"must hold its batch .* Record Update\.batch"):
        lockstep(stepper(), bare)
