"""The state of an optimizer handed over between torch.optim and `jaxgd.optim`, in mid-run.

`source` reads a torch optimizer, `buffers` knows the names of the state on both sides; `reading`
and `writing` move it.
"""
