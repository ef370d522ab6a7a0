"""A whole training run as one file: exported here, run where its source is not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey
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
    as plain tuples, and dictionaries of every kind as plain ones. It is not differentiated.
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
        after = {name: next(results) for name in self._names("state")}
        return _as_given(state, after), _rebuilt(self.header["outs"], results)

    def save(self, path: Path | str) -> None:
        """Write the run as one file: afterwards it is the whole new one, or the old."""
        self.artifact.save(path)

    def _leaves(self, argument: str, tree: PyTree) -> list[Any]:
        """The leaves of an argument in the header's order."""
        names = self._names(argument)
        found = tree if _is_flat(tree, names) else named(tree, argument)
        if {*found} != {*names}:
            raise ValueError(
                f"{argument} must have the leaves that were exported; missing are "
                f"{_listed({*names} - {*found})}, and not expected {_listed({*found} - {*names})}. "
                "Pass a tree like that one, or a dictionary of arrays by the header's names."
            )
        return [found[name] for name in names]

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
    state comes back in another structure, outs with other keys than text and integers, and for
    unknown platforms; ModuleNotFoundError without the package flatbuffers (the extra `export`),
    which JAX needs for this and does not ask for.
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


def _as_given(state: PyTree, leaves: Mapping[str, Any]) -> PyTree:
    """The leaves of a state, by name, in the form that it was given in."""
    if _is_flat(state, [*leaves]):
        return {**leaves}
    own = [leaves[name] for name in named(state, "state")]
    return jax.tree.unflatten(jax.tree.structure(state), own)


def _listed(names: set[str]) -> str:
    """A few of the names."""
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return (", ".join(sorted(names)[:_SHOWN]) or "none") + more


def _is_flat(tree: Any, names: Sequence[str]) -> bool:
    return isinstance(tree, Mapping) and len(names) > 0 and {*tree} == {*names}


def _skeleton(tree: PyTree) -> Any:
    """The containers of a tree in JAX's own order, as JSON has them: "*" for a leaf."""
    if tree is None:
        return None
    level = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: node is not tree)
    if any(not path for path, _ in level):
        return "*"
    keys = [path[0] for path, _ in level]
    parts = [_skeleton(child) for _, child in level]
    if isinstance(tree, Mapping) and all(isinstance(key, DictKey) for key in keys):
        return {"dict": [[_in_json(key.key), part] for key, part in zip(keys, parts, strict=True)]}
    return {"list" if isinstance(tree, list) else "tuple": parts}


def _in_json(key: Any) -> str | int:
    """A dictionary's key, if JSON gives it back as it was."""
    if type(key) not in (str, int):
        raise ValueError(
            f"the keys of outs must be text or integers; got {key!r} of type {type(key).__name__}. "
            "Name the outs by text."
        )
    return key


def _rebuilt(skeleton: Any, leaves: Iterator[Any]) -> PyTree:
    """The tree of a skeleton, its leaves taken in order."""
    if skeleton is None:
        return None
    if skeleton == "*":
        return next(leaves)
    ((kind, children),) = skeleton.items()
    if kind == "dict":
        return {key: _rebuilt(child, leaves) for key, child in children}
    parts = [_rebuilt(child, leaves) for child in children]
    return parts if kind == "list" else tuple(parts)
