"""How arrays lie on the devices of a mesh, as their types tell while a program is traced.

A type knows the mesh that its array was put on and, along Explicit axes, the axes it is sharded
over. It does so whatever machine traces the program, like a shape.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree, Shaped

# How a batch of rows lies on a mesh; None leaves it to the data and to XLA.
Layout = PartitionSpec | NamedSharding | None


def on_several_devices(data: PyTree) -> bool:
    """Whether XLA may have spread an array of these over several devices.

    Inside `shard_map` the mesh is Manual, and a device works on what it holds alone.
    """
    return any(
        size > 1 and kind != AxisType.Manual
        for mesh in map(_mesh, jax.tree.leaves(data))
        for size, kind in zip(mesh.axis_sizes, mesh.axis_types, strict=True)
    )


def beside(data: PyTree, tree: PyTree) -> PyTree:
    """The tree with each leaf that lies on no mesh copied to every device of the data's.

    Along Explicit axes only, where JAX would not do so by itself.
    """
    meshes = [mesh for mesh in map(_mesh, jax.tree.leaves(data)) if _is_explicit(mesh)]
    if not meshes:
        return tree
    everywhere = NamedSharding(meshes[0], PartitionSpec())
    return jax.tree.map(lambda a: jax.reshard(a, everywhere) if _mesh(a).empty else a, tree)


def one_by_one(data: PyTree) -> Layout:
    """The layout for rows that are worked on one after another, by every device for itself."""
    explicit = any(_is_explicit(_mesh(leaf)) for leaf in jax.tree.leaves(data))
    return PartitionSpec(None) if explicit else None


def rows_of(array: Shaped[Array, "n ..."], rows: Int[Array, "..."], layout: Layout = None) -> Array:
    """array[rows], numbers past either end clamped; the last axis of `rows` is the batch.

    With a layout the batch is laid out so, and without one, along Explicit axes, as the rows of
    the array are. A batch that the devices do not divide is whole on each of them.
    """
    mesh, spec = _mesh(array), _spec(array)
    if layout is not None:
        mesh, of_batch = _resolved(layout, mesh)
    elif _is_explicit(mesh) and spec[0] is not None:
        of_batch = PartitionSpec(spec[0])
    else:
        return jnp.take(array, rows, axis=0, mode="clip")
    axes = of_batch[0] if rows.shape[-1] % _devices(mesh, of_batch[0]) == 0 else None
    ahead = (None,) * (rows.ndim - 1)
    if not _is_explicit(mesh):
        wanted = NamedSharding(mesh, PartitionSpec(*ahead, axes, *of_batch[1:]))
        taken = jnp.take(array, rows, axis=0, mode="clip")
        return jax.lax.with_sharding_constraint(taken, wanted)
    # First whole on each device: asked for in parts of sharded rows, XLA would collect all rows.
    whole, wanted = (NamedSharding(mesh, PartitionSpec(*ahead, a, *spec[1:])) for a in (None, axes))
    if spec[0] is not None:
        return jax.reshard(array.at[rows].get(mode="clip", out_sharding=whole), wanted)
    return array.at[rows].get(mode="clip", out_sharding=wanted)


def slice_of(array: Shaped[Array, "n ..."], start: Any, size: int, layout: Layout = None) -> Array:
    """array[start : start + size], laid out as `rows_of` says."""
    if layout is None and not (_is_explicit(_mesh(array)) and _spec(array)[0] is not None):
        return jax.lax.dynamic_slice_in_dim(array, start, size)
    return rows_of(array, start + jnp.arange(size, dtype=jnp.int32), layout)


def check_layout(layout: Layout, batch_size: int, data: PyTree) -> None:
    """ValueError for a layout whose mesh is not known, or whose devices do not divide a batch."""
    for leaf in [] if layout is None else jax.tree.leaves(data):
        mesh, spec = _resolved(layout, _mesh(leaf))
        if batch_size % (devices := _devices(mesh, spec[0])):
            raise ValueError(
                f"batch_size must be a multiple of the {devices} devices of batch_sharding; got "
                f"batch_size={batch_size}. jaxgd.scale.data_parallel takes any."
            )


def zeros_like(shape: jax.ShapeDtypeStruct) -> Array:
    """Zeros of this shape and dtype, which inside `shard_map` differ by device where it does."""
    return varying(jnp.zeros(shape.shape, shape.dtype), varying_axes(shape))


def varying_axes(*arrays: Any) -> frozenset[str]:
    """The axes of `shard_map` along which some of the arrays differ from device to device."""
    return frozenset[str]().union(*map(_varying_axes, arrays))


def varying(tree: PyTree, axes: Iterable[str]) -> PyTree:
    """The tree as one that may differ along these axes of `shard_map`, and is derived so."""

    def of(array: Array) -> Array:
        new = tuple(sorted(set(axes) - varying_axes(array)))
        return jax.lax.pcast(array, new, to="varying") if new else array

    return jax.tree.map(of, tree)


def _varying_axes(array: Any) -> frozenset[str]:
    kind: Any = array if isinstance(array, jax.ShapeDtypeStruct) else jax.typeof(array)
    names = ("mat", "manual_axis_type")  # of arrays and of shapes; in jax 0.9 it is vma of both
    manual = next((getattr(kind, name) for name in names if hasattr(kind, name)), None)
    return manual.varying if manual is not None else getattr(kind, "vma", None) or frozenset()


def _resolved(layout: Layout, mesh: Any) -> tuple[Any, PartitionSpec]:
    """The mesh and the spec of a layout: a spec alone is of the data's mesh or `jax.set_mesh`'s."""
    if isinstance(layout, NamedSharding):
        mesh, layout = layout.mesh.abstract_mesh, layout.spec
    elif mesh.empty:
        mesh = jax.sharding.get_abstract_mesh()
    if layout is None or not len(layout) or mesh.empty:
        raise ValueError(
            "batch_sharding must name the mesh axes of a batch's rows; got "
            f"{layout} and no mesh. Put data on one, or give NamedSharding(mesh, spec)."
        )
    return mesh, layout


def _mesh(array: Any) -> Any:
    return jax.typeof(array).sharding.mesh


def _spec(array: Any) -> tuple:
    """The axes that each dimension is sharded over, as far as the type knows."""
    spec = tuple(jax.typeof(array).sharding.spec)
    return spec + (None,) * (jnp.ndim(array) - len(spec))


def _is_explicit(mesh: Any) -> bool:
    return AxisType.Explicit in mesh.axis_types


def _devices(mesh: Any, axes: Any) -> int:
    """How many devices an array is spread over by an axis or axes of the mesh."""
    names = () if axes is None else axes if isinstance(axes, tuple) else (axes,)
    return math.prod(mesh.shape[name] for name in names)
