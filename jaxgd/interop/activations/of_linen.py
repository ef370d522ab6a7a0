"""The layers of a Flax Linen model."""

from collections.abc import Callable
from typing import Any

from jaxgd.interop.activations.taps import tapped_call


def linen_layers(apply: Callable[..., Any]) -> Callable[..., Any]:
    """`model.apply`, or a function that calls it, with a tap after every module's `__call__`.

    A module is named by its path, joined by dots ("Dense_0"), as its parameters are. Under
    `nn.scan`, `nn.vmap` and `nn.remat` taps cannot get out: capture around them.
    """

    def tapped(*args: Any, **kwargs: Any) -> Any:
        from flax import linen

        running: set[str] = set()

        def intercept(call: Any, given: Any, options: Any, context: Any) -> Any:
            if context.method_name != "__call__" or not context.module.path:
                return call(*given, **options)
            return tapped_call(".".join(context.module.path), running, call, *given, **options)

        with linen.intercept_methods(intercept):
            return apply(*args, **kwargs)

    return tapped
