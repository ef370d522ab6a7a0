"""What a program costs, in counts that cannot flake: kernels, gathers, sorts, steps, bytes."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.extend import core

from jaxgd import (
    binary_cross_entropy_with_logits,
    gd,
    init,
    init_linear,
    linear,
    minibatch,
    sgd,
    train,
)
from jaxgd.blocked import blocked_sgd
from jaxgd.objective import value_and_grad

KEY = jax.random.key(0)
OPTIMIZER = optax.sgd(0.1)


def logistic(params, example):
    x, y = example
    return binary_cross_entropy_with_logits(linear(params, x), y)


def shapes(n, d, optimizer=OPTIMIZER):
    """A state and data as shapes only: nothing is run."""
    state = jax.eval_shape(lambda: init(init_linear(d), optimizer))
    x, y = jax.ShapeDtypeStruct((n, d), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.float32)
    return state, (x, y)


def compiled(run, n, d):
    return jax.jit(run).lower(*shapes(n, d), KEY).compile()


def count(text, operation):
    """How often an operation stands in a compiled program."""
    return sum(f" {operation}(" in line for line in text.splitlines())


def scans(jaxpr):
    """Every scan of a program, outermost first."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: isinstance(p, core.ClosedJaxpr)
        ):
            if isinstance(inner, core.ClosedJaxpr):
                yield from scans(inner.jaxpr)


def epoch_scans(epoch, n, d, optimizer=OPTIMIZER):
    state, data = shapes(n, d, optimizer)
    order = jax.ShapeDtypeStruct((n,), jnp.int32)
    return list(scans(jax.make_jaxpr(epoch)(state, data, order).jaxpr))


EPOCHS = {
    "gd": gd(logistic, OPTIMIZER),
    "sgd": sgd(logistic, OPTIMIZER),
    "minibatch": minibatch(logistic, OPTIMIZER, 32),
    "blocked in order": blocked_sgd(binary_cross_entropy_with_logits, 0.1, block_size=1),
    "blocked": blocked_sgd(binary_cross_entropy_with_logits, 0.1, block_size=32),
}


@pytest.mark.parametrize("epoch", EPOCHS.values(), ids=EPOCHS)
def test_a_run_sorts_nothing(epoch):
    assert count(compiled(train(epoch, 3), 1024, 30).as_text(), "sort") == 0


def test_a_second_run_compiles_nothing():
    run = jax.jit(train(minibatch(logistic, OPTIMIZER, 32), 2))
    x, y = jnp.ones((100, 3)), jnp.ones(100)
    state = init(init_linear(3), OPTIMIZER)
    for seed in range(3):
        state, _ = run(state, (x + seed, y), jax.random.key(seed))
    assert run._cache_size() == 1


def test_gd_gathers_no_rows():
    assert count(compiled(train(EPOCHS["gd"], 3), 1024, 30).as_text(), "gather") == 0


@pytest.mark.parametrize("d", [10, 30, 59, 100, 251])
def test_rows_in_order_are_one_kernel(d):
    """XLA hoists a small loop into a single kernel and marks the call; ten times slower without."""
    text = compiled(train(EPOCHS["blocked in order"], 2), 4096, d).as_text()
    trips = 4096 if d == 10 else 256
    [loop] = [p for p in text.split("\n\n") if f'"known_trip_count":{{"n":"{trips}"}}' in p]
    name = re.match(r"%([\w.-]+) ", loop)[1]
    assert f'to_apply=%{name}, frontend_attributes={{xla_cpu_small_call="true"}}' in text


@pytest.mark.parametrize("d", [10, 784])
@pytest.mark.parametrize(("block_size", "blocks"), [(8, 125), (64, 15)])
def test_dependent_steps_an_epoch(d, block_size, blocks):
    """⌊n/k⌋ steps of a scan; the last, smaller block is one more and stands outside it."""
    epoch = blocked_sgd(binary_cross_entropy_with_logits, 0.1, block_size=block_size)
    assert [loop.params["length"] for loop in epoch_scans(epoch, 1000, d)] == [blocks]


def test_rows_in_order_are_gathered_ahead_of_their_use():
    """1000 dependent steps: three groups of 256 rows, and the 232 that remain."""

    def lengths(d):
        loops = epoch_scans(EPOCHS["blocked in order"], 1000, d)
        over_rows = [loop for loop in loops if loop.params["length"] != 2]  # d = 30 is two parts
        return [loop.params["length"] for loop in over_rows]

    assert lengths(30) == [3, 256, 232]
    assert lengths(10) == [1000], "a row of one cache line is read where it lies"


@pytest.mark.optax_promotion
def test_the_loop_carries_params_and_optimizer_state_only():
    """Weights and bias: no counters, no copies of data, not even the number of the epoch."""
    [loop] = epoch_scans(EPOCHS["minibatch"], 1024, 30)
    assert loop.params["num_carry"] == 2
    adam = optax.adam(0.1)
    [loop] = epoch_scans(minibatch(logistic, adam, 32), 1024, 30, adam)
    assert loop.params["num_carry"] == 2 + 1 + 2 * 2


def test_chunks_bound_the_working_set_of_gd():
    """The temporary buffers are those of a chunk: no array of n rows beside the data itself."""
    n, d = 20_000, 100

    def working_set(chunk):
        state, data = shapes(n, d)
        step = jax.jit(lambda params, data: value_and_grad(logistic, params, data, chunk))
        return step.lower(state.params, data).compile().memory_analysis().temp_size_in_bytes

    assert working_set(500) < 2 * 500 * d * 4
    assert working_set(None) > n * 4
