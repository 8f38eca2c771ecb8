"""The control channel between the zygote and each of its children.

JSON datagrams over a SOCK_SEQPACKET socket, file descriptors beside them where they belong to a message.
It does not depend on the router: restarts work while the bus is down.

A child says (key `op`):
    ready                                the start has succeeded
    pong                                 the mailbox thread works
    wrote       pages                    what it has written to since its fork, if `go` wanted to know
    busy        seconds                  it will work on one thing for so long; 0 when it has done so
    last_words  reason                   why it is about to exit (text, shown in reports)
    exit_of     pid start                asks how an orphan ended
    keep        key alone                keep the descriptors that come with it while I may be away; `alone`
                                         (true): I do not have them, so let them outlive you as well
    drop        key                      close them
    fetch       key                      give me duplicates of them; answered by `kept`
    exit_taken  pid start                that exit has been journalled, the zygote may forget it
    sleep       keys                     it will end, until one of what is kept so can be read; answered by
                                         `sleep`. null: it stays, with what it has
The supervisor also says:
    spawn       name kind args survives trace told    answered by an event
    kill        name inc signal
    children                             answered by the event `children`
    forget      name                     its incarnations will not be asked for any more
    up                                   the whole tree has started
    failpoint   name action              for the zygote and whoever it forks from now on
The zygote says to each child (key `op`):
    go          name inc args measure    to one that may survive it: who you are, and you are written down
                trace told               for whose request, and what that has for this incarnation alone
    ping                                 answered by `pong`
    exit        pid start status at      answers `exit_of`; status is null when it is not known
    kept        key                      answers `fetch`, with the descriptors; none if there are none
    sleep       held                     answers `sleep`: whether what is kept outlives the zygote now
    stranger                             to one that came back, but is not in the table: its name is taken
and to the supervisor (key `ev`): adopt and incarnations (as often as it takes), children (that is all of
them), spawned, ready, hung, exited (be it asleep), stirred (one that sleeps has something to do), shutdown.
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
        """Wait for one message and its descriptors, which are the caller's from now on.

        Raises:
            Closed: the other end is gone.
            ValueError, TypeError: what came is no message; the next one can be received.
        """
        try:
            payload, received = self._datagram()
        except (ConnectionResetError, EOFError) as error:
            raise Closed from error
        try:
            return _message(payload), received
        except (ValueError, TypeError, RecursionError):
            descriptors.close_all(received)
            raise

    def _datagram(self) -> tuple[bytes, list[int]]:
        """The kernel says once that the other end went without reading all, before what that end had said."""
        try:
            return descriptors.receive(self.socket, MAX_DATAGRAM)
        except ConnectionResetError:
            return descriptors.receive(self.socket, MAX_DATAGRAM)

    def close(self) -> None:
        """Close this end; doing it twice is fine."""
        self.socket.close()


def _message(payload: bytes) -> Message:
    message = json.loads(payload)
    if not isinstance(message, dict) or not isinstance(message.get("op", message.get("ev")), str):
        raise TypeError("a control message is an object with a word for its purpose")
    return message


def pair() -> tuple[Control, Control]:
    """Two connected ends: the zygote's and the child's."""
    ours, theirs = descriptors.socket_pair()
    return Control(ours), Control(theirs)
