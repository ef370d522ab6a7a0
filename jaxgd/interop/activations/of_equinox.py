"""The layers of an Equinox model."""

from typing import Any

from jaxgd.interop.activations.taps import tap


def equinox_layers(model: Any) -> Any:
    """The model, with a tap after every layer that can be called.

        equinox_layers(model)(x)    # inside the objective, whose parameters are the model's own

    A layer is named by its path, joined by dots ("layers.0"); the model as a whole is none. A
    model of one example is mapped over the rows by `over_rows`, not by `jax.vmap`.
    """
    import equinox
    import jax

    class Tapped(equinox.Module):
        layer: Any
        name: str = equinox.field(static=True)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return tap(self.name, self.layer(*args, **kwargs), *args)

        def __getattr__(self, field: str) -> Any:
            return getattr(object.__getattribute__(self, "layer"), field)

    def is_layer(node: Any) -> bool:
        return isinstance(node, equinox.Module) and callable(node) and node is not model

    def below(module: Any, prefix: str) -> Any:
        def replaced(path: Any, node: Any) -> Any:
            if not (is_layer(node) and node is not module):
                return node
            name = ".".join([*([prefix] if prefix else []), *map(_key, path)])
            return Tapped(below(node, name), name)

        return jax.tree_util.tree_map_with_path(
            replaced, module, is_leaf=lambda node: node is not module and is_layer(node)
        )

    return below(model, "")


def _key(entry: Any) -> str:
    return str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", entry))))
