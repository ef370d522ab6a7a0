"""The rule of an optimizer in NumPy and float64, and whether steps follow from it."""
