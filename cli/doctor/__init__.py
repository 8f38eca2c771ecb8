"""actr doctor: what on this machine keeps actord from working, or would, each with what to do about it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from textwrap import wrap

from cli.colour import CYAN, GREEN, RED, YELLOW, coloured
from cli.doctor.facts import gather
from cli.doctor.judge import Finding, judge
from cli.options import Command, Given, Option
from cli.session import Session
from cli.table import print_json, terminal_width

NARROW, WIDE = 20, 10_000  # columns of what is said at least, and into a pipe
MARKS = {"ok": "ok", "note": "--", "warning": "!!", "error": "XX"}
COLOURS = {"ok": GREEN, "note": CYAN, "warning": YELLOW, "error": RED}


def run(session: Session, given: Given) -> int:
    """Print what was found; 1 when something is an error."""
    found = judge(gather(session))
    shown = [one for one in found if one.level != "ok" or not given.flag("quiet")]
    if session.json:
        print_json([asdict(one) for one in shown])
    else:
        _print(shown, found)
    return 1 if any(one.level == "error" for one in found) else 0


def _print(shown: list[Finding], found: list[Finding]) -> None:
    width = max((len(one.subject) for one in shown), default=0)
    columns = max((terminal_width() or WIDE) - width - 6, NARROW)
    for one in shown:
        first, *more = wrap(one.found, columns) or [""]
        print(f"{_mark(one)}  {one.subject:<{width}}  {first}")
        more += wrap(one.fix, columns, initial_indent="-> ", subsequent_indent="   ")
        for line in more:
            print(f"    {'':<{width}}  {line}")
    counts = ", ".join(f"{level}: {sum(one.level == level for one in found)}" for level in MARKS)
    print(f"{len(found)} things looked at ({counts})")


def _mark(one: Finding) -> str:
    return coloured(MARKS[one.level], COLOURS[one.level], sys.stdout)


COMMAND = Command(
    "doctor",
    "Look for what keeps actord from working, and say what to do",
    run,
    options=(Option("-q --quiet", "show only what is not well"),),
)
