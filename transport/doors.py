"""What the router's doors have in common: which an address belongs to, and how a message finds no way."""

from typing import Final

OUTER: Final = "~~"
"""How the address of a peer on another host begins; what those of this host cannot begin with."""


class FullError(Exception):
    """Too much waits for this peer already; the message was not queued."""


class UnreachableError(Exception):
    """Nobody is connected under this address."""
