"""`jaxgd export`: a saved model as a program that runs without jaxgd."""

from pathlib import Path

from tyro.conf import Positional

from jaxgd.cli.settings import check_replaces_no_input, make_room, writable
from jaxgd.cli.terminal import console
from jaxgd.interop.artifact import PLATFORMS
from jaxgd.interop.exported_predictor import export_predictor
from jaxgd.tabular import load_model


def export(
    model: Positional[Path],
    *,
    out: Path = Path("predictor.jaxgd"),
    platforms: tuple[str, ...] = PLATFORMS,
) -> None:
    """Write a saved model as one program for CPUs and accelerators that needs JAX alone.

    docs/export.md has the few lines that run it. A training is exported in Python, by
    jaxgd.export_run.

    Args:
        model: File that `jaxgd fit` saved.
        out: Where the program goes.
        platforms: What it is to run on.
    """
    writable(out)
    check_replaces_no_input(out, "--out", model)
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
