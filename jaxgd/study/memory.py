"""What a compiled program takes, by the compiler's own `memory_analysis()`; 0 where none tells."""

import jax


def held_bytes(compiled: jax.stages.Compiled) -> int:
    """XLA's buffers beside arguments and results."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes if analysis else 0


def taken_bytes(compiled: jax.stages.Compiled) -> int:
    """All that a call holds: arguments, results and buffers, what results reuse but once."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    taken = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return taken + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes
