"""The control channel between the zygote and each of its children.

JSON datagrams over a SOCK_SEQPACKET socket, file descriptors beside them where they belong to a message.
It does not depend on the router: restarts work while the bus is down.

A child says (key `op`):
    ready                                the start has succeeded
    last_words  reason                   why it is about to exit (text, shown in reports)
    exit_of     pid start                asks how an orphan ended; answered `{"status": int|null, "at": ns}`
    keep        key                      keep the descriptors that come with it while I may be away
    drop        key                      close them
    exit_taken  pid start                that exit has been journalled, the zygote may forget it
The supervisor also says:
    spawn       name kind args survives  answered by an event
    kill        name inc signal
    children                             answered by the event `children`
    up                                   the whole tree has started
The zygote tells the supervisor (key `ev`): children (list and
incarnations), spawned, ready, exited, shutdown.
"""

import json
import socket
from collections.abc import Iterable
from typing import Any

from actors.linux import descriptors

MAX_DATAGRAM = 192 * 1024
Message = dict[str, Any]


class Closed(Exception):  # noqa: N818  # a state of the channel, not a mistake
    """The other end is gone."""


class Control:
    """One end of a control channel."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over `connection`; it is closed with this object."""
        self.socket = connection

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def send(self, **message: Any) -> None:
        """Send one message. Raises Closed, ValueError when it is too large."""
        self.send_with((), **message)

    def send_with(self, given: Iterable[int], **message: Any) -> None:
        """Send one message and duplicates of these descriptors."""
        payload = json.dumps(message, separators=(",", ":")).encode()
        if len(payload) > MAX_DATAGRAM:
            raise ValueError(f"control message of {len(payload)} bytes is larger than {MAX_DATAGRAM}")
        try:
            descriptors.send(self.socket, payload, list(given))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def receive(self) -> Message:
        """Wait for one message. Raises Closed."""
        message, received = self.receive_with()
        descriptors.close_all(received)
        return message

    def receive_with(self) -> tuple[Message, list[int]]:
        """Wait for one message and its descriptors, which are the caller's from now on. Raises Closed."""
        try:
            payload, received = descriptors.receive(self.socket, MAX_DATAGRAM)
        except (ConnectionResetError, EOFError) as error:
            raise Closed from error
        message: Message = json.loads(payload)
        return message, received

    def ask(self, **message: Any) -> Message:
        """Send a question and wait for its answer. Not for the supervisor, to whom events come between."""
        self.send(**message)
        return self.receive()

    def close(self) -> None:
        """Close this end; doing it twice is fine."""
        self.socket.close()


def pair() -> tuple[Control, Control]:
    """Two connected ends: the zygote's and the child's."""
    ours, theirs = descriptors.socket_pair()
    return Control(ours), Control(theirs)
