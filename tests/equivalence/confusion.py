"""The confusion table of docs/equivalence.md: `python -m tests.equivalence.confusion`."""

from collections import Counter
from functools import cache
from itertools import groupby

import jax

from jaxgd.equivalence import Diagnosis
from tests.equivalence.faults import FAULTS
from tests.equivalence.honest import HONEST
from tests.equivalence.pairs import Pair, verdict

_ORDER = ("float32", "float64")


@cache
def found(pair: Pair) -> Diagnosis:
    return pair.diagnose()


def table() -> str:
    """The counts, then every fault and every honest pair, as Markdown."""
    faults, honest = (Counter(verdict(p, found(p)) for p in pairs) for pairs in (FAULTS, HONEST))
    wrong = sum(count for name, count in faults.items() if name.startswith("wrong"))
    lines = [
        "| | pairs | nothing found | cause named right | cause unknown | wrong |",
        "|---|--:|--:|--:|--:|--:|",
        f"| planted faults | {len(FAULTS)} | {faults['missed']} | {faults['named']} "
        f"| {faults['unknown']} | {wrong} |",
        f"| honest pairs | {len(HONEST)} | {honest['quiet']} | – | – | {honest['false alarm']} |",
        "",
        "| planted fault | from update | found in update (f32, f64) | stage | cause as told |",
        "|---|--:|--:|---|---|",
        *(_fault(list(pairs)) for _, pairs in groupby(FAULTS, lambda pair: pair.name)),
        "",
        "| honest pair | found (f32, f64) |",
        "|---|---|",
        *(_honest(list(pairs)) for _, pairs in groupby(HONEST, lambda pair: pair.name)),
    ]
    return "\n".join(lines)


def _fault(pairs: list[Pair]) -> str:
    by_dtype = {pair.dtype.__name__: found(pair) for pair in pairs}
    updates = ", ".join(str(by_dtype[d].update) if d in by_dtype else "–" for d in _ORDER)
    stages = " / ".join(dict.fromkeys(str(d.stage) for d in by_dtype.values()))
    causes = " / ".join(dict.fromkeys(by_dtype[d].cause for d in _ORDER if d in by_dtype))
    return f"| {pairs[0].name} | {pairs[0].update} | {updates} | {stages} | {causes} |"


def _honest(pairs: list[Pair]) -> str:
    verdicts = ", ".join("–" if found(p).update is None else "accused" for p in pairs)
    return f"| {pairs[0].name} | {verdicts} |"


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    print(table())
