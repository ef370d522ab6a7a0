"""A program is the one of the platform it is compiled for, whatever machine it is made on."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

import jaxgd
from tests.laws.problem import SGD, data, loss, start


def lowered(fn, *args, platform):
    """The program for a platform in StableHLO: what is handed to that platform's compiler."""
    return export.export(jax.jit(fn), platforms=(platform,))(*args).mlir_module()


@pytest.mark.parametrize(("platform", "loops"), [("cpu", 1), ("cuda", 0), ("tpu", 0)])
def test_gd_works_in_chunks_on_a_cpu_alone(monkeypatch, platform, loops):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    program = lowered(jaxgd.gd(loss, SGD), start(SGD), data(n=1_000_003), platform=platform)
    assert program.count("stablehlo.while") == loops


@pytest.mark.parametrize(("platform", "block"), [("cpu", 8), ("cuda", 64), ("tpu", 64)])
def test_the_default_block_is_that_of_the_platform(platform, block):
    d, n = 500, 640
    state = jaxgd.init_state(jaxgd.init_linear(d), SGD)
    rows = (jnp.zeros((n, d)), jnp.zeros(n))
    epoch = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 0.1)
    program = lowered(epoch, state, rows, platform=platform)
    other = {8: 64, 64: 8}[block]
    assert f"tensor<{block}x{d}xf32>" in program
    assert f"tensor<{other}x{d}xf32>" not in program


@pytest.mark.parametrize(("platform", "parts"), [("cpu", 1), ("tpu", 0)])
def test_an_odd_number_of_rows_is_shuffled_in_parts_on_a_cpu_alone(platform, parts):
    def order(key):
        return jaxgd.shuffle(key, 9_999)

    program = lowered(order, jax.random.key(0), platform=platform)
    assert program.count("tensor<9998xi32>, tensor<1xi32>") == parts
