"""Nothing lost, nothing wrong, nothing hung: the promises of storage and resume, tried out here."""

from jaxgd.reliability.proof import Figure, figures

__all__ = ["Figure", "figures"]
