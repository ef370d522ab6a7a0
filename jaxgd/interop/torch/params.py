"""The parameters of a PyTorch module as a pytree, and back: names, nesting and layout."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.interop.torch.bridges.torch_layers import read_layers
from jaxgd.interop.torch.layout import bare, leaf_order, places
from jaxgd.interop.torch.tensors import from_tensor, to_tensor
from jaxgd.models import Linear


def params_from_torch(module: Any, *, linear: bool = True, squeeze: bool = False) -> PyTree:
    """The parameters of a torch module, or of its state_dict(), as a pytree of JAX arrays.

        nn.Linear(d, k)                                      Linear(w [d, k], b [k])
        nn.Sequential(nn.Linear(…), nn.Tanh(), nn.Linear(…)) (Linear(…), Linear(…))
        a module with attributes                             {"attribute": …}

    So a Sequential of linear layers is the params of `mlp`. Dots in torch's names become nesting;
    where all names are indices, a tuple without the layers that have no parameters. The weight of
    an nn.Linear is transposed, and b is None where it has no bias; any other layer, and every one
    with `linear=False`, stays `{"weight": …, "bias": …}` in torch's layout. With `squeeze`, layers
    with one output have w [d] and b [], as `init_linear(d)`.

    A state_dict does not tell the types of layers, nor buffers from parameters: a 2-d `weight`
    [k, d] with a `bias` [k] counts as an nn.Linear there, one without a bias does not, and buffers
    are to be left out. Give the module where that is not so.

    The names are the module's own, also where torch.compile or DistributedDataParallel wraps it
    ("_orig_mod.", "module."). A module's buffers, such as running means, are left out. A shared
    parameter comes once, by its first name, from a state_dict, too, if its tensors share memory.

    Raises ValueError for double parameters without JAX's 64-bit mode.

    Departs from torch: nothing; values and dtypes are kept, and the arrays are copies.
    """
    parameters = _named_parameters(module)
    names = bare(list(parameters))
    named = {
        name: _leaf(given, parameters[given]) for name, given in zip(names, parameters, strict=True)
    }
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        node = tree
        *prefix, last = name.split(".")
        for part in prefix:
            node = node.setdefault(part, {})
        node[last] = leaf
    return _layers(tree, _linear_layers(module, named) if linear else set(), squeeze)


def params_to_torch(params: PyTree, module: Any) -> dict[str, Any]:
    """The state_dict that gives a torch module these parameters.

        module.load_state_dict(params_to_torch(params, module))

    `module`, or its state_dict(), gives the names, shapes and dtypes that params must have, in the
    nesting and layout of `params_from_torch`; its buffers are passed on as they are. The module
    itself is left alone, and the tensors are copies.

    Raises ValueError or TypeError where a name, a shape or a dtype is not the module's.
    """
    parameters = _named_parameters(module)
    leaves, found = jax.tree.leaves(params), places(params)
    tensors = {}
    for name, i in zip(parameters, leaf_order(found, list(parameters)), strict=True):
        tensor = to_tensor(found[i].to_torch(np.asarray(leaves[i])))
        wanted = parameters[name]
        if tensor.shape != wanted.shape:
            raise ValueError(
                f"params must have the module's shapes; got {list(leaves[i].shape)} for {name!r}, "
                f"which is {list(wanted.shape)}. Use a module of the same sizes."
            )
        if tensor.dtype != wanted.dtype:
            raise TypeError(
                f"params must have the module's dtype; got {tensor.dtype} for {name!r}, which is "
                f"{wanted.dtype}. Use module.to({tensor.dtype}) first."
            )
        tensors[name] = tensor
    shared = {name: tensors[first] for name, first in _first_names(module).items()}
    return shared if isinstance(module, Mapping) else module.state_dict() | shared


def _named_parameters(module: Any) -> dict[str, Any]:
    """Torch's parameters by name, in torch's order, each once."""
    if hasattr(module, "named_parameters"):
        return dict(module.named_parameters())
    if isinstance(module, Mapping) and all(hasattr(value, "shape") for value in module.values()):
        first = _first_names(module)
        return {name: value for name, value in module.items() if first[name] == name}
    raise TypeError(
        f"module must be a torch.nn.Module or its state_dict(); got a {type(module).__name__}. "
        "For an optimizer use jaxgd.interop.torch.from_torch."
    )


def _first_names(module: Any) -> dict[str, str]:
    """Each name of a parameter -> the first one of the same parameter."""
    if hasattr(module, "named_parameters"):
        named = dict(module.named_parameters(remove_duplicate=False))
        identity = {name: id(value) for name, value in named.items()}
    else:
        named = dict(module)
        identity = {name: _memory(name, value) for name, value in named.items()}
    first: dict[Any, str] = {}
    return {name: first.setdefault(identity[name], name) for name in named}


def _memory(name: str, tensor: Any) -> Any:
    """Where a tensor's numbers lie, the same for two views; an array has its name."""
    if not hasattr(tensor, "data_ptr") or tensor.numel() == 0:
        return name
    return tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _leaf(name: str, tensor: Any) -> Float[Array, "..."]:
    """The parameter as a JAX array of its own dtype."""
    array = from_tensor(tensor)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"parameters must be real and floating; got {array.dtype} for {name!r}. "
            "Leave buffers and counters out of the state_dict, or give the module."
        )
    leaf = jnp.array(array)
    if leaf.dtype != array.dtype:
        raise ValueError(
            f"parameters of {array.dtype} need JAX's 64-bit mode; got {name!r} without. "
            "Use jax.config.update('jax_enable_x64', True), or module.float() for float32."
        )
    return leaf


def _linear_layers(module: Any, named: Mapping[str, Any]) -> set[str]:
    """The names of the nn.Linear whose weight is not another layer's, too."""
    if hasattr(module, "named_parameters"):
        layers = read_layers(module, any_type=True)
        weights = [
            layer.tensors["weight"]
            for layer in layers
            if layer.kind == "linear" and "weight" in layer.tensors
        ]
        of_layers = bare([*weights, *dict(module.named_parameters())])[: len(weights)]
    else:
        of_layers = [
            name
            for name, weight in named.items()
            if _ends_in_weight(name)
            and weight.ndim == 2
            and _bias_of(name, named) == (len(weight),)
        ]
    return {name.rpartition(".")[0] for name in of_layers}


def _ends_in_weight(name: str) -> bool:
    return name.rpartition(".")[2] == "weight"


def _bias_of(weight: str, named: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of the bias beside a weight, where they are all that there is."""
    layer = weight[: -len("weight")]
    beside = {name for name in named if name.startswith(layer)}
    return named[f"{layer}bias"].shape if beside == {weight, f"{layer}bias"} else None


def _layers(node: Any, linear: set[str], squeeze: bool, name: str = "") -> PyTree:
    """The nested names with layers for weights and biases, and tuples for indices."""
    if not isinstance(node, dict):
        return node
    if name in linear and "weight" in node:
        w, b = node["weight"].T, node.get("bias")
        if squeeze and w.shape[1] == 1:
            return Linear(w[:, 0], None if b is None else b[0])
        return Linear(w, b)
    children = {
        key: _layers(child, linear, squeeze, f"{name}.{key}" if name else key)
        for key, child in node.items()
    }
    if children and all(key.isdecimal() for key in children):
        return tuple(children[key] for key in sorted(children, key=int))
    return children
