"""What makes a training this one; a checkpoint of another is refused by what differs."""

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax

from jaxgd.fitting.checks import form
from jaxgd.fitting.examples import Examples
from jaxgd.fitting.fingerprint import of_arrays, of_lying, of_order, of_program
from jaxgd.fitting.method import Method, Traced
from jaxgd.fitting.training import Training
from jaxgd.storage import Stored
from jaxgd.storage.verified_file import refused_as_misfit

# Of a checkpoint's identity, what may differ without another training: only its last bits may.
_MACHINE = ("jax", "platform", "devices")
# These are told by the text of a program, which another version of JAX writes otherwise.
_PROGRAMS = ("loss", "optimizer", "epoch")
# What is known by a hash, which says nothing to anybody; all else is told as it was and is.
_BY_HASH = {
    "key": "the key is another",
    "rows": "the rows of data are others",
    "order": (
        "the order of rows is another: a source's block and window are a part of it, and the "
        "version of jaxgd"
    ),
    "loss": "the loss is another",
    "optimizer": "the optimizer is another, or an option of it",
    "epoch": "the epoch is another",
    "validation": "the validation rows are others",
}
# What follows where the first of a pair has changed.
_FOLLOWS = (
    ("params", "loss"),
    ("params", "optimizer"),
    ("data", "rows"),
    ("data", "segments"),
    ("batch_size", "segments"),
    ("precision", "loss"),
    ("precision", "epoch"),
    ("data", "order"),
    ("key", "order"),
    ("shuffle", "order"),
    ("learning_rate", "optimizer"),
    ("learning_rate", "epoch"),
)


def identity(
    method: Method, traced: Traced, examples: Examples, training: Training
) -> dict[str, Any]:
    """What makes a training this one: its data, plan, key and settings, and what computes it.

    Of rows that are read a sample stands for all. Devices count where bits depend on their number.
    """
    n, segments, key, state = examples.n, training.segments, examples.key, training.state
    hashed = of_arrays if method.parallel is None else of_lying
    leaves = jax.tree.leaves(examples.data)
    has_order = examples.shuffled or examples.source is not None
    devices = _devices(method)
    return {
        "data": ", ".join(f"{leaf.dtype}{[n, *leaf.shape[1:]]}" for leaf in leaves),
        "rows": hashed(examples.data),
        "segments": [segments[0].stop, segments[-1].stop - segments[-1].start],
        "key": None if key is None else of_arrays(key),
        "params": form(state.params),
        "batch_size": examples.batch_size,
        "shuffle": examples.shuffled,
        "order": of_order(training.rows.order(0), n) if has_order else None,
        "row_keys": examples.keyed,
        "precision": method.precision,
        "learning_rate": method.rate,
        **traced.marks,
        "validation": None if examples.validation is None else hashed(examples.validation),
        "epoch": _of_epoch(method, training),
        "patience": None if training.patience is None else list(training.patience),
        "jax": version("jax"),
        "platform": next(iter(leaves[0].devices())).platform,
        **({} if devices is None else {"devices": devices}),
    }


def _of_epoch(method: Method, training: Training) -> str | None:
    """The mark of an epoch of one's own, None without one."""
    if method.parallel is not None:
        return method.parallel.mark
    if method.epoch is None:
        return None
    rows = training.rows.form(training.segments[0].stop)
    return of_program(jax.make_jaxpr(method.epoch)(training.state, rows))


def _devices(method: Method) -> int | None:
    """How many devices compute, None where no bits depend on it."""
    if method.parallel is None:
        return jax.device_count()
    devices = method.parallel.devices
    return None if devices.deterministic else devices.mesh.size


def check_same_training(stored: Stored, own: Mapping[str, Any]) -> None:
    """ValueError for a checkpoint of another training, naming what differs.

    Warns where only what computes it is another: the last bits may part.
    """
    with refused_as_misfit(stored.path, "checkpoint of a fit"):
        found = {**stored.note["identity"]}
    different = [name for name in own if found.get(name) != own[name]]
    if "jax" in different:
        different = [name for name in different if name not in _PROGRAMS]
    if changed := [name for name in different if name not in _MACHINE]:
        raise ValueError(
            f"a checkpoint goes on with its own training; in {stored.path} "
            f"{_told(changed, found, own)}. "
            "Use the same settings, or another directory to begin anew."
        )
    for name in different:
        warnings.warn(
            f"{stored.path} was written with {name} {found.get(name)}, this is "
            f"{own[name]}: what follows is the same to rounding, not to the bit.",
            stacklevel=5,
        )


def _told(changed: Sequence[str], was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What has changed in an identity, in words."""
    followed = {second for first, second in _FOLLOWS if first in changed}
    return "; ".join(_change(name, was, now) for name in changed if name not in followed)


def _change(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name not in was:
        return f"{name} was not noted, as by an older jaxgd"
    before, after = was[name], now[name]
    if name in _BY_HASH:
        if before is not None and after is not None:
            return _BY_HASH[name]
        before, after = (value and "given" for value in (before, after))
    return f"{name} was {before}, is {after}"
