"""The layers of a torch module, by forward hooks. This file needs nothing but torch: copy it."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def capture(module: Any, *, names: Mapping[str, str] | None = None) -> Iterator[OrderedDict]:
    """Within it, what the submodules do is written into the dict that it gives.

        with capture(model) as layers:
            loss = criterion(model(x), y)
            loss.backward()

        layers[name] = {"output": y, "inputs": (x, …), "gradient": d loss / d y}

    The dict is what `Update.activations` holds. The names are those of `module.named_modules()`, in
    the order in which the modules end; one that runs again is `name#2`. The tensors are copies.
    What is called as a function of torch, not as a module, has no hook; write what it gives into
    the dict yourself: `layers[name] = {"output": …}`.

    names: for a module's name, the one to record it by; those not in it are left out. None: all.

    Departs from hooks by hand: an output that is changed in place later is recorded as it was, and
    an output that torch makes within another function (attention's `out_proj`) has none.
    """
    layers: OrderedDict[str, Any] = OrderedDict()
    recorded = {name: name for name, _ in module.named_modules()} if names is None else names
    handles = [
        handle
        for name, child in module.named_modules()
        if name and name in recorded
        for handle in _hooked(child, recorded[name], layers)
    ]
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def _hooked(module: Any, name: str, layers: OrderedDict) -> list[Any]:
    given: list[Any] = []  # copied before the module runs, which may change them in place
    after = partial(_ended, given, name, layers)
    return [
        module.register_forward_pre_hook(partial(_begun, given)),
        module.register_forward_hook(after),
    ]


def _begun(given: list[Any], _: Any, inputs: Any) -> None:
    given.append(_copied(inputs))


def _ended(given: list[Any], name: str, layers: OrderedDict, *called: Any) -> None:
    """The hook of a module, called with it, its inputs and its output."""
    unique, again, output = name, 2, called[-1]
    while unique in layers:
        unique, again = f"{name}#{again}", again + 1
    layers[unique] = {"output": _copied(output), "inputs": given.pop()}
    _differentiated(output, layers[unique])


def _differentiated(output: Any, layer: dict[str, Any]) -> None:
    """Has the gradient written beside the output once it is known; of a tuple, the first's."""
    first = next(_tensors(output), None)
    if first is None or not first.requires_grad:
        return
    first.register_hook(partial(_write, layer, isinstance(output, list | tuple)))


def _write(layer: dict[str, Any], nested: bool, gradient: Any) -> None:
    gradient = gradient.detach().clone()
    layer["gradient"] = (gradient,) if nested else gradient


def _tensors(tree: Any) -> Iterator[Any]:
    if hasattr(tree, "detach"):
        yield tree
    elif isinstance(tree, list | tuple):
        for child in tree:
            yield from _tensors(child)
    elif isinstance(tree, Mapping):
        for child in tree.values():
            yield from _tensors(child)


def _copied(tree: Any) -> Any:
    """The same containers with copies of the tensors; flags and None are left out."""
    if hasattr(tree, "detach"):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        return {key: _copied(child) for key, child in tree.items() if child is not None}
    if isinstance(tree, list | tuple):
        return tuple(_copied(child) for child in tree if child is not None)
    return None
