"""A program is the one of the platform it is compiled for, whatever machine it is made on."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

import jaxgd
from jaxgd.machine import ANY_LOOP_IS_A_KERNEL
from tests.laws.problem import SGD, data, loss, start


def lowered(fn, *args, platform):
    """The program for a platform in StableHLO: what is handed to that platform's compiler."""
    return export.export(jax.jit(fn), platforms=(platform,))(*args).mlir_module()


@pytest.mark.parametrize(("platform", "loops"), [("cpu", 1), ("cuda", 0), ("tpu", 0)])
def test_gd_works_in_chunks_on_a_cpu_alone(monkeypatch, platform, loops):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    program = lowered(jaxgd.gd(loss, SGD), start(SGD), data(n=1_000_003), platform=platform)
    assert program.count("stablehlo.while") == loops


@pytest.mark.parametrize(("platform", "loops"), [("cpu", 0), ("cuda", 1), ("tpu", 1)])
@pytest.mark.parametrize("rows", [2**21, 2**14])
def test_activations_of_too_many_rows_are_kept_in_chunks_on_an_accelerator_alone(
    platform, loops, rows
):
    """512 numbers a row, more than a thousand times its size, in a table that a cache holds."""
    network = jaxgd.supervised(jaxgd.mlp, jaxgd.cross_entropy)
    state = jax.eval_shape(
        lambda: jaxgd.init_state(jaxgd.init_mlp(jax.random.key(0), (1, 512, 2)), SGD)
    )
    table = (
        jax.ShapeDtypeStruct((rows, 1), jnp.float32),
        jax.ShapeDtypeStruct((rows,), jnp.int32),
    )
    program = lowered(jaxgd.gd(network, SGD), state, table, platform=platform)
    assert program.count("stablehlo.while") == (loops if rows == 2**21 else 0)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_the_default_block_is_that_of_the_platform(platform):
    d, n = 500, 640
    state = jaxgd.init_state(jaxgd.init_linear(d), SGD)
    rows = (jnp.zeros((n, d)), jnp.zeros(n))
    epoch = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 0.1)
    program = lowered(epoch, state, rows, platform=platform)
    blocks = {k for k in (8, 64) if f"tensor<{k}x{d}xf32>" in program}
    single_rows = platform == "cpu" and ANY_LOOP_IS_A_KERNEL
    assert blocks == (set() if single_rows else {8 if platform == "cpu" else 64})


@pytest.mark.parametrize(("platform", "parts"), [("cpu", 1), ("tpu", 0)])
def test_an_odd_number_of_rows_is_shuffled_in_parts_on_a_cpu_alone(platform, parts):
    def order(key):
        return jaxgd.shuffle(key, 9_999)

    program = lowered(order, jax.random.key(0), platform=platform)
    assert program.count("tensor<9998xi32>, tensor<1xi32>") == parts
