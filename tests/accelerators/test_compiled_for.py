"""Every program for every target, compiled and not run: what is launched, moved and sent.

Skipped where a target's compiler is not installed: CONTRIBUTING.md says how to install them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compute_on import compute_on
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxgd
from benchmarks.accelerators.compiling import compiled
from benchmarks.accelerators.programs import EPOCHS, MANY, ONE, PROGRAMS, network
from benchmarks.compiled_products import rounded
from benchmarks.compiled_text import counts, read
from benchmarks.topologies import TARGETS, TPUS, chips, devices, missing

# Kernels an update at most, on one chip and on several: of NVIDIA's, and of a TPU. An epoch's own
# are shared by its updates; blocked SGD is charged with the most passes, and its update is a row.
KERNELS = {
    (ONE, "GD"): (30.4, 26),
    (ONE, "mini-batch 256"): (22.1, 24.1),
    (ONE, "segment of mini-batches"): (22.3, 20.2),
    (ONE, "mini-batch 32"): (9.6, 8.3),
    (ONE, "sweep of 64 rates"): (10.6, 9.3),
    (ONE, "SGD"): (6.1, 4.1),
    (ONE, "blocked SGD"): (4.3, 3.4),
    (MANY, "GD"): (36.4, 23),
}
# GD of a network keeps the activations of all rows; what works on batches keeps those of one, or of
# a sweep's all, and a v5p, whose scratchpad is small, copies the rows of an epoch in its order.
TEMPORARY_MB = {"GD": 140}
BATCHES_MB = 20
PROCESSOR_SECONDS = 60  # at most 7 on two cores when this was written: a program must not explode


def groups(target):
    return ONE if chips(target) == 1 else MANY


PAIRS = [(program, target) for target in TARGETS for program in PROGRAMS[groups(target)]]
BATCHES = ["GD", "mini-batch 256", "mini-batch 32"]


@pytest.fixture
def target(request):
    """A target whose compiler is here."""
    if absent := missing(request.param):
        pytest.skip(f"compiling for {request.param} needs {absent}")
    return request.param


def for_target(fn, target, *arguments):
    """The text of a function compiled for one device of a target, or all where it has several."""
    mesh = Mesh(np.array(devices(target)), ("data",))
    whole = NamedSharding(mesh, PartitionSpec())
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole) for a in arguments]
    return jax.jit(fn).lower(*shapes).compile().as_text()


@pytest.mark.parametrize(("program", "target"), PAIRS, indirect=["target"])
def test_a_program_for_a_target(program, target):
    found = compiled(program, target)
    group = groups(target)
    assert found.seconds < PROCESSOR_SECONDS
    assert found.memory.temp_size_in_bytes < TEMPORARY_MB.get(program, BATCHES_MB) * 1e6
    assert found.counts.sorts == 0
    assert found.counts.host_transfers == 0
    launched = found.counts.kernels + found.counts.library_calls
    assert found.an_update(launched) <= KERNELS[group, program][target in TPUS]
    # A GPU waits for the host at every trip of a loop that the data end.
    assert all(loop.exact for loop in found.work.all_loops()) == (program != "blocked SGD")
    if group == ONE:
        assert found.counts.collectives == {}
    else:
        assert found.counts.collectives == {"all-reduce": found.updates}
        sent = found.counts.collective_bytes["all-reduce"]
        assert found.an_update(sent) == 4 * (found.params + 1)


@pytest.mark.parametrize("program", BATCHES)
@pytest.mark.parametrize("target", ["v5e", "TPU7x", "H100"], indirect=True)
def test_the_highest_precision_is_kept(program, target):
    assert rounded(compiled(program, target, "highest").text) == []


@pytest.mark.parametrize("target", ["v5e", "TPU7x", "H100"], indirect=True)
def test_rows_are_multiplied_in_fewer_bits_unless_told(target):
    """The canary of the above, and why the docs speak of it."""
    assert rounded(compiled("mini-batch 256", target).text)


@pytest.mark.parametrize("target", ["v5e", "H100"], indirect=True)
def test_a_planted_sort_is_found(target):
    text = for_target(jax.random.permutation, target, jax.random.key(0), jnp.arange(10_000))
    assert counts(read(text)).sorts >= 1


@pytest.mark.parametrize("target", ["v5e", "H100"], indirect=True)
def test_a_planted_transfer_is_found(target):
    def fn(x):
        y = jnp.sin(x)
        with compute_on("device_host"):
            y = jnp.cos(y)
        return jnp.exp(y)

    assert counts(read(for_target(fn, target, jnp.ones((512, 512))))).host_transfers >= 1


@pytest.mark.parametrize("target", ["4xv5e", "8xH100"], indirect=True)
def test_a_batch_that_is_sent_is_found(target):
    """Mini-batches of rows that are spread over devices, by plain jit: the batch goes around."""
    model = network()
    case = PROGRAMS[MANY]["GD"](Mesh(np.array(devices(target)), ("data",)))
    run = jaxgd.train(jaxgd.minibatch(model.loss, model.optimizer, 256), EPOCHS)
    work = read(jax.jit(run).lower(*case.arguments).compile().as_text())
    sent = sum(counts(work).collective_bytes.values()) / (EPOCHS * 256)
    assert sent >= 256 * 128 * 2  # rows of 128 numbers, in 16 bits at least
