"""The frame of a plain SVG: two axes, their ticks and names, and what is drawn between them."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 36

# Without a page's style, as in a file of its own, the first colour of each stands.
COLOURS = (
    *("var(--c0, #0072b2)", "var(--c1, #c04f00)", "var(--c2, #00785a)"),
    *("var(--c3, #a8488a)", "var(--c4, #8a6100)", "var(--c5, #2f6fb0)"),
)
DASHES = ("", "6 3", "2 2", "9 2 2 2", "1 3", "12 4")  # tell lines apart in grey


class Axis(NamedTuple):
    """What stands at the ends of an axis, its name, and whether it is logarithmic."""

    low: float
    high: float
    name: str
    log: bool = False

    def part(self, value: float) -> float:
        """How far along the axis a value is, in [0, 1]: what lies beyond stands at its end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Four to eight values to be named: 1, 2 and 5 of each decade, or round steps."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            all_ = [m * 10.0**d for d in decades for m in (1, 2, 5)]
            inside = [x for x in all_ if self.low <= x * (1 + 1e-9) and x <= self.high * (1 + 1e-9)]
            if len(inside) >= 3:
                return inside if len(inside) <= 8 else _thinned([10.0**d for d in decades], self)
        step = round_step((self.high - self.low) / 6)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def _thinned(decades: Sequence[float], axis: Axis) -> list[float]:
    inside = [x for x in decades if axis.low <= x <= axis.high]
    return inside[:: max(1, math.ceil(len(inside) / 8))]


def round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))


def axis(values: Sequence[float], name: str, log: bool = False) -> Axis:
    """The axis that holds these, the finite of them; a logarithmic one, the positive."""
    kept = [x for x in values if math.isfinite(x) and (x > 0 or not log)]
    low, high = min(kept, default=1.0), max(kept, default=1.0)
    if log:
        return Axis(low / 1.1, high * 1.1, name, True)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return Axis(low - room, high + room, name)


class Frame(NamedTuple):
    """Where values of two axes are on a canvas."""

    x: Axis
    y: Axis

    def across(self, value: float) -> float:
        """The place of a value of the lower axis."""
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * self.x.part(value)

    def up(self, value: float) -> float:
        """The place of a value of the left axis."""
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * self.y.part(value)

    def drawn(self, alt: str, shapes: Sequence[str]) -> str:
        """The SVG of shapes between the axes; `alt` says in words what they show."""
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        lines = []
        for value in self.y.ticks():
            y = self.up(value)
            lines.append(
                f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="currentColor" opacity=".15"/>'
                f'<text x="{_LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{short(value)}</text>'
            )
        for value in self.x.ticks():
            x = self.across(value)
            lines.append(
                f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{short(value)}</text>'
            )
        lines.append(
            f'<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="currentColor"/>'
            f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">{_text(self.x.name)}</text>'
            f'<text transform="translate(10 {(bottom + _TOP) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{_text(self.y.name)}</text>'
        )
        return canvas(alt, [*lines, *shapes])


def canvas(alt: str, shapes: Sequence[str], height: float = HEIGHT) -> str:
    """The SVG of shapes as they are; `alt` says in words what they show."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{_text(alt)}" font-size="10" font-family="sans-serif">'
        + "".join(shapes)
        + "</svg>"
    )


def label(x: float, y: float, told: str, anchor: str = "start", more: str = "") -> str:
    """A text on a canvas."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{_text(told)}</text>'


def short(value: float) -> str:
    """A number as an axis names it: 0.05, 200, 3000000 as 3e+06; no -0."""
    return f"{value + 0.0:.6g}" if 1e-4 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"


def clipped(name: str, most: int = 24) -> str:
    """A name that may be long, as there is room for it."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _text(told: object) -> str:
    return html.escape(str(told))
