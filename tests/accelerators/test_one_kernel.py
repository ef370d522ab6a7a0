"""blocked_sgd compiled for accelerators: an epoch's rows, and a sweep's runs, in one kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxgd
from benchmarks.compiled_text import OWN_KERNELS, counts, read
from benchmarks.topologies import GPUS, devices, missing
from jaxgd import Linear, State, blocked_sgd, train
from jaxgd.blocked import link_slope
from jaxgd.blocked.one_kernel import in_one_kernel

EPOCHS, RATES = 3, 20
# An epoch's kernels at most, of NVIDIA's and of a TPU: ours, those that shuffle, gather, pad and
# take the losses. A TPU's count of them does not depend on the rows, but on how they lie.
AN_EPOCH = {True: 16, False: 40}
TARGETS = [*GPUS, "v5e", "v6e", "TPU7x"]


@pytest.fixture(params=TARGETS)
def target(request):
    if absent := missing(request.param):
        pytest.skip(f"compiling for {request.param} needs {absent}")
    return request.param


def compiled(fn, target, *arguments):
    mesh = Mesh(np.array(devices(target)), ("data",))
    whole = NamedSharding(mesh, PartitionSpec())
    placed = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), arguments
    )
    return read(jax.jit(fn).lower(*placed).compile().as_text())


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def at(rate, w, b, data, key):
    run = train(blocked_sgd(jaxgd.binary_cross_entropy_with_logits, rate), EPOCHS)
    return run(State(Linear(w, b), ()), data, key)


def of_problem(n, d, label=jnp.float32):
    key = jax.eval_shape(lambda: jax.random.key(0))
    return shape(d), shape(), (shape(n, d), shape(n, dtype=label)), key


def assert_one_kernel_an_epoch(work, target):
    ours = [times for times, one in work.each() if one.target in OWN_KERNELS]
    found = counts(work)
    assert ours == [EPOCHS]
    assert found.kernels + found.library_calls <= EPOCHS * AN_EPOCH[target in GPUS]
    assert (found.sorts, found.host_transfers, found.collectives) == (0, 0, {})
    assert all(loop.exact for _, loop in work.all_loops())


@pytest.mark.parametrize(("n", "d"), [(65_536, 128), (3000, 5), (2000, 2**13)])
def test_a_run_is_a_kernel_an_epoch(target, n, d):
    assert_one_kernel_an_epoch(compiled(at, target, shape(), *of_problem(n, d)), target)


def test_a_sweep_is_a_kernel_an_epoch(target):
    runs = jax.vmap(at, (0, None, None, None, None))
    work = compiled(runs, target, shape(RATES), *of_problem(5001, 784))
    assert_one_kernel_an_epoch(work, target)


def everything(z, y):
    """A slope of all operations that a kernel is said to do."""
    over = jnp.isfinite(z) & ~(z > 9.0) | ((z <= -9.0) ^ (z != y)) | (z == y)
    slope = lax.select(over & (z >= -y) | (z < y), jnp.tanh(z), -jnp.abs(z))
    slope += jnp.sin(z) * jnp.cos(y) + jnp.sqrt(z * z) + lax.rsqrt(z * z) + jnp.exp2(z / 4)
    slope += jnp.log(z * z) + lax.pow(z * z, y) + lax.clamp(-y, z, y) + jnp.square(z) + z**3
    slope += jnp.sign(z) + jnp.log1p(jnp.exp(-z)) + jnp.maximum(z, y) - jnp.minimum(z, y)
    return slope + jax.nn.sigmoid(z) + lax.stop_gradient(z) + over.astype(z.dtype)


def test_a_kernel_does_all_operations_that_it_is_said_to(target):
    traced = link_slope.traced(everything, "float32", "float32")
    named = {eqn.primitive.name for eqn in traced.eqns}
    assert named >= link_slope.OPERATIONS - {"add_any"}  # which is what derivatives make of add

    def fn(w, b, data):
        rate, decay = jnp.float32(0.1), jnp.float32(0.9)
        return in_one_kernel(everything, rate, decay, None, (w, b), data)

    work = compiled(fn, target, *of_problem(1000, 100)[:3])
    assert [one.target in OWN_KERNELS for _, one in work.each()].count(True) == 1
