"""Charts of plain SVG: curves, points about a line, counts by class, bars."""

import math
from collections.abc import Iterator, Mapping, Sequence

from jaxgd.figures.svg_frame import (
    COLOURS,
    DASHES,
    WIDTH,
    Axis,
    Frame,
    axis,
    canvas,
    clipped,
    label,
    short,
)

Points = Sequence[tuple[float, float]]
_BAR, _CELL = 16.0, 30.0


def curves(lines: Mapping[str, Points], x: str, y: str, alt: str) -> str:
    """Lines through points, each with its name: on a logarithmic axis where all are positive.

    What is not finite breaks a line.
    """
    values = [v for points in lines.values() for _, v in points if math.isfinite(v)]
    across = axis([u for points in lines.values() for u, _ in points], x)
    frame = Frame(across, axis(values, y, log=min(values, default=0) > 0))
    shapes = []
    for i, (name, points) in enumerate(lines.items()):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        for piece in _pieces(points):
            at = " ".join(f"{frame.across(u):.1f},{frame.up(v):.1f}" for u, v in piece)
            shapes.append(
                f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.8" '
                f'stroke-dasharray="{dash}" stroke-linejoin="round"/>'
            )
        shapes.append(
            f'<line x1="{WIDTH - 130}" x2="{WIDTH - 106}" y1="{17 + 13 * i}" y2="{17 + 13 * i}" '
            f'stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
            + label(WIDTH - 102.0, 20.0 + 13 * i, clipped(name, 17))
        )
    return frame.drawn(alt, shapes)


def _pieces(points: Points) -> Iterator[Points]:
    piece: list[tuple[float, float]] = []
    for u, v in points:
        if math.isfinite(v):
            piece.append((u, v))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def about_line(points: Points, x: str, y: str, alt: str, diagonal: bool, joined: bool) -> str:
    """Points about the diagonal, or about zero; joined in their order, or a cloud."""
    us, vs = [u for u, _ in points], [v for _, v in points]
    if diagonal:
        both = axis([*us, *vs], "")
        frame = Frame(both._replace(name=x), both._replace(name=y))
        ends = (both.low, both.low), (both.high, both.high)
    else:
        frame = Frame(axis(us, x), axis([*vs, 0.0], y))
        ends = (frame.x.low, 0.0), (frame.x.high, 0.0)
    (u0, v0), (u1, v1) = [(frame.across(u), frame.up(v)) for u, v in ends]
    shapes = [
        f'<line x1="{u0:.1f}" y1="{v0:.1f}" x2="{u1:.1f}" y2="{v1:.1f}" stroke="currentColor" '
        'stroke-dasharray="4 3" opacity=".7"/>'
    ]
    if joined:
        at = " ".join(f"{frame.across(u):.1f},{frame.up(v):.1f}" for u, v in points)
        shapes.append(f'<polyline points="{at}" fill="none" stroke="{COLOURS[0]}"/>')
    radius, opacity = (3.2, 1.0) if joined else (2.0, 0.55)
    shapes += [
        f'<circle cx="{frame.across(u):.1f}" cy="{frame.up(v):.1f}" r="{radius}" '
        f'fill="{COLOURS[0]}" opacity="{opacity}"/>'
        for u, v in points
    ]
    return frame.drawn(alt, shapes)


def counts(names: Sequence[str], table: Sequence[Sequence[int]], alt: str) -> str:
    """How often each class (a row) was predicted as which: the darker, the larger a part of it."""
    k, left, top = len(names), 96.0, 44.0
    cell = min(88.0, (WIDTH - left - 8) / k)
    high = min(cell, _CELL + 8)
    shapes = [label(left, 12.0, "predicted as"), label(left - 6, top - 6, "is", "end")]
    for j, name in enumerate(names):
        shapes.append(label(left + (j + 0.5) * cell, 32.0, clipped(name, int(cell / 5)), "middle"))
    for i, (name, row) in enumerate(zip(names, table, strict=True)):
        y, whole = top + i * high, max(sum(row), 1)
        shapes.append(label(left - 6, y + high / 2 + 3, clipped(name, 16), "end"))
        for j, count in enumerate(row):
            x = left + j * cell
            shapes.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 2:.1f}" height="{high - 2:.1f}" '
                f'fill="{COLOURS[0]}" opacity="{0.08 + 0.47 * count / whole:.2f}"/>'
                + label(x + cell / 2 - 1, y + high / 2 + 3, str(count), "middle")
            )
    return canvas(alt, shapes, top + k * high + 4)


def bars(values: Mapping[str, float], alt: str) -> str:
    """A bar to the left or the right for each name, in order."""
    left, right = 150.0, WIDTH - 44.0
    both = Axis(min([0.0, *values.values()]), max([0.0, *values.values()]), "")
    both = both if both.low < both.high else Axis(-1.0, 1.0, "")
    room = 34.0 if both.low < 0 else 0.0  # for the figures of bars to the left

    def at(value: float) -> float:
        return left + room + (right - left - room) * both.part(value)

    shapes = []
    for i, (name, value) in enumerate(values.items()):
        y, start, end = i * _BAR, min(at(0.0), at(value)), max(at(0.0), at(value))
        shapes.append(label(left - 6, y + 12, clipped(name, 26), "end"))
        shapes.append(
            f'<rect x="{start:.1f}" y="{y + 3}" width="{end - start:.1f}" height="{_BAR - 5}" '
            f'fill="{COLOURS[0 if value >= 0 else 1]}"/>'
        )
        beyond = (end + 3, "start") if value >= 0 else (start - 3, "end")
        shapes.append(label(beyond[0], y + 12, short(float(f"{value:.3g}")), beyond[1]))
    shapes.append(
        f'<line x1="{at(0.0):.1f}" x2="{at(0.0):.1f}" y1="0" y2="{len(values) * _BAR}" '
        'stroke="currentColor" opacity=".6"/>'
    )
    return canvas(alt, shapes, len(values) * _BAR + 4)
