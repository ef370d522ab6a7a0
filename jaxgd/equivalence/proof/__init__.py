"""The same training, shown update by update from the same parameters."""
