"""Resolver: answers containers that ask for each other by name, and hands on what others know better.

It listens at the host's address in each network. What it knows it asks the network actor for, at its start
and each time it is told that something has changed, until it has an answer; states: none of its own. It reads
what containers send, and is a process of its own for that reason. Restarted by the supervisor, always.
"""

from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.networking.dns_server import DnsServer, others_of, zones_of
from transport.errors import RemoteError

ASK_AGAIN = 1.0  # seconds after a refusal: what containers are answered until then is old, or nothing


class ResolverActor(Actor):
    """One operation; the questions of containers do not come through the mailbox."""

    kind = "resolver"

    def started(self) -> None:
        """Ask what there is to know; until the answer comes, nobody is served."""
        self._server: DnsServer | None = None
        self._asks_again = False
        self._ask()

    def _ask(self) -> None:
        self._asks_again = False
        self.ask(m.NetworkNames(), self._known, limit=3600)

    def stopping(self) -> None:
        """Close the sockets in order."""
        if self._server is not None:
            self._server.stop()
        self.finish()

    def resolver_refresh(self, _body: m.ResolverRefresh, call: Call) -> Later:
        """Ask again; answered when the new names are served."""

        def known(result: Any) -> None:
            self._known(result)
            call.settle(result if isinstance(result, Exception) else {})

        self.ask(m.NetworkNames(), known)
        return LATER

    def _known(self, result: Any) -> None:
        if isinstance(result, RemoteError):
            self.log.warning("names are not known: %s", result)
            if not self._asks_again:
                self._asks_again = True
                self.later(ASK_AGAIN, self._ask)
            return
        zones = zones_of(result["zones"])
        if self._server is None and zones:  # without a network there is no thread, and nothing is imported
            self._server = DnsServer(self.log, crashed=self.host.crash)
            self._server.start()
        if self._server is not None:
            self._server.serve(zones, others_of(result["zones"]))
