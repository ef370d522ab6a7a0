"""Where arrays lie: the rows of data spread over the devices of a mesh, or all on each."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxgd.inputs import Padded, count_examples

# The logical shards of the deterministic mode: two each for up to eight devices.
SHARDS = 16


def spread(data: PyTree, mesh: Mesh, axis: str | None = None) -> Padded:
    """The data with its rows spread over the devices of a mesh axis, and how many they are.

    A device gets as many rows as any other: copies of the last one stand behind it where the
    devices, or the shards of the deterministic mode, do not divide n. They are never trained on:
    `data_parallel(…, rows="owned")` and `train` know n. `axis` may be left out of a mesh of one.

    Every process gives all of the data, and keeps the rows of its own devices.
    """
    axis = axis_of(mesh, axis)
    n = count_examples(data)
    padding = -n % math.lcm(mesh.shape[axis], SHARDS)
    rows = np.minimum(np.arange(n + padding), n - 1)
    return Padded(place(data, NamedSharding(mesh, PartitionSpec(axis)), rows), n)


def on_mesh(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree on the devices of a mesh: leaves that lie there stay, others are whole on each.

    So a state of sharded params is one whose every leaf has a place that `out_shardings` can name.
    Every process gives the same values; nothing is sent to see whether it does.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda a: a if _lies_on(a, mesh) else place(a, everywhere), tree)


def place(tree: PyTree, sharding: NamedSharding, rows: np.ndarray | None = None) -> PyTree:
    """The tree, or these rows of it, as global arrays of which a process holds its own parts."""

    def of(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(jax.typeof(leaf).dtype, jax.dtypes.prng_key):
            data = place(jax.random.key_data(leaf), sharding, rows)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf, jax.typeof(leaf).dtype)
        host = host if rows is None or len(rows) == len(host) else host[rows]
        return jax.make_array_from_callback(host.shape, sharding, host.__getitem__)

    return jax.tree.map(of, tree)


def axis_of(mesh: Mesh, axis: str | None) -> str:
    """The mesh axis over which rows are spread, the only one by default."""
    if axis is None and len(mesh.axis_names) == 1:
        return mesh.axis_names[0]
    if axis is None or axis not in mesh.axis_names:
        raise ValueError(
            f"axis must be one of the mesh's, {mesh.axis_names}; got {axis!r}. "
            "It names the devices that share the rows."
        )
    return axis


def _lies_on(leaf: Any, mesh: Mesh) -> bool:
    sharding = getattr(leaf, "sharding", None)
    return isinstance(sharding, NamedSharding) and sharding.mesh == mesh
