"""Joined nodes as sources of blobs, nearer than a registry: by digest, verified by whoever stores them.

What a name means is not asked here, unless the caller names the node and so trusts it. All nodes are asked at
once what they have of an image; who has not said so in three seconds is asked nothing more by this transfer.
A node that breaks off, stalls or has lost a blob rests for a while: the next one is asked, then the registry.
"""

import random
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from actors import messages as m
from actors.tracing import bound, current
from storage.descriptor import Descriptor
from transport.client import Client, Message, NotRunningError
from transport.connections import connection
from transport.errors import ProtocolError, RemoteError
from transport.registry.blob import BlobStream, Pace, Span
from transport.registry.errors import NotFoundError, PermissionDeniedError, RegistryError, UnavailableError

if TYPE_CHECKING:
    from actors.transfers.transfer import Transfer

ASK_LIMIT: Final = 3.0  # seconds for the nodes to say what they have; those known to be down are not asked
NAMED_LIMIT: Final = 10.0  # the same for one that the caller has named
SILENCE: Final = 4.0  # seconds without a byte after which a node is left
REST: Final = 5.0  # seconds
CREDIT: Final = 8 << 20  # bytes under way; 80 MB/s over a link of 100 ms
MOST_NODES: Final = 16  # asked by one transfer; of more, some by chance
_FAILURES: Final = (RemoteError, NotRunningError, ProtocolError, OSError)


class Peer:
    """One node. Used from several threads, each with a connection of its own.

    Attributes:
        name: what streams from it give as their source: `node h2`.
    """

    def __init__(self, node: str, fields: dict[str, str]) -> None:
        self.name = f"node {node}"
        self._connection = connection(fields)
        self._lock = threading.Lock()
        self._idle: list[Client] = []
        self._closed = False
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        """Whether it has failed of late."""
        return time.monotonic() < self._rests_until

    def rest(self) -> None:
        """It has failed."""
        self._rests_until = time.monotonic() + REST

    def take(self) -> Client:
        """A connection that nobody else uses. Raises NotRunningError, ProtocolError, OSError."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Client("", node=self._connection, patience=0)

    def give_back(self, client: Client) -> None:
        """It is as good as new."""
        with self._lock:
            if not self._closed:
                self._idle.append(client)
                return
        client.close()

    def ask(self, op: str, to: str, body: dict[str, Any]) -> dict[str, Any]:
        """One question. Raises RegistryError."""
        try:
            client = self.take()
            client.trace = current.get().carried()
            try:
                found = client.request(op, body, to=to, limit=NAMED_LIMIT, repeatable=True)
            except BaseException:
                client.close()
                raise
        except _FAILURES as error:
            self.rest()
            raise _translated(self.name, error) from error
        self.give_back(client)
        return found

    def open(self, digest: str, span: Span) -> BlobStream:
        """Bytes of a blob. Raises RegistryError."""
        pieces = _Pieces(self, digest, span)
        return BlobStream(pieces, span, 0, f"blob {digest} from {self.name}", Pace(), self.name)

    def close(self) -> None:
        """Close what is not in use; what is, when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()


class _Pieces:
    """The answer of a node, as `BlobStream` reads it: the first piece is there once it is made."""

    status = 206

    def __init__(self, peer: Peer, digest: str, span: Span) -> None:
        self.authority = peer.name
        self._peer = peer
        self._ahead = b""
        self._client: Client | None = None
        self._parts: Iterator[Message] = iter(())
        try:
            self._client = peer.take()
            body = {"digest": digest, "offset": span.start, "end": span.end}
            self._parts = self._client.stream(
                "content.read", body, to="content", credit=CREDIT, patience=0, silence=SILENCE
            )
        except _FAILURES as error:
            raise self._broken(error) from error
        self._ahead = self.piece(span.end - span.start)

    def piece(self, most: int) -> bytes:
        """As `Pieces.piece`. What was not asked for is cut off: the node is not trusted."""
        if not self._ahead:
            try:
                message = next(self._parts)
            except StopIteration:
                return b""
            except _FAILURES as error:
                raise self._broken(error) from error
            self._ahead = b"".join(message.buffers)
        found, self._ahead = self._ahead[:most], self._ahead[most:]
        return found

    def _broken(self, error: Exception) -> RegistryError:
        self._peer.rest()
        client, self._client = self._client, None
        if client is not None:
            client.close()
        return _translated(self.authority, error)

    def close(self) -> None:
        """Cancel what is left."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(*_FAILURES):
            self._parts.close()  # type: ignore[attr-defined]  # a generator
            self._peer.give_back(client)


class Peers:
    """The nodes that one transfer may fetch from; with `named`, that one before all others."""

    def __init__(self, transfer: "Transfer", named: str = "") -> None:
        self._transfer = transfer
        self._named = named
        self._changed = threading.Condition()
        self._peers: list[Peer] | None = None
        self._holders: dict[str, list[Peer]] = {}

    def named(self) -> Peer:
        """The node that the caller has named. Raises RemoteError."""
        return self._known()[0]

    def expect(self, blobs: Iterable[Descriptor]) -> None:
        """Ask the nodes which of these they have; one that fails does not matter. Raises RemoteError."""
        wanted = {str(one.digest) for one in blobs if not self._transfer.store.has(one.digest)}
        if not wanted:
            return
        waiting = set(self._known())

        def learn(peer: Peer) -> None:
            with suppress(RegistryError):
                missing = peer.ask("content.missing", "content", {"digests": sorted(wanted)})["missing"]
                self._note(peer, wanted - set(missing))
            with self._changed:
                waiting.discard(peer)
                self._changed.notify_all()

        for peer in self._known():
            threading.Thread(target=bound(learn), args=(peer,), daemon=True, name=peer.name).start()
        with self._changed:
            self._changed.wait_for(
                lambda: not waiting or (not self._named and wanted <= self._holders.keys()),
                NAMED_LIMIT if self._named else ASK_LIMIT,
            )
        self._transfer.check()

    def open(self, blob: Descriptor, start: int, end: int, avoid: Collection[str]) -> BlobStream | None:
        """The bytes from the first node that has them; None where the registry is to be asked.

        Raises:
            RegistryError: the caller has named a node, and neither that nor another one gives them.
        """
        digest, span = str(blob.digest), Span(start, end, blob.size)
        failed: RegistryError | None = None
        for peer in self._sources(digest):
            if peer.name in avoid:
                continue
            try:
                return peer.open(digest, span)
            except RegistryError as error:
                failed = error
                self._transfer.actor.log.info("%s: %s", peer.name, error)
                if not error.retryable:
                    self._strike(peer, digest)
        if not self._named:
            return None
        raise failed or NotFoundError(f"node {self._named} has no blob {digest}, nor has another node")

    def close(self) -> None:
        """Close the connections."""
        for peer in self._peers or ():
            peer.close()

    def _known(self) -> list[Peer]:
        """The joined nodes that are not down, once; where namespaces are isolated only one that was named."""
        if self._peers is None:
            call, settings = self._transfer.call, self._transfer.settings
            may_ask = settings.registry_peers and settings.content_sharing == "shared"
            nodes = call(m.NodesList())["nodes"] if may_ask else []
            joined = [one["name"] for one in nodes if one["link"] == "joined" and one["state"] != "down"]
            others = [name for name in joined if name != self._named]
            chosen = random.sample(others, min(len(others), MOST_NODES))
            names = [self._named, *chosen] if self._named else chosen
            found = [self._peer(name) for name in names]
            self._peers = [one for one in found if one is not None]
        return self._peers

    def _peer(self, name: str) -> Peer | None:
        """By the node book; one that has been struck this very moment does not matter, unless named."""
        try:
            return Peer(name, self._transfer.call(m.NodesGet(name)))
        except RemoteError:
            if name == self._named:
                raise
            return None

    def _note(self, peer: Peer, digests: Collection[str]) -> None:
        with self._changed:
            for digest in digests:
                holders = self._holders.setdefault(digest, [])
                if peer not in holders:
                    holders.append(peer)
            self._changed.notify_all()

    def _strike(self, peer: Peer, digest: str) -> None:
        with self._changed, suppress(ValueError):
            self._holders.get(digest, []).remove(peer)

    def _sources(self, digest: str) -> list[Peer]:
        """Who answered first is asked first; who rests only where there is no registry to ask instead."""
        with self._changed:
            holders = list(self._holders.get(digest, ()))
        if self._named:
            return sorted(holders, key=lambda one: (one.rests, one is not self.named()))
        return [one for one in holders if not one.rests]


def _translated(name: str, error: Exception) -> RegistryError:
    code = getattr(error, "code", "unavailable")
    text = f"{name}: {error}"
    if code == "not_found":
        return NotFoundError(text)
    if code == "permission_denied":
        return PermissionDeniedError(text)
    return UnavailableError(text)
