"""grpc: containerd's API on a Unix socket, translated to messages of ours.

States: serving, or waiting until its address can be had. grpcio's threads ask other actors; this one's own
thread only starts and stops the server. What is killed breaks its clients' connections, and no more: what
they spoke of is elsewhere.
Restarted by the supervisor, always.
"""

import importlib
import os
from pathlib import Path
from typing import Any

from actors.actor import Actor
from actors.tracing import current, of_birth

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 32.0  # seconds until an address that cannot be had is tried again


class GrpcActor(Actor):
    """No operations of its own, but where it listens."""

    kind = "grpc"

    def started(self) -> None:
        """Begin to listen, unless the configuration says not to; nobody waits for grpcio to be loaded."""
        self._server: Any = None
        self._pause = FIRST_PAUSE
        if self.settings.grpc_listen:
            self._open()

    def _open(self) -> None:
        self.work(self._serve, self._served)

    def _serve(self) -> Any:
        """In a worker thread. grpcio is loaded here: only this process pays for it."""
        os.environ["GRPC_ENABLE_FORK_SUPPORT"] = (
            "0"  # a child that applies a layer never calls it; else it aborts
        )
        services = importlib.import_module("actors.gateway.services")
        records = importlib.import_module("actors.gateway.records")
        server = importlib.import_module("transport.grpc.server")
        found = records.Records(self.settings)
        return server.serve(self.address(), services.all_of(self, found), self.log, self._begun)

    @staticmethod
    def _begun(call: Any, method: str) -> None:
        """What a thread of the server does from here on, is done for this call."""
        current.set(of_birth(call.trace)._replace(op=method))

    def _served(self, result: Any) -> None:
        if isinstance(result, OSError):  # of its address: to begin anew would not change that
            text = "containerd's API is not served at %s: %s; tried again in %g s"
            self.log.error(text, self.address(), result.strerror or result, self._pause)
            self.later(self._pause, self._open)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return
        if isinstance(result, Exception):
            raise result
        self._server = result

    def address(self) -> Path:
        """The socket."""
        said = self.settings.grpc_listen
        return self.settings.state / "containerd.sock" if said == "default" else Path(said)

    def stopping(self) -> None:
        """Let calls under way end, for a moment."""
        if self._server is not None:
            self._server.stop(1.0).wait(2.0)
            self.address().unlink(missing_ok=True)
        self.finish()
