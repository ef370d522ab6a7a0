"""What a program costs, in counts that cannot flake: kernels, gathers, sorts, steps, bytes."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.extend import core

from jaxgd import (
    binary_cross_entropy_with_logits,
    gd,
    init_linear,
    init_state,
    linear,
    mean,
    minibatch,
    sgd,
    supervised,
    train,
)
from jaxgd.blocked import blocked_sgd
from jaxgd.chunks import in_chunks

KEY = jax.random.key(0)
OPTIMIZER = optax.sgd(0.1)


logistic = supervised(linear, binary_cross_entropy_with_logits)


def smooth_hinge(logit, label):
    margin = (2 * label - 1) * logit
    return jnp.where(margin < 0, 0.5 - margin, jnp.where(margin < 1, (1 - margin) ** 2 / 2, 0))


def shapes(n, d, optimizer=OPTIMIZER, dtype="float32"):
    """A state and data as shapes only: nothing is run."""
    state = jax.eval_shape(lambda: init_state(init_linear(d, dtype=dtype), optimizer))
    return state, (jax.ShapeDtypeStruct((n, d), dtype), jax.ShapeDtypeStruct((n,), dtype))


def compiled(run, n, d):
    return jax.jit(run).lower(*shapes(n, d), KEY).compile()


def count(text, operation):
    """How often an operation stands in a compiled program."""
    return sum(f" {operation}(" in line for line in text.splitlines())


def bodies(equation):
    """The programs inside one operation of a program."""
    inner = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda p: isinstance(p, core.ClosedJaxpr)
    )
    return [program.jaxpr for program in inner if isinstance(program, core.ClosedJaxpr)]


def scans(jaxpr):
    """Every scan of a program, outermost first."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        for body in bodies(equation):
            yield from scans(body)


def epoch_jaxpr(epoch, n, d, optimizer=OPTIMIZER):
    state, data = shapes(n, d, optimizer)
    order = jax.ShapeDtypeStruct((n,), jnp.int32)
    return jax.make_jaxpr(epoch)(state, data, order).jaxpr


def carried(scan):
    """How many arrays a scan carries: those that come out as they are in its body, not stacked."""
    inside = scan.params["jaxpr"].jaxpr.outvars
    return sum(a.aval == b.aval for a, b in zip(scan.outvars, inside, strict=True))


def dependent_steps(jaxpr):
    """How many trips all innermost loops take, one after another."""
    steps = 0
    for equation in jaxpr.eqns:
        inner = sum(dependent_steps(body) for body in bodies(equation))
        if equation.primitive.name == "scan":
            inner = equation.params["length"] * max(1, inner)
        steps += inner
    return steps


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
    state = init_state(init_linear(3), OPTIMIZER)
    for seed in range(3):
        state, _ = run(state, (x + seed, y), jax.random.key(seed))
    assert run._cache_size() == 1


@pytest.mark.parametrize("epoch", EPOCHS.values(), ids=EPOCHS)
def test_a_donated_state_is_updated_in_place(epoch):
    """Every byte of the new state lies where the old one did."""
    state, data = shapes(1000, 30)
    run = jax.jit(train(epoch, 2), donate_argnums=0)
    memory = run.lower(state, data, KEY).compile().memory_analysis()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert memory.alias_size_in_bytes == size


def test_gd_gathers_no_rows():
    assert count(compiled(train(EPOCHS["gd"], 3), 1024, 30).as_text(), "gather") == 0


@pytest.mark.parametrize(
    ("d", "block_size", "steps"),
    [(10, 1, 1000), (10, 8, 125), (10, 64, 15), (784, 8, 125), (784, 64, 15)],
)
def test_dependent_steps_an_epoch(d, block_size, steps):
    """⌊n/k⌋ steps of a scan; the last, smaller block is one more and stands outside it."""
    epoch = blocked_sgd(binary_cross_entropy_with_logits, 0.1, block_size=block_size)
    assert dependent_steps(epoch_jaxpr(epoch, 1000, d)) == steps


@pytest.mark.optax_promotion
@pytest.mark.parametrize("optimizer", [OPTIMIZER, optax.adam(0.1)], ids=["sgd", "adam"])
def test_the_loops_carry_params_and_optimizer_state_only(optimizer):
    """No counters of ours, no copies of data, not even the number of the epoch."""
    state, _ = shapes(1024, 30, optimizer)
    loops = list(scans(epoch_jaxpr(minibatch(logistic, optimizer, 32), 1024, 30, optimizer)))
    assert loops
    for loop in loops:
        assert carried(loop) == len(jax.tree.leaves(state))


def test_chunks_bound_the_working_set_of_gd():
    """The temporary buffers are those of a chunk: no array of n rows beside the data itself."""
    n, d = 20_000, 100

    def working_set(chunk):
        state, data = shapes(n, d)
        step = jax.jit(in_chunks(jax.value_and_grad(mean(logistic)), chunk))
        return step.lower(state.params, data).compile().memory_analysis().temp_size_in_bytes

    assert working_set(500) < 2 * 500 * d * 4
    assert working_set(None) > n * 4


def test_gd_touches_rows_no_more_often_than_it_must():
    """Two products read every row; a chunk, of which XLA counts one, is copied first as well."""
    n, d, chunk = 20_000, 100, 500
    row = (d + 1) * 4

    def bytes_accessed(**options):
        state, data = shapes(n, d)
        epoch = jax.jit(gd(logistic, OPTIMIZER, **options))
        return epoch.lower(state, data).compile().cost_analysis()["bytes accessed"]

    assert 2 < bytes_accessed(chunk=n) / (n * row) < 2.2
    assert 4 < bytes_accessed(chunk=chunk) / (chunk * row) < 4.4
