"""What a run has shown: JSON for programs, Markdown for people, a table for the terminal."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos import timeline
from chaos.findings import Findings

ALL = "(all)"
JSON_NAME, MARKDOWN_NAME, PICTURE_NAME = "chaos-report.json", "chaos-report.md", "timeline.svg"


def kind_of(actor: str) -> str:
    """The kind, of an actor of which there are many; else its name."""
    return actor.partition("/")[0]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def recoveries(findings: Findings) -> dict[str, list[float]]:
    """Seconds by kind of actor, and of all together."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in findings.struck:
        if one.recovered is not None:
            for name in (kind_of(one.actor), ALL):
                found[name].append(one.recovered)
    return dict(found)


def spread(times: Sequence[float]) -> dict[str, int]:
    """Count, median, 99th percentile and maximum; times in seconds, figures in milliseconds."""
    found = {"median": quantile(times, 0.5), "p99": quantile(times, 0.99), "max": max(times)}
    return {"count": len(times), **{name: round(value * 1000) for name, value in found.items()}}


def summary(findings: Findings, how: dict[str, Any]) -> dict[str, Any]:
    """Everything, in plain form."""
    counts = Counter((one.kind, kind_of(one.actor)) for one in findings.struck)
    return {
        **how,
        "seconds": round(findings.now(), 1),
        "faults": {f"{kind} {actor}": number for (kind, actor), number in sorted(counts.items())},
        "faults_total": len(findings.struck),
        "recovery_ms": {actor: spread(times) for actor, times in sorted(recoveries(findings).items())},
        "requests": {f"{op} {end}": number for (op, end), number in sorted(findings.requests.items())},
        "invariants": {
            name: {"checked": number, "broken": findings.broken[name]}
            for name, number in sorted(findings.checked.items())
        },
        "broken": findings.broken.total(),
        "violations": [asdict(one) for one in findings.violations],
        "outages": [asdict(one) for one in findings.outages],
        "until_well_ms": spread(findings.settled) if findings.settled else {},
        "notes": dict(findings.notes),
        "struck": [asdict(one) for one in findings.struck],
    }


def write(directory: Path, findings: Findings, how: dict[str, Any]) -> None:
    """All three files."""
    directory.mkdir(parents=True, exist_ok=True)
    found = summary(findings, how)
    (directory / JSON_NAME).write_text(json.dumps(found, indent=1) + "\n")
    (directory / MARKDOWN_NAME).write_text(markdown(found))
    (directory / PICTURE_NAME).write_text(timeline.draw(findings))


def markdown(found: dict[str, Any]) -> str:
    """The summary for people."""
    what = f"{found['faults_total']} faults in {found['seconds']} s, {found['broken']} invariants broken"
    parts = [
        f"# Chaos, seed {found['seed']}: {what}\n",
        f"Replay: `{found['replay']}`\n",
        *(f"\n## {title}\n\n" + _table_md(rows) for title, rows in tables(found)),
    ]
    if found["violations"]:
        lines = (
            f"- step {one['step']}, {one['at']} s: {one['invariant']}: {one['text']}"
            for one in found["violations"]
        )
        parts.append("\n## What was broken\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


Rows = list[tuple[str, ...]]


def tables(found: dict[str, Any]) -> list[tuple[str, Rows]]:
    """Titles and rows, the first row being the heads."""
    recovery: Rows = [("actor", "recoveries", "median ms", "p99 ms", "max ms")]
    recovery += [
        (actor, str(one["count"]), str(one["median"]), str(one["p99"]), str(one["max"]))
        for actor, one in found["recovery_ms"].items()
    ]
    if found["until_well_ms"]:
        recovery.append(("(until all were well)", *map(str, found["until_well_ms"].values())))
    requests: dict[str, Counter[str]] = defaultdict(Counter)
    for name, number in found["requests"].items():
        op, _, end = name.partition(" ")
        requests[op][end] += number
    ends = ("done", "error", "unknown")
    return [
        ("Faults", _faults(found["faults"])),
        ("Recovery", recovery),
        (
            "Requests",
            [("operation", *ends), *((op, *(str(n[end]) for end in ends)) for op, n in requests.items())],
        ),
        ("Notes", [("what", "times"), *((name, str(number)) for name, number in found["notes"].items())]),
        (
            "Invariants",
            [
                ("invariant", "checked", "broken"),
                *(
                    (name, str(one["checked"]), str(one["broken"]))
                    for name, one in found["invariants"].items()
                ),
            ],
        ),
    ]


def _faults(counts: dict[str, int]) -> Rows:
    """One row an actor, one column a kind."""
    cells = {tuple(name.split(" ", 1)): number for name, number in counts.items()}
    kinds = sorted({kind for kind, _ in cells})
    actors = sorted({actor for _, actor in cells})
    rows: Rows = [("actor", *kinds)]
    rows += [(actor, *(str(cells.get((kind, actor), 0)) for kind in kinds)) for actor in actors]
    return rows


def _table_md(rows: Rows) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def text(found: dict[str, Any]) -> str:
    """The tables for a terminal."""
    return "\n".join(f"\n{title}\n" + "\n".join(_aligned(rows)) for title, rows in tables(found))


def _aligned(rows: Rows) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first = row[0].ljust(widths[0])
        yield "  " + "  ".join(
            [first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
