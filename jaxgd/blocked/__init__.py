"""Exact per-example SGD of linear predictors, a block of rows at a time."""

from jaxgd.blocked.epoch import blocked_sgd

__all__ = ["blocked_sgd"]
