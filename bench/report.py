"""A report of one run: a page of tables and pictures, and the raw samples beside it.

A picture is a bar for each case, from nothing to its median, with a line from its least to its most; drawn as
SVG (https://www.w3.org/TR/SVG11/) by hand, for which no library is needed.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Final

from bench.pairs import SCALES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bench.pairs import Comparison

WIDTH, NAMES, FIGURES = 760, 250, 90  # of the whole, of the names at its left, of the figures at its right
ROW, BAR, HEAD = 26, 14, 34
OWN: Final = "#2f6f4f"
PEER: Final = "#9aa5b1"


def write(directory: Path, facts: Mapping[str, str], comparisons: Iterable[Comparison]) -> None:
    """Into `directory`, which is made: report.md, samples.json, and a picture for each comparison."""
    directory.mkdir(parents=True, exist_ok=True)
    found = list(comparisons)
    lines = ["# actord beside its peers", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    for one in found:
        picture = f"{_file_name(one.group)}.svg"
        (directory / picture).write_text(svg(one))
        lines += [f"## {one.group}", "", f"![{one.group}]({picture})", "", *markdown(one), ""]
    (directory / "report.md").write_text("\n".join(lines))
    results = [one.as_json() for one in found]
    (directory / "samples.json").write_text(json.dumps({"facts": dict(facts), "results": results}, indent=1))


def markdown(one: Comparison) -> list[str]:
    """The lines of a table: median, least, most, ratio to the first, how often."""
    scale = SCALES[one.unit]
    lines = [f"| | median ({one.unit}) | least | most | ratio | n |", "|---|--:|--:|--:|--:|--:|"]
    for case, values in one.samples.items():
        figures = (one.median(case), min(values), max(values))
        shown = " | ".join(f"{scale * value:.2f}" for value in figures)
        lines.append(f"| {case.strip()} | {shown} | {one.ratio(case):.2f} | {len(values)} |")
    return lines


def svg(one: Comparison) -> str:
    """The picture of one comparison."""
    most = max(max(values) for values in one.samples.values()) or 1.0
    room = WIDTH - NAMES - FIGURES
    height = HEAD + ROW * len(one.samples) + 8
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img" '
            'font-family="sans-serif" font-size="13">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(one.group)} ({escape(one.unit)})</text>',
    ]
    own = False
    for number, (case, values) in enumerate(one.samples.items()):
        own = "act" in case or (own and case.startswith(" "))  # what is indented is a kind of the one above
        top = HEAD + ROW * number
        median, least, greatest = (
            NAMES + room * value / most for value in (one.median(case), min(values), max(values))
        )
        middle = top + ROW / 2
        colour = OWN if own else PEER
        parts += [
            f'<text x="{NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(case.strip())}</text>',
            (
                f'<rect x="{NAMES}" y="{top + (ROW - BAR) / 2}" width="{median - NAMES:.1f}" height="{BAR}" '
                f'fill="{colour}"/>'
            ),
            f'<line x1="{least:.1f}" y1="{middle}" x2="{greatest:.1f}" y2="{middle}" stroke="#333333"/>',
            f'<text x="{greatest + 6:.1f}" y="{middle + 4}">{SCALES[one.unit] * one.median(case):.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
