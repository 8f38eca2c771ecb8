"""actr chaos: have something go wrong at a place in the code, and see which places were passed."""

from __future__ import annotations

from cli.complaint import complain
from cli.options import Command, Given, Option, UsageError
from cli.session import RefusedError
from cli.table import print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("ACTOR", "FAILPOINT", "PASSED", "ACTION")
# Without --actor, the supervisor sees to those still to be forked.
MANY = ("container", "puller", "job", "zygote")


def run(session: Session, given: Given) -> int:
    """Set one, or list them all."""
    words = given.arguments
    if words[0] == "set" and len(words) == 3:
        return set_point(session, given, *words[1:])
    if words == ["list"]:
        return list_points(session, given)
    raise UsageError("chaos is either: set NAME ACTION, or: list")


def set_point(session: Session, given: Given, name: str, action: str) -> int:
    """Print the actor that it was set in, and say whom it does not reach."""
    kind = name.partition(".")[0]
    actor = given.text("actor") or ("supervisor" if kind in MANY else kind)
    session.ask(actor, "failpoints.set", {"name": name, "action": action})
    print(actor)
    if kind in MANY and not given.text("actor"):
        _tell_of_the_unreached(session, kind)
    return 0


def _tell_of_the_unreached(session: Session, kind: str) -> None:
    found = session.ask("supervisor", "introspection.actors", {})["actors"]
    names = [one["name"] for one in found if one["pid"] and one["kind"] == kind != "zygote"]
    if names:
        those = f"the {len(names)} that run are" if len(names) > 1 else "the one that runs is"
        complain(f"of {kind} actors, those to be started have it; {those} reached by --actor {names[0]}")


def list_points(session: Session, given: Given) -> int:
    """Of one actor, or of all that have any."""
    rows = [
        {"actor": actor, **point} for actor in _actors(session, given) for point in _points(session, actor)
    ]
    if session.json:
        print_json(rows)
    else:
        print_table(HEADS, [(r["actor"], r["name"], str(r["passed"]), r["action"]) for r in rows], (2,))
    return 0


def _actors(session: Session, given: Given) -> list[str]:
    if given.text("actor"):
        return [given.text("actor")]
    found = session.ask("supervisor", "introspection.actors", {})["actors"]
    return [one["name"] for one in found if one["pid"] and one["kind"] not in ("zygote", "router")]


def _points(session: Session, actor: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = session.ask(actor, "failpoints.list", {})["points"]
    except RefusedError as error:
        if error.code in ("not_found", "unavailable", "deadline_exceeded"):
            return []  # it has ended, or something did go wrong in it
        raise
    return found


COMMAND = Command(
    "chaos",
    "Make things go wrong, to see that they heal",
    run,
    arguments=("set|list", "[NAME]", "[ACTION]"),
    options=(
        Option("--actor", "actor to ask, one of actr actors (by the name: set; all: list)", value="ACTOR"),
    ),
)
