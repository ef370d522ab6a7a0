"""The layers of an Equinox model."""

from typing import Any

from jaxgd.interop.activations.taps import tap


def equinox_layers(model: Any) -> Any:
    """The model, with a tap after every layer that can be called.

        equinox_layers(model)(x)    # inside the objective, whose parameters are the model's own

    A layer is named by its path, joined by dots ("layers.0"); the model as a whole is none. A
    model of one example is mapped over the rows by `over_rows`, not by `jax.vmap`.

    A tapped `StatefulLayer` is one, so that `Sequential` gives it the state; a state is neither
    recorded as an input nor as an output. Taps cannot get out of what a layer maps or scans itself,
    and there is none in it: a `MultiheadAttention` maps its projections over the steps (as in
    torch, whose hooks do not see `out_proj` run), an `MLP` its activations over the neurons, and
    with `scan=True` scans its hidden layers. Capture no layer of your own that does so.
    """
    import equinox
    import jax

    class Tapped(equinox.Module):
        layer: Any
        name: str = equinox.field(static=True)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            result = self.layer(*args, **kwargs)
            inputs = [arg for arg in args if not isinstance(arg, equinox.nn.State)]
            match result:
                case (output, equinox.nn.State() as state):
                    return tap(self.name, output, *inputs), state
            return tap(self.name, result, *inputs)

        def __getattr__(self, field: str) -> Any:
            return getattr(object.__getattribute__(self, "layer"), field)

    class TappedStateful(Tapped, equinox.nn.StatefulLayer):
        def is_stateful(self) -> bool:
            return bool(self.layer.is_stateful())

    def mapped_by(module: Any) -> list[Any]:
        if isinstance(module, equinox.nn.MLP):
            hidden = module.layers[1:-1] if getattr(module, "scan", False) else ()
            return [module.activation, module.final_activation, *hidden]
        return []

    def is_layer(node: Any) -> bool:
        return isinstance(node, equinox.Module) and callable(node) and node is not model

    def below(module: Any, prefix: str) -> Any:
        if isinstance(module, equinox.nn.MultiheadAttention):
            return module
        untapped = [module, *mapped_by(module)]

        def replaced(path: Any, node: Any) -> Any:
            if not is_layer(node) or any(node is other for other in untapped):
                return node
            name = ".".join([*([prefix] if prefix else []), *map(_key, path)])
            stateful = isinstance(node, equinox.nn.StatefulLayer)
            return (TappedStateful if stateful else Tapped)(below(node, name), name)

        return jax.tree_util.tree_map_with_path(
            replaced, module, is_leaf=lambda node: node is not module and is_layer(node)
        )

    return below(model, "")


def _key(entry: Any) -> str:
    return str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", entry))))
