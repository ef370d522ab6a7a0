"""The bridge from a torch module to the layers of another framework, and back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.interop.torch.bridges.correspondence import (
    Leaf,
    Path,
    Positions,
    collected,
    gathered,
    gradient_back,
    positions,
    roles_of,
    values_back,
)
from jaxgd.interop.torch.bridges.frameworks import FRAMEWORKS, layout_in, path_in
from jaxgd.interop.torch.bridges.torch_layers import OWN, Layer, read_layers
from jaxgd.interop.torch.bridges.trees import filled, leaves_at, nested
from jaxgd.interop.torch.layout import renumbered
from jaxgd.interop.torch.tensors import from_tensor, to_tensor

_WRAPPERS = {
    "OptimizedModule",
    "DataParallel",
    "DistributedDataParallel",
    "FullyShardedDataParallel",
}


class Placed(NamedTuple):
    """A layer, and the path at which it stands in the other framework."""

    layer: Layer
    path: Path


@dataclass(frozen=True)
class Bridge:
    """A torch module's parameters and buffers as another framework has them; see `bridge`."""

    to: str
    placed: tuple[Placed, ...]
    state: Mapping[str, Any]  # torch's numbers by torch's names, parameters and buffers
    parameter_names: tuple[str, ...]  # each parameter once
    ties: Mapping[str, str]  # the other names of a shared parameter -> its first

    @cached_property
    def params(self) -> PyTree:
        """The parameters, in the names and layouts of the framework's own layers."""
        return nested(self.to, self._leaves(buffers=False), self._linear)

    @cached_property
    def buffers(self) -> PyTree:
        """The running statistics of BatchNorm, and the buffers of modules of one's own."""
        return nested(self.to, self._leaves(buffers=True), self._linear)

    def of(self, state: Mapping[str, Any]) -> "Bridge":
        """The same bridge over other numbers: arrays or tensors by torch's names.

        May be traced and differentiated: `jax.grad` of a loss of `bridge.of(named).params` is the
        gradient of torch's own parameters. What is not given stays as it is here.
        """
        if strange := state.keys() - self.state.keys() - self.ties.keys():
            raise ValueError(
                f"state must have the module's names; got {sorted(strange)}. Use named_parameters "
                "and named_buffers, or the state_dict, of the same module."
            )
        given = {n: _array(v) for n, v in state.items() if n in self.state}
        return replace(self, state={**self.state, **given})

    def into(self, tree: PyTree) -> PyTree:
        """The tree with its arrays replaced by those of params and of buffers, path by path.

        For an Equinox module, `nnx.state(model)`, Linen's variables["params"], Haiku's params.
        ValueError where a floating array is not replaced, where some of the parameters or of the
        buffers have a place and others have none, or where a shape is another.
        """
        return filled(tree, self._leaves(buffers=False), self._leaves(buffers=True))

    def named(self, params: PyTree) -> dict[str, Any]:
        """These parameters as torch has them: arrays by torch's names, each parameter once.

        A bias that is the sum of two of torch's moves both by half of what it has moved by since
        this bridge, which is how torch's own would have moved.
        """
        back = self._back(leaves_at(params, self._leaves(buffers=False)))
        return {name: back.get(name, self.state[name]) for name in self.parameter_names}

    def named_buffers(self, buffers: PyTree) -> dict[str, Any]:
        """These buffers by torch's names; num_batches_tracked, which only torch has, stays."""
        back = self._back(leaves_at(buffers, self._leaves(buffers=True)))
        names = [name for name in self.state if name not in self.parameter_names]
        return {name: back.get(name, self.state[name]) for name in names}

    def named_gradient(self, gradient: PyTree) -> dict[str, Any]:
        """The gradient with respect to torch's parameters, by torch's names."""
        values = leaves_at(gradient, self._leaves(buffers=False))
        return self._back(values, gradient=True)

    def state_dict(self, params: PyTree, buffers: PyTree | None = None) -> dict[str, Any]:
        """The state_dict that gives the torch module these parameters and buffers.

            module.load_state_dict(bridge(module, to).state_dict(params, buffers))

        Without buffers, the module's own are passed on. The tensors are copies.
        """
        kept = {} if buffers is None else self.named_buffers(buffers)
        arrays = {**self.state, **self.named(params), **kept}
        tensors = {name: to_tensor(np.asarray(arrays[name])) for name in self.state}
        return tensors | {name: tensors[first] for name, first in self.ties.items()}

    @property
    def _linear(self) -> frozenset[Path]:
        return frozenset(p.path for p in self.placed if p.layer.kind == "linear")

    def _leaves(self, *, buffers: bool) -> dict[Path, Any]:
        """The values of the leaves by path."""
        leaves: dict[Path, Any] = {}
        for layer, path, counted, layout in self._layouts():
            tensors = {role: self.state[name] for role, name in layer.tensors.items()}
            for below, leaf in layout.items():
                if self._is_buffer(layer, leaf, counted) != buffers:
                    continue
                if path + below in leaves:
                    raise ValueError(
                        f"Every layer has a path of its own; got {'.'.join(path + below)!r} twice, "
                        f"for {layer.name!r}, too. Give the path in names."
                    )
                leaves[path + below] = _of_jax(gathered(leaf, tensors, counted), path + below)
        return leaves

    def _layouts(self) -> Iterator[tuple[Layer, Path, dict[str, Positions], dict[Path, Leaf]]]:
        for layer, path in self.placed:
            shapes = {role: np.shape(self.state[name]) for role, name in layer.tensors.items()}
            counted = positions(shapes)
            yield layer, path, counted, layout_in(self.to, layer)(counted, layer)

    def _is_buffer(self, layer: Layer, leaf: Leaf, counted: Mapping[str, Positions]) -> bool:
        """Whether its numbers are a buffer's; what has none of torch's counts updates."""
        roles = roles_of(leaf, counted)
        return not any(layer.tensors[role] in self.parameter_names for role in roles)

    def _back(self, values: Mapping[Path, Any], *, gradient: bool = False) -> dict[str, Any]:
        back = {}
        for layer, path, counted, layout in self._layouts():
            before = {role: self.state[name] for role, name in layer.tensors.items()}
            found = []
            for below, leaf in layout.items():
                if (value := values.get(path + below)) is None:
                    continue
                if gradient:
                    found += gradient_back(leaf, value)
                else:
                    found += values_back(leaf, value, before, counted)
            for role, tensor in collected(found, counted).items():
                back[layer.tensors[role]] = tensor
        return back


def bridge(module: Any, to: str, names: Mapping[str, str] | None = None) -> Bridge:
    """The parameters and buffers of a torch module as the layers of another framework have them.

        crossing = bridge(module, "linen", {"0": "Dense_0", "2": "Dense_1"})
        crossing.params, crossing.buffers               there
        crossing.into(tree)                             ... in a model that stands already
        crossing.state_dict(params, buffers)            and back

    `to` is "nnx", "linen", "equinox", "haiku" or "pytree", the last as `params_from_torch` gives
    it. The layout of each layer follows from its type: Linear, Conv1d to 3d and ConvTranspose1d to
    3d, BatchNorm1d to 3d with its running statistics, LayerNorm, GroupNorm, Embedding, LSTM, GRU,
    MultiheadAttention; with or without a bias. Parameters of modules of your own stay as they are.

    `names` gives paths in the framework (with slashes in Haiku's) to torch's names of modules, and
    to what is in them. Without, "net.fc" is net.fc; the layers of an nn.Sequential stand in
    `layers` (nnx, equinox) or are `layers_0`, … (linen, haiku), and those of a list are blocks.0
    or blocks_0. A recurrent layer is the `cell` of an RNN in Flax, whose path is the cell's where
    `names` gives the layer's own; several are a list.

    A shared parameter comes once, by its first name: call the same layer again
    (`Embed.attend`). Hyperparameters do not cross: what differs by default stands on top of
    `flax_layouts`, `equinox_layouts` and `haiku_layouts`.

    Raises ValueError for a layer of another type, and for one that a framework computes otherwise:
    Haiku's and NNX's GRU, grouped transposed convolutions, bidirectional LSTMs, …

    Departs from torch: in what is trained afterwards, not in numbers: values and dtypes are kept,
    and the way back gives the same bits. An Embedding's padding_idx does not cross: its row does,
    and is trained in the port, where torch gives it no gradient. A cell that has one bias where
    torch has two is given their sum: trained by itself, that one moves half as far as torch's two.
    `Bridge.of` trains torch's two.
    """
    if to not in FRAMEWORKS:
        raise ValueError(f"to must be one of {', '.join(FRAMEWORKS)}; got {to!r}. Use one of them.")
    if not hasattr(module, "named_modules") or type(module).__name__ in _WRAPPERS:
        raise TypeError(
            f"module must be a torch.nn.Module that nothing wraps; got a {type(module).__name__}. "
            "A state_dict does not tell the types of layers: load it into its module, and give a "
            "wrapped one's own (.module, ._orig_mod)."
        )
    layers = read_layers(module, any_type=to == "pytree")
    placed = _in_a_pytree(layers) if to == "pytree" else _placed(module, layers, to, names or {})
    parameters = dict(module.named_parameters())
    first = {id(p): name for name, p in parameters.items()}
    shared = module.named_parameters(remove_duplicate=False)
    ties = {name: first[id(p)] for name, p in shared if name not in parameters}
    state = {n: _array(t) for n, t in module.state_dict().items() if n not in ties}
    for placed_layer in placed:
        layout_in(to, placed_layer.layer)
    crossing = Bridge(to, tuple(placed), state, tuple(parameters), ties)
    _ = crossing.params, crossing.buffers  # whatever cannot cross is refused now
    return crossing


def _placed(module: Any, layers: list[Layer], to: str, names: Mapping[str, str]) -> list[Placed]:
    known = {name for name, _ in module.named_modules()} | {layer.name for layer in layers}
    if strange := names.keys() - known:
        raise ValueError(
            f"names gives paths to torch's names of modules; got {sorted(strange)}. Use some of "
            f"{sorted(layer.name for layer in layers)}."
        )
    return [Placed(layer, path_in(to, module, layer, names)) for layer in layers]


def _in_a_pytree(layers: list[Layer]) -> list[Placed]:
    """Torch's own names, numbered without what has no parameters; linear layers as `Linear`."""
    plain = {
        name: layer
        for layer in layers
        for name in (
            layer.tensors.values()
            if layer.kind == OWN or "weight" not in layer.tensors
            else [layer.name]
        )
    }
    paths = [tuple(name.split(".")) if name else () for name in renumbered(list(plain))]
    placed = []
    for (name, layer), path in zip(plain.items(), paths, strict=True):
        if layer.kind == "linear" and name == layer.name:
            placed.append(Placed(layer, path))
        else:
            alone = layer._replace(kind=OWN, tensors={path[-1]: name})
            placed.append(Placed(alone, path[:-1]))
    return placed


def _array(value: Any) -> Any:
    """The numbers of a tensor or an array; JAX's stay JAX's."""
    return value if isinstance(value, jax.Array) else np.array(from_tensor(value))


def _of_jax(value: Any, path: Path) -> Any:
    array = jnp.asarray(value)
    wanted = np.dtype(np.int32) if value.dtype == np.int64 else value.dtype
    if wanted not in (array.dtype, np.dtype(np.int32)):
        raise ValueError(
            f"parameters of {wanted} need JAX's 64-bit mode; got {'.'.join(path)!r} without. Use "
            "jax.config.update('jax_enable_x64', True), or module.float() for float32."
        )
    return array
