"""Nodes: the other nodes that are joined, links to them, and what passes between.

States: the book of nodes on disk, a connection file each; in memory the links, which begin anew after a
crash. Accepts the operations below, heartbeats of nodes that have joined this one, and what is addressed
to `node/name`, which it passes on (actors/nodes/links.py). Publishes `/nodes/up`, `/nodes/suspect` and
`/nodes/down`. Restarted by the supervisor, always; what was under way gets an error.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.host import Host
from actors.nodes.line import Line
from actors.nodes.links import Links
from actors.nodes.memory import Memory, entry
from actors.nodes.vitals import State
from storage.errors import InvalidArgumentError, StorageError
from transport.connections import Connection, connection
from transport.errors import RemoteError
from transport.nodes import NodeBook
from transport.switch import HOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from transport.wire import Wire, Wires

NAMESPACE: Final = "actord"  # of events that are about the daemon itself


class NodesActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "nodes"

    def __init__(self, host: Host) -> None:
        """Before the first message, which may be for another node."""
        super().__init__(host)
        self._book = NodeBook(self.settings.root / "nodes")
        self._wires: Wires | None = None
        self._links = Links(host.pump, self.settings.node, self._open, self._announce)
        host.divert = self._links.take
        self._memory = Memory(self.settings.state / "nodes.json")
        self._remember()

    def _open(self, to: Connection, line: Line) -> "Wire":
        if self._wires is None:
            from transport.wire import Wires  # noqa: PLC0415  # ZeroMQ: most daemons join nobody

            self._wires = Wires(self.host.pump)
        return self._wires.open(to, line)

    def _remember(self) -> None:
        """After a crash, what was thought of those who have joined us, and of those that we have joined."""
        known = self._memory.known()
        for key, name, state in known:
            if key:
                self.host.pump.call(partial(self._links.restore, key, name, state))
        before = {name: state for key, name, state in known if not key}
        for name in self._book.names():
            self._keep(name, before.get(name, "new"))

    def _keep(self, name: str, state: State = "new") -> None:
        try:
            to = connection(self._book.get(name))
        except (ValueError, TypeError, AttributeError) as error:  # somebody has written it by hand
            self.log.warning("node %s is left out: its file is no connection: %s", name, error)
            return
        self.host.pump.call(lambda: self._links.join(name, to, state))

    def lost_router(self) -> None:
        """Who asked through it is gone."""
        self.host.pump.call(self._links.abandon)
        super().lost_router()

    def nodes_join(self, body: m.NodesJoin, _: Call) -> None:
        """Enter it, and keep a link to it."""
        if body.name == self.settings.node:
            raise InvalidArgumentError(f"{body.name} is this node's own name: give the other one with --name")
        if body.name in HOME:
            raise InvalidArgumentError(f"{body.name} is how names of actors begin: give another with --name")
        self._book.join(body.name, body.connection)
        self._keep(body.name)

    def nodes_leave(self, body: m.NodesLeave, _: Call) -> None:
        """Strike it, and end the link."""
        self._book.leave(body.name)
        self.host.pump.call(lambda: self._links.leave(body.name))
        self._memory.forget(body.name)

    def nodes_get(self, body: m.NodesGet, _: Call) -> dict[str, str]:
        """Its connection."""
        return self._book.get(body.name)

    def nodes_list(self, _body: m.NodesList, call: Call) -> Later:
        """With what is thought of each."""
        return self._aside(call, lambda: {"own": self.settings.node, "nodes": self._links.described()})

    def nodes_beat(self, body: m.NodesBeat, call: Call) -> Later:
        """One that has joined us is there."""
        key = call.envelope.by
        if not key:
            raise InvalidArgumentError("a heartbeat comes from another host, with its key")

        def heard() -> dict[str, str]:
            self._links.beaten(key, body.node)
            return {"node": self.settings.node, "instance": self.birth.instance}

        return self._aside(call, heard)

    def _aside(self, call: Call, function: Callable[[], Any]) -> Later:
        """Answered from the pump's thread, where the links are."""

        def run() -> None:
            try:
                call.reply(function())
            except (RemoteError, StorageError) as error:
                call.fail(error)

        self.host.pump.call(run)
        return LATER

    def _announce(self, node: Mapping[str, Any]) -> None:
        """A node has come into another state. From the pump's thread."""
        topic = f"/nodes/{node['state']}"
        self.log.info(
            "node %s is %s (%s): %s", node["name"], node["state"], node["link"], node.get("error", "")
        )
        key = f"{topic}:{node['name']}:{node['link']}:{node['since']}"
        event = m.EventsPublish(NAMESPACE, topic, key, dict(node), time.time_ns())
        self.ask(event, partial(self._announced, entry(node)))

    def _announced(self, said: tuple[str, str, str], result: Any) -> None:
        """Kept in mind only now: to say it twice is better than never."""
        if isinstance(result, Exception):
            self.log.warning("an event was not announced: %s", result)
        else:
            self._memory.said(*said)
