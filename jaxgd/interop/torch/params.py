"""The parameters of a PyTorch module as a pytree, and back: names, nesting and layout."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgd.interop.torch.layout import bare, leaf_order, places
from jaxgd.interop.torch.tensors import from_tensor, to_tensor
from jaxgd.models import Linear


def params_from_torch(module: Any, *, linear: bool = True, squeeze: bool = False) -> PyTree:
    """The parameters of a torch module, or of its state_dict(), as a pytree of JAX arrays.

        nn.Linear(d, k)                                      Linear(w [d, k], b [k])
        nn.Sequential(nn.Linear(…), nn.Tanh(), nn.Linear(…)) (Linear(…), Linear(…))
        a module with attributes                             {"attribute": …}

    So a Sequential of linear layers is the params of `mlp`. Dots in torch's names become nesting;
    where all names are indices, a tuple without the layers that have no parameters. A 2-d `weight`
    [k, d] with a `bias` [k] is a linear layer, and its weight is transposed; anything else, and
    every layer with `linear=False`, stays `{"weight": …, "bias": …}` in torch's layout. With
    `squeeze`, layers with one output have w [d] and b [], as `init_linear(d)`.

    The names are the module's own, also where torch.compile or DistributedDataParallel wraps it
    ("_orig_mod.", "module."). A module's buffers, such as running means, are left out; a state_dict
    does not tell them from parameters, so leave them out of it. A shared parameter comes once, by
    its first name.

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
    return _layers(tree, linear, squeeze)


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
    if not hasattr(module, "named_parameters"):
        return tensors
    first_name = {id(parameter): name for name, parameter in parameters.items()}
    shared = module.named_parameters(remove_duplicate=False)
    return module.state_dict() | {name: tensors[first_name[id(value)]] for name, value in shared}


def _named_parameters(module: Any) -> dict[str, Any]:
    """Torch's parameters by name, in torch's order."""
    if hasattr(module, "named_parameters"):
        return dict(module.named_parameters())
    if isinstance(module, Mapping) and all(hasattr(value, "shape") for value in module.values()):
        return dict(module)
    raise TypeError(
        f"module must be a torch.nn.Module or its state_dict(); got a {type(module).__name__}. "
        "For an optimizer use jaxgd.interop.torch.from_torch."
    )


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


def _layers(node: Any, linear: bool, squeeze: bool) -> PyTree:
    """The nested names with layers for weights and biases, and tuples for indices."""
    if not isinstance(node, dict):
        return node
    if linear and _is_linear(node):
        w, b = node["weight"].T, node["bias"]
        return Linear(w[:, 0], b[0]) if squeeze and b.size == 1 else Linear(w, b)
    children = {name: _layers(child, linear, squeeze) for name, child in node.items()}
    if children and all(name.isdecimal() for name in children):
        return tuple(children[name] for name in sorted(children, key=int))
    return children


def _is_linear(node: dict[str, Any]) -> bool:
    """Whether the names are those of nn.Linear: weight [k, d] and bias [k]."""
    if set(node) != {"weight", "bias"} or any(isinstance(child, dict) for child in node.values()):
        return False
    return node["weight"].ndim == 2 and node["bias"].shape == node["weight"].shape[:1]
