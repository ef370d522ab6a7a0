"""Taps in a JAX function: what goes through them is recorded, and differentiated by.

A tap is the identity, but for functions that capture it. The gradient with respect to a layer's
output is that with respect to zeros which the tap adds to it.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

# OrderedDict, since JAX sorts the keys of a dict and the order of the layers is told by theirs.
Layers = OrderedDict[str, Any]


class _Taps:
    """The layers recorded so far, and what is added to their outputs.

    No layer is recorded by a name that is taken elsewhere, by layers that another records.
    """

    def __init__(
        self,
        added: Mapping[str, Any],
        names: Mapping[str, str] | None,
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        self.layers: Layers = OrderedDict()
        self.added, self.names, self.elsewhere = added, names, elsewhere

    @property
    def taken(self) -> frozenset[str]:
        return self.elsewhere.union(self.layers)

    def take(self, name: str, output: Any, inputs: tuple[Any, ...]) -> Any:
        if self.names is not None and name not in self.names:
            return output
        unique = once(self.names[name] if self.names else name, self.taken)
        if unique in self.added:
            output = jax.tree.map(_plus, output, self.added[unique])
        given = tuple(filter(_is_numeric, inputs))
        self.layers[unique] = {"output": output} | ({"inputs": given} if given else {})
        return output


_taps: ContextVar[_Taps | None] = ContextVar("taps", default=None)


def tap(name: str, output: Any, *inputs: Any) -> Any:
    """output, recorded as that of layer `name`, with what the layer was given.

    A layer that runs again is `name#2`. Inside `jax.vmap`, tap through `over_rows`. A tap must not
    lie inside jit, scan, cond or remat if the capture is outside: tap what comes out of them.
    """
    taps = _taps.get()
    return output if taps is None else taps.take(name, output, inputs)


def tapped_call(
    name: str, running: set[str], call: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """What layer `name` gives in this call, tapped once.

    While it runs, its name is in `running`, and calls of the same layer are parts of this one: a
    subclass's of `super().__call__`. Torch's hooks see that call no more than a tap does.
    """
    if name in running:
        return call(*args, **kwargs)
    running.add(name)
    try:
        return tap(name, call(*args, **kwargs), *args)
    finally:
        running.remove(name)


def capture(
    function: Callable[..., Any], *, names: Mapping[str, str] | None = None
) -> Callable[..., tuple[Any, Layers]]:
    """The function whose result is `function`'s and, beside it, the layers that it taps, in order.

    names: for a layer's name, the one to record it by; those not in it are left out. None: all.
    """
    return lambda *args, **kwargs: _captured(function, {}, names, args, kwargs)


def value_and_gradients(
    objective: Callable[..., Any], *, names: Mapping[str, str] | None = None, has_aux: bool = False
) -> Callable[..., tuple[Any, Any, Layers]]:
    """(params, *args) -> objective's result, its gradient by params, and its layers.

        layers[name] = {"output": y, "inputs": (x, …), "gradient": d objective / d y}

    As `jax.value_and_grad(objective, has_aux=…)`; `names` as for `capture`. It may be jitted. The
    objective is traced twice: once for the shapes of what it taps.
    """

    def run(params: Any, *args: Any) -> tuple[Any, Any, Layers]:
        def perturbed(params: Any, added: Any) -> Any:
            result, layers = _captured(objective, added, names, (params, *args), {})
            value, aux = result if has_aux else (result, None)
            return value, (aux, layers)

        _, (_, shapes) = jax.eval_shape(lambda p: perturbed(p, {}), params)
        zeros = OrderedDict(
            (name, jax.tree.map(_zeros, layer["output"])) for name, layer in shapes.items()
        )
        differentiated = jax.value_and_grad(perturbed, argnums=(0, 1), has_aux=True)
        (value, (aux, layers)), (gradient, by_layer) = differentiated(params, zeros)
        for name, layer in layers.items():
            wanted = jax.tree.map(_is_float, layer["output"])
            layer["gradient"] = jax.tree.map(
                lambda g, keep: g if keep else None, by_layer[name], wanted
            )
        return (value, aux) if has_aux else value, gradient, layers

    return run


def over_rows(
    function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_name: Any = None
) -> Callable[..., Any]:
    """jax.vmap of a function that taps: what it taps of a row is recorded of all, rows in front.

    Called again, it goes on counting: its layers are `name#2`, as without rows.
    """

    def run(*args: Any) -> Any:
        taps = _taps.get()
        if taps is None:
            return jax.vmap(function, in_axes, out_axes, axis_name)(*args)
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)

        def row(added: Any, *row_args: Any) -> Any:
            return _captured(function, added, taps.names, row_args, {}, taps.taken)

        def mapped(added: Any) -> Any:
            return jax.vmap(row, (0, *axes), (out_axes, 0), axis_name)(added, *args)

        found = jax.eval_shape(lambda: mapped({}))[1]
        shared = OrderedDict((name, taps.added[name]) for name in found if name in taps.added)
        result, layers = mapped(shared)
        taps.layers.update(layers)
        return result

    return run


def channels_second(layers: Layers, *names: str) -> Layers:
    """The layers with the last axis of those named second, as torch has a convolution's channels.

    Of each array with three axes or more: its output, inputs and gradient. No names: all layers.
    """

    def turned(leaf: Any) -> Any:
        return jnp.moveaxis(leaf, -1, 1) if jnp.ndim(leaf) > 2 else leaf

    wanted = names or tuple(layers)
    return OrderedDict(
        (name, jax.tree.map(turned, layer) if name in wanted else layer)
        for name, layer in layers.items()
    )


def once(name: str, taken: Container[str]) -> str:
    """The name, numbered if a layer of that name has run already."""
    again = 2
    unique = name
    while unique in taken:
        unique, again = f"{name}#{again}", again + 1
    return unique


@contextmanager
def taking(taps: _Taps) -> Iterator[_Taps]:
    """Within it, every tap is taken."""
    token = _taps.set(taps)
    try:
        yield taps
    finally:
        _taps.reset(token)


def _captured(
    function: Callable[..., Any],
    added: Mapping[str, Any],
    names: Mapping[str, str] | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    elsewhere: frozenset[str] = frozenset(),
) -> tuple[Any, Layers]:
    with taking(_Taps(added, names, elsewhere)) as taps:
        return function(*args, **kwargs), taps.layers


def _is_numeric(tree: Any) -> bool:
    """Whether the argument is arrays of numbers, not a flag, a function or a random key."""
    leaves = jax.tree.leaves(tree)
    arrays = [isinstance(leaf, jax.Array) or hasattr(leaf, "__array__") for leaf in leaves]
    return bool(leaves) and all(arrays) and all(jnp.issubdtype(x.dtype, jnp.number) for x in leaves)


def _is_float(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _zeros(leaf: Any) -> Any:
    return jnp.zeros(leaf.shape, leaf.dtype if _is_float(leaf) else jnp.float32)


def _plus(leaf: Any, added: Any) -> Any:
    return leaf + added if _is_float(leaf) else leaf
