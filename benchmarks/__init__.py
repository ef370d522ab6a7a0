"""Side-by-side timings of jaxgd and of what a user would pick instead: `python -m benchmarks`."""
