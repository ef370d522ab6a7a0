"""Exact per-example SGD of linear predictors, a block of rows at a time."""

from jaxgd.blocked.epoch import blocked_sgd, default_block_size

__all__ = ["blocked_sgd", "default_block_size"]
