"""Every port, honest and with each of its faults, told as a table."""

from collections import Counter

import numpy as np

from tests.equivalence.ports.causes import judged
from tests.equivalence.ports.models import PORTS
from tests.equivalence.ports.porting import proof

SEEDS = 5
WORDS = ("named", "unknown", "wrong")


def table(seeds: int = SEEDS) -> str:
    """One row a port, in Markdown; the faults are planted in float32, with seed 0."""
    total: Counter[str] = Counter()
    lines = [
        "| port | f32: same, unproven, accused | f64 | resolution of the gradient (f32) "
        "| null directions | faults found | missed | cause named, unknown, wrong |",
        "|---|--:|--:|--:|---|--:|---|--:|",
    ]
    for port in PORTS:
        honest = {d: [proof(port, s, d) for s in range(seeds)] for d in (np.float32, np.float64)}
        counts = {d: Counter(p.verdict for p in proofs) for d, proofs in honest.items()}
        verdicts = [
            ", ".join(str(c[v]) for v in ("equivalent", "unproven", "parted"))
            for c in counts.values()
        ]
        worst = max(p.resolution["gradient"] for p in honest[np.float32] if p.resolution)
        null = ", ".join(sorted({path for p in honest[np.float32] for path in p.null_directions}))
        found = {name: proof(port, **fault) for name, fault in port.faults.items()}
        told = Counter(judged(n, p.cause) for n, p in found.items() if p.verdict == "parted")
        missed = [name for name, p in found.items() if p.verdict != "parted"]
        lines.append(
            f"| {port.name} | {verdicts[0]} | {verdicts[1]} | {worst:.0e} | {null or '–'} "
            f"| {len(found) - len(missed)} of {len(found)} | {', '.join(missed) or '–'} "
            f"| {', '.join(str(told[word]) for word in WORDS)} |"
        )
        total.update(told)
    counted = ", ".join(f"{total[word]} {word}" for word in WORDS)
    return "\n".join([*lines, "", f"Causes of {total.total()} faults that were found: {counted}."])
