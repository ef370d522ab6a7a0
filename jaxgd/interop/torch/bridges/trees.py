"""Leaves by path, as nested containers of a framework, and read out of them again."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.interop.torch.bridges.correspondence import Path
from jaxgd.models import Linear


def nested(to: str, leaves: Mapping[Path, Any], linear: frozenset[Path]) -> PyTree:
    """The leaves in the framework's own containers."""
    tree: dict[Any, Any] = {}
    for path, leaf in leaves.items():
        keys: list[Any] = list(path)
        if to == "haiku":  # {module: {parameter: …}}
            keys = ["/".join(path[:-1]) or "~", path[-1]]
        elif to == "nnx":  # whose lists have integers for keys
            keys = [int(key) if key.isdecimal() else key for key in path]
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = leaf
    return _as_tuples(tree, linear, ()) if to == "pytree" else tree


def _as_tuples(node: Any, linear: frozenset[Path], path: Path) -> PyTree:
    """Tuples for indices, and `Linear` for linear layers."""
    if not isinstance(node, dict):
        return node
    if path in linear and "w" in node:
        return Linear(node["w"], node.get("b"))
    children = {key: _as_tuples(child, linear, (*path, key)) for key, child in node.items()}
    if children and all(key.isdecimal() for key in children):
        return tuple(children[key] for key in sorted(children, key=int))
    return children


def leaves_at(tree: PyTree, like: Mapping[Path, Any]) -> dict[Path, Any]:
    """The leaves of a tree by path; ValueError unless they are those of `like`, in its shapes."""
    found = {path: leaf for path, leaf in _by_path(tree) if path in like or _is_floating(leaf)}
    if found.keys() != like.keys():
        raise ValueError(
            f"The tree must have the leaves that the bridge gives: {_told(like.keys())}; got "
            f"{_told(found.keys() - like.keys()) or 'no more'}, and not "
            f"{_told(like.keys() - found.keys()) or 'fewer'}. Give the path in names."
        )
    for path, leaf in found.items():
        _check_shape(path, leaf, like[path])
    return found


def filled(tree: PyTree, params: Mapping[Path, Any], buffers: Mapping[Path, Any]) -> PyTree:
    """The tree with those leaves in the place of its own."""
    leaves, used = {**params, **buffers}, set()

    def replaced(keys: Any, leaf: Any) -> Any:
        path = _path(keys)
        if path in leaves:
            used.add(path)
            _check_shape(path, leaf, leaves[path])
            return leaves[path]
        if _is_floating(leaf):
            raise ValueError(
                f"Every floating array of the tree is one of the module's; got {_told([path])}. "
                f"The bridge has {_told(leaves)}. Give the path in names."
            )
        return leaf

    made = jax.tree_util.tree_map_with_path(replaced, tree)
    for kind in (params, buffers):
        if (unused := kind.keys() - used) and kind.keys() & used:
            raise ValueError(
                "All parameters, and all buffers, have a place in the tree, or none has; got none "
                f"for {_told(unused)}. It has {_told(path for path, _ in _by_path(tree))}. Give "
                "the path in names."
            )
    return made


def _by_path(tree: PyTree) -> list[tuple[Path, Any]]:
    return [(_path(keys), leaf) for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _path(keys: Any) -> Path:
    """The keys as text; a variable of NNX is its value, and a name of Haiku's is its parts."""
    parts = [jax.tree_util.keystr((key,), simple=True) for key in keys]
    if parts and isinstance(keys[-1], jax.tree_util.GetAttrKey) and parts[-1] == "value":
        parts = parts[:-1]
    split = [piece for part in parts for piece in part.split("/")]
    return tuple(split[1:] if split[:1] == ["~"] and len(split) == 2 else split)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _check_shape(path: Path, leaf: Any, like: Any) -> None:
    if np.shape(leaf) != np.shape(like):
        raise ValueError(
            f"A leaf must have the shape that the bridge gives, {list(np.shape(like))}; got "
            f"{list(np.shape(leaf))} at {_told([path])}. Use a model of the same sizes."
        )


def _told(paths: Any) -> str:
    shown = sorted(".".join(path) for path in paths)
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if shown[6:] else "")
