"""A tree of arrays in one verified file; the leaves' paths are their names there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.storage.bits import is_key, plain_bits
from jaxgd.storage.verified_file import load_arrays, refused_as_misfit, save_arrays

_KIND, _VERSION = "jaxgd tree", 1


@dataclass(frozen=True)
class Stored:
    """What a file holds: arrays by name, the kinds of random keys among them, and the note."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    keys: Mapping[str, str]
    note: Mapping[str, Any]

    def tree(self, like: PyTree, under: str = "") -> PyTree:
        """The arrays in the structure of `like`, whose leaves have the shapes and dtypes expected.

        With `under`, such as `"['state']"`, only those whose name begins so: a part of the tree.

        Raises ValueError that names every leaf that is missing, that nobody expects, or that has
        another shape or dtype. Nothing is converted.
        """
        wanted = {under + name: leaf for name, leaf in _named(like, under).items()}
        found = {name: self._form(name) for name in self.arrays if name.startswith(under)}
        expected = {name: _form(leaf) for name, leaf in wanted.items()}
        differences = [
            f"{name} is {found.get(name, 'missing')}, not {expected.get(name, 'expected at all')}"
            for name in sorted(found.keys() | expected.keys())
            if found.get(name) != expected.get(name)
        ]
        if differences:
            raise ValueError(
                f"{self.path} does not fit: {'; '.join(differences)}. "
                "Load it into the tree that was saved: the same model and optimizer."
            )
        with refused_as_misfit(self.path, _KIND):
            leaves = [self._leaf(name) for name in wanted]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def _form(self, name: str) -> str:
        array = self.arrays[name]
        if name in self.keys:
            return f"key<{self.keys[name]}>{list(array.shape[:-1])}"
        return f"{array.dtype.name}{list(array.shape)}"

    def _leaf(self, name: str) -> Any:
        array = self.arrays[name]
        if name in self.keys:
            return jax.random.wrap_key_data(jnp.asarray(array), impl=self.keys[name])
        # Without 64-bit mode JAX would cut a float64 in silence: it stays NumPy's.
        holds = jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype
        return jnp.asarray(array) if holds else array


def save(path: Path | str, tree: PyTree, note: Mapping[str, Any] | None = None) -> None:
    """Write a tree of arrays and a JSON note: afterwards the file is the whole new one, or the old.

    Leaves are arrays, numbers or typed random keys, which are kept by their implementation. Each
    byte is under a SHA-256. Nothing is pickled.

    Raises OSError if it cannot be written.
    """
    arrays, keys, halves = {}, {}, {}
    for name, leaf in _named(tree).items():
        arrays[name] = array = plain_bits(leaf)
        if is_key(leaf):
            keys[name] = str(jax.random.key_impl(leaf))
        elif (dtype := getattr(leaf, "dtype", array.dtype)) != array.dtype:
            halves[name] = dtype.name
    content = {"keys": keys, "dtypes": halves, "note": dict(note or {})}
    save_arrays(Path(path), arrays, content, kind=_KIND, version=_VERSION)


def read(path: Path | str) -> Stored:
    """What a file that `save` wrote holds, verified.

    Raises ValueError for a file that is truncated, damaged, of another kind or of a newer version.
    """
    arrays, content = load_arrays(Path(path), kind=_KIND, version=_VERSION)
    with refused_as_misfit(Path(path), _KIND):
        for name, dtype in content["dtypes"].items():
            arrays[name] = arrays[name].view(jnp.dtype(dtype))
        keys, note = content["keys"], content["note"]
        if not isinstance(note, dict) or any(arrays[name].ndim == 0 for name in {**keys}):
            raise ValueError("its note is no table, or a key in it no key")
    return Stored(Path(path), arrays, keys, note)


def load(path: Path | str, like: PyTree) -> PyTree:
    """The tree in a file that `save` wrote: `read(path).tree(like)`, with what both raise."""
    return read(path).tree(like)


def _named(tree: PyTree, under: str = "") -> dict[str, Any]:
    """The leaves by their path, such as `.params.w`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path) or ("" if under else "tree"): leaf for path, leaf in leaves}


def _form(leaf: Any) -> str:
    """The dtype and shape of a leaf, as an error names them."""
    if is_key(leaf):
        return f"key<{jax.random.key_impl(leaf)}>{list(leaf.shape)}"
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return f"{array.dtype.name}{list(array.shape)}"
