"""Training on several devices and several processes: what lies where, and what is added up."""

from jaxgd.scale.epochs import data_parallel
from jaxgd.scale.hosts import Lost, join
from jaxgd.scale.placement import on_mesh, own_rows, spread

__all__ = ["Lost", "data_parallel", "join", "on_mesh", "own_rows", "spread"]
