"""Every node: this one and those that it has joined. One that is not reached is named, and left out."""

from __future__ import annotations

import queue
import threading
import time

from cli.complaint import complain
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from cli.session import Session

    Answer = TypeVar("Answer")
    Event = dict[str, Any]
    Follow = Callable[[Session, int], Iterator[Event]]

AGAIN = 1.0  # seconds until a node that was not reached is asked again
WAITING = 10_000  # events that wait to be printed


def nodes(session: Session) -> list[tuple[str, Session]]:
    """Names, and sessions with connections of their own; the one whose address was given comes first."""
    here = session.at("")
    try:
        known = here.ask("nodes", "nodes.list", {})
    finally:
        here.close()
    joined = [one["name"] for one in known["nodes"] if one["link"] == "joined"]
    return [(known["own"], session.at("")), *((name, session.at(name)) for name in joined)]


def answers(session: Session, ask: Callable[[Session], Answer]) -> tuple[list[tuple[str, Answer]], bool]:
    """What each of them answers, and whether that is all of them."""
    found, whole = [], True
    for name, there in nodes(session):
        try:
            found.append((name, ask(there)))
        except RefusedError as error:
            if not there.node:
                raise
            complain(f"node {name} is left out: {error}")
            whole = False
        finally:
            there.close()
    return found, whole


class Followers:
    """One for each node; what they find comes in one stream. Each goes on where it was when its node is back.

    Attributes:
        whole: whether every node has been reached, so far.
    """

    def __init__(self, follow: Follow, reached: dict[str, int], *, endless: bool) -> None:
        """`follow` gives a node's events after a sequence number; `reached` is where to begin, by node."""
        self.whole = True
        self._follow, self._reached, self._endless = follow, reached, endless
        self._found: queue.Queue[tuple[str, Event | None]] = queue.Queue(WAITING)

    def events(self, session: Session) -> Iterator[Event]:
        """Those of all nodes, as they come, each with its node's name."""
        everybody = nodes(session)
        for name, there in everybody:
            threading.Thread(target=self._run, args=(name, there), daemon=True).start()
        left = len(everybody)
        while left:
            name, event = self._found.get()
            if event is None:
                left -= 1
            else:
                yield {"node": name, **event}

    def _run(self, name: str, there: Session) -> None:
        complained = False
        while True:
            try:
                for event in self._follow(there, self._reached.get(name, 0)):
                    complained = False
                    self._reached[name] = event["seq"]
                    self._found.put((name, event))
                break
            except Exception as error:  # noqa: BLE001  # the others go on
                self.whole = False
                if not complained:
                    complain(f"node {name} is left out{' until it answers' * self._endless}: {error}")
                complained = True
            if not self._endless:
                break
            time.sleep(AGAIN)
        there.close()
        self._found.put((name, None))
