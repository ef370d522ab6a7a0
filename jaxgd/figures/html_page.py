"""A page of HTML that opens offline, light or dark as its reader's screen is."""

import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --faint: #8886;
        --c0: #0072b2; --c1: #c04f00; --c2: #00785a; --c3: #a8488a; --c4: #8a6100; --c5: #2f6fb0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #161616; --c0: #56b4e9; --c1: #f0894a; --c2: #2fc79b;
          --c3: #e39ac4; --c4: #e6b94d; --c5: #9cc9f0; } }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 46rem; margin: 1rem auto;
       padding: 0 .8rem; color: var(--ink); background: var(--paper); }
body.wide { max-width: 64rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin-top: 1.6rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid; padding-left: .7rem; }
svg { width: 100%; height: auto; display: block; color: inherit; }
svg text { font: 10px system-ui, sans-serif; fill: currentColor; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
td, th { text-align: left; vertical-align: top; padding: .2rem .35rem;
         border-bottom: 1px solid var(--faint); }
td { overflow-wrap: anywhere; } td:not(.n) { min-width: 4.5rem; }
th { font-weight: 600; overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
tr.differs { font-weight: 700; }
caption { text-align: left; padding: .2rem .35rem; }
figure { margin: 0; } figcaption { font-size: .85rem; padding: .2rem .35rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
        gap: .8rem 2rem; align-items: start; }
.scroll { margin-bottom: .8rem; overflow-x: auto; max-height: 26rem;
          overflow-y: auto; }
"""


def page(title: str, parts: Iterable[str], wide: bool = False, style: str = "") -> str:
    """The page of these parts, each HTML, under their title."""
    kind = ' class="wide"' if wide else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head><body{kind}>\n"
        f"<h1>{text(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def text(told: object) -> str:
    """Anything as text of a page."""
    return html.escape(str(told))


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], names: int = 1
) -> str:
    """A table; the first columns hold names, the others numbers, unless all do.

    It scrolls by itself where it is wider or longer than there is room, by the keyboard, too.
    """

    def row(cells: Sequence[object], scope: str) -> str:
        made = []
        for i, told in enumerate(cells):
            is_head = scope == "col" or i == 0
            mark, kind = "th" if is_head else "td", "" if i < names else ' class="n"'
            where = f' scope="{scope}"' if is_head else ""
            made.append(f"<{mark}{kind}{where}>{text(told)}</{mark}>")
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "row") for cells in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}">'
        f"<table><caption>{text(caption)}</caption>"
        f"<thead>{row(header, 'col')}</thead><tbody>{body}</tbody></table></div>"
    )


def beside(svg: str, caption: str, *others: str) -> str:
    """A figure with what it shows, and beside it, where there is room, its numbers."""
    figure = f"<figure>{svg}<figcaption>{text(caption)}</figcaption></figure>"
    return f'<div class="pair">{figure}<div>{"".join(others)}</div></div>'
