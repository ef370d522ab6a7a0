"""Every program for every target, compiled and not run: what is launched, moved and sent.

Skipped where a target's compiler is not installed: CONTRIBUTING.md says how to install them.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compute_on import compute_on
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxgd
from benchmarks.accelerators.compiling import compiled
from benchmarks.accelerators.programs import (
    EPOCHS,
    MANY,
    ONE,
    PROGRAMS,
    ROWS,
    TO_SCALE,
    D,
    network,
    programs_for,
)
from benchmarks.compiled_products import rounded
from benchmarks.compiled_text import counts, read
from benchmarks.topologies import TARGETS, TPUS, chips, devices, missing
from jaxgd.machine import KEPT_BYTES
from jaxgd.scale import data_parallel

# Kernels an update at most: of NVIDIA's, and of a TPU. An epoch's own are shared by its updates;
# blocked SGD, whose update is a row, is a kernel an epoch, or charged with the most passes a block.
KERNELS = {
    "GD": (30.4, 26),
    "mini-batch 256": (22.1, 24.1),
    "streamed segment": (22.3, 20.2),
    "mini-batch 32": (9.6, 8.3),
    "sweep of 64 rates": (10.6, 9.3),
    "SGD": (6.1, 4.1),
    "blocked SGD": (2e-4, 5e-4),
    "blocked SGD, blocks of 64": (4.3, 3.4),
}
KERNELS_OF_MANY = {
    "GD": (36.4, 23),
    "mini-batch 256, rows on all": (22.1, 34.2),
    "mini-batch 256, rows owned": (38.1, 79.2),
    "mini-batch 256, deterministic": (42.1, 129.2),
}
# What is added up by a fixed tree is sent in two, on a TPU the second as a sum with zeros.
IN_ORDER = [{"all-to-all": 1, "all-gather": 1}, {"all-to-all": 1, "all-reduce": 1}]
# Loops that the data end, for which a GPU waits at every trip.
OPEN = {"blocked SGD, blocks of 64", "mini-batch 256, rows owned"}
# GD of a network keeps the activations of all rows; what works on batches keeps those of one, or of
# a sweep's all; a TPU's kernel of SGD has its rows beside it, in their order, as has a v5p, whose
# scratchpad is small, those of any epoch.
TEMPORARY_MB = {"GD": 140, "blocked SGD": 110}
BATCHES_MB = 20
PROCESSOR_SECONDS = 60  # at most 7 on two cores when this was written: a program must not explode
SHUFFLE_SECONDS = 15  # of an order by itself

PAIRS = [
    (program, target)
    for target in TARGETS
    for program in programs_for(chips(target))
    if program not in PROGRAMS[TO_SCALE]
]
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
    found, on_tpu = compiled(program, target), target.endswith(tuple(TPUS))
    most = (KERNELS if chips(target) == 1 else KERNELS_OF_MANY)[program]
    assert found.seconds < PROCESSOR_SECONDS
    assert found.memory.temp_size_in_bytes < TEMPORARY_MB.get(program, BATCHES_MB) * 1e6
    assert found.counts.sorts == 0
    assert found.counts.host_transfers == 0
    launched = found.counts.kernels + found.counts.library_calls
    assert found.an_update(launched) <= most[on_tpu]
    assert all(loop.exact for _, loop in found.work.all_loops()) == (program not in OPEN)


@pytest.mark.parametrize(("program", "target"), PAIRS, indirect=["target"])
def test_a_program_sends_its_params_and_loss_and_nothing_else(program, target):
    found = compiled(program, target)
    collectives = {name: found.an_update(k) for name, k in found.counts.collectives.items()}
    sent = [found.an_update(size) for size in found.counts.collective_bytes.values()]
    numbers = 4 * (found.params + 1)
    if chips(target) == 1:
        assert collectives == {}
    elif "deterministic" in program:
        assert collectives in IN_ORDER
        assert all(numbers <= size < numbers + 4 * chips(target) for size in sent)
    else:
        assert collectives == {"all-reduce": 1}
        assert sent == [numbers]


@pytest.mark.parametrize("target", ["v5e", "H100", "8xH100"], indirect=True)
def test_gd_of_any_number_of_rows_keeps_the_activations_of_a_chunk(target):
    """Beside them a TPU makes a copy of the rows in 16 bits; those of all rows would be 8 GB."""
    model, mesh = network(), Mesh(np.array(devices(target)), ("data",))
    case = PROGRAMS[ONE]["GD"](mesh, n=ROWS * mesh.size)
    epoch = data_parallel(model.loss, model.optimizer, None, mesh, rows="owned")
    run = case.run if mesh.size == 1 else jaxgd.train(epoch, EPOCHS)
    memory = jax.jit(run).lower(*case.arguments).compile().memory_analysis()
    assert memory.temp_size_in_bytes < KEPT_BYTES + ROWS * D * 2


@pytest.mark.parametrize("program", BATCHES)
@pytest.mark.parametrize("target", ["v5e", "TPU7x", "H100"], indirect=True)
def test_the_highest_precision_is_kept(program, target):
    assert rounded(compiled(program, target, "highest").text) == []


@pytest.mark.parametrize("target", ["v5e", "TPU7x", "H100"], indirect=True)
def test_rows_are_multiplied_in_fewer_bits_unless_told(target):
    """The canary of the above, and why the docs speak of it."""
    assert rounded(compiled("mini-batch 256", target).text)


@pytest.mark.parametrize("target", ["v5e", "H100"], indirect=True)
def test_an_odd_number_of_rows_is_shuffled_without_a_sort(target):
    """It once took 36 s to compile for a v5e, 40 times as long as an even one."""
    start = time.process_time()
    text = for_target(lambda key: jaxgd.shuffle(key, 999_999), target, jax.random.key(0))
    assert time.process_time() - start < SHUFFLE_SECONDS
    assert counts(read(text)).sorts == 0


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
