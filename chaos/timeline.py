"""The timeline as an SVG picture: a lane for each actor, marks for faults, bars where it did not answer."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from chaos.findings import Findings
from chaos.schedule import STATIC, WHOLE

NAMESPACE: Final = "http://www.w3.org/2000/svg"
FONT: Final = 'font-family="sans-serif" font-size="11"'
WIDTH: Final = 1400
LEFT, TOP, LANE, BOTTOM = 110, 40, 26, 40
COLOURS: Final = {
    "kill": "#c62828",
    "zygote": "#6a1b9a",
    "everything": "#000000",
    "restart": "#1565c0",
    "pause": "#ef6c00",
    "freeze": "#0097a7",
    "descriptors": "#827717",
    "memory": "#4e342e",
    "failpoint": "#2e7d32",
    "full": "#ad1457",
    "disk": "#5d4037",
    "drop": "#9e9d24",
    "double": "#283593",
    "clock": "#00695c",
}
OTHER: Final = "#455a64"
SILENT: Final = "#f8bbd0"


def draw(findings: Findings) -> str:
    """The whole picture."""
    lanes = [*STATIC, "container", "puller", "daemon"]
    height = TOP + LANE * len(lanes) + BOTTOM
    scale = (WIDTH - LEFT - 20) / max(findings.now(), 1.0)
    parts = [
        f'<svg xmlns="{NAMESPACE}" width="{WIDTH}" height="{height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_legend(),
        *_lanes(lanes),
        *_outages(findings, lanes, scale),
        *_marks(findings, lanes, scale),
        *_axis(findings.now(), scale, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _y(lanes: list[str], actor: str) -> int:
    lane = "daemon" if actor in WHOLE else actor.partition("/")[0]
    return TOP + LANE * (lanes.index(lane) if lane in lanes else len(lanes) - 1)


def _legend() -> Iterator[str]:
    x = LEFT
    for kind, colour in {**COLOURS, "no answer": SILENT}.items():
        yield f'<rect x="{x}" y="12" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{x + 14}" y="21">{escape(kind)}</text>'
        x += 30 + 7 * len(kind)


def _lanes(lanes: list[str]) -> Iterator[str]:
    for lane in lanes:
        y = _y(lanes, "everything" if lane == "daemon" else lane)
        yield f'<line x1="{LEFT}" y1="{y + LANE}" x2="{WIDTH - 20}" y2="{y + LANE}" stroke="#e0e0e0"/>'
        yield f'<text x="{LEFT - 8}" y="{y + LANE / 2 + 4}" text-anchor="end">{escape(lane)}</text>'


def _outages(findings: Findings, lanes: list[str], scale: float) -> Iterator[str]:
    for one in findings.outages:
        x, width = LEFT + one.began * scale, max(1.0, (one.ended - one.began) * scale)
        y = _y(lanes, one.actor) + 4
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{LANE - 8}" fill="{SILENT}"/>'


def _marks(findings: Findings, lanes: list[str], scale: float) -> Iterator[str]:
    for one in findings.struck:
        x, width = LEFT + one.at * scale, max(1.5, one.seconds * scale)
        y, colour = _y(lanes, one.actor) + 7, COLOURS.get(one.kind, OTHER)
        title = f"step {one.step}: {one.kind} {one.actor[:40]} at {one.at:.2f} s"
        yield (
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{LANE - 14}" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>"
        )


def _axis(seconds: float, scale: float, height: int) -> Iterator[str]:
    step = next((one for one in (1, 2, 5, 10, 20, 30, 60, 120, 300) if seconds / one <= 20), 600)
    for tick in range(0, int(seconds) + 1, step):
        x = LEFT + tick * scale
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - BOTTOM + 5}" stroke="#eeeeee"/>'
        yield f'<text x="{x:.1f}" y="{height - BOTTOM + 18}" text-anchor="middle">{tick} s</text>'
