"""A second oracle: torch's own optimizer code, run on JAX's arrays by torchax.

Optional: pip install torchax. The Python of torch.optim runs as it is; what computes is XLA.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch._ops import OpOverloadPacket

from jaxgd.optim.registry import REGISTRY
from tests import tolerances

UPDATES = 20
RNG = np.random.default_rng(0)
START, GRADIENTS = RNG.normal(size=8), RNG.normal(size=(UPDATES, 8))

# torchax has no lowering of what the others' code calls: rsqrt_ (Adafactor), maximum(out=) (Adamax,
# and Adam with amsgrad), float32 beside float64 (ASGD), sparse gradients, closures.
TRACED = ("adadelta", "adagrad", "adam", "adamw", "nadam", "radam", "rmsprop", "rprop", "sgd")


@pytest.fixture(scope="module")
def torchax():
    """The package, which lists overloads of named dimensions that torch 2.13 has no more."""
    own = OpOverloadPacket.__getattr__

    def lookup(packet, name):
        try:
            return own(packet, name)
        except AttributeError:
            if "dimname" in name.lower() or "names" in name:
                return object()
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpOverloadPacket, "__getattr__", lookup)
        yield pytest.importorskip("torchax")


def in_torchax(torchax, row, options):
    with torchax.default_env():
        param = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64, device="jax"))
        optimizer = getattr(torch.optim, row.torch_class)([param], foreach=False, **options)
        for gradient in GRADIENTS:
            param.grad = torch.tensor(gradient, dtype=torch.float64, device="jax")
            optimizer.step()
            yield np.asarray(param.detach().jax())


def in_jaxgd(row, options):
    optimizer = row.build(**options)

    def update(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    params = jnp.asarray(START, jnp.float64)
    start = params, optimizer.init(params)
    return jax.lax.scan(update, start, jnp.asarray(GRADIENTS, jnp.float64))[1]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", TRACED)
def test_torchs_own_code_in_jax_makes_the_same_steps(torchax, name):
    row = REGISTRY[name]
    options = {k: v for k, v in (row.thorough or {}).items() if k != "amsgrad"}
    theirs = np.stack(list(in_torchax(torchax, row, options)))
    ours = np.asarray(in_jaxgd(row, options))
    way = np.abs(theirs - START).max()
    assert np.abs(ours - theirs).max() <= tolerances.PARITY_F64 * way
