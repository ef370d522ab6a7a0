"""Pytrees of any framework, walked without it: leaves by path, and the same tree with other leaves.

A path is the keys, fields and positions joined by dots ("layers.0.weight"), so that a dict, a
NamedTuple, a dataclass and a flat torch state_dict of the same names match. None, functions and the
static fields of a dataclass (Equinox) hold no numbers and are no leaves.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped
from ml_dtypes import bfloat16

from jaxgd.equivalence.recordings.disk_array import OnDisk

Leaves = dict[str, Any]  # arrays of NumPy, or OnDisk


def leaves_of(tree: Any, name: str) -> Leaves:
    """The numeric leaves of one pytree by path; `name` is what error messages call it."""
    return {path: numeric(leaf, name, path) for path, leaf in named_leaves(tree, name)}


def named_leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a pytree with their dotted paths, each path once."""
    seen: set[str] = set()
    for keys, leaf in _walk(tree, ()):
        path = ".".join(keys)
        if path in seen:
            raise ValueError(
                f"Paths name one leaf each; {at(path)} in {name} names two (a key that holds a "
                "dot spells the path of a nested one). Rename one."
            )
        seen.add(path)
        yield path, leaf


def _walk(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of a pytree, depth first, with the keys that lead to them."""
    if is_leaf(tree):
        yield keys, tree
        return
    for key, child in _children(tree):
        yield from _walk(child, (*keys, str(key)))


def is_leaf(tree: Any) -> bool:
    """Whether this is no container, and may hold a number."""
    if tree is None or isinstance(tree, Mapping | list | tuple) or hasattr(tree, "_fields"):
        return False
    if dataclasses.is_dataclass(tree):
        return False
    return not (callable(tree) and not hasattr(tree, "dtype"))


def _children(tree: Any) -> Any:
    """What a container holds, with the key, field or position of each."""
    if isinstance(tree, Mapping):
        return tree.items()
    if hasattr(tree, "_fields"):  # a NamedTuple
        return zip(tree._fields, tree, strict=True)
    if isinstance(tree, list | tuple):
        return enumerate(tree)
    if dataclasses.is_dataclass(tree):
        return [(name, getattr(tree, name)) for name in _fields_with_leaves(tree)]
    return ()


def _fields_with_leaves(tree: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(tree) if not f.metadata.get("static", False)]


def with_leaves(tree: Any, function: Callable[[str, Any], Any], path: str = "") -> Any:
    """The same containers, each leaf replaced by `function(path, leaf)`."""
    # A lambda, not a def: under pytest jaxtyping compiles its checks anew for each nested def.
    below = lambda key, child: with_leaves(  # noqa: E731
        child, function, f"{path}.{key}" if path else str(key)
    )
    if is_leaf(tree):
        return function(path, tree)
    if isinstance(tree, Mapping):
        changed = {key: below(key, child) for key, child in tree.items()}
        return changed if type(tree) is dict else type(tree)(changed)  # type: ignore[call-arg]
    if hasattr(tree, "_fields"):
        return type(tree)(*[below(key, child) for key, child in _children(tree)])
    if isinstance(tree, list | tuple):
        return type(tree)(below(key, child) for key, child in enumerate(tree))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _replaced(tree, {key: below(key, child) for key, child in _children(tree)})
    return tree


def _replaced(instance: Any, fields: Mapping[str, Any]) -> Any:
    """A copy of a dataclass, frozen or not, without running its constructor."""
    copy = object.__new__(type(instance))
    for field in dataclasses.fields(instance):
        value = fields.get(field.name, getattr(instance, field.name, None))
        object.__setattr__(copy, field.name, value)
    return copy


def in_memory(tree: Any) -> Any:
    """The same tree without an array that lies on disk."""
    return with_leaves(tree, lambda _, leaf: np.asarray(leaf) if isinstance(leaf, OnDisk) else leaf)


def like(leaf: Any, array: Shaped[np.ndarray, "..."]) -> Any:
    """The array as the kind of thing the leaf is: a torch tensor, a JAX array, or itself."""
    if hasattr(leaf, "new_tensor"):  # torch, told apart without importing it
        return leaf.detach().new_tensor(
            array.astype(np.float32) if array.dtype == bfloat16 else array
        )
    if hasattr(leaf, "addressable_shards"):  # JAX, which is loaded already
        import jax

        return jax.device_put(array, leaf.sharding)
    return array


def as_numpy(leaf: Any) -> Shaped[np.ndarray, "..."]:
    """The leaf's values on the host, in its own dtype."""
    if hasattr(leaf, "detach"):  # a torch tensor, told apart without importing torch
        leaf = leaf.detach().cpu()
        if str(leaf.dtype) == "torch.bfloat16":  # which torch cannot hand to NumPy
            return leaf.float().numpy().astype(bfloat16)
    return np.asarray(leaf)


def numeric(leaf: object, name: str, path: str) -> Any:
    """The leaf as an array of real numbers, on disk if it lies there; TypeError if it is none."""
    if isinstance(leaf, OnDisk):
        return leaf
    try:
        array = as_numpy(leaf)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as failure:  # a random key, a sharded leaf elsewhere
        raise TypeError(f"{at(path)} in {name} cannot become a NumPy array: {failure}") from failure
    if array.dtype.kind not in "biuf" and array.dtype != bfloat16:
        raise TypeError(
            f"Leaves are arrays of real numbers; {at(path)} in {name} is "
            f"{type(leaf).__name__} of dtype {array.dtype}. Leave it out, or give the real and "
            "imaginary parts as two leaves."
        )
    return array


def describe(array: Any) -> str:
    """Dtype and shape, as in float32[4, 3]."""
    return f"{array.dtype}{list(array.shape)}"


def at(path: str) -> str:
    """The path as messages name it."""
    return f"'{path}'" if path else "the leaf"


def listed(paths: Any) -> str:
    """A few of the paths, in order."""
    shown = sorted(paths)
    return ", ".join(map(repr, shown[:3])) + (f" and {len(shown) - 3} more" if shown[3:] else "")
