"""The layers of a Haiku model."""

from collections.abc import Callable
from typing import Any

from jaxgd.interop.activations.taps import tap


def haiku_layers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that is given to `hk.transform`, with a tap after every module's `__call__`.

        hk.transform(haiku_layers(forward))

    A module is named by Haiku's own name ("mlp/~/linear_0"), as its parameters are.
    """

    def tapped(*args: Any, **kwargs: Any) -> Any:
        import haiku

        def intercept(call: Any, given: Any, options: Any, context: Any) -> Any:
            output = call(*given, **options)
            if context.method_name != "__call__":
                return output
            return tap(context.module.module_name, output, *given)

        with haiku.intercept_methods(intercept):
            return function(*args, **kwargs)

    return tapped
