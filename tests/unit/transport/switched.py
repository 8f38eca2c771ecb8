"""A switch in the hands of a test."""

from transport.envelope import Envelope, request
from transport.errors import RemoteError

CLIENT = "~0011"
LATER = 100.0  # long after the start


def hello(switch, address):
    return switch.receive(address, Envelope("HELLO", id=b"h"), 0.0)


def asked(switch, now=LATER, peer=CLIENT, **fields):
    """A request that is under way, as images/4 gets it."""
    ((_, forwarded),) = switch.receive(peer, request("images", "images.get", {}, **fields), now)
    assert forwarded.type == "REQ"
    return forwarded


def refused(sends):
    """To whom an error goes, and the error."""
    ((address, message),) = sends
    assert message.type == "ERR"
    return address, RemoteError.from_body(message.value())


def nothing_waits(switch):
    left = switch.outstanding
    return not (left._waiting or left.by_target or left.per_peer or left.per_key)
