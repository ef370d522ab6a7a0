"""Where each leaf of a pytree is among torch's parameters: its name there, and its layout.

A leaf's name is its path with dots, as in torch: `{"net": {"weight": …}}` holds "net.weight".
Indices count only what has parameters, so that a tuple of two layers is an `nn.Sequential` of two
layers with an activation between ("0.weight", "2.weight"), and what torch's wrappers put into names
("module.", "_orig_mod.") is left out. An attribute `w` of a layer is torch's
`weight` transposed, [in, out] for [out, in], and `b` its `bias`: `jaxgd.models.Linear`. Such a
layer with w [in] and b [] is torch's with one output.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree, Shaped

Shape = tuple[int, ...]

# What torch puts into the names of a module that it wraps: torch.compile and FSDP anywhere,
# DistributedDataParallel, DataParallel and AveragedModel in front of all of them.
WRAPPED = {"_orig_mod", "_fsdp_wrapped_module"}
IN_FRONT = "module"

# The attributes of `jaxgd.models.Linear`, which this floor does not know, by torch's names.
LAYER = {"w": "weight", "b": "bias"}


class Place(NamedTuple):
    """A leaf of a pytree, as torch has it."""

    name: str
    shape: Shape
    torch_shape: Shape
    transposed: bool

    @property
    def squeezed(self) -> bool:
        """Whether the leaf lacks torch's axis of one output."""
        return len(self.shape) < len(self.torch_shape)

    def to_leaf(self, array: Shaped[np.ndarray, "..."], shape: Shape) -> np.ndarray:
        """Torch's parameter, or a buffer of it, as a leaf of that shape."""
        turned = array.T if self.transposed else array
        if self.squeezed and turned.size == math.prod(shape):
            turned = turned.reshape(shape)
        if turned.shape != shape:
            raise ValueError(
                f"{self.name!r} must have a shape that gives the leaf {list(shape)}; got "
                f"{list(array.shape)} from torch. Use the params of the same model, as "
                "params_from_torch gives them."
            )
        return turned

    def to_torch(self, leaf: Shaped[np.ndarray, "..."]) -> np.ndarray:
        """The inverse of `to_leaf`, for a parameter and what has its shape or its axes."""
        turned = leaf.T if self.transposed else leaf
        return turned.reshape(self.torch_shape) if self.squeezed else turned


def places(params: PyTree) -> list[Place]:
    """The place of each leaf, in the order of `jax.tree.leaves`."""
    return [
        _place(path, np.shape(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]


def _place(path: tuple[Any, ...], shape: Shape) -> Place:
    last = path[-1] if path else None
    attribute = last.name if isinstance(last, jax.tree_util.GetAttrKey) else None
    of_layer = LAYER.get(attribute or "")
    names = [jax.tree_util.keystr((key,), simple=True) for key in path]
    if of_layer is None:
        return Place(".".join(names), shape, shape, transposed=False)
    name = ".".join([*names[:-1], of_layer])
    if of_layer == "bias":
        return Place(name, shape, shape or (1,), transposed=False)
    return Place(name, shape, (*shape[1:], shape[0]) if shape[1:] else (1, *shape), transposed=True)


def leaf_order(places: Sequence[Place], torch_names: Sequence[str]) -> list[int]:
    """The index of the leaf that each of torch's parameters is; all are matched, by name."""
    ours = {name: i for i, name in enumerate(renumbered(bare([p.name for p in places])))}
    theirs = renumbered(bare(torch_names))
    missing, surplus = set(theirs) - set(ours), set(ours) - set(theirs)
    if missing or surplus or len(theirs) != len(ours):
        raise ValueError(
            f"params must have torch's names {sorted(theirs)}; got {sorted(ours)}. Use the params "
            "that params_from_torch gives for the module, or give param_names in torch's order."
        )
    return [ours[name] for name in theirs]


def bare(names: Sequence[str]) -> list[str]:
    """Torch's names as the module has them by itself, whatever wraps it."""
    paths = [[part for part in name.split(".") if part not in WRAPPED] for name in names]
    while paths and all(len(path) > 1 and path[0] == IN_FRONT for path in paths):
        paths = [path[1:] for path in paths]
    return [".".join(path) for path in paths]


def has_one_order(params: PyTree) -> bool:
    """Whether params are tuples, lists and layers alone, whose leaves come in torch's order."""
    return not any(
        isinstance(key, jax.tree_util.DictKey)
        or (isinstance(key, jax.tree_util.GetAttrKey) and key.name not in LAYER)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
        for key in path
    )


def renumbered(names: Sequence[str]) -> list[str]:
    """The dotted names, their indices under each prefix made 0, 1, … in the same order."""
    paths = [tuple(name.split(".")) for name in names]
    indices: dict[tuple[str, ...], set[int]] = {}
    for path in paths:
        for depth, part in enumerate(path):
            if part.isdecimal():
                indices.setdefault(path[:depth], set()).add(int(part))
    ranks = {
        prefix: {index: rank for rank, index in enumerate(sorted(found))}
        for prefix, found in indices.items()
    }
    return [
        ".".join(
            str(ranks[path[:depth]][int(part)]) if part.isdecimal() else part
            for depth, part in enumerate(path)
        )
        for path in paths
    ]
