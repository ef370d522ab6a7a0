"""Settings every test runs under: strict dtypes and ranks, eight CPU devices, one torch thread."""

import gc
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import jax
import jax.numpy as jnp
import pytest
from hypothesis import settings

# The same examples on every machine: a red run is a change in the code, not luck. Bounds that
# random draws reach only rarely were set with many more of them.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

pytest_plugins = ["pytester"]

# What is imported stays: to look for garbage among it, at each collection, is in vain.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of a test that is `halved` half of the cases, by their names, are left to `-m exhaustive`."""
    for item in items:
        if "halved" in item.keywords and crc32(item.name.encode()) % 2:
            item.add_marker("exhaustive")


# A shell that starts the suite in the background has it ignore ctrl-C, and all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread():
    """Where torch is: the newest JAX is tested without."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """The commands that tests start keep programs for each other, not among the user's."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("MPLCONFIGDIR", str(users / "matplotlib"))  # its fonts take a second
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _optax_promotion(request):
    """Optax multiplies int32 counts by floats: tests that run its code ask for JAX's default."""
    if "optax_promotion" not in request.keywords:
        yield
        return
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def x64():
    """The test runs in 64-bit JAX."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """The test runs once in each precision, with JAX's x64 mode to match."""
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


def _compiling_quickly():
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
        jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compile():
    """The module compiles with few of XLA's optimizations: what it takes is the time of compiling.

    For tests that hold values to a tolerance, never for bits, counts of work or what is sent. No
    program of it outlives the module.
    """
    yield from _compiling_quickly()


@pytest.fixture(scope="class")
def quick_compile_here():
    """The class, or the test alone, compiles as a module does with `quick_compile`."""
    yield from _compiling_quickly()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each worker walks neighbouring files, which share programs, and steals at the end."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None
