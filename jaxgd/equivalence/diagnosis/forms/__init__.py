"""What a layer may compute, by its numbers alone, and how its implementations differ."""
