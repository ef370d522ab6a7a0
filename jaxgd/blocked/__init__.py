"""Exact per-example SGD of linear predictors, a block of rows at a time or in one kernel."""

from jaxgd.blocked.epoch import blocked_sgd, default_block_size
from jaxgd.blocked.one_kernel import widest_in_one_kernel

__all__ = ["blocked_sgd", "default_block_size", "widest_in_one_kernel"]
