"""A training moved between PyTorch and JAX: parameters, optimizer state and the order of rows.

Torch itself is imported only by the functions that need it, when they are called.
"""

from jaxgd.interop.torch.bridges.crossing import Bridge, bridge
from jaxgd.interop.torch.loader_order import OrderSampler, dataloader_order
from jaxgd.interop.torch.optimizers.reading import from_torch
from jaxgd.interop.torch.optimizers.writing import to_torch_state_dict
from jaxgd.interop.torch.params import params_from_torch, params_to_torch
from jaxgd.interop.torch.schedulers import plateau_from_torch, to_torch_scheduler_state_dict

__all__ = [
    "Bridge",
    "OrderSampler",
    "bridge",
    "dataloader_order",
    "from_torch",
    "params_from_torch",
    "params_to_torch",
    "plateau_from_torch",
    "to_torch_scheduler_state_dict",
    "to_torch_state_dict",
]
