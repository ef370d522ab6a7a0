"""Training on several devices and several processes: what lies where, and what is added up."""

from jaxgd.scale.epochs import data_parallel
from jaxgd.scale.placement import on_mesh, spread

__all__ = ["data_parallel", "on_mesh", "spread"]
