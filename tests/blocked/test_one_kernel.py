"""An accelerator's one kernel for many rows is `sgd`, run here by JAX's interpreter of kernels; and
it is what a program is lowered to, where it can be."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from jax.experimental.pallas import triton
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxgd import (
    Linear,
    State,
    blocked_sgd,
    init_state,
    linear,
    sgd,
    supervised,
    train,
)
from jaxgd import binary_cross_entropy_with_logits as logistic_loss
from jaxgd.blocked import link_slope, mosaic_runs, widest_in_one_kernel
from jaxgd.blocked.blocks_in_order import block_by_block
from jaxgd.blocked.one_kernel import in_one_kernel
from tests.blocked.test_blocked_sgd import half_square, huber, problem, smooth_hinge
from tests.tolerances import BLOCKED_F32

# Which GPU it is compiled for Pallas has to know from jax 0.12 on: without one there are blocks.
OURS = {"cuda": 0 if hasattr(triton, "get_gpu_info") else 1, "tpu": 1}


def hinge_of_integers(logit, label):
    return smooth_hinge(logit, label.astype(logit.dtype))


CASES = {
    "one row of one feature": (half_square, 1, 1, None),
    "in order, in several launches": (logistic_loss, 300, 5, None),
    "an order with repeats, rows of several registers": (huber, 70, 130, np.arange(90) * 7 % 70),
    "labels that are integers": (hinge_of_integers, 64, 48, np.arange(64)[::-1]),
}


@pytest.fixture(params=["cuda", "tpu"])
def platform(request, monkeypatch):
    """A platform's kernel, on a TPU in blocks of 128 rows and launches of two of those."""
    monkeypatch.setattr(mosaic_runs, "MOSAIC_BLOCK_BYTES", 128 * 128 * 4)
    monkeypatch.setattr(mosaic_runs, "MOSAIC_PIECE_BYTES", 2 * 128 * 128 * 4)
    return request.param


def kernel(platform, link, rate, l2, params, data, order):
    """The weights, the bias and the losses by a kernel in the interpreter."""
    traced = link_slope.traced(jax.grad(link), jnp.float32, data[1].dtype)
    assert link_slope.fits_a_kernel(traced)  # or blocks would be compared
    rate, rows = jnp.asarray(rate, jnp.float32), None if order is None else jnp.asarray(order)
    weights, logits = in_one_kernel(
        jax.grad(link), rate, 1 - rate * l2, rows, tuple(params), data, interpreted=platform
    )
    labels = data[1] if rows is None else data[1][rows]
    return *weights, jax.vmap(link)(logits, labels)


def one_by_one(link, rate, l2, params, data, order):
    optimizer = optax.chain(optax.add_decayed_weights(l2), optax.sgd(rate))
    state = init_state(params, optimizer)
    state, losses = sgd(supervised(linear, link), optimizer)(state, data, order)
    return *state.params, losses


def assert_equal(ours, theirs, moved_from=(0.0, 0.0, 0.0)):
    for a, b, start in zip(ours, theirs, moved_from, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=BLOCKED_F32 * np.abs(b - start).max())


def of_case(case):
    link, n, d, order = CASES[case]
    params, (x, y) = problem(n, d, np.float32)
    y = y.astype(jnp.int32) if link is hinge_of_integers else y
    return link, 0.05, 0.02, params, (x, y), order


@cache
def reference(case):
    """What `sgd` makes of a case, for every platform."""
    link, rate, l2, *arguments = of_case(case)
    return jax.jit(partial(one_by_one, link, rate, l2))(*arguments)


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_is_sgd(platform, case):
    link, rate, l2, *arguments = of_case(case)
    ours = jax.jit(partial(kernel, platform, link, rate, l2))(*arguments)
    assert_equal(ours, reference(case), (*arguments[0], 0.0))


def test_the_comparison_sees_a_decay_that_is_missing():
    params, data = problem(64, 5, np.float32)
    decayed = jax.jit(partial(one_by_one, logistic_loss, 0.05, 0.02))(params, data, None)
    plain = jax.jit(partial(one_by_one, logistic_loss, 0.05, 0.0))(params, data, None)
    with pytest.raises(AssertionError):
        assert_equal(plain, decayed, (*params, 0.0))


def mapped(fn, own):
    """Ten rates at three starts; and with rows of their own, three orders and labels besides."""
    params, (x, y) = problem(140, 6, np.float32)
    starts = params.w[None] * jnp.array([[1.0], [0.5], [-2.0]])
    rates = jnp.geomspace(0.01, 0.3, 10)
    labels = jnp.stack([y, 1 - y, y[::-1]]) if own else y
    orders = jnp.stack([jnp.arange(140) * k % 140 for k in (3, 11, 9)]) if own else None
    over = 0 if own else None

    def run(rate, w, y, order):
        return fn(rate, 0.0, Linear(w, params.b), (x, y), order)

    of_rates = jax.vmap(run, (0, None, None, None))
    return jax.jit(jax.vmap(of_rates, (None, 0, over, over)))(rates, starts, labels, orders)


@cache
def mapped_reference(own):
    return mapped(partial(one_by_one, logistic_loss), own)


@pytest.mark.parametrize(
    ("platform", "own"),
    [("tpu", False), ("cuda", True), ("tpu", True)],
    indirect=["platform"],
    ids=["the same rows", "rows of their own", "rows of their own, eight times over"],
)
def test_mapped_runs_are_so_many_runs(platform, own):
    ours = mapped(partial(kernel, platform, logistic_loss), own)
    assert ours[2].shape == (3, 10, 140)
    assert_equal(ours, mapped_reference(own))


def test_derivatives_are_those_of_blocks():
    params, (x, y) = problem(20, 3, np.float32)
    slope = jax.grad(logistic_loss)

    def of(fn):
        def last(rate, w, x):
            (w, b), logits = fn((w, params.b), (x, y), rate)
            return jnp.sum(w) + b + jnp.sum(logits**2)

        return jax.jit(jax.grad(last, (0, 1, 2)))(jnp.asarray(0.1), params.w, x)

    decay, order = jnp.asarray(0.99), jnp.arange(20)[::-1]
    ours = of(lambda w, data, rate: in_one_kernel(
        slope, rate, decay, order, w, data, interpreted="cuda"
    ))  # fmt: skip
    theirs = of(lambda w, data, rate: block_by_block(slope, rate, decay, order, 64, w, data))
    assert_equal(ours, theirs)


def epoch(state, data, link=logistic_loss):
    return blocked_sgd(link, 0.1)(state, data)


def shapes(d=5, dtype=jnp.float32, label=jnp.float32, sharding=None):
    def of(*shape, dtype=dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    return State(Linear(of(d), of()), ()), (of(40, d), of(40, dtype=label))


def kernels(platform, fn, *arguments):
    """How many kernels of ours a program has that is lowered for a platform."""
    lowered = jax.jit(fn).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    return lowered.count("@tpu_custom_call") + lowered.count("@__gpu$xla.gpu.triton")


def on_devices(number):
    mesh = jax.make_mesh((number,), ("data",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec())


def run(state, data, key):
    return train(blocked_sgd(logistic_loss, 0.1), 3)(state, data, key)


def at(rate, state, data):
    return blocked_sgd(logistic_loss, rate, l2=0.1)(state, data)


def in_blocks(state, data):
    return blocked_sgd(logistic_loss, 0.1, block_size=64)(state, data)


def of_each_device(state, data):
    fn = jax.shard_map(
        epoch, mesh=on_devices(2).mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec()
    )
    return fn(state, data)


def steps_ahead(logit, label):
    return jnp.sum(jnp.array([0.5, 2.0]) * jnp.square(logit - label))


def of_the_gamma_function(logit, label):
    return lax.lgamma(logit) - label


def of_everyday_functions(logit, label):
    """Numbers that it holds, calls, rules of its own, powers, and what has no gradient."""
    gap = jnp.abs(logit - label) * jnp.float32(0.3) ** jnp.float32(2)
    loss = jax.nn.softplus(logit) + jnp.power(gap + 1, 1.5) + lax.stop_gradient(jnp.sign(gap))
    return jnp.where(logit > label, jnp.tanh(loss), loss) + logit**3 / (1 + label)


@pytest.mark.parametrize("platform", OURS)
def test_a_program_has_one_kernel_for_all_rows_and_runs(platform):
    ours = OURS[platform]
    key = jax.eval_shape(lambda: jax.random.key(0))
    rates = jax.ShapeDtypeStruct((20,), jnp.float32)
    widest = widest_in_one_kernel(platform)
    assert kernels(platform, run, *shapes(), key) == ours
    assert kernels(platform, jax.vmap(at, (0, None, None)), rates, *shapes()) == ours
    assert kernels(platform, epoch, *shapes(d=widest)) == ours
    assert kernels(platform, epoch, *shapes(sharding=on_devices(1))) == ours
    with jax.enable_x64(True):
        assert kernels(platform, epoch, *shapes()) == ours
    assert kernels(platform, partial(epoch, link=of_everyday_functions), *shapes()) == ours


@pytest.mark.parametrize("platform", OURS)
def test_and_none_where_the_platform_cannot(platform):
    assert kernels(platform, epoch, *shapes(d=widest_in_one_kernel(platform) + 1)) == 0
    exported = jax.export.export(jax.jit(epoch), platforms=(platform,))(*shapes())
    assert "tpu_custom_call" not in exported.mlir_module()
    assert "triton" not in exported.mlir_module()


def test_and_none_where_no_kernel_could():
    assert kernels("tpu", epoch, *shapes(dtype=jnp.bfloat16)) == 0
    assert kernels("tpu", epoch, *shapes(label=jnp.int8)) == 0
    assert kernels("tpu", in_blocks, *shapes()) == 0
    assert kernels("tpu", epoch, *shapes(sharding=on_devices(2))) == 0
    assert kernels("tpu", of_each_device, *shapes()) == 0
    assert kernels("tpu", partial(epoch, link=steps_ahead), *shapes()) == 0
    assert kernels("tpu", partial(epoch, link=of_the_gamma_function), *shapes()) == 0


def test_only_these_platforms_have_a_kernel():
    assert [widest_in_one_kernel(name) for name in ("cpu", "rocm")] == [0, 0]
    assert kernels("rocm", epoch, *shapes()) == 0
    assert kernels("cpu", epoch, *shapes()) == 0


@pytest.mark.parametrize(
    "link",
    [
        lambda z, y: lax.fori_loop(0, 3, lambda _, s: s + (z - y) ** 2, 0.0 * z),
        lambda z, y: lax.cond(z > y, lambda a: a, lambda a: a * a, z - y),
    ],
    ids=["a loop", "a branch"],
)
def test_a_loss_that_loops_or_branches_is_left_to_blocks(link):
    assert not link_slope.fits_a_kernel(link_slope.traced(jax.grad(link), jnp.float32, jnp.float32))
    params, data = problem(40, 5, np.float32)
    state, losses = jax.jit(blocked_sgd(link, 0.01))(State(params, ()), data)
    assert_equal((*state.params, losses), one_by_one(link, 0.01, 0.0, params, data, None))
