"""Two trainings side by side, as one HTML file that opens offline: plain SVG, readable in grey."""

import math
from collections.abc import Iterator, Mapping, Sequence

from jaxgd.figures.html_page import page, text
from jaxgd.figures.svg_frame import DASHES

WIDTH, HEIGHT, LEFT, BOTTOM = 360, 190, 46, 22
_SHOWN, _STRIPS = 6, 60
_SMALLEST = 1e-4  # of what is allowed: below this, nothing is to be seen

_STYLE = "table { table-layout: fixed; } td, th { overflow-wrap: anywhere; min-width: 0; }"

Series = Sequence[float]


def divergence_page(
    title: str,
    verdict: str,
    leaves: Mapping[str, Series],
    configurations: tuple[Mapping[str, object], Mapping[str, object]],
    effects: Mapping[str, str],
    names: tuple[str, str] = ("actual", "expected"),
    beyond: str = "",
) -> str:
    """The page.

    leaves: by path, how far it strays at each update, as a multiple of what is allowed; the first
        entry is the start. configurations: of both sides. effects: by setting, what a difference
        in it does. beyond: what to say where a leaf strays beyond what is allowed.
    """
    worst = sorted(leaves, key=lambda path: -_largest(leaves[path]))
    parts = [
        f"<pre>{text(verdict)}</pre>",
        *_charts(leaves, worst, beyond),
        "<h2>The two configurations</h2>",
        _configuration_table(*configurations, effects, names),
    ]
    return page(title, parts, style=_STYLE)


def _charts(leaves: Mapping[str, Series], worst: Sequence[str], beyond: str) -> Iterator[str]:
    if not leaves:
        return
    yield "<h2>Divergence over updates</h2>"
    if beyond and _largest(leaves[worst[0]]) > 1:
        yield f"<p>{text(beyond)}</p>"
    yield _chart({path: leaves[path] for path in worst[:_SHOWN]})
    yield "<ol>" + "".join(f"<li>{text(path)}</li>" for path in worst[:_SHOWN]) + "</ol>"
    yield "<h2>Leaf by leaf</h2>"
    yield (
        "<p>The darker, the farther apart; a strip runs from the first update to the last, and is "
        "black where a leaf strays beyond what is allowed.</p>"
    )
    columns = "leaf", "farthest, by what is allowed", "parts in update"
    yield "<table><tr>" + "".join(f"<th>{column}</th>" for column in columns) + "</tr>"
    for path in leaves if len(leaves) <= _STRIPS else worst[:_STRIPS]:
        parted = next((t for t, x in enumerate(leaves[path]) if x > 1), None)
        yield (
            f"<tr><td>{text(path)}{_strip(leaves[path])}</td><td>{_largest(leaves[path]):.2g}</td>"
            f"<td>{'–' if parted is None else parted}</td></tr>"
        )
    yield "</table>"
    if len(leaves) > _STRIPS:
        yield f"<p>The {_STRIPS} farthest of {len(leaves)} leaves.</p>"


def _largest(series: Series) -> float:
    return max((x for x in series if not math.isnan(x)), default=0.0)


def _chart(leaves: Mapping[str, Series]) -> str:
    """Each leaf's distance on a logarithmic axis, over the band of what is allowed."""
    finite = [x for s in leaves.values() for x in s if math.isfinite(x)]
    top = max(1.0, math.ceil(math.log10(max([10.0, *finite]))))
    low = math.log10(_SMALLEST)
    last = max(len(s) for s in leaves.values()) - 1

    def across(update: int) -> float:
        return LEFT + (WIDTH - LEFT - 16) * update / max(last, 1)

    def up(times: float) -> float:
        if math.isnan(times):  # nothing to be compared
            times = _SMALLEST
        level = min(math.log10(max(times, _SMALLEST)), top) if times < math.inf else top
        return 8 + (HEIGHT - BOTTOM - 8) * (top - level) / (top - low)

    lines = [
        f'<rect x="{LEFT}" y="{up(1.0):.1f}" width="{WIDTH - LEFT - 16}" '
        f'height="{up(_SMALLEST) - up(1.0):.1f}" fill="currentColor" opacity=".1"/>',
        f'<text x="{LEFT + 4}" y="{up(_SMALLEST) - 5:.1f}">within what rounding may do</text>',
    ]
    step = max(1, round((top - low) / 6))
    for power in range(int(low), int(top) + 1, step):
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{up(10.0**power):.1f}" '
            f'y2="{up(10.0**power):.1f}" stroke="currentColor" opacity=".2"/>'
            f'<text x="{LEFT - 4}" y="{up(10.0**power) + 3:.1f}" text-anchor="end">1e{power}</text>'
        )
    for i, series in enumerate(leaves.values()):
        points = " ".join(f"{across(t):.1f},{up(x):.1f}" for t, x in enumerate(series))
        end = len(series) - 1
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.4" '
            f'stroke-dasharray="{DASHES[i]}" opacity="{1 - 0.1 * i:.1f}"/>'
            f'<text x="{across(end) + 3:.1f}" y="{up(series[end]) + 3:.1f}">{i + 1}</text>'
        )
    for update in sorted({0, last // 2, last}):
        lines.append(
            f'<text x="{across(update):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{update}</text>'
        )
    lines.append(f'<text x="{WIDTH - 16}" y="{HEIGHT}" text-anchor="end">updates</text>')
    middle = (HEIGHT - BOTTOM + 8) / 2
    lines.append(
        f'<text transform="translate(10 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        "times what is allowed</text>"
    )
    label = "How far each leaf strays at each update, as a multiple of what is allowed"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 2}" role="img" aria-label="{label}">'
        + "".join(lines)
        + "</svg>"
    )


def _strip(series: Series) -> str:
    """One leaf's distance as shades, in at most as many cells as a phone shows."""
    cells = min(len(series), 90)
    shades = []
    for i in range(cells):
        part = series[i * len(series) // cells : (i + 1) * len(series) // cells]
        times = _largest(part)
        level = math.log10(max(times, _SMALLEST)) if times < math.inf else 0.0
        shade = 1.0 if times > 1 else max(0.0, 0.6 * (1 - level / math.log10(_SMALLEST)))
        shades.append(
            f'<rect x="{90 * i / cells:.2f}" y="0" width="{90 / cells:.2f}" height="6" '
            f'fill="currentColor" opacity="{shade:.2f}"/>'
        )
    size = 'viewBox="0 0 90 6" preserveAspectRatio="none" style="height:10px"'
    return f"<svg {size}>{''.join(shades)}</svg>"


def _configuration_table(
    actual: Mapping[str, object],
    expected: Mapping[str, object],
    effects: Mapping[str, str],
    names: tuple[str, str],
) -> str:
    """Both sides in one table; what differs is bold, marked, and says what it does."""
    rows = [f"<tr><th>setting</th><th>{text(names[0])}</th><th>{text(names[1])}</th></tr>"]
    for name in sorted(actual.keys() | expected.keys()):
        ours, theirs = (_value(side[name]) if name in side else "–" for side in (actual, expected))
        differs = name in actual and name in expected and ours != theirs
        told = next((e for n, e in effects.items() if n == name or n.startswith(f"{name}.")), "")
        mark = f" ≠ {told}" if differs else ""
        kind = ' class="differs"' if differs else ""
        rows.append(
            f"<tr{kind}><td>{text(name + mark)}</td>"
            f"<td>{text(ours)}</td><td>{text(theirs)}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_value(v)}" for name, v in value.items())
    shown = str(value)
    return shown if len(shown) <= 300 else f"{shown[:300]} …"
