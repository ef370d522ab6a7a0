"""Params in parts, by plain jit: the same training, and after it everything lies as before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxgd
from tests.tolerances import SHARDED_ADAM_F32

loss = jaxgd.supervised(jaxgd.mlp, jaxgd.cross_entropy)
ADAM = optax.adam(0.01)
# Of the layers (w [in, out], b [out]): the first split by its outputs, the second by its inputs.
TENSOR_PARALLEL = ((P(None, "model"), P("model")), (P("model", None), P()))
FULLY_SHARDED = ((P(None, "model"), P("model")), (P("model", None), P("model")))


def placed_state(mesh, specs):
    params = jaxgd.init_mlp(jax.random.key(0), (6, 8, 4))
    leaves, tree = jax.tree.flatten(params)
    by_leaf = jax.tree.leaves(specs, is_leaf=lambda s: isinstance(s, P))
    laid = [jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip(leaves, by_leaf, strict=True)]
    return jaxgd.scale.on_mesh(jaxgd.init_state(jax.tree.unflatten(tree, laid), ADAM), mesh)


@pytest.mark.usefixtures("quick_compile_here")
@pytest.mark.optax_promotion
@pytest.mark.parametrize("specs", [TENSOR_PARALLEL, FULLY_SHARDED], ids=["tensor", "fully"])
def test_params_in_parts_train_as_whole_ones_and_stay_in_parts(specs):
    mesh = jax.make_mesh((2, 4), ("data", "model"), (AxisType.Auto, AxisType.Auto))
    state = placed_state(mesh, specs)
    rng = np.random.default_rng(0)
    data = jnp.asarray(rng.normal(size=(40, 6)), jnp.float32), jnp.asarray(rng.integers(0, 4, 40))
    rows = jaxgd.scale.on_mesh(data, mesh)
    run = jaxgd.train(jaxgd.minibatch(loss, ADAM, 10, batch_sharding=P("data")), 3)
    lie = jax.tree.map(lambda a: a.sharding, state)
    stable = jax.jit(run, out_shardings=(lie, None))
    ended, losses = stable(state, rows, jax.random.key(1))
    whole = jaxgd.init_state(jaxgd.init_mlp(jax.random.key(0), (6, 8, 4)), ADAM)
    expected, theirs = jax.jit(jaxgd.train(jaxgd.minibatch(loss, ADAM, 10), 3))(
        whole, data, jax.random.key(1)
    )
    assert jax.tree.map(lambda a: a.sharding, ended) == lie
    for a, b in zip(
        jax.tree.leaves((ended, losses)), jax.tree.leaves((expected, theirs)), strict=True
    ):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() <= SHARDED_ADAM_F32
    compiled = stable._cache_size()
    stable(ended, rows, jax.random.key(1))
    assert stable._cache_size() == compiled  # it goes on from where it ended
