"""The thread that waits for clients: it lets them in, reads what they send, and hands on what is to be done.

What a method can answer at once, it answers here, without waking anybody; anything else is done by one of
the workers. A turn reads one piece of each connection, so that who floods waits with the others.
"""

import contextlib
import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from transport.grpc.exchange import Exchange, Peer
from transport.grpc.http2 import NO_ERROR, Http2Error, Stream

CHUNK: Final = 1 << 16  # bytes that are read of a connection in a turn
MOST_PEERS: Final = 1024  # connections at once: one more has to wait
ACCEPTED: Final = 16  # connections in a turn
BACKLOG: Final = 4096  # as far as net.core.somaxconn lets it
WITHOUT_DESCRIPTORS: Final = 0.1  # seconds until it is tried again to let somebody in
MODE: Final = 0o660
_AGAIN: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Loop:
    """Owns a listening socket and its connections."""

    def __init__(self, address: Path, log: logging.Logger, happened: Callable[[Peer, Stream], None]) -> None:
        """Listen at `address`. `happened` is told of a stream that is new, or to which something has come."""
        self._log, self._happened = log, happened
        self._listener = _listen(address)
        self._poll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wakeup, select.EPOLLIN)
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._peers: dict[int, Peer] = {}
        self._letting = True  # whether who comes is let in
        self._ends: float | None = None  # when connections are closed that still have calls
        self._thread = threading.Thread(target=self._run, name="grpc", daemon=True)
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Let in nobody more, let calls under way end for so many seconds, and close the connections."""
        self._ends = time.monotonic() + grace
        os.eventfd_write(self._wakeup, 1)
        self._thread.join(grace + 1.0)

    def _run(self) -> None:
        while not self._is_over():
            for descriptor, events in self._poll.poll(self._wait()):
                peer = self._peers.get(descriptor)
                if peer is not None:
                    self._look(peer, events)
                elif descriptor == self._wakeup:
                    os.eventfd_read(self._wakeup)
                    self._say_goodbye()
                else:
                    self._accept()
            if not self._letting and self._ends is None and len(self._peers) < MOST_PEERS:
                self._let_in(welcome=True)
        for peer in list(self._peers.values()):
            self._close(peer)
        self._listener.close()

    def _wait(self) -> float | None:
        """Seconds; None for any."""
        if self._ends is not None:
            return max(0.0, min(0.02, self._ends - time.monotonic()))
        return None if self._letting else WITHOUT_DESCRIPTORS

    def _is_over(self) -> bool:
        if self._ends is None:
            return False
        return time.monotonic() >= self._ends or not any(peer.http.streams for peer in self._peers.values())

    def _say_goodbye(self) -> None:
        self._let_in(welcome=False)
        for peer in self._peers.values():
            with peer.lock:
                peer.http.give_up(NO_ERROR)
            peer.flush()

    def _let_in(self, *, welcome: bool) -> None:
        if welcome != self._letting:
            self._letting = welcome
            self._poll.modify(self._listener.fileno(), select.EPOLLIN if welcome else 0)

    def _accept(self) -> None:
        for _ in range(ACCEPTED):
            if len(self._peers) >= MOST_PEERS:
                self._let_in(welcome=False)
                return
            try:
                accepted, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _AGAIN:
                    self._let_in(welcome=False)
                return
            accepted.setblocking(False)
            peer = Peer(accepted, self._poll)
            self._peers[peer.descriptor] = peer
            peer.flush()

    def _look(self, peer: Peer, events: int) -> None:
        if events & select.EPOLLOUT:
            peer.flush()
        if not events & ~select.EPOLLOUT:
            return
        try:
            data = peer.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not self._receive(peer, data):
            self._close(peer)

    def _receive(self, peer: Peer, data: bytes) -> bool:
        """Whether the connection can go on."""
        try:
            with peer.lock:
                changed = peer.http.receive(data)
                peer.corked = True
            for stream in changed:
                self._happened(peer, stream)
        except Http2Error as error:
            self._log.debug("a connection is closed: %s", error)
            with peer.lock:
                peer.http.give_up(error.code)
            return False
        finally:
            peer.corked = False
            peer.flush()
        return True

    def _close(self, peer: Peer) -> None:
        del self._peers[peer.descriptor]
        for function in peer.close():
            function()


def begin_or_end(peer: Peer, stream: Stream) -> Exchange | None:
    """The call of a stream, which is made here when it is new; None for one that is over."""
    with peer.lock:
        call = peer.calls.get(stream.number)
        if not stream.over:
            return call or Exchange(peer, stream)
        peer.calls.pop(stream.number, None)
        peer.changed.notify_all()
    if call is not None:
        for function in call.ended():
            function()
    return None


def _listen(address: Path) -> socket.socket:
    """In place of a socket that a crash has left there. Raises OSError."""
    address.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    with contextlib.ExitStack() as stack:
        stack.callback(found.close)
        before = os.umask(0o117)
        try:
            found.bind(os.fspath(address))
        finally:
            os.umask(before)
        address.chmod(MODE)
        found.listen(BACKLOG)
        stack.pop_all()
    return found
