"""Network primitives for programs: namespaces by name, interfaces in them, and programs run there.

A part of the network actor. What is made here belongs to whoever made it: it is in no record, nobody mends
it, and it stays until it is removed, or the machine is started anew. Namespaces are files in state/netns and
so outlive every process.
"""

from pathlib import Path
from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.linux import links, netns
from actors.linux.run import run
from storage.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from storage.names import check_identifier
from transport.errors import RemoteError

NAMED = "named+"  # what tells these files from those of containers
KINDS = ("veth", "bridge", "macvlan", "vlan", "vxlan")
MOST_SAID = 1 << 20  # characters of what a program says that are answered
MOST_SECONDS = 300.0


class Primitives(Actor):
    """One method an operation; see actors/messages/primitives.py."""

    kind = "network"

    def netns_create(self, body: m.NetnsCreate, call: Call) -> Later:
        """Make it, or find it made."""
        path = self._named(body.name)
        return self._in_thread(call, lambda: netns.create(path), lambda _: {"path": str(path)})

    def netns_list(self, _body: m.NetnsList, _: Call) -> dict[str, Any]:
        """By name."""
        found = sorted(self._rooms().glob(f"{NAMED}*"))
        return {
            "namespaces": [
                {"name": path.name.removeprefix(NAMED), "path": str(path)}
                for path in found
                if netns.exists(path)
            ]
        }

    def netns_remove(self, body: m.NetnsRemove, call: Call) -> Later:
        """With everything in it, unless a process is left in there."""
        path = self._named(body.name)
        return self._in_thread(call, lambda: netns.remove(path), lambda _: {})

    def links_list(self, body: m.LinksList, call: Call) -> Later:
        """Those of a namespace, or of the host."""
        path = self._there(body.netns)
        return self._in_thread(call, lambda: links.links(path), lambda found: {"links": found})

    def links_create(self, body: m.LinksCreate, call: Call) -> Later:
        """One interface, or a pair."""
        if body.kind not in KINDS:
            raise InvalidArgumentError(f"interface kind {body.kind!a} is none of {', '.join(KINDS)}")
        path, peer = self._there(body.netns), self._there(body.peer_netns)

        def work() -> None:
            links.create(
                body.name, body.kind, path, peer=body.peer, peer_namespace=peer, options=body.options
            )

        return self._in_thread(call, work, lambda _: {})

    def links_change(self, body: m.LinksChange, call: Call) -> Later:
        """Up or down, addresses, bridge, another namespace."""
        path = self._there(body.netns)
        to = self._there(body.move_to) if body.move_to else None

        def work() -> None:
            links.change(
                body.name, path, up=body.up, addresses=body.addresses, mtu=body.mtu, mac=body.mac,
                bridge=body.bridge, gateway=body.gateway, move_to=to,
            )  # fmt: skip

        return self._in_thread(call, work, lambda _: {})

    def links_remove(self, body: m.LinksRemove, call: Call) -> Later:
        """One that is gone is fine."""
        path = self._there(body.netns)
        return self._in_thread(call, lambda: links.remove(body.name, path), lambda _: {})

    def netns_run(self, body: m.NetnsRun, call: Call) -> Later:
        """To its end, and what it said."""
        path = self._there(body.netns)
        if not body.args or not 0 < body.limit <= MOST_SECONDS:
            raise InvalidArgumentError(
                f"args must name a program, and limit be at most {MOST_SECONDS:g} seconds"
            )

        def work() -> dict[str, Any]:
            ended = links.within(path, lambda: run(body.args, body.stdin, limit=body.limit))
            said = {"stdout": ended.said[:MOST_SAID], "stderr": ended.complaint[:MOST_SAID]}
            return {"exit_code": ended.code, **said}

        return self._in_thread(call, work, lambda found: found)

    def _in_thread(self, call: Call, work: Any, answer: Any) -> Later:
        def done(result: Any) -> None:
            if isinstance(result, TimeoutError):
                call.fail(RemoteError("deadline_exceeded", str(result), outcome="unknown"))
            elif isinstance(result, OSError):
                call.fail(FailedPreconditionError(f"network: {result.strerror or result}"))
            else:
                call.settle(result if isinstance(result, Exception) else answer(result))

        self.work(work, done)
        return LATER

    def _rooms(self) -> Path:
        return self.settings.state / "netns"

    def _named(self, name: str) -> Path:
        check_identifier("network namespace", name)
        return self._rooms() / f"{NAMED}{name}"

    def _there(self, name: str) -> Path | None:
        """The file of a namespace that there is; None for an empty name: the host's own."""
        if not name:
            return None
        path = self._named(name)
        if not netns.exists(path):
            raise NotFoundError(f'network namespace "{name}" not found')
        return path
