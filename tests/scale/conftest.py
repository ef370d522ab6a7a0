"""Programs that compile quickly, where neither bits nor what is sent is looked at."""

import jax
import pytest


@pytest.fixture
def quick_compiles():
    """The time of these tests is that of compiling: a third, without most optimizations of XLA."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
