"""`python -m benchmarks.start_up`: the command as a whole process, from its start to its end.

Beside it a script of polars and scikit-learn that does the same job: it reads the table, holds a
fifth out, standardises, fits a logistic regression, scores it and saves it. Each turn runs every
command once; the least of the turns counts. Peak memory is the process's own. The last column is
what we mean to reach, and whether it is; for `import jaxgd` over `import jax, optax`, which is
most of every figure.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks import machine

ROOT = Path(__file__).parents[1]
FEATURES = 10
SCRIPT = """
import sys
import joblib, polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
read = pl.read_parquet if sys.argv[1].endswith(".parquet") else pl.read_csv
table = read(sys.argv[1])
x, y = table.drop("y").to_numpy(), table["y"].to_numpy()
seen, held, y_seen, y_held = train_test_split(x, y, test_size=0.2, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(seen, y_seen)
for rows, labels in ((seen, y_seen), (held, y_held)):
    print(log_loss(labels, model.predict_proba(rows)), model.score(rows, labels))
joblib.dump(model, "model.joblib")
"""


class Job(NamedTuple):
    """A process: its name, its words, its exit status, and whether no programs are kept before.

    `seconds` and `mebibytes` are what it may take at most, the seconds over those of the job named
    `over`.
    """

    name: str
    words: tuple[str, ...]
    status: int = 0
    is_first: bool = False
    seconds: float | None = None
    mebibytes: float | None = None
    over: str | None = None


_IMPORTS = "`import jax, optax`"


class Spent(NamedTuple):
    """What a process took: seconds from start to end, seconds of its processors, MB at its peak."""

    wall: float
    cpu: float
    peak: float


def jobs(rows: int) -> list[Job]:
    command = (sys.executable, "-m", "jaxgd")
    script, alone = (sys.executable, "script.py"), (sys.executable, "-c")
    found = [
        Job("`--help`", (*command, "--help"), seconds=0.25),
        Job("a wrong argument", (*command, "fit", "--epochs", "1.5"), 2, seconds=0.25),
        Job("a missing file", (*command, "fit", "nowhere.csv"), 2, seconds=0.25),
        Job("a missing column, 2,000 rows", (*command, "fit", "small.csv", "--target", "z"), 2),
        Job(_IMPORTS, (*alone, "import jax, optax")),
        Job(
            "`import jax, optax, jaxgd`",
            (*alone, "import jax, optax, jaxgd"),
            seconds=0.06,
            over=_IMPORTS,
        ),
        Job("fit 2,000 rows, first", (*command, "fit", "small.csv"), is_first=True, seconds=2),
        Job("fit 2,000 rows, again", (*command, "fit", "small.csv"), seconds=1.4),
        Job("fit 2,000 rows, scikit-learn", (*script, "small.csv")),
    ]
    for suffix, seconds, mebibytes in ((".csv", 3.3, 600), (".parquet", 3.1, None)):
        table = f"large{suffix}"
        name = f"{rows:,} rows of {suffix[1:]}"
        found += [
            Job(f"fit {name}, first", (*command, "fit", table), is_first=True),
            Job(
                f"fit {name}, again",
                (*command, "fit", table),
                seconds=seconds,
                mebibytes=mebibytes,
            ),
            Job(f"fit {name}, scikit-learn", (*script, table)),
            Job(f"predict {name}", (*command, "predict", "model.safetensors", table, "--force")),
        ]
    return found


def table(rows: int) -> pl.DataFrame:
    """Features at full precision, some 195 MB of CSV a million rows, and two classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, FEATURES)) * 10.0 ** rng.integers(-2, 3, FEATURES)
    signal = (x / x.std(axis=0)).sum(axis=1) + rng.normal(size=rows)
    return pl.DataFrame({f"x{j}": x[:, j] for j in range(FEATURES)} | {"y": signal > 0}).cast(
        {"y": pl.Int64}
    )


def spent(job: Job, folder: Path) -> Spent:
    """Run it once."""
    if job.is_first:
        shutil.rmtree(folder / "cache", ignore_errors=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    environment |= {"PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.perf_counter()
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen(
            job.words, cwd=folder, env=environment, stdout=told, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != job.status:
        raise RuntimeError(f"{job.name}: {(folder / 'told').read_text()}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def judged(job: Job, least: dict[str, Spent]) -> str:
    """What a job may take, and whether it takes no more."""
    wall, _, peak = least[job.name]
    extra = wall - (0 if job.over is None else least[job.over].wall)
    bounds = [(job.seconds, extra, "s"), (job.mebibytes, peak, "MiB")]
    told = [
        f"{most:g} {unit}: {'yes' if found <= most else 'no'}"
        for most, found, unit in bounds
        if most is not None
    ]
    return ", ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_up", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large table")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    told = "; ".join(f"{name} {value}" for name, value in machine.describe().items())
    print(f"{told}\n\nThe least of {options.rounds} rounds, each of all.\n")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "script.py").write_text(SCRIPT)
        table(2000).write_csv(folder / "small.csv")
        large = table(options.rows)
        large.write_csv(folder / "large.csv")
        large.write_parquet(folder / "large.parquet")
        del large
        each = jobs(options.rows)
        rounds = [[spent(job, folder) for job in each] for _ in range(options.rounds)]
    least = {
        job.name: Spent(*map(min, zip(*runs, strict=True)))
        for job, *runs in zip(each, *rounds, strict=True)
    }
    print("| | s | CPU s | peak MiB | at most |\n|---|---:|---:|---:|---|")
    for job in each:
        wall, cpu, peak = least[job.name]
        print(f"| {job.name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {judged(job, least)} |")
    print(f"\nLoad at the end {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
