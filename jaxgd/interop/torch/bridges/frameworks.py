"""The frameworks: the layout of each kind of layer, and the path at which a torch layer stands."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxgd.interop.torch.bridges.correspondence import Leaf, Path, Positions
from jaxgd.interop.torch.bridges.equinox_layouts import EQUINOX
from jaxgd.interop.torch.bridges.flax_layouts import LINEN, NNX
from jaxgd.interop.torch.bridges.haiku_layouts import HAIKU
from jaxgd.interop.torch.bridges.torch_layers import OWN, Layer
from jaxgd.interop.torch.bridges.turning import Layout, moved, same, transposed

Parts = list[tuple[str, bool]]  # each part of torch's name, and whether it is in an nn.Sequential


class Framework(NamedTuple):
    """What a framework does with layers of each kind, or why it cannot, and how it names them."""

    layouts: Mapping[str, Layout | str]
    path: Callable[[Parts], Path]
    separator: str = "."  # of a path, where the user writes one
    cell: Path = ()  # where a layer of an RNN keeps its cell


def _plain(parts: Parts) -> Path:
    return tuple(part for part, _ in parts)


def _layers_attribute(parts: Parts) -> Path:
    """A Sequential keeps its layers in the attribute `layers`; a list is a list."""
    path: Path = ()
    for part, in_sequential in parts:
        path += ("layers", part) if in_sequential else (part,)
    return path


def _numbered(parts: Parts) -> Path:
    """An index is put to the list's name: blocks_0; in a Sequential it is layers_0."""
    path: Path = ()
    for part, in_sequential in parts:
        if in_sequential or (part.isdecimal() and not path):
            path += (f"layers_{part}",)
        else:
            path = (*path[:-1], f"{path[-1]}_{part}") if part.isdecimal() else (*path, part)
    return path


def own(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """Parameters and buffers of a module of the user's own: as torch has them."""
    return {tuple(role.split(".")): Leaf(p) for role, p in at.items()}


PYTREE: dict[str, Layout | str] = {"linear": moved(weight=("w", transposed), bias=("b", same))}
FRAMEWORKS: dict[str, Framework] = {
    "nnx": Framework(NNX, _layers_attribute, cell=("cell",)),
    "linen": Framework(LINEN, _numbered, cell=("cell",)),
    "equinox": Framework(EQUINOX, _layers_attribute),
    "haiku": Framework(HAIKU, _numbered, "/"),
    "pytree": Framework(PYTREE, _plain),
}

# Cells that have a bias whatever one says, so that torch's without one would learn one there.
_ALWAYS_BIASED = {("nnx", "lstm"), ("linen", "lstm"), ("linen", "gru"), ("haiku", "lstm")}


def layout_in(framework: str, layer: Layer) -> Layout:
    """The layout of a layer; ValueError where the framework has none that computes the same."""
    if layer.kind == OWN:
        return own
    found = FRAMEWORKS[framework].layouts[layer.kind]
    if (framework, layer.kind) in _ALWAYS_BIASED and "bias_ih" not in layer.tensors:
        found = f"a cell of {framework} always has a bias, this layer has none"
    if isinstance(found, str):
        raise ValueError(
            f"A bridge carries layers that compute the same; got {layer.type_name} at "
            f"{layer.name or 'the top'!r} for {framework}: {found}. Write the cell yourself, and "
            "give it torch's parameters."
        )
    return found


def path_in(framework: str, module: Any, layer: Layer, names: Mapping[str, str]) -> Path:
    """The path of a layer: the user's where one is given for it or for what it is in.

    An RNN's layer stands in its cell, but for one whose own path is given, which is the cell's.
    """
    kind, parts = FRAMEWORKS[framework], _parts(module, layer.name)
    cell = kind.cell if layer.kind in ("lstm", "gru") else ()
    for length in range(len(parts), -1, -1):
        head = ".".join(part for part, _ in parts[:length])
        if head in names:
            given = tuple(part for part in names[head].split(kind.separator) if part)
            return given if length == len(parts) else given + kind.path(parts[length:]) + cell
    return kind.path(parts) + cell


def _parts(module: Any, name: str) -> Parts:
    parts: Parts = []
    for part in name.split(".") if name else []:
        in_sequential = type(module).__name__ == "Sequential" and part.isdecimal()
        parts.append((part, in_sequential))
        module = getattr(module, part, None)
    return parts
