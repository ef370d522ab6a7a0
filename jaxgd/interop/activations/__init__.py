"""What the layers of a JAX model do: outputs, inputs and gradients, for `Update.activations`.

No framework is imported before one of its models is given.
"""

from jaxgd.interop.activations.of_equinox import equinox_layers
from jaxgd.interop.activations.of_haiku import haiku_layers
from jaxgd.interop.activations.of_linen import linen_layers
from jaxgd.interop.activations.of_nnx import nnx_layers
from jaxgd.interop.activations.taps import (
    capture,
    channels_second,
    over_rows,
    tap,
    value_and_gradients,
)

__all__ = [
    "capture",
    "channels_second",
    "equinox_layers",
    "haiku_layers",
    "linen_layers",
    "nnx_layers",
    "over_rows",
    "tap",
    "value_and_gradients",
]
