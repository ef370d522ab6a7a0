"""`jaxgd check`: this machine's numbers held against PyTorch's, and its files against faults."""

from itertools import chain

from jaxgd.arguments import check_count


def check(
    *, reliability: bool = False, kills: int = 20, damages: int = 1000, tables: int = 1000
) -> None:
    """Hold the lesson, the descents and the optimizers against PyTorch on this machine's device.

    The exit status is 1 when one of them differs by more than rounding, and with --reliability
    when anything was lost, wrong, crashed or hung.

    Args:
        reliability: Instead, in a few minutes, try what may happen to files and to a training:
            every file operation fails, files are damaged, a training is killed.
        kills: How often a training is killed.
        damages: How many files are damaged.
        tables: How many tables are read.
    """
    if reliability:
        counts = {"kills": kills, "damages": damages, "tables": tables}
        _check_reliability(*(check_count(name, count) for name, count in counts.items()))
    else:
        _check_numbers()


def _check_reliability(kills: int, damages: int, tables: int) -> None:
    from jaxgd.cli.terminal import console, numbers_table
    from jaxgd.reliability import figures

    screen = console()
    grid = numbers_table("tried", "times", "right", "refused", "lost", "wrong", "crashed", "hung")
    failed = []
    with screen.status("trying"):
        for figure in figures(kills, damages, tables):
            found = figure.verdicts
            names = ("right", "refused", "lost", "wrong", "crashed", "hung")
            grid.add_row(figure.tried, *map(str, (found.total(), *(found[n] for n in names))))
            failed += [] if figure.passed else [figure]
    screen.show(grid)
    for figure in failed:
        screen.print(f"{figure.tried}: {figure.first_bad}", markup=False, soft_wrap=True)
    if failed:
        raise SystemExit(1)


def _check_numbers() -> None:
    import jax

    from jaxgd.cli.terminal import console, numbers_table
    from jaxgd.interop.torch import conformance

    checks = iter(conformance.checks())
    first = next(checks)  # where torch is missing, nothing has been said yet
    device = jax.devices()[0]
    screen = console()
    screen.print(f"{device.platform} ({device.device_kind}), jax {jax.__version__} against torch")
    screen.print(
        f'computed with jax.default_matmul_precision("{conformance.PRECISION}"): set it, too'
    )
    grid = numbers_table("", "dtype", "error", "of allowed", "verdict")
    failed = []
    for checked in chain([first], checks):
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
