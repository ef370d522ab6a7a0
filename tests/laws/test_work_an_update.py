"""What an update launches, counted in the compiled program: the guard of benchmarks' figures.

A loop that XLA's CPU compiler makes one kernel of launches nothing an update. From jax 0.12 on it
does so with every loop of a linear predictor; before, with small ones alone, and a loop of more
than 8 kernels is ten times as slow as one of 8 or fewer.
"""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.compiled_text import counts, parse, read
from jaxgd import (
    binary_cross_entropy_with_logits,
    blocked_sgd,
    cross_entropy,
    gd,
    init_linear,
    init_mlp,
    init_state,
    linear,
    minibatch,
    mlp,
    optim,
    sgd,
    supervised,
)
from jaxgd.machine import ANY_LOOP_IS_A_KERNEL, ROW_GATHER_BYTES
from tests.laws.problem import SGD

N = 4096
logistic = supervised(linear, binary_cross_entropy_with_logits)
softmax = supervised(linear, cross_entropy)
network = supervised(
    lambda params, x: mlp(params, x, jax.nn.relu)[0], binary_cross_entropy_with_logits
)
MOMENTUM = optim.sgd(0.1, momentum=0.9)

# name: (epoch, rows of an update, params, optimizer), then the kernels and library calls an update
# with an older JAX and with one that makes every such loop a kernel.
LOOPS = {
    "blocked_sgd, 30": ((blocked_sgd, 1, 30, SGD), (0.1, 0), (0.1, 0)),
    "blocked_sgd, 100": ((blocked_sgd, 1, 100, SGD), (8.1, 0), (0.1, 0)),
    "blocked_sgd, 784": ((blocked_sgd, 1, 784, SGD), (2.4, 0.4), (0.1, 0)),
    "sgd, 30": ((sgd, 1, 30, SGD), (0.1, 0), (0.1, 0)),
    "sgd, 100": ((sgd, 1, 100, SGD), (8.1, 0), (0.1, 0)),
    "sgd, momentum, 100": ((sgd, 1, 100, MOMENTUM), (12.1, 0), (0.1, 0)),
    "minibatch of 32, 30": ((minibatch, 32, 30, SGD), (9.3, 2), (0.1, 0)),
    "minibatch of 32, 784": ((minibatch, 32, 784, SGD), (10.1, 2), (0.1, 0)),
    "minibatch of 256, 784": ((minibatch, 256, 784, SGD), (14.3, 2), (0.4, 0)),
}


def compiled(descent, b, params, optimizer, loss, order=None):
    link = binary_cross_entropy_with_logits
    if descent is blocked_sgd:
        epoch = blocked_sgd(link, 0.1)
    else:
        epoch = descent(loss, optimizer, b) if descent is minibatch else descent(loss, optimizer)
    d = jax.tree.leaves(params)[0].shape[0]
    labels = jax.ShapeDtypeStruct((N,), jnp.int32 if loss is softmax else jnp.float32)
    data = (jax.ShapeDtypeStruct((N, d), jnp.float32), labels)
    state = jax.eval_shape(lambda: init_state(params, optimizer))
    return jax.jit(epoch).lower(state, data, order).compile()


@pytest.mark.parametrize("name", LOOPS)
def test_an_update_of_a_linear_predictor_launches_no_more_than_it_did(name):
    (descent, b, d, optimizer), before, since = LOOPS[name]
    order = jax.ShapeDtypeStruct((N,), jnp.int32)
    program = compiled(descent, b, init_linear(d), optimizer, logistic, order)
    found, updates = counts(read(program.as_text())), N // b
    kernels, library_calls = since if ANY_LOOP_IS_A_KERNEL else before
    assert found.kernels / updates <= kernels
    assert found.library_calls / updates <= library_calls
    # Beside a few arrays of one number a row stand the rows of one gather, and nothing else.
    rows = max(ROW_GATHER_BYTES, 4 * b * (d + 1))
    assert program.memory_analysis().temp_size_in_bytes < 1.1 * rows + 12 * N


def test_an_update_of_a_network_launches_no_more_than_it_did():
    params = init_mlp(jax.random.key(0), (30, 32, 1))
    order = jax.ShapeDtypeStruct((N,), jnp.int32)
    found = counts(read(compiled(minibatch, 32, params, SGD, network, order).as_text()))
    assert found.kernels / (N // 32) <= 15.3
    assert found.library_calls / (N // 32) <= 4


def test_an_update_of_gd_launches_no_more_than_it_did():
    found = counts(read(compiled(gd, 1, init_linear(784), SGD, logistic).as_text()))
    assert (found.kernels, found.library_calls) <= (7, 4)


@pytest.mark.skipif(not ANY_LOOP_IS_A_KERNEL, reason="only there are they taken row by row")
def test_rows_of_several_outputs_are_one_kernel_too():
    params = init_linear(30, 10)
    found = counts(read(compiled(sgd, 1, params, SGD, softmax).as_text()))
    assert found.kernels < 20


def test_losses_are_not_worked_out_row_by_row():
    """The logarithm of a logistic loss stands outside the loop over rows, which need not wait."""
    program = parse(compiled(sgd, 1, init_linear(30), SGD, logistic).as_text())
    everything = [line for lines in program.computations.values() for line in lines]
    bodies = [line.called("body")[0] for line in everything if line.opcode == "while"]
    looped = [line for name in bodies for line in program.computations[name]]
    operations = {part.opcode for line in looped for part in (line, *line.body)}
    assert "exponential" in operations
    assert "log-plus-one" not in operations
    assert any(part.opcode == "log-plus-one" for line in everything for part in line.body)
