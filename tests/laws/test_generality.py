"""Any optax optimizer, any pytree of parameters and data, any loss of one example."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from tests.laws.problem import EPOCHS, KEY, SGD, data, loss, start

pytestmark = pytest.mark.usefixtures("quick_compile")

OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.05),
    "adamw, clipped, on a schedule": optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(0.05, 100))
    ),
    "lion": optax.lion(0.01),
    "adagrad": optax.adagrad(0.1),
    "rmsprop": optax.rmsprop(0.01),
    "accumulated over 3": optax.MultiSteps(optax.sgd(0.1), 3),
    "b frozen": optax.partition(
        {"train": optax.sgd(0.1), "freeze": optax.set_to_zero()},
        jaxgd.Linear(w="train", b="freeze"),
    ),
    "groups": optax.partition(
        {"fast": optax.sgd(0.2), "slow": optax.adam(0.01)}, jaxgd.Linear(w="fast", b="slow")
    ),
    "injected": optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=5)),
}


@pytest.mark.halved
@pytest.mark.optax_promotion
@pytest.mark.parametrize("name", EPOCHS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_any_optax_optimizer_descends(optimizer, name):
    optimizer = OPTIMIZERS[optimizer]
    run = jax.jit(jaxgd.train(EPOCHS[name](loss, optimizer), 12))
    _, losses = run(start(optimizer), data(), KEY)
    assert np.isfinite(losses).all()
    assert losses[-1].mean() < losses[0].mean()


@pytest.mark.parametrize("name", EPOCHS)
def test_own_pytree_own_loss_own_data(name):
    """A dict of params in two precisions and a nested dict of data, fitted exactly."""

    def own(params, example):
        estimate = params["slope"] * example["x"]["t"] + params["offset"].astype(jnp.float32)
        return jnp.abs(estimate - example["y"]) ** 2

    t = jnp.linspace(-1, 1, 30)
    table = {"x": {"t": t}, "y": 3 * t + 1}
    params = {"slope": jnp.float32(0), "offset": jnp.bfloat16(0)}
    optimizer = optax.sgd(0.1)
    run = jax.jit(jaxgd.train(EPOCHS[name](own, optimizer), 200))
    state, _ = run(jaxgd.init_state(params, optimizer), table, KEY)
    assert state.params["offset"].dtype == jnp.bfloat16
    np.testing.assert_allclose(state.params["slope"], 3, atol=0.05)
    np.testing.assert_allclose(state.params["offset"].astype(jnp.float32), 1, atol=0.05)


def test_a_line_search_reaches_what_small_steps_need_epochs_for():
    lbfgs = optax.lbfgs()
    run = jax.jit(jaxgd.train(jaxgd.gd(loss, lbfgs), 20))
    _, quick = run(start(lbfgs), data(), KEY)
    _, slow = jax.jit(jaxgd.train(jaxgd.gd(loss, SGD), 20))(start(SGD), data(), KEY)
    assert quick[-1, 0] < slow[-1, 0] - 0.01


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ((), "data must hold at least one array"),
        (jnp.zeros((0, 5)), "data must hold at least one example"),
        ((jnp.zeros((3, 5)), jnp.zeros(4)), "the same number of examples"),
        ((jnp.zeros((3, 5)), 1.0), "a leading axis of examples"),
    ],
)
def test_data_without_one_leading_axis(table, message):
    with pytest.raises(ValueError, match=message):
        jaxgd.sgd(loss, SGD)(start(SGD), table)
