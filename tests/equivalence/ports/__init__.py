"""Real models in torch and their ports to plain JAX, honest and faulty."""
