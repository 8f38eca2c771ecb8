"""What is shown of readings: lines with their colours. Pure but for the clock that is handed in."""

from __future__ import annotations

import time

from cli.actors import short_name
from cli.colour import CYAN, GREEN, RED, YELLOW
from cli.progress import layer_line
from cli.ps import describe_status
from cli.table import brief, cut, familiar, printable, short, size, span, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from cli.live.reading import Readings

    Line = tuple[str, str]  # the text, and its colour or nothing
    Cells = tuple[str, ...]
    Row = tuple[Cells, str]
    Member = tuple[Callable[[str], Row], Sequence[Cells]]  # a row once its branch is known; what is below

HEADS = ("NAME", "STATE", "IMAGE", "CPU", "MEMORY", "PIDS", "RESTARTS", "UP")
FLEXIBLE = (1, 2)
TAILS = (2,)
SORTS = ("name", "cpu", "memory")
PARTS = ("all", "containers", "actors")
MOST_ARRIVING, MOST_NEWS = 4, 5  # lines
NOTHING: Mapping[str, Sequence[Cells]] = {}
WIDE = 1000  # columns of what goes into a pipe or a file
ROOTS = ("zygote", "supervisor")
DYNAMIC = {"puller": "pullers", "job": "jobs", "container": "containers"}
_COLOURS = {"running": GREEN, "paused": CYAN}


class View:
    """What is chosen of it.

    Attributes:
        sort: one of SORTS, for containers.
        part: one of PARTS.
        top: the first row of the tree that is shown.
        paused: whether readings are taken.
        folded: whether actors that are well are one line.
    """

    def __init__(self) -> None:
        self.sort = SORTS[0]
        self.part = PARTS[0]
        self.top = 0
        self.paused = self.folded = False


def screen(readings: Readings, view: View, columns: int, rows: int, trouble: str = "") -> list[Line]:
    """At most `rows` lines of at most `columns`: summary, what arrives, the tree, the news, the keys."""
    head = [*summary(readings, trouble), *arriving(readings, columns)]
    tail = [*news(readings), (keys(view), "")]
    rest = max(1, rows - len(head) - len(tail) - 1)
    view.folded = False
    body = tree(readings, view, columns)
    if len(body) - 1 > rest and view.part == "all":
        view.folded = True
        body = tree(readings, view, columns)
    view.top = max(0, min(view.top, len(body) - 1 - rest))
    shown = body[1 + view.top : 1 + view.top + rest]
    filling = [("", "")] * (rest - len(shown))
    lines = [*head, body[0], *shown, *filling, *tail]
    return [(cut(text, columns), colour) for text, colour in lines[:rows]]


def summary(readings: Readings, trouble: str = "") -> list[Line]:
    """The whole in two lines."""
    now = readings.now
    zygote = next((one for one in now["actors"] if one["name"] == "zygote"), None)
    up = span(now["at"] - zygote["started_at"]) if zygote else "?"
    actors = [one for one in now["actors"] if one["kind"] != "container"]
    down = sum(one["state"] != "running" for one in actors)
    crashes = sum(number for _, reason, number in now["exits"] if reason not in ("normal", "shutdown"))
    running = sum(one["task"].get("status") in ("running", "paused") for one in now["containers"])
    first = (
        f"actord on {now['node']}, up {up}: {len(actors)} actors, {down} down, "
        f"{_some(crashes, 'crash', 'crashes')}; "
        f"{running} of {len(now['containers'])} containers run"
    )
    second = (
        f"requests {readings.rate('requests'):.0f}/s, {now['waiting']} under way; "
        f"registries {size(readings.transferred())}/s, {_some(len(now['ingests']), 'blob', 'blobs')} arriving"
    )
    return [(printable(first), RED if down else ""), (trouble or second, RED if trouble else "")]


def _some(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def arriving(readings: Readings, columns: int) -> list[Line]:
    """Blobs under way, with a bar each."""
    layers = list(readings.arriving.layers.values())
    now = time.monotonic()
    width = max((len(one.label) for one in layers[:MOST_ARRIVING]), default=0)
    lines = [(layer_line(one, width, columns, now), CYAN) for one in layers[:MOST_ARRIVING]]
    more = len(layers) - len(lines)
    return [*lines, (f"and {more} more", "")] if more else lines


def news(readings: Readings, most: int = MOST_NEWS) -> list[Line]:
    """What went wrong or came to an end, the newest last."""
    names = {one["id"]: one["name"] for one in readings.now["containers"] if one["name"] != one["id"]}
    return [_told(event, names) for event in readings.news[-most:]]


def _told(event: dict[str, Any], names: Mapping[str, str]) -> Line:
    body, topic = event["body"], event["topic"]
    at = time.strftime("%H:%M:%S", time.localtime(event["at"] / 1e9))
    if topic.startswith("/actors/"):
        reason = body.get("reason") or {}
        why = reason.get("text") or reason.get("kind") or ""
        what = {"child_terminated": "died"}.get(topic[8:], topic[8:])
        return printable(f"{at} actor {short_name(str(body['child']))} {what}: {why}"), RED
    what = topic.rpartition("/")[2]
    code = body.get("exit_status")
    ended = f"exited ({'unknown' if code is None else code})" if what == "exit" else what
    identity = str(body.get("container_id", ""))
    text = f"{at} container {event['namespace']}/{names.get(identity, short(identity))} {ended}"
    return printable(text), "" if what == "exit" and code == 0 else YELLOW


def keys(view: View) -> str:
    """The last line."""
    paused = "go on" if view.paused else "pause"
    return f"q quit  up/down scroll  s sort: {view.sort}  v view: {view.part}  p {paused}"


def tree(
    readings: Readings, view: View, columns: int | None, below: Mapping[str, Sequence[Cells]] = NOTHING
) -> list[Line]:
    """The heads, then a line for each actor and container, and for what is `below` a container, by its id."""
    rows = list(_rows(readings, view, below))
    heads, *lines = _fitting([row for row, _ in rows], columns)
    return [(heads, ""), *((line, colour) for line, (_, colour) in zip(lines, rows, strict=True))]


def _fitting(cells: list[Cells], columns: int | None) -> list[str]:
    """Heads and rows. Where there is no room, columns in which nothing stands go; names are cut last."""
    lines = table(HEADS, cells, FLEXIBLE, columns, TAILS)
    if not columns or max(map(len, lines)) <= columns:
        return lines
    kept = [at for at in range(len(HEADS)) if any(row[at] for row in cells)]
    heads, rows = [HEADS[at] for at in kept], [[row[at] for at in kept] for row in cells]
    flexible, tails = ([kept.index(at) for at in which if at in kept] for which in (FLEXIBLE, TAILS))
    return table(heads, rows, flexible, columns, tails, naming=0)


def _rows(readings: Readings, view: View, below: Mapping[str, Sequence[Cells]]) -> Iterable[Row]:
    actors = {one["name"]: one for one in readings.now["actors"]}
    containers = [
        (_container(readings, one, actors), below.get(one["id"], ())) for one in _sorted(readings, view)
    ]
    if view.part == "containers":
        yield from (row("") for row, _ in containers)
        return
    roots = [actors[name] for name in ROOTS if name in actors]
    for level, one in enumerate(roots):
        yield _actor(readings, one)(_branch(level, last=True))
    indent = "   " * (len(roots) - 1)
    yield from _services(readings, view, f"{indent}├─ ")
    groups = {home: _group(readings, actors, kind) for kind, home in DYNAMIC.items()}
    groups["containers"] = [] if view.part == "actors" else containers
    number = len(readings.now["containers"])
    for home, members in groups.items():
        last = home == "containers"
        count = number if last else len(members)
        yield _cells(f"{indent}{'└─' if last else '├─'} {home}", f"{count}"), ""
        bar = "   " if last else "│  "
        yield from _members(f"{indent}{bar}", members)


def _services(readings: Readings, view: View, branch: str) -> Iterable[Row]:
    """Those of whom there is one; where there is no room, those that are well are one line."""
    services = [one for one in readings.now["actors"] if "/" not in one["name"] and one["name"] not in ROOTS]
    well = [one for one in services if view.folded and one["state"] == "running" and not one["restarts"]]
    for one in services:
        if one not in well:
            yield _actor(readings, one)(branch)
    if well:
        memory = size(sum(one["memory"] for one in well))
        yield _cells(f"{branch}{len(well)} others", "running", "", "", memory), ""


def _members(indent: str, members: list[Member]) -> Iterable[Row]:
    """Each with what is below it."""
    for at, (row, below) in enumerate(members):
        end = at == len(members) - 1
        yield row(f"{indent}{'└─' if end else '├─'} ")
        inner = f"{indent}{'   ' if end else '│  '}"
        for number, (name, *cells) in enumerate(below):
            yield _cells(f"{inner}{'└─' if number == len(below) - 1 else '├─'} {name}", *cells), ""


def _group(readings: Readings, actors: dict[str, dict[str, Any]], kind: str) -> list[Member]:
    return [(_actor(readings, one), ()) for name, one in actors.items() if name.startswith(f"{kind}/")]


def _branch(level: int, *, last: bool) -> str:
    return "   " * (level - 1) + ("└─ " if last else "├─ ") if level else ""


def _cells(name: str, *cells: str) -> tuple[str, ...]:
    return (name, *cells, *[""] * (len(HEADS) - 1 - len(cells)))


def _actor(readings: Readings, one: dict[str, Any]) -> Callable[[str], Row]:
    up = one["state"] == "running"
    began = one["started_at"]
    cells = (
        one["state"],
        "",
        _percent(readings.processor(one)),
        size(one["memory"]) if one["memory"] else "",
        "",
        str(one["restarts"] or ""),
        brief(readings.now["at"] - began) if up and began else "",
    )
    colour = "" if up and not one["restarts"] else YELLOW if up else RED
    return lambda prefix: ((prefix + short_name(one["name"]), *cells), colour)


def _container(
    readings: Readings, one: dict[str, Any], actors: dict[str, dict[str, Any]]
) -> Callable[[str], Row]:
    now, status = readings.now["at"], one["task"].get("status", "created")
    name = short(one["name"]) if one["name"] == one["id"] else one["name"]
    shown = name if one["namespace"] == "default" else f"{one['namespace']}/{name}"
    actor = actors.get(f"container/{one['namespace']}/{one['id']}", {})
    began = one["task"].get("started_at") or 0
    cells = (
        _state(one, now),
        familiar(one["image"]),
        _percent(readings.processor(one)),
        size(one["memory_bytes"]) if one.get("memory_bytes") is not None else "",
        str(one.get("pids") or ""),
        str(actor.get("restarts") or ""),
        brief(now - began) if status in _COLOURS and began else "",
    )
    return lambda prefix: ((prefix + shown, *cells), _COLOURS.get(status, ""))


def _state(one: dict[str, Any], now: int) -> str:
    """How long it has been up stands in a column of its own."""
    status, health = one["task"].get("status"), one["task"].get("health")
    if status not in _COLOURS or one["wanted"] == "removed":
        return describe_status(one, now)
    return f"{status} ({health})" if health else str(status)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"


def _sorted(readings: Readings, view: View) -> list[dict[str, Any]]:
    keys: dict[str, Callable[[dict[str, Any]], Any]] = {
        "name": lambda one: (one["namespace"], one["name"]),
        "cpu": lambda one: -(readings.processor(one) or 0),
        "memory": lambda one: -(one.get("memory_bytes") or 0),
    }
    return sorted(readings.now["containers"], key=keys[view.sort])
