"""A whole training run as one file: exported here, run where its source is not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import default_registry
from jaxtyping import ArrayLike, Int, PyTree

from jaxgd.descent import Run
from jaxgd.interop.artifact import PLATFORMS, Artifact, exported, load_artifact, named
from jaxgd.keys import Key
from jaxgd.storage.verified_file import refused_as_misfit

_WHAT = "run"
_SHOWN = 4


@dataclass(frozen=True)
class ExportedRun:
    """A run of fixed shapes: `run(state, data, key, start=0) -> (state, outs)`, and its header.

    The state and the data are trees whose leaves have the names, shapes and dtypes of the header,
    or flat dictionaries from those names to arrays, so that none of the types that a state is made
    of has to be there; the state comes back as it was given.

    Departs from the run it was made of: on a CPU under `jax.jit` in no bit, where both were
    compiled by the same version of JAX; outs that are NamedTuples, or nodes of one's own, come back
    as plain tuples. It is not differentiated.
    """

    artifact: Artifact

    @property
    def header(self) -> Mapping[str, Any]:
        """Arguments, results, platforms and versions: see `Artifact`."""
        return self.artifact.header

    def __call__(
        self, state: PyTree, data: PyTree, key: Key | None = None, start: Int[ArrayLike, ""] = 0
    ) -> tuple[PyTree, PyTree]:
        """The state and the outs of the run.

        Raises ValueError for leaves that are not those of the header, naming each.
        """
        given = {"state": state, "data": data, "key": key, "start": jnp.asarray(start, jnp.int32)}
        leaves = [leaf for name, tree in given.items() for leaf in self._leaves(name, tree)]
        results = iter(self.artifact.call(leaves))
        names = self._names("state")
        after = [next(results) for _ in names]
        return _as_given(state, names, after), _rebuilt(self.header["outs"], results)

    def save(self, path: Path | str) -> None:
        """Write the run as one file: afterwards it is the whole new one, or the old."""
        self.artifact.save(path)

    def _leaves(self, argument: str, tree: PyTree) -> list[Any]:
        """The leaves of an argument in the header's order."""
        names = self._names(argument)
        if _is_flat(tree, names):
            return [tree[name] for name in names]
        found = named(tree, argument)
        if [*found] != names:
            raise ValueError(
                f"{argument} must have the leaves that were exported; missing are "
                f"{_listed({*names} - {*found})}, and not expected {_listed({*found} - {*names})}. "
                "Pass a tree like that one, or a dictionary of arrays by the header's names."
            )
        return [*found.values()]

    def _names(self, argument: str) -> list[str]:
        return [name for name, _ in self.header["arguments"] if _root(name) == argument]


def export_run(
    run: Run,
    state: PyTree,
    data: PyTree,
    key: Key | None = None,
    *,
    platforms: Sequence[str] = PLATFORMS,
) -> ExportedRun:
    """A run, such as `train` makes it, as a program of its own for these shapes and dtypes.

    `state`, `data` and `key` are as the run is called with, or `jax.ShapeDtypeStruct` in the place
    of arrays: their values are not kept. One program serves all platforms, and the run's loss,
    optimizer and epoch are no longer needed: `.save(path)` writes kilobytes, `load_run` reads them.

    It is something to ship, not a checkpoint: JAX promises to read it for six months.

    Raises ValueError for a run that calls back into Python or is of several devices, one whose
    state comes back in another structure, and for unknown platforms; ModuleNotFoundError without
    the package flatbuffers (the extra `export`), which JAX needs for this and does not ask for.
    """
    arguments = (state, data, key, np.int32(0))
    form = jax.eval_shape(run, *arguments)
    structure: Any = jax.tree.structure(state)
    if not (
        isinstance(form, tuple) and len(form) == 2 and jax.tree.structure(form[0]) == structure
    ):
        raise ValueError(
            "a run must return (state, outs), the state as it was given; got "
            f"{jax.tree.structure(form)} for {structure}. Use jaxgd.train."
        )
    names = {"state": state, "data": data, "key": key, "start": np.int32(0)}
    flat = {n: leaf for name, tree in names.items() for n, leaf in named(tree, name).items()}
    results = {**named(form[0], "state"), **named(form[1], "outs")}
    tree = jax.tree.structure(arguments)
    note = {"what": _WHAT, "outs": _skeleton(form[1])}

    def of_leaves(*leaves: Any) -> PyTree:
        return run(*jax.tree.unflatten(tree, leaves))

    return ExportedRun(exported(of_leaves, flat, results, platforms, note))


def load_run(path: Path | str) -> ExportedRun:
    """The run in a file that `ExportedRun.save` wrote.

    Raises ValueError for a file that is truncated, damaged, no run, or that this JAX cannot read,
    and ModuleNotFoundError without the package flatbuffers.
    """
    artifact = load_artifact(path, _WHAT)
    with refused_as_misfit(Path(path), "exported run"):
        leaves = [name for name, _ in artifact.header["results"] if _root(name) == "outs"]
        rest = iter(leaves)
        _rebuilt(artifact.header["outs"], rest)
        if next(rest, None) is not None:
            raise ValueError("it has more outs than places for them")
    return ExportedRun(artifact)


def _root(name: str) -> str:
    """Which argument a leaf is of: names go on with a dot or a bracket."""
    return name.replace("[", ".").split(".")[0]


def _as_given(state: PyTree, names: Sequence[str], leaves: Sequence[Any]) -> PyTree:
    """The leaves of a state in the form that it was given in."""
    if _is_flat(state, names):
        return dict(zip(names, leaves, strict=True))
    return jax.tree.unflatten(jax.tree.structure(state), leaves)


def _listed(names: set[str]) -> str:
    """A few of the names."""
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return (", ".join(sorted(names)[:_SHOWN]) or "none") + more


def _is_flat(tree: Any, names: Sequence[str]) -> bool:
    return isinstance(tree, Mapping) and len(names) > 0 and {*tree} == {*names}


def _skeleton(tree: PyTree) -> Any:
    """The containers of a tree as JSON has them: "*" for a leaf."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {"dict": {name: _skeleton(tree[name]) for name in sorted(tree)}}
    level = default_registry.flatten_one_level(tree)
    if level is None:
        return "*"
    kind = "list" if isinstance(tree, list) else "tuple"
    return {kind: [_skeleton(child) for child in level[0]]}


def _rebuilt(skeleton: Any, leaves: Iterator[Any]) -> PyTree:
    """The tree of a skeleton, its leaves taken in order."""
    if skeleton is None:
        return None
    if skeleton == "*":
        return next(leaves)
    ((kind, children),) = skeleton.items()
    if kind == "dict":
        return {name: _rebuilt(child, leaves) for name, child in children.items()}
    parts = [_rebuilt(child, leaves) for child in children]
    return parts if kind == "list" else tuple(parts)
