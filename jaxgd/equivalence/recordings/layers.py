"""What the layers of a model did in one update, in the order in which they ran.

`Update.activations` maps the name of a layer to its output, or to a dict of its `output`, and of
its `inputs` and the loss's `gradient` with respect to the output, as far as they were recorded:

    {"0": {"output": y, "inputs": (x,), "gradient": dy}, "1": {"output": z}, …}
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from jaxgd.equivalence.recordings.pytree import Leaves, leaves_of

PARTS: Final = ("output", "inputs", "gradient")


class LayerRecord(NamedTuple):
    """The leaves of one layer, by path; empty where nothing was recorded."""

    output: Leaves
    inputs: Leaves
    gradient: Leaves


def layers_of(activations: Mapping[str, Any] | None) -> Iterator[tuple[str, LayerRecord]]:
    """The layers by name, in forward order, one at a time; what lies on disk stays there."""
    for name, layer in (activations or {}).items():
        parts = layer if _in_parts(layer) else {"output": layer}
        leaves = (leaves_of(parts.get(part), f"activations['{name}']") for part in PARTS)
        yield str(name), LayerRecord(*leaves)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The activations of a file, whose paths are `NAME/PART` or `NAME/PART.PATH`."""
    layers: dict[str, Any] = {}
    for path, leaf in flat.items():
        name, _, rest = path.rpartition("/")
        part, _, within = rest.partition(".")
        layers.setdefault(name, {}).setdefault(part, {})[within] = leaf
    return {
        name: {part: tree[""] if tree.keys() == {""} else tree for part, tree in parts.items()}
        for name, parts in layers.items()
    }


def _in_parts(layer: Any) -> bool:
    return isinstance(layer, Mapping) and "output" in layer and {*layer} <= {*PARTS}
