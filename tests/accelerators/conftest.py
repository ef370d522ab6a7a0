"""Nothing runs on an accelerator here: without one, JAX's CUDA plugin compiles only if told so."""

import jax

jax.config.update("jax_platforms", "cpu")
