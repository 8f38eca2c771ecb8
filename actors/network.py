"""Network: the containers' network namespaces. Loopback only so far.

A namespace is bound to a file under state/netns and so outlives every actor. States: none beside those
files. Restarted by the supervisor, always.
"""

from pathlib import Path
from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import Call
from actors.linux import netns
from storage.names import check_identifier


class NetworkActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "network"

    def started(self) -> None:
        """Make the directory of namespaces."""
        self._directory = self.settings.state / "netns"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def network_attach(self, body: m.NetworkAttach, _: Call) -> dict[str, Any]:
        """Make the namespace, or find it made."""
        path = self._path(body.namespace, body.id)
        netns.create(path)
        return {"path": str(path)}

    def network_detach(self, body: m.NetworkDetach, _: Call) -> None:
        """Remove the namespace; doing it twice is fine."""
        netns.remove(self._path(body.namespace, body.id))

    def _path(self, namespace: str, container: str) -> Path:
        check_identifier("namespace", namespace)
        check_identifier("container id", container)
        return self._directory / f"{namespace}+{container}"
