"""The PyTorch reference: the oracle that jaxgd's numbers are checked against."""
