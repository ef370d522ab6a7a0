"""What one update's forward and backward pass gave, and how far two of them are apart."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Int
from ml_dtypes import finfo

from jaxgd.equivalence.diagnosis.first_layer import Parting, first_of, shapes_differ
from jaxgd.equivalence.recordings.batch import along_rows, in_order
from jaxgd.equivalence.recordings.deviation import largest_difference
from jaxgd.equivalence.recordings.layers import layers_of
from jaxgd.equivalence.recordings.pytree import Leaves, describe, in_memory, leaves_of, listed
from jaxgd.equivalence.recordings.update import Update, gradient_of

# In the order in which they follow from each other.
STAGES: Final = ("layers", "forward", "loss", "layers backward", "gradient", "buffers")

# The stages that are told layer by layer, and what each is a part of.
OF_LAYERS: Final = MappingProxyType({"layers": "forward", "layers backward": "gradient"})

# Where an update keeps the stages that may be missing.
_FIELDS: Final = MappingProxyType(
    {"forward": "outputs", "loss": "loss", "buffers": "updated_buffers"}
)

Observation = Mapping[str, Leaves]  # by stage, those that were recorded


def observe(update: Update) -> Observation:
    """The recorded stages of an update between its batch and its optimizer."""
    trees = {
        "forward": update.outputs,
        "loss": update.loss,
        "gradient": gradient_of(update),
        "buffers": update.updated_buffers,
    }
    observed = {
        name: leaves_of(in_memory(tree), name) for name, tree in trees.items() if tree is not None
    }
    layers = [*layers_of(update.activations)]
    for stage, part in (("layers", "output"), ("layers backward", "gradient")):
        first = {name: first_of(getattr(record, part)) for name, record in layers}
        leaves = {name: leaf for name, leaf in first.items() if leaf is not None}
        if leaves:
            observed[stage] = leaves if stage == "layers" else dict(reversed(leaves.items()))
    return observed


def check_recorded(given: Observation, expected: Observation, side: str) -> None:
    """ValueError unless a side gives every stage that `expected` records; layers need not be."""
    missing = [
        name for name in STAGES if name in expected and name not in given and name not in OF_LAYERS
    ]
    if missing:
        fields = ", ".join(f"{name} (Update.{_FIELDS[name]})" for name in missing)
        raise ValueError(
            f"{side} must record what the expected updates record; it gives none of: {fields}. "
            "Return it, or leave it out of the recording."
        )


def in_rows_order(
    observed: Observation, order: Int[np.ndarray, " rows"], beside: Observation
) -> Observation:
    """The observation with its outputs and layers in that order of the rows, which `beside` has."""
    ordered = dict(observed)
    if "forward" in observed:
        ordered["forward"] = in_order(observed["forward"], order)
    for stage in OF_LAYERS:
        if stage in observed:
            others = beside.get(stage, {})
            ordered[stage] = {
                path: along_rows(leaf, order, others.get(path))
                for path, leaf in observed[stage].items()
            }
    return ordered


def apart(actual: Observation, expected: Observation) -> dict[tuple[str, str], float]:
    """The largest |actual - expected| of each stage and leaf that both sides recorded."""
    return {
        (stage, path): largest_difference(actual[stage][path], leaf)
        for stage in STAGES
        if stage in actual and stage in expected
        for path, leaf in _matched(stage, actual[stage], expected[stage]).items()
    }


def layers_in_common(actual: Observation, expected: Observation) -> Observation:
    """The expected observation without the layers that the actual side has not recorded."""
    return with_layers(expected, {(of, path) for of in OF_LAYERS for path in actual.get(of, {})})


def with_layers(observed: Observation, known: Collection[tuple[str, str]]) -> Observation:
    """The observation without the layers, by stage and name, that are not among those."""
    return {
        stage: leaves
        if stage not in OF_LAYERS
        else {path: leaf for path, leaf in leaves.items() if (stage, path) in known}
        for stage, leaves in observed.items()
    }


def scales(observed: Observation) -> dict[tuple[str, str], float]:
    """The largest finite |entry| of each stage and leaf."""
    return {
        (stage, path): float(np.abs(np.where(np.isfinite(x), x, 0.0)).max(initial=0.0))
        for stage, leaves in observed.items()
        for path, x in ((path, leaf.astype(np.float64)) for path, leaf in leaves.items())
    }


def epsilons(actual: Observation, expected: Observation) -> dict[tuple[str, str], float]:
    """The coarser machine epsilon of the two sides; a loss is no finer than the gradient."""
    coarsest = max(map(_eps, [*actual["gradient"].values(), *expected["gradient"].values()]))
    return {
        (stage, path): max(
            _eps(leaf), _eps(actual[stage][path]), coarsest if stage == "loss" else 0.0
        )
        for stage, leaves in expected.items()
        if stage in actual
        for path, leaf in leaves.items()
        if path in actual[stage]
    }


def first_shapes(actual: Observation, expected: Observation) -> Parting | None:
    """The first layer whose shape is another on the two sides."""
    pairs = ((name, leaf) for name, leaf in expected.get("layers", {}).items())
    found = (shapes_differ(name, "forward", actual["layers"][name], leaf) for name, leaf in pairs)
    return next((parting for parting in found if parting is not None), None)


def _eps(leaf: np.ndarray) -> float:
    return 0.0 if leaf.dtype.kind in "biu" else float(finfo(leaf.dtype).eps)


def _matched(stage: str, actual: Leaves, expected: Leaves) -> Leaves:
    """The expected leaves, once it is known that the actual ones are the same in name and shape."""
    if stage in OF_LAYERS:  # which need not have the same shapes to be told
        return {path: leaf for path, leaf in expected.items() if path in actual}
    if actual.keys() != expected.keys():
        lonely = listed(actual.keys() ^ expected.keys())
        raise ValueError(
            f"Both sides record the same leaves of a stage; {lonely} of the {stage} on one side "
            "only. Rename them, or record what both have."
        )
    for path, leaf in expected.items():
        if actual[path].shape != leaf.shape:
            raise ValueError(
                f"A leaf has one shape on both sides; '{path}' of the {stage} is "
                f"{describe(actual[path])} in actual and {describe(leaf)} in expected. "
                "Transpose or reshape one."
            )
    return expected
