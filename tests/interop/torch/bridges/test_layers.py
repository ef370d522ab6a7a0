"""Each layer of each framework with bridged parameters: torch's output, and back to the bit."""

import jax
import numpy as np
import pytest
import torch

from jaxgd.interop.torch import bridge
from tests import tolerances
from tests.interop.torch.bridges.layers import LAYERS, REFUSED, TORCH, given, names_of

pytestmark = pytest.mark.usefixtures("quick_compile")

CASES = [(to, name) for to in LAYERS for name in TORCH]


@pytest.fixture(autouse=True)
def _as_the_frameworks_run():
    """Their own promotion of dtypes and ranks."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@pytest.mark.halved
@pytest.mark.parametrize(("to", "name"), CASES, ids=lambda part: part)
def test_the_frameworks_layer_gives_torchs_output(to, name):
    module, x, expected = given(name)
    if (to, name) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[to, name]):
            bridge(module, to, names_of(to, name))
        return
    crossing = bridge(module, to, names_of(to, name))
    actual = np.asarray(LAYERS[to]()[name](crossing, x))
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error <= tolerances.BRIDGED_F64


@pytest.mark.parametrize("to", [*LAYERS, "pytree"])
@pytest.mark.parametrize("name", TORCH)
def test_the_way_back_gives_the_same_bits(to, name):
    if (to, name) in REFUSED:
        return
    module, _, _ = given(name)
    crossing = bridge(module, to, names_of(to, name))
    expected = module.state_dict()
    actual = crossing.state_dict(crossing.params, crossing.buffers)
    assert list(actual) == list(expected)
    for path, tensor in expected.items():
        assert torch.equal(actual[path], tensor), path
        assert actual[path].dtype == tensor.dtype, path
