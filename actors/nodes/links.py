"""All links of this node, and the traffic over them. In the pump's thread, where their connections are.

A request for `node/name` comes from the router like any other, and goes on to that node; its answers come
back the same way. A node that is down is said to be, at once, and so is what was under way when it went down:
no request waits for a connection that may never come.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from actors.nodes.accepted import Accepted, Visitor
from actors.nodes.detector import Detector
from actors.nodes.line import Line, Wire
from actors.nodes.link import Link
from actors.nodes.relay import WATCH, Relay
from actors.nodes.vitals import INTERVAL, State, Vitals
from transport.connections import Connection
from transport.envelope import Envelope, answer, failure
from transport.errors import ProtocolError, RemoteError
from transport.outbox import BacklogError
from transport.pump import Pump

ASLEEP: Final = 0.5  # seconds; who wakes up later than this was not there to hear anybody
Announce = Callable[[Mapping[str, Any]], None]


class Links:
    """What the actor `nodes` has beside its mailbox.

    Attributes:
        own: this node's name.
    """

    def __init__(
        self, pump: Pump, own: str, open_: Callable[[Connection, Line], Wire], announce: Announce
    ) -> None:
        """`announce` is told of each change of a node's state, with what `described` has of it."""
        self.own = own
        self._pump, self._open, self._announce = pump, open_, announce
        self._links: dict[str, Link] = {}
        self._accepted = Accepted()
        self._relay = Relay()
        self._woken_at: float | None = None  # when we will be, next

    # What the actor wants

    def restore(self, key: str, name: str, state: State) -> None:
        """What was thought of a node that has joined us, before a crash."""
        now = time.monotonic()
        self._accepted.restore(key, name, Vitals(Detector(now, INTERVAL), state))
        self._tend()

    def join(self, name: str, to: Connection, state: State = "new") -> None:
        """Keep a link to that node from now on; a new address or key takes the old one's place."""
        known = self._links.get(name)
        if known is not None and known.to == to:
            return
        self.leave(name)
        self._links[name] = Link(name, to, self._open, self)
        self._links[name].vitals.state = state
        self._tend()

    def leave(self, name: str) -> None:
        """End the link, and what is under way over it."""
        link = self._links.pop(name, None)
        if link is not None:
            link.close()
            self._fail(name, "it was left")

    def beaten(self, key: str, name: str) -> None:
        """A node that has joined this one says that it is there. Raises InvalidArgumentError, RemoteError."""
        now = time.monotonic()
        visitor = self._accepted.visitor(key, name, now)
        if visitor.vitals.heard(now):
            self._say(visitor)
            self._tend()

    def described(self) -> list[dict[str, Any]]:
        """Every node that is joined, and those that have joined this one and are not."""
        now = time.monotonic()
        strangers = [one for one in self._accepted.visitors.values() if one.name not in self._links]
        joined = [self._links[name].described(now) for name in sorted(self._links)]
        return [*joined, *(one.described(now) for one in strangers)]

    def abandon(self) -> None:
        """The router went away, and with it all who asked."""
        for node, cancel in self._relay.abandon():
            self._send(node, cancel)

    # From the router

    def take(self, message: Envelope) -> bool:
        """Whether the message is for another node; then it is on its way there, or answered."""
        if message.type == "REQ":
            node, slash, name = message.to.partition("/")
            if slash:
                self._pass_on(message, node, name)
            return bool(slash)
        found = (
            self._relay.concerning(message, time.monotonic())
            if message.type in ("CANCEL", "CREDIT")
            else None
        )
        if found is not None:
            self._send(*found)
        return found is not None

    def _pass_on(self, message: Envelope, node: str, name: str) -> None:
        try:
            link = self._reachable(node)
            onward = self._relay.pass_on(message, node, name, time.monotonic())
            if not link.freight.send(onward):
                self._relay.refused(onward.id)
                raise RemoteError("overloaded", f"node {node} has too many messages waiting")  # noqa: TRY301
        except RemoteError as error:
            error.actor = message.to
            self._pump.send(self._word(message, error))

    def _reachable(self, node: str) -> Link:
        """Raises RemoteError: nothing has been sent."""
        link = self._links.get(node)
        if link is None:
            raise RemoteError("not_found", f"no node is named {node}: see actr node ls, actr node join")
        state = link.vitals.state
        if state == "down" or not link.freight.ready:
            why = link.error if state == "down" else link.freight.error or "it is being connected"
            text = f"node {node} at {link.to.endpoint} is not reached: {why}"
            raise RemoteError("unavailable", text, details={"node": node, "state": state})
        return link

    def _send(self, node: str, message: Envelope) -> None:
        """Word about a stream; where that does not get through, all ends, rather than wait for ever."""
        link = self._links.get(node)
        if link is not None and not link.freight.send(message) and link.freight.ready:
            self._renew(link, "it takes no more messages")

    def _renew(self, link: Link, why: str) -> None:
        """What is under way over this connection will not be answered as it should be."""
        link.freight.renew(why)
        self._fail(link.name, why)
        self._tend()

    # From links

    def heard(self, link: Link) -> None:
        """The node has answered a heartbeat."""
        if link.vitals.heard(time.monotonic()):
            self._say(link)

    def delivered(self, link: Link, message: Envelope) -> None:
        """An answer, or what claims to be one; a sign of life in any case."""
        if link.vitals.seen(time.monotonic()):
            self._say(link)
        if message.type == "ERR" and not message.re:  # something that we said was refused; nobody knows what
            self._renew(link, "it refused a message")
            return
        back = self._relay.came(link.name, message)
        try:
            if back is not None:
                self._pump.send(back)
        except BacklogError:  # it sends more than anybody asked for
            self._renew(link, "it sends too much")

    def moved(self, link: Link) -> None:
        """A line has come up, or has broken."""
        if not link.freight.ready:
            self._fail(link.name, link.freight.error)
        self._tend()

    # Time

    def _tend(self) -> None:
        """Do what is due, and see that we are woken when something will be."""
        now = time.monotonic()
        everybody = self._everybody()
        if self._woken_at is not None and self._woken_at <= now:
            late, self._woken_at = now - self._woken_at, None
            for one in everybody if late > ASLEEP else ():
                one.vitals.detector.forgive(late)
        for one in everybody:
            if one.vitals.look(now):
                self._worse(one)
        self._relay.expire(now)
        due = [link.tend(now) for link in self._links.values()]
        due += [at for one in self._accepted.visitors.values() if (at := one.vitals.due()) is not None]
        self._wake_at(min(due, default=None), now)

    def _worse(self, one: Link | Visitor) -> None:
        self._say(one)
        if isinstance(one, Link) and one.vitals.state == "down":
            self._fail(one.name, "it is down")
            one.renew(one.error)

    def _wake_at(self, at: float | None, now: float) -> None:
        if at is not None and (self._woken_at is None or at < self._woken_at):
            self._woken_at = at
            self._pump.call_later(max(0.0, at - now), partial(self._wake, at))

    def _wake(self, planned: float) -> None:
        if self._woken_at == planned:  # and not been woken for something else before
            self._tend()

    # Words

    def _everybody(self) -> list[Link | Visitor]:
        return [*self._links.values(), *self._accepted.visitors.values()]

    def _say(self, one: Link | Visitor) -> None:
        """Of one that is joined and has joined us, our own link tells."""
        if isinstance(one, Link) or one.name not in self._links:
            self._announce(one.described(time.monotonic()))

    def _fail(self, node: str, why: str) -> None:
        """All that was sent there and is not answered."""
        link = self._links.get(node)
        state = link.vitals.state if link else "down"
        text = f"the link to node {node} failed before an answer came: {why}; it may have been done"
        error = RemoteError("unavailable", text, outcome="unknown", details={"node": node, "state": state})
        for said in self._relay.fail(node, lambda asked: self._word(asked, error)):
            self._pump.send(said)

    @staticmethod
    def _word(asked: Envelope, error: RemoteError) -> Envelope:
        """The error; to who watches an actor of a node that is down, that it has lost sight of it."""
        if asked.op != WATCH or error.details.get("state") != "down":
            error.actor = asked.to
            return failure(asked, error)
        try:
            fields = asked.value()
            name, incarnation = str(fields["name"]), int(fields.get("incarnation", 0))
        except (ProtocolError, KeyError, ValueError, TypeError, AttributeError):
            return failure(asked, error)
        reason = {"kind": "noconnection", "text": str(error)}
        return answer(asked, {"name": name, "incarnation": incarnation, "reason": reason})
