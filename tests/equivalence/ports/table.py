"""Every port, honest and with each of its faults, told as a table."""

from collections import Counter

import numpy as np

from tests.equivalence.ports.frameworks import FRAMEWORK_PORTS
from tests.equivalence.ports.models import PORTS
from tests.equivalence.ports.porting import proof

SEEDS = 5


def table(seeds: int = SEEDS) -> str:
    """One row a port, in Markdown; the faults are planted in float32, with seed 0."""
    lines = [
        "| port | f32: same, unproven, accused | f64 | resolution of the gradient (f32) "
        "| null directions | faults found | missed |",
        "|---|--:|--:|--:|---|--:|---|",
    ]
    for port in [*PORTS, *FRAMEWORK_PORTS]:
        honest = {d: [proof(port, s, d) for s in range(seeds)] for d in (np.float32, np.float64)}
        counts = {d: Counter(p.verdict for p in proofs) for d, proofs in honest.items()}
        told = [
            ", ".join(str(c[v]) for v in ("equivalent", "unproven", "parted"))
            for c in counts.values()
        ]
        worst = max(p.resolution["gradient"] for p in honest[np.float32] if p.resolution)
        null = ", ".join(sorted({path for p in honest[np.float32] for path in p.null_directions}))
        found = {name: proof(port, **fault) for name, fault in port.faults.items()}
        missed = [name for name, p in found.items() if p.verdict != "parted"]
        lines.append(
            f"| {port.name} | {told[0]} | {told[1]} | {worst:.0e} | {null or '–'} "
            f"| {len(found) - len(missed)} of {len(found)} | {', '.join(missed) or '–'} |"
        )
    return "\n".join(lines)
