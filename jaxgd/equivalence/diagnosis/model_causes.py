"""The known cause of a stage that parts before the optimizer."""

from jaxgd.equivalence.diagnosis.buffer_causes import buffer_cause
from jaxgd.equivalence.diagnosis.first_layer import Parting, layer_pairs
from jaxgd.equivalence.diagnosis.forward_causes import forward_cause, own_cause
from jaxgd.equivalence.diagnosis.loss_causes import flow_cause, smoothing_cause
from jaxgd.equivalence.diagnosis.upstream_causes import gradient_cause
from jaxgd.equivalence.recordings.update import Recording


def model_cause(
    actual: Recording, expected: Recording, at: int, stage: str, parting: Parting | None
) -> str | None:
    """Why that stage of update `at`, counted from 0, parts; None if that is unknown."""
    ours, theirs = actual[at], expected[at]
    if stage == "forward":
        forward = parting is not None and parting.direction == "forward"
        return forward_cause(ours, theirs, parting.layer) if forward and parting else None
    if stage == "buffers":
        return buffer_cause(ours, theirs)
    found = None
    if stage == "loss":
        found = smoothing_cause(ours, theirs) or gradient_cause(actual, expected, at, stage)
    elif stage == "gradient":
        found = gradient_cause(actual, expected, at, stage) or flow_cause(ours, theirs)
    # What a layer does may be too little to part forward, and part in the gradient.
    return found or own_cause(layer_pairs(ours, theirs), ours, theirs)
