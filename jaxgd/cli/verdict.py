"""Whether a run has learned anything: its loss held against its start's and a constant's."""

# Losses in float32 over many rows are known to about this part of themselves.
_ROUNDING = 1e-5


def not_learned(start: float, end: float, constant: float) -> str | None:
    """What to say of a run that ends no better than it began, or than a constant prediction.

    The losses are means over the training rows. None for a run that has learned.
    """
    if not end <= start * (1 + _ROUNDING):
        return (
            "a run must not end worse than it started; its training loss went from "
            f"{start:.4g} to {end:.4g}"
        )
    if not end <= constant * (1 + _ROUNDING):
        return (
            "a run must not end worse than a constant prediction; its training loss is "
            f"{end:.4g}, that of the best constant {constant:.4g}"
        )
    return None
