"""Where arrays lie: the rows of data spread over the devices of a mesh, or all on each."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, PyTree

from jaxgd.inputs import Padded, count_examples

# The logical shards of the deterministic mode: two each for up to eight devices.
SHARDS = 16


def spread(data: PyTree, mesh: Mesh, axis: str | None = None, *, n: int | None = None) -> Padded:
    """The data with its rows spread over the devices of a mesh axis, and how many they are.

    A device gets as many rows as any other: copies of the last one stand behind it where the
    devices, or the shards of the deterministic mode, do not divide n. They are never trained on:
    `data_parallel(…, rows="owned")` and `train` know n. `axis` may be left out of a mesh of one.

    Every process gives all of the data, and keeps the rows of its own devices; with `n`, how many
    all processes have together, it gives those alone: `own_rows(n, mesh)`, in that order.
    Raises ValueError for another number of rows than that.
    """
    axis = axis_of(mesh, axis)
    sharding = _over(mesh, axis)
    if n is None:
        n = count_examples(data)
        rows = np.minimum(np.arange(padded(n, mesh, axis)), n - 1)
        return Padded(place(data, sharding, rows), n)
    own = own_rows(n, mesh, axis)
    if (given := count_examples(data)) != len(own):
        raise ValueError(
            f"with n={n} each process gives its own rows alone, here {len(own)}; got {given}. "
            "Give the rows that own_rows(n, mesh) names."
        )
    rows = np.searchsorted(own, np.arange(padded(n, mesh, axis)))  # no other process's is asked for
    return Padded(place(data, sharding, np.minimum(rows, len(own) - 1)), n)


def own_rows(n: int, mesh: Mesh, axis: str | None = None) -> Int[np.ndarray, "own"]:
    """The numbers, ascending, of those of n rows that this process's devices hold when spread.

    Raises ValueError for so few rows that a process would hold none.
    """
    axis = axis_of(mesh, axis)
    size = padded(n, mesh, axis)
    held: Any = _over(mesh, axis).devices_indices_map((size,))
    of = dict[int, set[tuple[int, int]]]()
    for device in mesh.devices.flat:
        (rows,) = held[device]
        of.setdefault(device.process_index, set()).add(rows.indices(size)[:2])
    if any(min(parts)[0] >= n for parts in of.values()):
        raise ValueError(
            f"every process must hold a row; got n={n} rows for {len(of)} processes with "
            f"{mesh.size} devices. Use fewer processes."
        )
    parts = sorted(of[jax.process_index()])
    return np.concatenate([np.arange(start, min(stop, n)) for start, stop in parts])


def padded(n: int, mesh: Mesh, axis: str | None = None) -> int:
    """So many rows as the devices and the shards of the deterministic mode divide."""
    return n + -n % math.lcm(mesh.shape[axis_of(mesh, axis)], SHARDS)


def on_mesh(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree on the devices of a mesh: leaves that lie there stay, others are whole on each.

    So a state of sharded params is one whose every leaf has a place that `out_shardings` can name.
    Every process gives the same values; nothing is sent to see whether it does.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda a: a if _lies_on(a, mesh) else place(a, everywhere), tree)


def lies_spread(data: PyTree, mesh: Mesh, axis: str, parts: int) -> bool:
    """Whether the rows lie over a mesh axis as they are, in so many equal parts altogether."""
    return count_examples(data) % parts == 0 and all(
        _lies_on(leaf, mesh) and leaf.sharding.is_equivalent_to(_over(mesh, axis), leaf.ndim)
        for leaf in jax.tree.leaves(data)
    )


def place(tree: PyTree, sharding: NamedSharding, rows: np.ndarray | None = None) -> PyTree:
    """The tree, or these rows of it, as global arrays of which a process holds its own parts."""

    def of(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(jax.typeof(leaf).dtype, jax.dtypes.prng_key):
            data = place(jax.random.key_data(leaf), sharding, rows)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf, jax.typeof(leaf).dtype)
        if rows is None:
            return jax.make_array_from_callback(host.shape, sharding, host.__getitem__)
        shape = (len(rows), *host.shape[1:])
        return jax.make_array_from_callback(shape, sharding, lambda at: _rows_at(host, rows, at))

    return jax.tree.map(of, tree)


def _rows_at(host: np.ndarray, rows: np.ndarray, at: Any) -> np.ndarray:
    """The rows of a piece of the global array that holds these rows of the host's."""
    return host[rows[at[0]]]


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


def _over(mesh: Mesh, axis: str) -> NamedSharding:
    """Rows over the devices of an axis."""
    return NamedSharding(mesh, PartitionSpec(axis))
