"""actr ps: the containers."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import ago, familiar, print_json, print_table, short, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("CONTAINER", "NAME", "IMAGE", "COMMAND", "STATUS", "PID")
FLEXIBLE = (1, 2, 3)
TAILS = (2,)
LONGEST_COMMAND = 40


def run(session: Session, given: Given) -> int:
    """Print those that run, or all; the youngest first."""
    wanted = _wanted(given)
    whole_records = session.json or "label" in wanted
    if given.flag("all-nodes"):
        found, whole = everywhere(session, brief=not whole_records)
    else:
        found, whole = here(session, brief=not whole_records), True
    every = given.flag("all") or "status" in wanted
    found = [one for one in found if every or status_of(one) in ("running", "paused")]
    if wanted:
        from cli.filters import matches

        found = [one for one in found if matches(one, wanted, status_of(one))]
    found.sort(key=lambda one: -int(one["created_at"]))
    if given.flag("quiet") or given.flag("names"):
        for one in found:
            print(one["name"] if given.flag("names") else one["id"])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        if given.flag("all-nodes"):
            print_table(("NODE", *HEADS), [(one["node"], *row(one, now)) for one in found], (2, 3, 4), (3,))
        else:
            print_table(HEADS, [row(one, now) for one in found], FLEXIBLE, TAILS)
    return 0 if whole else 1


def _wanted(given: Given) -> dict[str, list[str]]:
    """Raises UsageError."""
    if not given.many("filter"):
        return {}
    from cli.filters import parse

    return parse(given.many("filter"))


def here(session: Session, *, brief: bool) -> list[dict[str, Any]]:
    """Every container of one node; whole records only where they are looked at."""
    body = {"namespace": session.namespace, "brief": brief}
    return session.ask_all("metadata", "containers.list", body, "containers")


def everywhere(session: Session, *, brief: bool) -> tuple[list[dict[str, Any]], bool]:
    """Every container of this node and of those it has joined, and whether all of them answered."""
    from cli.everywhere import answers

    found, whole = answers(session, lambda node: here(node, brief=brief))
    return [{**one, "node": name} for name, containers in found for one in containers], whole


def row(container: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table."""
    name, pid = container["name"], (container.get("task") or {}).get("pid")
    return (
        short(container["id"]),
        short(name) if name == container["id"] else name,
        familiar(container["image"]),
        command_of(container),
        describe_status(container, now),
        str(pid) if pid else "",
    )


def command_of(container: dict[str, Any]) -> str:
    """What was asked to be run; empty for what the image says."""
    options = container.get("options") or {}
    words = [*(options.get("entrypoint") or ()), *(options.get("args") or ())]
    text = " ".join(map(str, words))
    return text if len(text) <= LONGEST_COMMAND else f"{text[: LONGEST_COMMAND - 1]}…"


def status_of(container: dict[str, Any]) -> str:
    """The task's status; `created` while nothing has been reported."""
    return str((container.get("task") or {}).get("status", "created"))


def describe_status(container: dict[str, Any], now: int) -> str:
    """`up 3 minutes`, `exited (7) 5 seconds ago`, `created 1 hour ago`, `removing`, `failed to start`.

    The error of one that has been started is its actor's, which fails; actr inspect shows it.
    """
    text = _status_text(container, now)
    error = (container.get("task") or {}).get("error")
    return f"{text}, actor failing" if error and status_of(container) != "created" else text


def _status_text(container: dict[str, Any], now: int) -> str:
    task = container.get("task") or {}
    status = status_of(container)
    if container.get("wanted") == "removed":
        return "removing"
    if status == "running":
        health = f" ({task['health']})" if task.get("health") else ""
        return f"up {span(now - int(task['started_at']))}{health}"
    if status == "stopped":
        code = task.get("exit_code")
        reason = task.get("exit_reason") or ""
        reason = "out of memory" if task.get("oom") and not reason else reason
        oom = f", {reason}" if reason in ("out of memory", "unhealthy") else ""
        known = "unknown" if code is None else str(code)
        return f"exited ({known}{oom}) {ago(int(task.get('exited_at', 0)), now)}".rstrip()
    if status == "created":
        if task.get("error"):
            return "failed to start"
        return f"created {ago(int(container['created_at']), now)}"
    return status


COMMAND = Command(
    "ps",
    "List containers",
    run,
    options=(
        Option("-a --all", "list also those that do not run"),
        Option("-q --quiet", "print ids only"),
        Option("--names", "print names only"),
        Option(
            "-f --filter",
            "list only those with name=PART, id=BEGINNING, label=K[=V], status=STATUS (of all, then) or"
            " ancestor=IMAGE",
            value="K=V",
            many=True,
        ),
        Option("--all-nodes", "list also those of every node that is joined (actr node ls shows them)"),
    ),
)
