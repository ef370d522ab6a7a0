"""The state of an optimizer handed over between torch.optim and `jaxgd.optim`, in mid-run.

`source` reads a torch optimizer, `buffers` finds the state in what wraps it, by the names that
`jaxgd.optim.registry` has; `reading` and `writing` move it.
"""
