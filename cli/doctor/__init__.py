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
from cli.table import cut, print_json, terminal_width

NARROW, WIDE = 30, 10_000  # columns of what is said beside its subject at least, and into a pipe
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
    screen = terminal_width() or WIDE
    width = max((len(one.subject) for one in shown), default=0)
    width = width if screen - width - 6 >= NARROW else 0
    for one in shown:
        print("\n".join(_lines(one, width, screen)))
    counts = ", ".join(f"{level}: {sum(one.level == level for one in found)}" for level in MARKS)
    print("\n".join(wrap(f"{len(found)} things looked at ({counts})", screen)))


def _lines(one: Finding, width: int, screen: int) -> list[str]:
    """What was found stands beside its subject, which takes `width` columns; below it, if that is 0."""
    indent = " " * (width + 6 if width else 4)
    columns = max(1, screen - len(indent))
    said = wrap(one.found, columns)
    said += wrap(one.fix, columns, initial_indent="-> ", subsequent_indent="   ")
    if not width:
        return [f"{_mark(one)}  {cut(one.subject, columns)}", *(indent + line for line in said)]
    first, *more = said or [""]
    return [f"{_mark(one)}  {one.subject:<{width}}  {first}", *(indent + line for line in more)]


def _mark(one: Finding) -> str:
    return coloured(MARKS[one.level], COLOURS[one.level], sys.stdout)


COMMAND = Command(
    "doctor",
    "Look for what keeps actord from working, and say what to do",
    run,
    options=(Option("-q --quiet", "show only what is not well"),),
)
