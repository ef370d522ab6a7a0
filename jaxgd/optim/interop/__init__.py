"""A training handed over between torch.optim and `jaxgd.optim`, in the middle of a run.

`layout` finds each leaf of a pytree among torch's parameters, `source` reads a torch optimizer,
`buffers` knows the names of the state on both sides; `from_torch` and `to_torch` move it.
"""
