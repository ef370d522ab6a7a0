"""`jaxgd check`: this machine's numbers held against PyTorch's."""

import jax

from jaxgd.cli.terminal import console, numbers_table
from jaxgd.interop.torch import conformance
from jaxgd.interop.torch.conformance import PRECISION


def check() -> None:
    """Hold the lesson, the descents and the optimizers against PyTorch on this machine's device.

    The exit status is 1 when one of them differs by more than rounding.
    """
    device = jax.devices()[0]
    screen = console()
    screen.print(f"{device.platform} ({device.device_kind}), jax {jax.__version__} against torch")
    screen.print(f'computed with jax.default_matmul_precision("{PRECISION}"): set it, too')
    grid = numbers_table("", "dtype", "error", "of allowed", "verdict")
    failed = []
    for checked in conformance.checks():
        grid.add_row(
            checked.algorithm,
            checked.dtype,
            f"{checked.error:.1e}",
            f"{checked.of_allowed:.2g}",
            checked.report.verdict,
        )
        if not checked.passed:
            failed.append(checked)
    screen.show(grid)
    if failed:
        title = f"{failed[0].algorithm} in {failed[0].dtype}:"
        screen.print(f"{title}\n{failed[0].report}", markup=False, soft_wrap=True)
        raise SystemExit(1)
