"""The layers of a Haiku model."""

from collections.abc import Callable
from typing import Any

from jaxgd.interop.activations.taps import tapped_call


def haiku_layers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that is given to `hk.transform`, with a tap after every module's `__call__`.

        hk.transform(haiku_layers(forward))

    A module is named by Haiku's own name ("mlp/~/linear_0"), as its parameters are.
    """

    def tapped(*args: Any, **kwargs: Any) -> Any:
        import haiku

        running: set[str] = set()

        def intercept(call: Any, given: Any, options: Any, context: Any) -> Any:
            if context.method_name != "__call__":
                return call(*given, **options)
            return tapped_call(context.module.module_name, running, call, *given, **options)

        with haiku.intercept_methods(intercept):
            return function(*args, **kwargs)

    return tapped
