"""actr events: what has happened and what happens, from the journal."""

from __future__ import annotations

import re
import time
from datetime import datetime

from cli.complaint import complain
from cli.options import LARGEST, Command, Given, Option, UsageError, is_number
from cli.reader import end_with_reader
from cli.table import SECOND, print_json, print_object, printable, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cli.everywhere import Followers
    from cli.session import Session

CREDIT = 1000  # events under way at once
GATHER = 50  # milliseconds in which those that come together wait for each other
PATIENCE = 30.0
_AGO = re.compile(r"(\d+)([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def run(session: Session, given: Given) -> int:
    """Print events as they come; with --until or --no-follow, those that are there."""
    until = moment(given.text("until")) if given.flag("until") else 0
    follow = given.flag("follow") or not (until or given.flag("no-follow"))
    if follow:
        end_with_reader()
    everywhere = _everywhere(given, follow=follow, until=until) if given.flag("all-nodes") else None
    found = everywhere.events(session) if everywhere else _here(session, given, follow=follow, until=until)
    if everywhere and not follow:
        found = iter(sorted(found, key=lambda event: int(event["at"])))
    if session.json:
        _print_json(found, as_list=not follow)
    else:
        for event in found:
            print(line(event, trace=session.debug), flush=True)
    return 0 if everywhere is None or everywhere.whole else 1


def _here(session: Session, given: Given, *, follow: bool, until: int) -> Iterator[dict[str, Any]]:
    found = events(session, wish_of(session, given, follow=follow))
    return _before(found, until) if until else found


def _everywhere(given: Given, *, follow: bool, until: int) -> Followers:
    from cli.everywhere import Followers

    if given.flag("container"):
        raise UsageError("--container is of one node: give that with --node, instead of --all-nodes")
    since = given.text("since")
    reached = _reached(since)
    if since and not reached:
        moment(since)  # here, where it is refused once

    def of_node(there: Session, after: int) -> Iterator[dict[str, Any]]:
        wish = {**wish_of(there, given, follow=follow, since="" if reached else since), "after": after}
        found = events(there, wish, patience=0.0)
        return _before(found, until) if until else found

    return Followers(of_node, reached, endless=follow)


def _reached(since: str) -> dict[str, int]:
    """Of `h1=12,h2=40` the numbers by node. Raises UsageError."""
    if since.isdecimal():
        raise UsageError("each node has sequence numbers of its own: give --since h1=12,h2=40")
    pairs = [one.partition("=") for one in since.split(",")] if "=" in since else []
    if not all(name and is_number(number) for name, _, number in pairs):
        raise UsageError(f"{since!r} is no list of nodes and sequence numbers: give h1=12,h2=40")
    return {name: int(number) for name, _, number in pairs}


def wish_of(session: Session, given: Given, *, follow: bool, since: str | None = None) -> dict[str, Any]:
    """The body of `events.subscribe`; `since` in place of what was given. Raises UsageError."""
    namespace = "" if given.flag("all-namespaces") else session.namespace
    wish: dict[str, Any] = {"namespace": namespace, "topic": given.text("topic"), "follow": follow}
    since = given.text("since") if since is None else since
    if is_number(since):
        wish["after"] = int(since)
    elif since:
        wish["since"] = moment(since)
    if given.flag("container"):
        wish["container_id"] = session.container(given.text("container"))["id"]
    return wish


def moment(text: str) -> int:
    """Nanoseconds since the epoch, from `10m` (ago) or a date and time. Raises UsageError.

    What is before the epoch is its first one: none at all would mean any time.
    """
    ago = _AGO.fullmatch(text)
    if ago and is_number(ago[1]):
        return max(1, time.time_ns() - int(ago[1]) * _SECONDS[ago[2]] * SECOND)
    try:
        return min(LARGEST, max(1, int(datetime.fromisoformat(text).astimezone().timestamp() * SECOND)))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is no time: give 10m, 2h, 2024-05-31T12:00 or the like") from error


def events(session: Session, wish: dict[str, Any], *, patience: float = PATIENCE) -> Iterator[dict[str, Any]]:
    """What the journal has, then what comes; after a crash from where it was, within `patience` seconds."""
    from transport.client import events_of

    reached = int(wish.get("after", 0))

    def again() -> dict[str, Any]:
        return {**wish, "after": reached}

    wish = {**wish, "gather": GATHER}
    stream = session.stream(
        "events", "events.subscribe", wish, credit=CREDIT, resume=again, patience=patience
    )
    for message in stream:
        if message.kind != "event":
            if message.body.get("last", reached) < reached:
                complain(f"there is no event {reached} yet, the last one is {message.body['last']}")
            continue
        for number, body in events_of(message):
            reached = max(reached, number)
            if "gap" in body:
                whose = f"node {session.node}: " if session.node else ""
                complain(f"{whose}{body['gap']} events are no longer in the journal")
            else:
                yield body


def _before(found: Iterator[dict[str, Any]], until: int) -> Iterator[dict[str, Any]]:
    for event in found:
        if event["at"] > until:
            return
        yield event


def line(event: dict[str, Any], *, trace: bool = False) -> str:
    """One event in one line, with the id of its `trace` if that is wanted."""
    said = " ".join(f"{key}={value}" for key, value in (event.get("body") or {}).items())
    said += f" trace={event['trace']}" if trace and "trace" in event else ""
    node = f"{event['node']} " if "node" in event else ""
    return printable(
        f"{node}{event['seq']} {stamp(event['at'])} {event['namespace']} {event['topic']} {said}"
    )


def _print_json(found: Iterator[dict[str, Any]], *, as_list: bool) -> None:
    """A list when it has an end; else an object a line, which a program can read as it comes."""
    if as_list:
        print_json(list(found))
        return
    for event in found:
        print_object(event)


COMMAND = Command(
    "events",
    "Print what happens to containers, images and the daemon itself",
    run,
    options=(
        Option(
            "--since",
            "begin after this sequence number, or at this time (the oldest that is kept)",
            value="WHEN",
        ),
        Option("--until", "end with what happened up to this time (never)", value="WHEN"),
        Option("-f --follow", "go on with what comes (unless --until or --no-follow is given)"),
        Option("--no-follow", "end with what has happened so far"),
        Option("--topic", "only topics that begin so, for example /tasks (all)", value="PREFIX"),
        Option("--container", "only what happens to this container (all)", value="CONTAINER"),
        Option("-A --all-namespaces", "of all namespaces, and of the daemon itself"),
        Option(
            "--all-nodes", "also of every node that is joined; numbers after --since are then h1=12,h2=40"
        ),
    ),
)
