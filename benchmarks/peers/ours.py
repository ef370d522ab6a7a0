"""jaxgd, as its documentation says to use it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

import jaxgd
from benchmarks.cases import LEARNING_RATE, Case, problem
from benchmarks.peers import searches
from benchmarks.variants import VARIANTS, half_square
from jaxgd.blocked import blocked_sgd

logistic_loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)


def perceptron_loss(params, example):
    x, y = example
    logit = jaxgd.mlp(params, x, jax.nn.relu)[0]
    return jaxgd.binary_cross_entropy_with_logits(logit, y)


def run(case: Case) -> Callable[[], int]:
    """`train` in one jitted call; per-example SGD of a linear model through `blocked_sgd`."""
    if case.kind in ("sweep", "grid"):
        return searches.swept(case)
    if case.kind == "variant":
        variant = VARIANTS[case.variant]
        loss = jaxgd.supervised(jaxgd.linear, variant.link)
        return _train(case, jaxgd.sgd(loss, variant.ours), variant.ours)
    optimizer = optax.sgd(LEARNING_RATE)
    if case.kind in ("sgd", "squares", "table"):
        link = half_square if case.kind == "squares" else jaxgd.binary_cross_entropy_with_logits
        return _train(case, blocked_sgd(link, LEARNING_RATE), optimizer)
    if case.kind == "gd":
        return _train(case, jaxgd.gd(logistic_loss, optimizer), optimizer)
    loss = perceptron_loss if case.kind == "mlp" else logistic_loss
    return _train(case, jaxgd.minibatch(loss, optimizer, case.batch), optimizer)


def supervised_sgd(case: Case) -> Callable[[], int]:
    """`sgd` of a loss that it knows to be a linear predictor's."""
    optimizer = optax.sgd(LEARNING_RATE)
    return _train(case, jaxgd.sgd(logistic_loss, optimizer), optimizer)


def general_sgd(case: Case) -> Callable[[], int]:
    """`sgd` of a loss of which it knows nothing."""
    optimizer = optax.sgd(LEARNING_RATE)
    return _train(case, jaxgd.sgd(lambda p, e: logistic_loss(p, e), optimizer), optimizer)


def _train(case: Case, epoch, optimizer) -> Callable[[], int]:
    data = jax.tree.map(jnp.asarray, problem(case))
    d = data[0].shape[1]
    if case.kind == "mlp":
        params = jaxgd.init_mlp(jax.random.key(1), (d, case.hidden, 1))
    else:
        params = jaxgd.init_linear(d, VARIANTS[case.variant].outputs if case.variant else None)
    state = jaxgd.init_state(params, optimizer)
    order = jaxgd.shuffle if case.shuffled else None
    train = jax.jit(jaxgd.train(epoch, case.epochs, order=order))

    def work() -> int:
        _, losses = jax.block_until_ready(train(state, data, jax.random.key(0)))
        return losses.size

    return work
