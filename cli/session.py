"""What every command works with: where the daemon is, which namespace, how to print, and the connection."""

from __future__ import annotations

from transport.bare import is_directory, random_id, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cli.options import Given
    from transport.client import Client, Message
    from transport.errors import RemoteError

DEFAULT_ADDRESS = "/run/actord/actord.sock"
SOCKET_NAME = "actord.sock"


class RefusedError(Exception):
    """The daemon answered with an error.

    Attributes:
        error: that error.
        op: what was asked.
        body: with which fields.
    """

    def __init__(self, error: RemoteError, op: str, body: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error
        self.op = op
        self.body = body

    @property
    def code(self) -> str:
        """The error's code."""
        return self.error.code

    def says_gone(self, actor: str) -> bool:
        """Whether there is no such actor; of what an actor works on, the actor itself would say so."""
        return self.code == "not_found" and str(self) == f"no actor is named {actor}"


class Session:
    """The connection is made when it is first needed.

    Attributes:
        address: path of the daemon's socket.
        namespace: the namespace to work in.
        json: whether to print JSON, or by a template that was given (cli/table.py, print_json).
        node: the node to work with, empty for the one whose address this is.
        trace: what all requests belong to (W3C Trace Context); empty for nothing.
        debug: whether to say more of what went on.
    """

    def __init__(
        self,
        address: str,
        namespace: str,
        *,
        json: bool = False,
        node: str = "",
        trace: str = "",
        debug: bool = False,
    ) -> None:
        self.address = address
        self.namespace = namespace
        self.json = json
        self.node = node
        self.trace = trace
        self.debug = debug
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The connection. Raises NotRunningError."""
        if self._client is None:
            from transport.client import Client

            self._client = Client(self.address)
            self._client.trace = self.trace
        return self._client

    def _named(self, actor: str) -> str:
        """As the router here knows it: an actor of another node by that node's name."""
        return f"{self.node}/{actor}" if self.node else actor

    def another(self) -> Session:
        """The same with a connection of its own, for a signal handler or beside a stream."""
        return self.at(self.node)

    def at(self, node: str) -> Session:
        """The same at another node; at the one whose address this is, for an empty name."""
        how = {"json": self.json, "debug": self.debug}
        return Session(self.address, self.namespace, node=node, trace=self.trace, **how)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()

    def ask(self, to: str, op: str, body: dict[str, Any], *, limit: float = 30.0) -> dict[str, Any]:
        """An operation that may be repeated. Raises RefusedError, NotRunningError."""
        return self._request(to, op, body, limit, repeatable=True)

    def ask_all(self, to: str, op: str, body: dict[str, Any], key: str, *, limit: float = 30.0) -> list[Any]:
        """All of a list that is answered page by page. Raises as `ask`."""
        found: list[Any] = []
        after = ""
        while True:
            answer = self.ask(to, op, {**body, "page": True, "after": after}, limit=limit)
            found += answer[key]
            after = answer.get("next", "")  # a daemon that knows no pages gives everything
            if not after:
                return found

    def ask_once(self, to: str, op: str, body: dict[str, Any], *, limit: float = 30.0) -> dict[str, Any]:
        """An operation that must not happen twice. Raises RefusedError, NotRunningError."""
        return self._request(to, op, body, limit, repeatable=False)

    def send(self, to: str, op: str, body: dict[str, Any], content: bytes, *, limit: float) -> dict[str, Any]:
        """As `ask`, with raw bytes beside the body."""
        return self._request(to, op, body, limit, repeatable=True, buffers=(content,))

    def _request(
        self,
        to: str,
        op: str,
        body: dict[str, Any],
        limit: float,
        *,
        repeatable: bool,
        buffers: tuple[bytes, ...] = (),
    ) -> dict[str, Any]:
        from transport.errors import RemoteError

        try:
            return self.client.request(
                op, body, to=self._named(to), limit=limit, repeatable=repeatable, buffers=buffers
            )
        except RemoteError as error:
            raise RefusedError(error, op, body) from error

    def stream(
        self,
        to: str,
        op: str,
        body: dict[str, Any],
        *,
        credit: int,
        resume: Callable[[], dict[str, Any]] | None = None,
        patience: float = 30.0,
    ) -> Iterator[Message]:
        """Parts or events, then the final answer. Raises RefusedError, NotRunningError."""
        from transport.errors import RemoteError

        try:
            yield from self.client.stream(
                op, body, to=self._named(to), credit=credit, resume=resume, patience=patience
            )
        except RemoteError as error:
            raise RefusedError(error, op, body) from error

    def container(self, name: str, *, retired: bool = False) -> dict[str, Any]:
        """The record of a container by name, id, or the beginning of an id. Raises RefusedError.

        `retired`: also one that has removed itself, and is only not yet cleared up.
        """
        body = {"namespace": self.namespace, "id": name, **({"retired": True} if retired else {})}
        return self.ask("metadata", "containers.get", body)

    def find_container(self, name: str, *, retired: bool = False) -> dict[str, Any] | None:
        """The same, None if there is none. Raises RefusedError."""
        try:
            return self.container(name, retired=retired)
        except RefusedError as error:
            if error.code == "not_found":
                return None
            raise

    def find_image(self, name: str) -> dict[str, Any] | None:
        """The record of an image, None if there is none. Raises RefusedError."""
        try:
            return self.ask("metadata", "images.get", {"namespace": self.namespace, "name": name})
        except RefusedError as error:
            if error.code == "not_found":
                return None
            raise


def session(given: Given) -> Session:
    """From the global options and the environment."""
    address = given.text("address") or variable("ACTORD_ADDRESS") or DEFAULT_ADDRESS
    namespace = given.text("namespace") or variable("ACTORD_NAMESPACE") or "default"
    how = given.text("format")
    if "{{" in how:
        from cli.table import print_by

        print_by(how)
    return Session(
        socket_path(address),
        namespace,
        json=how not in ("", "table"),
        node=given.text("node"),
        trace=_trace(given),
        debug=given.flag("debug"),
    )


def _trace(given: Given) -> str:
    """What was given, or else TRACEPARENT, if that makes sense; else a new one. Raises UsageError."""
    wanted = given.text("trace")
    found = wanted or variable("TRACEPARENT")
    if found:
        from transport import traces

        if traces.read(found)[0]:
            return found
    if wanted:
        from cli.options import UsageError

        raise UsageError(f"--trace wants 32 hexadecimal digits or a traceparent, not {wanted!r}")
    return random_id(16).hex()


def socket_path(address: str) -> str:
    """A socket's path from what people write: a path, `ipc://` before it, or its directory."""
    for prefix in ("ipc://", "unix://"):
        address = address.removeprefix(prefix)
    return f"{address.rstrip('/')}/{SOCKET_NAME}" if is_directory(address) else address
