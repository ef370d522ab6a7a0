"""`jaxgd export`: a saved model as a program that runs without jaxgd."""

from pathlib import Path

from tyro.conf import Positional

from jaxgd.arguments import PLATFORMS
from jaxgd.cli.settings import (
    check_replaces_no_input,
    check_replaces_nothing,
    make_room,
    writable,
)


def export(
    model: Positional[Path],
    *,
    out: Path = Path("predictor.jaxgd"),
    platforms: tuple[str, ...] = PLATFORMS,
    force: bool = False,
) -> None:
    """Write a saved model as one program for CPUs and accelerators that needs JAX alone.

    docs/export.md has the few lines that run it. A training is exported in Python, by
    jaxgd.export_run.

    Args:
        model: File that `jaxgd fit` saved.
        out: Where the program goes.
        platforms: What it is to run on.
        force: Replace a file that is there.
    """
    writable(out)
    model.open("rb").close()  # a missing file is told before anything is imported
    check_replaces_no_input(out, "--out", model)
    check_replaces_nothing(out, "--out", force)

    from jaxgd.cli.terminal import console
    from jaxgd.interop.exported_predictor import export_predictor
    from jaxgd.tabular import load_model

    loaded = load_model(model)
    exported = export_predictor(loaded, platforms=platforms)
    make_room(out, 2 * len(exported.artifact.program))
    exported.save(out)
    schema = loaded.schema
    console().print(
        f"predictor of {schema.target.name} from {len(schema.features)} features for "
        f"{', '.join(platforms)}, {out.stat().st_size / 1e3:.0f} kB: {out}",
        soft_wrap=True,
    )
