"""Torch's tensors as arrays and back, without importing torch until one has to be made."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped


def from_tensor(tensor: Any) -> Shaped[np.ndarray, "..."]:
    """The values of a tensor on any device, or of an array, in the same dtype."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy knows by JAX's extension only
        return tensor.float().numpy().astype(jnp.bfloat16)
    return tensor.numpy()


def to_tensor(array: Shaped[np.ndarray, "..."]) -> Any:
    """A tensor with its own copy of the values, in the same dtype."""
    import torch

    if array.dtype == jnp.bfloat16:
        return torch.tensor(array.astype(np.float32)).bfloat16()
    return torch.tensor(np.ascontiguousarray(array).reshape(array.shape))


def number(option: Any) -> Any:
    """An option of torch's as plain Python: a tensor's number, a list as a tuple."""
    if isinstance(option, (list, tuple)):
        return tuple(number(value) for value in option)
    return option.item() if hasattr(option, "item") else option
