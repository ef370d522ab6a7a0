"""The layers of a Flax NNX model."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jaxgd.interop.activations.taps import tapped_call


@contextmanager
def nnx_layers(model: Any) -> Iterator[Any]:
    """Within it, there is a tap after every module that the model calls.

        with nnx_layers(model):
            outputs = model(x)

    A module is named by its path, joined by dots ("layers.0"), as its parameters are. The methods
    of the modules' classes are replaced while it lasts, and put back; the model is not touched.
    """
    from flax import nnx

    names = {
        id(module): ".".join(map(str, path))
        for path, module in nnx.iter_modules(model)
        if path and callable(module)
    }
    own = {type(m): type(m).__call__ for _, m in nnx.iter_modules(model) if callable(m)}
    running: set[str] = set()
    defined = {kind: "__call__" in vars(kind) for kind in own}

    def tapped(call: Any) -> Any:
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            if id(self) not in names:
                return call(self, *args, **kwargs)
            return tapped_call(names[id(self)], running, partial(call, self), *args, **kwargs)

        return run

    for kind, call in own.items():
        setattr(kind, "__call__", tapped(call))  # noqa: B010
    try:
        yield model
    finally:
        for kind, call in own.items():
            if defined[kind]:
                setattr(kind, "__call__", call)  # noqa: B010
            else:
                delattr(kind, "__call__")
