"""A second daemon on this machine, joined over TCP on loopback: a node that has what the first one wants."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from tests.e2e.daemon import Daemon
from tests.ports import free_port
from transport.client import Client
from transport.keys import new_pair

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.asking import RecordingSession

NAME = "near"
NAMESPACE = "c"


class Neighbour:
    """From `start` to `end`."""

    def __init__(self, directory: Path) -> None:
        """Its state goes below `directory`, which it makes."""
        directory.mkdir()
        self._endpoint = f"tcp://127.0.0.1:{free_port()}"
        self._daemon = Daemon(directory, ("--node", NAME, "--listen", self._endpoint))

    def start(self) -> Self:
        """Begin to serve."""
        self._daemon.start()
        return self

    def fetch(self, image: str) -> None:
        """Have an image."""
        self._daemon.actr("--namespace", NAMESPACE, "pull", image)

    def join(self, session: RecordingSession) -> None:
        """Have the daemon of `session` know it."""
        pair, server = new_pair(), self._ask("keys.server")
        self._ask("keys.allow", name="first", public=pair.public, role="admin")
        connection = {
            "endpoint": self._endpoint, "server": server["public"], "node": NAME,
            "name": "first", "role": "admin", "public": pair.public, "secret": pair.secret,
        }  # fmt: skip
        session.ask("nodes", "nodes.join", {"name": NAME, "connection": connection})

    def _ask(self, op: str, **body: Any) -> dict[str, Any]:
        with contextlib.closing(Client(str(self._daemon.state / "actord.sock"))) as client:
            return client.request(op, body, to="metadata")

    def end(self) -> None:
        """It goes, with all it has."""
        self._daemon.clean_up()
