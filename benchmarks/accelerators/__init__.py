"""Runs compiled for accelerators that are not here: launches, bytes, and the time on paper."""
