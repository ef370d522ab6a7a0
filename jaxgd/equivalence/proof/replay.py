"""One side of a training, replayed from the other side's parameters in every update."""

from collections.abc import Callable

from jaxgd.equivalence.recordings.pytree import in_memory
from jaxgd.equivalence.recordings.update import Recording, Update

# (params, batch) -> Update, or (params, batch, buffers) -> Update where buffers are recorded.
Step = Callable[..., Update]


def lockstep(step: Step, expected: Recording) -> list[Update]:
    """What a side does in each update when it begins it where the expected side began it.

        actual_t = step(expected_t.params, expected_t.batch)
        actual_t = step(expected_t.params, expected_t.batch, expected_t.buffers)   if recorded

    Two trainings that run freely carry a difference on, until every stage parts. Replayed, each
    update stands alone: give the result to `diagnose` with the same `expected`, and the stage it
    names is at fault in that very update.

    step: sets its parameters (and buffers) to those given, makes one update with that batch and
        returns it. It keeps its optimizer's state from call to call, which grows from its own
        gradients at the same parameters.

    ValueError if an expected update holds no batch.
    """
    check_batches(expected)
    return [stepped(step, update) for update in expected]


def check_batches(expected: Recording) -> None:
    """ValueError unless every update can be replayed."""
    if any(update.batch is None for update in expected):
        raise ValueError(
            "every expected update must hold its batch to be replayed; got one without. "
            "Record Update.batch."
        )


def stepped(step: Step, update: Update) -> Update:
    """What a side does with the update's parameters, buffers and batch."""
    params = in_memory(update.params)
    if update.buffers is None:
        return step(params, update.batch)
    return step(params, update.batch, in_memory(update.buffers))
