"""The page docs/torch-parity.md: how far jaxgd and plain optax are from torch, and how to use it.

python -m tests.optim.parity_page > docs/torch-parity.md
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

import jax
import numpy as np
from torch.optim import lr_scheduler

from jaxgd.optim import schedules
from jaxgd.optim.registry import PUBLISHED, REGISTRY
from tests import tolerances
from tests.optim import problems
from tests.optim.cases import Case, Options, cases_of, compared, options_of
from tests.optim.gate import bounds
from tests.optim.plain_optax import plain_optax
from tests.optim.schedules.drawn import CYCLES
from tests.optim.schedules.drawn import OURS as DRAWN
from tests.optim.schedules.plain_optax import plain_schedule
from tests.optim.schedules.rates import COUNTS, LR, rates, tolerance_of, torch_options
from tests.optim.schedules.test_cycles import CYCLIC, ONE_CYCLE
from tests.optim.schedules.test_singles import SINGLE
from tests.optim.torchs_table import Outcome, outcomes
from tests.optim.trajectories import run_jax, run_torch, value_error

OURS = DRAWN | {torch_name: name for torch_name, name, _ in SINGLE.values()}
DTYPES = ("float64", "float32")
COLUMNS = ("jaxgd f64", "bound", "optax f64", "jaxgd f32", "bound", "optax f32")
HALF = ("jaxgd bf16", "bound")
PROSE = Path(__file__).with_name("parity_page.md")
Row: TypeAlias = Sequence[float | None]


def shown_cases() -> list[Case]:
    """The defaults of every optimizer, and each option alone: what `cases_of` begins with."""
    return [
        case
        for optimizer in compared()
        for case in itertools.islice(cases_of(optimizer), 1 + len(options_of(optimizer)))
    ]


def shown_schedules() -> dict[str, tuple[str, Options]]:
    """Every single schedule of the tests, by the name of its row: torch's class and the options."""
    shown = [(torch_name, options) for torch_name, _, options in SINGLE.values()]
    shown += [
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.5} | options) for options in CYCLIC.values()
    ]
    shown += [
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": COUNTS} | options)
        for options in ONE_CYCLE.values()
    ]
    return {f"{name}({_listed(options)})": (name, options) for name, options in shown}


def _listed(options: Options) -> str:
    """Options as in a call; a function by its name."""
    return ", ".join(
        f"{name}={getattr(value, '__name__', value)}" for name, value in options.items()
    ).replace("<lambda>", "λ")


def optimizer_rows(dtype: str) -> dict[str, Row]:
    """Each case's error of ours, its bound, and the error of plain optax, if there is one."""
    cases = shown_cases()
    gradients = problems.gradients(dtype)
    ours, plain = {}, {}
    for optimizer in compared():
        group = [case for case in cases if case.optimizer == optimizer]
        ours |= _runs(group, [case.jaxgd() for case in group], dtype)
        with_optax = [(case, tx) for case in group if (tx := plain_optax(case)) is not None]
        plain |= _runs(*map(list, zip(*with_optax, strict=True)), dtype) if with_optax else {}
    rows = {}
    for case in cases:
        expected = run_torch(case, dtype, gradients)
        error, bound = value_error(ours[case.id], expected), bounds(case, dtype)["values"]
        if error > bound and dtype == "float32":
            own = value_error(expected, run_torch(case, "float64", gradients))
            bound = tolerances.OPTIM_F32_OF_TORCHS_OWN * own
        other = value_error(plain[case.id], expected) if case.id in plain else None
        rows[case.id] = (error, bound, other)
    return rows


def half_rows() -> dict[str, Row]:
    """In bfloat16, over float32's gradients rounded: ours off torch's, and torch's off float64."""
    gradients = {
        name: leaf.astype(jax.numpy.bfloat16).astype(np.float32)
        for name, leaf in problems.gradients("float32").items()
    }
    rows = {}
    for optimizer in compared():
        cases = [case for case in shown_cases() if case.optimizer == optimizer]
        transforms = [case.jaxgd() for case in cases]
        runs = run_jax(cases, transforms, "bfloat16", gradients)
        for case, run in zip(cases, runs, strict=True):
            expected = run_torch(case, "bfloat16", gradients)
            own = value_error(expected, run_torch(case, "float64", gradients))
            bound = tolerances.OPTIM_BF16_OF_TORCHS_OWN * own
            rows[case.id] = (value_error(run.values, expected), bound)
    return rows


def _runs(cases: list[Case], transforms: list[Any], dtype: str) -> dict[str, problems.Arrays]:
    """The values of each transformation over torch's gradients, by the case's name."""
    runs = run_jax(cases, transforms, dtype, problems.gradients(dtype))
    return {case.id: run.values for case, run in zip(cases, runs, strict=True)}


def schedule_rows(dtype: str) -> dict[str, Row]:
    """The same for the schedules: errors against the largest rate, at every count."""
    rows = {}
    for name, (torch_name, options) in shown_schedules().items():
        build = functools.partial(getattr(lr_scheduler, torch_name), **options)
        expected = torch_options(build)[0]
        length = {"total_steps": COUNTS} if "lr_lambda" in options else {}
        base = () if torch_name in CYCLES else (LR,)
        with jax.enable_x64(dtype == "float64"):
            ours = rates(getattr(schedules, OURS[torch_name])(*base, **options, **length))
            other = plain_schedule(torch_name, LR, options)
            plain = None if other is None else _relative(rates(other), expected)
        bound = tolerances.SCHEDULE_F32 if dtype == "float32" else tolerance_of(torch_name)
        rows[name] = (_relative(ours, expected), bound, plain)
    return rows


def _relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.nan_to_num(np.max(np.abs(actual - expected)), nan=np.inf) / np.max(expected))


def overview() -> str:
    """One line for each row of the registry."""
    lines = [["jaxgd.optim", "torch.optim", "state, by torch's names", ""], ["---"] * 4]
    for name, row in REGISTRY.items():
        held = ", ".join(f"`{buffer}`" for buffer in (*row.buffers, *row.carried))
        lines.append([f"`{name}`", row.torch_class, held or "flat vectors", row.note])
    for name, each in PUBLISHED.items():
        lines.append([f"`{name}`", f"{each.package}.{each.cls}", "by its own names", each.note])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


RESULTS = ("passed", "departs", "not expressible", "failed")


def counted(optimizer: str, found: list[Outcome]) -> str:
    """The line of an optimizer in the table of what became of PyTorch's own cases."""
    counts = [sum(each.result == result for each in found) for result in RESULTS]
    return f"| {' | '.join([optimizer, *map(str, counts)])} |"


def torchs_own() -> str:
    """What became of PyTorch's own cases, and each reason for what did not pass."""
    lines = [["optim_db", *RESULTS], ["---"] * 5]
    found = {name: outcomes(name) for name in REGISTRY}
    why: dict[tuple[str, str], list[Outcome]] = {}
    for each in itertools.chain(*found.values()):
        if each.result in ("departs", "not expressible"):
            why.setdefault((each.result, each.sentence), []).append(each)
    rows = [f"| {' | '.join(line)} |" for line in lines]
    rows += [counted(name, each) for name, each in found.items()]
    reasons = [
        f"- {result}, {len(each)} of {', '.join(sorted({one.optimizer for one in each}))}: "
        f"{sentence}."
        for (result, sentence), each in sorted(why.items())
    ]
    return "\n".join([*rows, "", *reasons])


def table(first: str, rows: dict[str, Row], columns: Sequence[str] = COLUMNS) -> str:
    """A Markdown table."""
    lines = [[first, *columns], ["---"] * (1 + len(columns))]
    lines += [[f"`{name}`", *map(_shown, row)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(error: float | None) -> str:
    if error is None:
        return "none"
    if np.isinf(error):
        return "not finite"
    return f"{error:.0e}" if error else "0"


def page() -> str:
    """The whole page."""

    def both(rows: Callable[[str], dict[str, Row]]) -> dict[str, Row]:
        double, single = (rows(dtype) for dtype in DTYPES)
        return {name: (*double[name], *single[name]) for name in double}

    half = half_rows()
    optimizer_table = {name: (*row, *half[name]) for name, row in both(optimizer_rows).items()}
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        own = torchs_own()
    return Template(PROSE.read_text()).substitute(
        versions=", ".join(f"{name} {version(name)}" for name in ("torch", "optax", "jax")),
        overview=overview(),
        optimizers=table("torch.optim", optimizer_table, (*COLUMNS, *HALF)),
        torchs_own=own,
        schedules=table("torch.optim.lr_scheduler", both(schedule_rows)),
    )


if __name__ == "__main__":
    print(page(), end="")
